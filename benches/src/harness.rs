//! Runs one work with every subject, in interleaved rounds.
//!
//! A work has one lane (thread) or more, each pinned to a CPU of its own for as long as the work
//! lasts, so that per-thread and per-CPU caches stay warm from round to round. Every lane runs:
//! set-up for all subjects; one untimed round; then rounds, each with all subjects in an order
//! drawn from the round's number, the same in every lane. Lanes meet before each timed stretch.
//!
//! **Invariants**
//! - H1: all lanes run the same sequence of (round, subject), and a work calls [`Meet::wait`]
//!   equally often in each: otherwise they would wait for each other for ever.
//! - H2: that no work is skipped is the [entrants'](crate::entrant) to check.

#![forbid(unsafe_code)]

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use pagepool::Order;

use crate::Failure;
use crate::entrant::{Entrants, enter_all};
use crate::meet::Meet;
use crate::pin::pin_to;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::subject::{Pool, Subject};
use crate::table;
use crate::tally::Tally;

/// One question put to every subject.
pub(crate) trait Work: Sync {
    /// What the lanes of one subject share.
    type Shared<S: Subject>: Sync + 'static;

    /// The names of the figures that a round yields, in order.
    fn rows(&self) -> &'static [&'static str];

    /// Threads at once.
    fn lanes(&self) -> usize;

    /// Lanes that use the allocator.
    fn users(&self) -> usize {
        self.lanes()
    }

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
/// A lane that only serves returns none.
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

/// Runs `work` with all subjects, and returns its part of the table.
pub(crate) fn measure<W: Work>(work: &W, plan: &Plan) -> Result<Outcome, Failure> {
    measure_with::<Pool, W>(work, plan)
}

/// The same with the subject `P` for pagepool.
pub(crate) fn measure_with<P: Subject, W: Work>(work: &W, plan: &Plan) -> Result<Outcome, Failure> {
    if work.lanes() > plan.cpus.len() {
        let (lanes, cpus) = (work.lanes(), plan.cpus.len());
        let why = format!("needs {lanes} CPUs, this process may use {cpus}");
        return Ok(Outcome::Skipped {
            works: work.rows(),
            why,
        });
    }
    let entrants = enter_all::<P, W>(work)?;
    let figures = run(&entrants, work.lanes(), plan)?;
    Ok(Outcome::Rows(table::rows(work, &entrants, &figures)))
}

/// The figures of one lane: per round, per subject, one per row.
pub(crate) type LaneFigures = Vec<Vec<Vec<f64>>>;

/// Runs the rounds, and checks afterwards that all was done. Returns the figures of each lane.
pub(crate) fn run(
    entrants: &Entrants<'_>,
    lanes: usize,
    plan: &Plan,
) -> Result<Vec<LaneFigures>, Failure> {
    let figures = run_lanes(entrants, lanes, plan)?;
    for entrant in entrants {
        entrant.check()?;
    }
    Ok(figures)
}

fn run_lanes(
    entrants: &Entrants<'_>,
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
    entrants: &Entrants<'_>,
    lane: usize,
    meet: &Meet,
    is_over: &AtomicBool,
    plan: &Plan,
) -> Result<LaneFigures, Failure> {
    let pinned = pin_to(plan.cpu_of(lane));
    let mut rounds: Vec<Round<'_>> = entrants.iter().map(|e| e.lane(lane, meet)).collect();
    for round in &mut rounds {
        round();
    }
    let begun = Instant::now();
    let mut figures = LaneFigures::new();
    for number in 0..plan.scale.rounds {
        if lane == 0 && !plan.may_go_on(number, begun) {
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

/// The order in which the subjects have their turn, the same in every lane (H1).
pub(crate) fn order_of_round(number: usize, subjects: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..subjects).collect();
    fastrand::Rng::with_seed(number as u64).shuffle(&mut order);
    order
}
