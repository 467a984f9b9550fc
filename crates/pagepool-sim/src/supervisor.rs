//! Cases are played by child processes, so that one that aborts or hangs ends no more than itself.

#![cfg(shuttle)]

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use pagepool_sim::case::{Case, Step};
use pagepool_sim::exercise::Exercise;
use pagepool_sim::minimise::{minimise as shorten, way_of_failing};
use pagepool_sim::play::play as play_case;
use pagepool_sim::world::World;

use crate::Run;

/// Cases that a child plays before a new one takes over: what it has leaked goes with it.
const BATCH: u64 = 64;

/// A case that takes longer hangs, in real time.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// Stands before a case that failed.
const AGAIN: &str = "# play it again: save this and give it to `pagepool-sim play`\n";

/// After so many cases, everything should have happened.
const ENOUGH: u64 = 200;

/// Seeds that a shorter list of steps is tried with.
const SEEDS_TRIED: u64 = 6;

/// How a child's case went.
enum Told {
    Began(u64),
    Done {
        steps: u64,
        exercise: Exercise,
    },
    Failed {
        seed: u64,
        why: String,
    },
    /// The child has ended: with which case on hand, if any, and without those from `next` on.
    Ended {
        unfinished: Option<u64>,
        is_well: bool,
        next: u64,
        end: u64,
    },
}

/// Totals of a run.
#[derive(Default)]
struct Totals {
    cases: u64,
    steps: u64,
    exercise: Exercise,
    failed: Vec<(u64, String)>,
}

/// Plays case after case.
pub(crate) fn run(run: &Run) -> ExitCode {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    };
    let first = run.seed.unwrap_or_else(|| now().as_secs() * 1_000_000);
    println!("seed {first}");
    let start = Instant::now();
    let totals = play_all(run, first, start);

    let elapsed = start.elapsed();
    let rate = totals.steps as f64 / elapsed.as_secs_f64();
    println!(
        "{} cases, {} operations in {:.1} s, {rate:.0} a second, {} failed",
        totals.cases,
        totals.steps,
        elapsed.as_secs_f64(),
        totals.failed.len()
    );
    for (seed, why) in &totals.failed {
        println!("case {seed}: {why}");
    }
    print!("{}", totals.exercise.named());
    let missing: Vec<_> = totals.exercise.missing().collect();
    match totals.failed.first() {
        None if totals.cases == 0 => {
            println!("no case was played: that proves nothing");
            ExitCode::FAILURE
        }
        None if totals.cases >= ENOUGH && !missing.is_empty() => {
            println!(
                "{} never happened: that proves little",
                missing.join(" and ")
            );
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
        Some((seed, _)) => {
            let case = Case::random(*seed, run.steps);
            if run.whole {
                print!("{AGAIN}{case}");
            } else if !run.keep_going {
                print_shortened(&case);
            }
            ExitCode::FAILURE
        }
    }
}

fn play_all(run: &Run, first: u64, start: Instant) -> Totals {
    let (tell, told) = mpsc::channel();
    let mut totals = Totals::default();
    let mut next = first;
    let last = run.cases.map(|cases| first + cases);
    let begin = |cases: Range<u64>| {
        let (steps, tell, end) = (run.steps, tell.clone(), start + run.duration);
        thread::spawn(move || watch(cases, steps, end, &tell));
    };
    let mut batch = || {
        let from = next;
        next = last.map_or(from + BATCH, |last| last.min(from + BATCH));
        from..next
    };
    let mut nr_running = 0;
    for _ in 0..run.jobs.max(1) {
        let cases = batch();
        if !cases.is_empty() {
            begin(cases);
            nr_running += 1;
        }
    }
    while nr_running > 0 {
        match told.recv().expect("a child's watch has the other end") {
            Told::Began(_) => {}
            Told::Done { steps, exercise } => {
                totals.cases += 1;
                totals.steps += steps;
                totals.exercise = [totals.exercise, exercise].into_iter().sum();
                show_progress(&totals, start);
            }
            Told::Failed { seed, why } => totals.note_failure(seed, why),
            Told::Ended {
                unfinished,
                is_well,
                next,
                end,
            } => {
                if let Some(seed) = unfinished {
                    totals.note_failure(seed, "its process was killed by a signal, or hung".into());
                } else if !is_well {
                    let why = "the process that plays from here on ended between cases";
                    totals.note_failure(next, why.into());
                }
                let is_over =
                    start.elapsed() >= run.duration || !run.keep_going && !totals.failed.is_empty();
                let cases = if next < end { next..end } else { batch() };
                if is_over || cases.is_empty() {
                    nr_running -= 1;
                } else {
                    begin(cases);
                }
            }
        }
    }
    totals
}

impl Totals {
    fn note_failure(&mut self, seed: u64, why: String) {
        println!("case {seed} failed: {why}");
        self.cases += 1;
        self.failed.push((seed, why));
    }
}

fn show_progress(totals: &Totals, start: Instant) {
    let stderr = std::io::stderr();
    if stderr.is_terminal() && totals.cases.is_multiple_of(16) {
        let rate = totals.steps as f64 / start.elapsed().as_secs_f64();
        eprint!("\r{} cases, {rate:.0} operations a second ", totals.cases);
    }
}

/// Runs one child and passes on what it says.
fn watch(cases: Range<u64>, steps: usize, end: Instant, tell: &mpsc::Sender<Told>) {
    let count = cases.end - cases.start;
    let mut child = this_program()
        .arg("work")
        .args([cases.start.to_string(), count.to_string()])
        .args(["--steps", &steps.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program can be started again");
    let lines = lines_of(&mut child);
    let mut next = cases.start;
    let mut on_hand: Option<(u64, Instant)> = None;
    let mut has_said_enough = false;
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                let Some(said) = parse(&line) else { continue };
                on_hand = None;
                if let Told::Began(seed) = said {
                    on_hand = Some((seed, Instant::now()));
                    next = seed + 1;
                }
                let is_failure = matches!(said, Told::Failed { .. });
                let _main_has_ended = tell.send(said);
                let is_over = on_hand.is_none() && Instant::now() >= end;
                has_said_enough = is_failure || is_over;
                if has_said_enough {
                    break;
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if on_hand.is_some_and(|(_, began)| began.elapsed() > HANGS_AFTER) {
                    break;
                }
            }
        }
    }
    // One that was cut short, or has said what failed, says nothing more by its status.
    let is_cut_short = child.kill().is_ok() && has_said_enough;
    let ended_well = child.wait().is_ok_and(|status| status.success());
    let _main_has_ended = tell.send(Told::Ended {
        unfinished: on_hand.map(|(seed, _)| seed),
        is_well: ended_well || is_cut_short,
        next,
        end: cases.end,
    });
}

/// What a child says, line by line.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let output = child.stdout.take().expect("it is piped");
    let (line_in, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ended = line_in.send(line);
        }
    });
    lines
}

fn parse(line: &str) -> Option<Told> {
    let mut words = line.splitn(3, ' ');
    let (what, number, rest) = (words.next()?, words.next()?, words.next());
    let number = number.parse().ok()?;
    match what {
        "began" => Some(Told::Began(number)),
        "done" => Some(Told::Done {
            steps: number,
            exercise: rest?.parse().ok()?,
        }),
        "failed" => Some(Told::Failed {
            seed: number,
            why: rest.unwrap_or_default().to_owned(),
        }),
        _ => None,
    }
}

/// Plays some cases and says of each how it went.
pub(crate) fn work(first: u64, count: u64, steps: usize) -> ExitCode {
    for seed in first..first.saturating_add(count) {
        println!("began {seed}");
        match play_case(&Case::random(seed, steps)) {
            Ok(played) => println!("done {steps} {}", played.exercise),
            Err(why) => {
                println!("failed {seed} {}", why.replace('\n', "; "));
                // The tasks of a failed execution are left as they stood: what comes now is for another process.
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program has a path"))
}

/// Plays a case from a file.
pub(crate) fn play(file: &Path) -> ExitCode {
    let case = match read(file) {
        Ok(case) => case,
        Err(error) => return usage(&error),
    };
    // Only after one that went well: a failed execution leaves its tasks as they stood.
    let outcome = play_case(&case).and_then(|first| Ok((first, play_case(&case)?)));
    match outcome {
        Ok((first, second)) if first == second => {
            println!("{} operations, all is well", case.steps.len());
            print!("{}", first.exercise.named());
            ExitCode::SUCCESS
        }
        Ok((first, second)) => {
            println!("played twice, it went two ways: {first:?} and {second:?}");
            ExitCode::FAILURE
        }
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Makes a case from a file shorter.
pub(crate) fn minimise(file: &Path) -> ExitCode {
    match read(file) {
        Ok(case) => {
            print_shortened(&case);
            ExitCode::SUCCESS
        }
        Err(error) => usage(&error),
    }
}

fn read(file: &Path) -> Result<Case, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Case::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn usage(error: &str) -> ExitCode {
    eprintln!("pagepool-sim: {error}");
    ExitCode::from(2)
}

fn print_shortened(case: &Case) {
    let mut world = case.world.clone();
    let Some(failure) = failure_of(case) else {
        println!("# it does not fail when it is played again");
        return;
    };
    let steps = shorten(&case.steps, |steps| {
        eprint!("\r{} steps: does it still fail? ", steps.len());
        find_failing(&mut world, steps, &failure)
    });
    eprintln!();
    match steps {
        Some(steps) => print!("{AGAIN}{}", Case { world, steps }),
        None => println!("# it does not fail each time that it is played"),
    }
}

/// Whether the steps fail alike in this world, or with another seed of it, which it then has: without one step,
/// all that follows is scheduled otherwise.
fn find_failing(world: &mut World, steps: &[Step], failure: &str) -> bool {
    let first = world.clone();
    let found = (0..SEEDS_TRIED).find(|n| {
        world.seed = first.seed.wrapping_add(*n);
        let steps = steps.to_vec();
        let world = world.clone();
        failure_of(&Case { world, steps }).as_deref() == Some(failure)
    });
    if found.is_none() {
        *world = first;
    }
    found.is_some()
}

/// In which way a case fails, if it does, in a process of its own.
fn failure_of(case: &Case) -> Option<String> {
    let path = std::env::temp_dir().join(format!("pagepool-sim-{}.case", std::process::id()));
    let written = fs::File::create(&path).and_then(|mut file| write!(file, "{case}"));
    written.expect("there is room for a case among temporary files");
    let mut child = this_program()
        .arg("play")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program can be started again");
    let lines = lines_of(&mut child);
    let is_well = ends_well(&mut child);
    let _removed = fs::remove_file(&path);
    let said = lines.recv().unwrap_or_default();
    (!is_well).then(|| way_of_failing(&said))
}

fn ends_well(child: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < HANGS_AFTER {
        if let Ok(Some(status)) = child.try_wait() {
            return status.success();
        }
        thread::sleep(Duration::from_millis(2));
    }
    let _gone = child.kill();
    let _status = child.wait();
    false
}
