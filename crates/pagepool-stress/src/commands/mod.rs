//! The commands, and what they share: seed, threads, sampler, rehearsal, report.
#![forbid(unsafe_code)]

mod churn; // random load
mod faults; // a device that fails
mod fragment; // large blocks out of free memory in pieces
mod groups; // overcommit, by groups that share the pool
mod idle; // what a pool does while nothing happens
mod latency; // requests that are due by a schedule
mod misses; // what is missed of a trace of references
mod overcommit; // more folios than memory
mod paging; // what overcommit, faults and idle share
mod recorded; // replay of a recording
mod replay; // traces from files
mod soak; // every kind of load, for hours
mod run; // the trace that is part of the program
mod two_kinds; // fragment, while movable and unmovable memory come and go

use std::{io, process, sync::Arc, thread, time::Duration};

use pagepool::{BuildError, HugePages};

use crate::{
    cli::{Cli, Command, Common},
    content::Depth,
    control::Control,
    crew::{Crew, Seat},
    interrupt::Interrupt,
    page::PagePlace,
    phase::{
        self, Daemons, House, Length, Movable, NoWatch, Outcome, PhaseError, Plan, Size, Watch,
    },
    player::blocks::BlockPlayer,
    posts::Watchdog,
    progress::Screen,
    record::Recorder,
    report::{Facts, Report, Sink},
    rng::any_seed,
    rss::Rss,
    serving::{ServeAt, Serving},
    tally::Violations,
    taping::Taping,
    top,
    trace::{TraceError, shipped},
};

/// Why a run cannot begin or go on: one line for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadInput {
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("{}{}", .0, source_of(.0))]
    Build(#[from] BuildError),
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
}

impl From<PhaseError> for BadInput {
    fn from(error: PhaseError) -> BadInput {
        match error {
            PhaseError::Build(error) => BadInput::Build(error),
            PhaseError::Prefault(error) => BadInput::Usage(format!("--prefault: {error}")),
            PhaseError::Serve(error) => BadInput::Usage(format!("--serve: {error}")),
        }
    }
}

fn source_of(error: &BuildError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"))
}

/// Whether everything that was looked at held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Verified,
    Violated,
}

/// Carries out a command.
pub(crate) fn perform(cli: Cli) -> Result<Ending, BadInput> {
    if let Some(Command::Top(options)) = &cli.command {
        top::perform(&cli.common, options).map_err(BadInput::Usage)?;
        return Ok(Ending::Verified);
    }
    let interrupt = Interrupt::heed()?;
    let sink = Sink::open(cli.common.json.as_deref()).map_err(BadInput::Usage)?;
    let place = cli.common.report.as_deref().map(PagePlace::prepare);
    let place = place.transpose().map_err(BadInput::Usage)?;
    let seed = cli.common.seed.unwrap_or_else(any_seed);
    sink.say(&format!("seed {seed}\n"));
    if let Some(place) = &place {
        sink.say(&format!(
            "report      {}, when it is over\n",
            place.page().display()
        ));
    }
    let common = cli.common;
    let command = cli.command.unwrap_or(Command::Run);
    let taping = Taping::new(common.record.as_deref()).map_err(BadInput::Usage)?;
    let taping = Arc::new(taping);
    let errand = Errand {
        command: command.name(),
        seed,
        sink: Arc::new(sink),
        interrupt,
        screen: Screen::new(common.progress),
        recorder: place.is_some().then(|| Arc::new(Recorder::new())),
        hang_after: common.hang_after,
        taping,
        serve: common.serve.clone(),
        prefault: common.prefault,
        huge_pages: common.huge_pages,
    };
    let report = match command {
        Command::Run => run::perform(&common, &errand)?,
        Command::Replay(options) => replay::perform(&common, &options, &errand)?,
        Command::Churn(options) => churn::perform(&common, &options, &errand)?,
        Command::Latency(options) => latency::perform(&common, &options, &errand)?,
        Command::Overcommit(options) => overcommit::perform(&common, &options, &errand)?,
        Command::Faults(options) => faults::perform(&common, &options, &errand)?,
        Command::Fragment(options) => fragment::perform(&common, &options, &errand)?,
        Command::Idle(options) => idle::perform(&common, &options, &errand)?,
        Command::Soak(options) => soak::perform(&common, &options, &errand)?,
        Command::Top(_) => unreachable!("it was seen to"),
    };
    let ending = match report.violations {
        0 => Ending::Verified,
        _ => Ending::Violated,
    };
    errand.sink.deliver(&report).map_err(BadInput::Usage)?;
    if let (Some(place), Some(recorder)) = (place, &errand.recorder) {
        place
            .write(&report, recorder.recordings())
            .map_err(BadInput::Usage)?;
    }
    if let Some(what) = report.unwritten() {
        return Err(BadInput::Usage(what));
    }
    if let Some(line) = errand.taping.outcome().map_err(BadInput::Usage)? {
        errand.sink.say(&line);
    }
    Ok(ending)
}

/// What all commands are given beside their options.
pub(crate) struct Errand {
    command: &'static str,
    seed: u64,
    sink: Arc<Sink>,
    interrupt: Interrupt,
    /// Where progress is shown.
    screen: Screen,
    /// Records what is played, if there is to be a page.
    recorder: Option<Arc<Recorder>>,
    /// How long a thread may go without finishing anything.
    hang_after: Duration,
    taping: Arc<Taping>,
    /// Where pools are served.
    serve: Option<ServeAt>,
    /// Bytes of each pool that are made resident first.
    prefault: usize,
    /// Where pools ask for huge pages.
    huge_pages: HugePages,
}

impl Errand {
    /// What the watchdog does: reports who stands where, and ends the process, since threads that hang
    /// cannot be ended otherwise.
    fn alarm(&self) -> impl FnOnce(Vec<String>) + Send + 'static {
        let (sink, command, seed) = (Arc::clone(&self.sink), self.command, self.seed);
        let limit = self.hang_after;
        move |lines| {
            let mut violations = Violations::default();
            violations.add(format_args!(
                "hang: a thread has finished nothing for {limit:?}"
            ));
            lines.iter().for_each(|line| violations.note(line));
            let state = pagepool::Watchdog::report();
            state.lines().for_each(|line| violations.note(line));
            let mut report = Report::new(command, seed, false);
            report.add_violations(&violations);
            // If it cannot be written, the exit status still says it.
            let _ = sink.deliver(&report);
            process::exit(1);
        }
    }
}

impl Common {
    /// Threads to play on, `default` unless the user says.
    fn threads_or(&self, default: usize) -> usize {
        self.threads.map_or(default, usize::from)
    }

    /// The pool's size: the user's budget, or `managed` bytes to hand out.
    fn size_or(&self, managed: usize) -> Size {
        self.memory.map_or(Size::Managed(managed), Size::Budget)
    }

    /// How long a phase lasts that is played once unless the user says.
    fn length(&self) -> Length {
        self.duration.map_or(Length::Once, Length::For)
    }
}

/// CPUs that this process may use.
fn nr_cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A phase that is ready to be played, all its memory touched.
struct Act {
    plan: Plan,
    facts: Facts,
    players: Vec<Seat>,
}

/// Starts threads and sampler, and plays something small on them.
///
/// The rehearsal makes resident what any run needs once: code, stacks, buffers of the system's
/// allocator. Otherwise they would count as the first pool's.
fn set_up(threads: usize, errand: &Errand) -> Result<House, BadInput> {
    let control = Arc::new(Control::new(threads, errand.interrupt.clone()));
    let mut house = House {
        crew: Crew::start(threads)?,
        watchdog: Watchdog::start(Arc::clone(&control), errand.hang_after, errand.alarm())?,
        control,
        rss: Rss::start(),
        screen: errand.screen.clone(),
        recorder: errand.recorder.clone(),
        taping: Arc::default(),
        serve: None,
        prefault: 0,
        huge_pages: HugePages::AsHost,
    };
    let trace = Arc::new(shipped::rehearsal()?);
    let player = |n| Box::new(BlockPlayer::new(Arc::clone(&trace), Depth::Full, n)) as Seat;
    let plan = Plan {
        name: "rehearsal".to_owned(),
        size: Size::Managed(phase::size_for_peak(trace.peak_pages * threads as u64)),
        nodes: 1,
        daemons: Daemons::On,
        movable: Movable::None,
        swap: None,
        patience: None,
        epoch: 8,
        events: 0,
        length: Length::Once,
    };
    let outcome = phase::perform(
        &plan,
        &house,
        (0..threads as u64).map(player).collect(),
        &mut NoWatch,
    )?;
    let mut report = Report::new("rehearsal", 0, false);
    report.add_phases(&[(Facts::default(), outcome)]);
    drop(report);
    house.forget_rehearsal();
    // The rehearsal is not what the user wants to see.
    house.taping = Arc::clone(&errand.taping);
    house.prefault = errand.prefault;
    house.huge_pages = errand.huge_pages;
    house.serve = { errand.serve.clone() }.map(|at| Serving {
        at,
        name: errand.command,
    });
    Ok(house)
}

/// Plays acts one after the other, until the last or until Ctrl-C.
fn play_all(acts: Vec<Act>, house: &House) -> Result<Vec<(Facts, Outcome)>, BadInput> {
    play_each(acts, house, &mut NoWatch)
}

/// The same, while `watch` watches.
fn play_each(
    acts: Vec<Act>,
    house: &House,
    watch: &mut dyn Watch,
) -> Result<Vec<(Facts, Outcome)>, BadInput> {
    let mut played = Vec::with_capacity(acts.len());
    for act in acts {
        if house.control.is_interrupted() && !played.is_empty() {
            break;
        }
        let outcome = phase::perform(&act.plan, house, act.players, watch)?;
        played.push((act.facts, outcome));
    }
    Ok(played)
}

/// Gathers the report.
fn report(errand: &Errand, played: &[(Facts, Outcome)]) -> Report {
    let mut report = Report::new(errand.command, errand.seed, errand.interrupt.is_set());
    report.add_phases(played);
    report
}
