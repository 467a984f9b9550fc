//! Runs one work with every subject, in interleaved rounds.
//!
//! A work has one lane (thread) or two, each pinned to a CPU of its own for as long as the work
//! lasts, so that per-thread and per-CPU caches stay warm from round to round. Every lane runs:
//! set-up for all subjects; one untimed round; then rounds, each with all subjects in an order
//! drawn from the round's number, the same in every lane. Lanes meet before each timed stretch.
//!
//! **Invariants**
//! - H1: all lanes run the same sequence of (round, subject), and a work calls [`Meet::wait`]
//!   equally often in each: otherwise they would wait for each other for ever.
//! - H2: after a work, a subject that counts has counted exactly the pages the lanes asked for,
//!   and has all of them back.

use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::Order;

use crate::Failure;
use crate::meet::Meet;
use crate::pin::pin_to;
use crate::report::{Outcome, Row};
use crate::subject::{CLibrary, Events, Heap, Jemalloc, Mimalloc, NULL, Null, POOL, Pool, Subject};
use crate::works::{self, Entry};

/// Rounds that are run however long they take.
const MIN_ROUNDS: usize = 3;

/// What is run, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Only works whose name contains this.
    pub(crate) filter: String,
    /// The CPUs that lanes are pinned to.
    pub(crate) cpus: Vec<usize>,
    /// Where files are made, for works that need a disk.
    pub(crate) directory: PathBuf,
    /// How long and how large the works are.
    pub(crate) scale: Scale,
}

/// How long and how large the works are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Timed rounds per work.
    pub(crate) rounds: usize,
    /// After this long a work starts no further round.
    pub(crate) limit: Duration,
    /// Pairs of one page, and pages handed over, in a round.
    pub(crate) pairs: usize,
    /// Pairs of order 9 in a round.
    pub(crate) huge_pairs: usize,
    /// Pages held at once by each lane.
    pub(crate) held: usize,
    /// Memory of the mixed work, in bytes.
    pub(crate) mixed_bytes: usize,
    /// Allocations and frees of the mixed work in a round.
    pub(crate) mixed_ops: usize,
    /// Processes started to open a pool.
    pub(crate) opens: usize,
    /// Guards taken and let go of in a round.
    pub(crate) holds: usize,
    /// Folios that are read at random.
    pub(crate) scattered: usize,
    /// Bytes that are swapped out in a round.
    pub(crate) swapped_bytes: usize,
    /// Faults in a round.
    pub(crate) faults: usize,
    /// Wakes in a round.
    pub(crate) wakes: usize,
    /// Memory in pieces, in bytes.
    pub(crate) compacted_bytes: usize,
    /// Reads in a round of a folio that is being moved.
    pub(crate) moved_reads: usize,
}

impl Plan {
    /// The works that the filter leaves.
    pub(crate) fn works(&self) -> impl Iterator<Item = &'static Entry> {
        works::ALL
            .iter()
            .filter(|entry| entry.rows.iter().any(|row| row.contains(&self.filter)))
    }
}

/// One question put to every subject.
pub(crate) trait Work: Sync {
    /// What the lanes of one subject share.
    type Shared<S: Subject>: Sync + 'static;

    /// The names of the figures that a round yields, in order.
    fn rows(&self) -> &'static [&'static str];

    /// Threads at once.
    fn lanes(&self) -> usize;

    /// Bytes that are held at once, at most.
    fn memory(&self) -> usize;

    /// Whether the harness's share is taken off the figures.
    fn is_net(&self) -> bool {
        false
    }

    /// Returns what the lanes of one subject share.
    fn share<S: Subject>(&self) -> Self::Shared<S>;

    /// Sets a lane up, touching its memory, and returns its round.
    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, Self::Shared<S>>) -> Round<'a>;
}

/// A lane's round: does the work once and returns its figures, in nanoseconds per operation.
/// The figures of the lanes are averaged; a lane that only serves returns none.
pub(crate) type Round<'a> = Box<dyn FnMut() -> Vec<f64> + 'a>;

/// What a lane has at hand for one subject.
#[derive(Debug)]
pub(crate) struct Seat<'a, S, T> {
    /// The allocator.
    pub(crate) subject: &'a S,
    /// What the lanes share.
    pub(crate) shared: &'a T,
    /// Number of the lane, from 0.
    pub(crate) lane: usize,
    /// Where the lanes meet.
    pub(crate) meet: &'a Meet,
    /// Where pages and refusals are counted, outside timed stretches.
    pub(crate) tally: &'a Tally,
}

impl<S: Subject, T> Seat<'_, S, T> {
    /// Returns a block of `order`. Ends the process if it is refused: the works ask for less than
    /// the subject was opened with.
    #[inline]
    pub(crate) fn take(&self, order: Order) -> S::Block {
        match self.subject.alloc(order) {
            Some(block) => block,
            None => refused(S::NAME, order),
        }
    }

    /// Allocates a block, touches its pages, and frees it.
    pub(crate) fn touch_one(&self, order: Order) {
        let mut block = self.take(order);
        self.subject.touch(&mut block);
        self.subject.free(block);
        self.tally.count(order, 1);
    }
}

#[cold]
fn refused(subject: &str, order: Order) -> ! {
    eprintln!("pagepool-bench: {subject} refused a block of order {order} that it has room for");
    process::exit(1);
}

/// What came of a number of allocations.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Answers {
    requests: u64,
    refusals: u64,
    pages: u64,
}

impl Answers {
    /// Counts a request for a block of `order`.
    #[inline]
    pub(crate) fn add(&mut self, order: Order, is_granted: bool) {
        self.requests += 1;
        if is_granted {
            self.pages += order.pages() as u64;
        } else {
            self.refusals += 1;
        }
    }

    /// Requests that were refused, of all.
    pub(crate) fn refused_share(self) -> f64 {
        self.refusals as f64 / self.requests.max(1) as f64
    }
}

/// What the lanes asked of one subject, and got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    refusals: AtomicU64,
    pages: AtomicU64,
}

impl Tally {
    /// Adds `answers`.
    pub(crate) fn add(&self, answers: Answers) {
        // Relaxed, all three: read only after the lanes' threads were joined.
        self.requests.fetch_add(answers.requests, Ordering::Relaxed);
        self.refusals.fetch_add(answers.refusals, Ordering::Relaxed);
        self.pages.fetch_add(answers.pages, Ordering::Relaxed);
    }

    /// Counts `blocks` blocks of `order` that were handed out.
    pub(crate) fn count(&self, order: Order, blocks: usize) {
        self.add(Answers {
            requests: blocks as u64,
            refusals: 0,
            pages: (blocks * order.pages()) as u64,
        });
    }

    /// The sum, the lanes being done.
    fn total(&self) -> Answers {
        // Relaxed, all three: the lanes' threads were joined.
        Answers {
            requests: self.requests.load(Ordering::Relaxed),
            refusals: self.refusals.load(Ordering::Relaxed),
            pages: self.pages.load(Ordering::Relaxed),
        }
    }
}

/// A subject entered for a work, its type erased: one virtual call per round.
trait Entrant: Sync {
    fn name(&self) -> &'static str;
    fn lane<'a>(&'a self, lane: usize, meet: &'a Meet) -> Round<'a>;
    fn check(&self) -> Result<(), Failure>;
    fn tally(&self) -> &Tally;
}

struct Entered<'w, W: Work, S: Subject> {
    work: &'w W,
    subject: S,
    shared: W::Shared<S>,
    before: Option<Events>,
    tally: Tally,
}

fn enter<'w, W: Work, S: Subject>(work: &'w W) -> Result<Box<dyn Entrant + 'w>, Failure> {
    let subject = S::open(work.memory()).map_err(|why| {
        let bytes = work.memory();
        let rows = work.rows().join(", ");
        Failure::broken(format!(
            "{} cannot be opened with {bytes} bytes for {rows}: {why}",
            S::NAME
        ))
    })?;
    Ok(Box::new(Entered {
        work,
        shared: work.share::<S>(),
        before: subject.events(),
        subject,
        tally: Tally::default(),
    }))
}

impl<W: Work, S: Subject> Entrant for Entered<'_, W, S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn lane<'a>(&'a self, lane: usize, meet: &'a Meet) -> Round<'a> {
        self.work.lane(Seat {
            subject: &self.subject,
            shared: &self.shared,
            lane,
            meet,
            tally: &self.tally,
        })
    }

    /// Checks H2.
    fn check(&self) -> Result<(), Failure> {
        let wrong = |what: String| {
            let rows = self.work.rows().join(", ");
            Failure::broken(format!("{} in {rows}: {what}", S::NAME))
        };
        self.subject.check().map_err(wrong)?;
        let (Some(before), Some(after)) = (self.before, self.subject.events()) else {
            return Ok(());
        };
        let asked = self.tally.total().pages;
        let counted = Events {
            allocated: after.allocated - before.allocated,
            freed: after.freed - before.freed,
        };
        let expected = Events {
            allocated: asked,
            freed: asked,
        };
        if counted != expected {
            return Err(wrong(format!(
                "{asked} pages were allocated and freed, but it counted {} and {}",
                counted.allocated, counted.freed
            )));
        }
        Ok(())
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// Runs `work` with all subjects.
pub(crate) fn measure<W: Work>(work: &W, plan: &Plan) -> Result<Outcome, Failure> {
    if work.lanes() > plan.cpus.len() {
        let (lanes, cpus) = (work.lanes(), plan.cpus.len());
        let why = format!("needs {lanes} CPUs, this process may use {cpus}");
        return Ok(Outcome::Skipped {
            works: work.rows(),
            why,
        });
    }
    let entrants = [
        enter::<W, Null>(work)?,
        enter::<W, Pool>(work)?,
        enter::<W, Heap<Jemalloc>>(work)?,
        enter::<W, Heap<Mimalloc>>(work)?,
        enter::<W, Heap<CLibrary>>(work)?,
    ];
    let figures = run_lanes(&entrants, work.lanes(), plan)?;
    for entrant in &entrants {
        entrant.check()?;
    }
    Ok(Outcome::Rows(rows(work, &entrants, &figures)))
}

/// The figures of one lane: per round, per subject, one per row.
type LaneFigures = Vec<Vec<Vec<f64>>>;

fn run_lanes(
    entrants: &[Box<dyn Entrant + '_>],
    lanes: usize,
    plan: &Plan,
) -> Result<Vec<LaneFigures>, Failure> {
    let meet = Meet::new(lanes);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes)
            .map(|lane| {
                let (meet, is_over) = (&meet, &is_over);
                scope.spawn(move || run_lane(entrants, lane, meet, is_over, plan))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a panic ends the process"))
            .collect()
    })
}

fn run_lane(
    entrants: &[Box<dyn Entrant + '_>],
    lane: usize,
    meet: &Meet,
    is_over: &AtomicBool,
    plan: &Plan,
) -> Result<LaneFigures, Failure> {
    let pinned = pin_to(plan.cpus[lane]);
    let mut rounds: Vec<Round<'_>> = entrants.iter().map(|e| e.lane(lane, meet)).collect();
    for round in &mut rounds {
        round();
    }
    let begun = Instant::now();
    let mut figures = LaneFigures::new();
    for number in 0..plan.scale.rounds {
        if lane == 0 && !may_go_on(number, begun, plan) {
            // Relaxed: the meeting publishes it.
            is_over.store(true, Ordering::Relaxed);
        }
        meet.wait();
        // Relaxed: observed through the meeting. Nobody stores before the next one, to which this
        // lane must come first, so that all lanes read the same (H1).
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let mut round_figures = vec![Vec::new(); rounds.len()];
        for subject in order_of_round(number, rounds.len()) {
            round_figures[subject] = rounds[subject]();
        }
        meet.wait();
        figures.push(round_figures);
    }
    pinned.map(|()| figures)
}

/// Whether there is time for round `number` of a work that was begun then.
fn may_go_on(number: usize, begun: Instant, plan: &Plan) -> bool {
    number < MIN_ROUNDS || begun.elapsed() <= plan.scale.limit
}

/// Whether a work that was begun then, and has run so many rounds, runs another.
pub(crate) fn has_another_round(rounds: usize, begun: Instant, plan: &Plan) -> bool {
    rounds < plan.scale.rounds && may_go_on(rounds, begun, plan)
}

/// The order in which the subjects have their turn, the same in every lane (H1).
pub(crate) fn order_of_round(number: usize, subjects: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..subjects).collect();
    fastrand::Rng::with_seed(number as u64).shuffle(&mut order);
    order
}

/// Turns the lanes' figures into rows, work by work, subject by subject.
fn rows<W: Work>(work: &W, entrants: &[Box<dyn Entrant + '_>], lanes: &[LaneFigures]) -> Vec<Row> {
    let harness = entrants
        .iter()
        .position(|entrant| entrant.name() == NULL)
        .expect("the null subject is always entered");
    let mut rows = Vec::new();
    for (row, name) in work.rows().iter().enumerate() {
        let of_rounds = |subject: usize| -> Vec<f64> {
            (0..lanes[0].len())
                .map(|round| {
                    mean(
                        lanes
                            .iter()
                            .filter_map(|lane| lane[round][subject].get(row)),
                    )
                })
                .collect()
        };
        let cost_of_harness = of_rounds(harness);
        let mut of_work: Vec<Row> = Vec::new();
        for (subject, entrant) in entrants.iter().enumerate() {
            let mut figures = of_rounds(subject);
            if work.is_net() && subject != harness {
                for (figure, cost) in figures.iter_mut().zip(&cost_of_harness) {
                    *figure = (*figure - cost).max(0.0);
                }
            }
            of_work.push(
                Row::new(name, entrant.name(), figures).with_answers(entrant.tally().total()),
            );
        }
        compare(&mut of_work);
        rows.append(&mut of_work);
    }
    rows
}

/// Fills in the ratio to the best peer, which is neither the pool nor the harness.
fn compare(rows: &mut [Row]) {
    let best = rows
        .iter()
        .filter(|row| row.subject != NULL && row.subject != POOL)
        .map(|row| row.median_ns)
        .min_by(f64::total_cmp);
    for row in rows.iter_mut().filter(|row| row.subject != NULL) {
        row.ratio_to_best = best.filter(|&ns| ns > 0.0).map(|ns| row.median_ns / ns);
    }
}

fn mean<'a>(figures: impl Iterator<Item = &'a f64>) -> f64 {
    let (count, sum) = figures.fold((0.0, 0.0), |(count, sum), ns| (count + 1.0, sum + ns));
    sum / count
}
