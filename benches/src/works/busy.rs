//! How long may an allocation take while the daemons are at work? We expect the median to stay what it is
//! in the quiet mix, and the tail to be what the slow path costs: nobody waits for a daemon that works.
//!
//! One lane follows the [script](super::script) and looks at the clock around every allocation; the clock
//! is in every figure, and in that of the harness. The other keeps the machine busy: in a pool by touching
//! folios of which not all have room (see [`Pressed`]), beside a peer by copying pages.
//! The daemons run on the CPUs of the other lane. A figure is a percentile of one round; the table shows
//! the median of the rounds.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use pagepool::PAGE_SIZE;

use super::live::{Live, Watch};
use crate::Failure;
use crate::background::Background;
use crate::harness::{Round, Seat, Work, measure_with};
use crate::pin::pin_to_any;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::subject::{Pressed, Subject};

pub(crate) const ROWS: &[&str] = &[
    "busy_alloc_p50",
    "busy_alloc_p99",
    "busy_alloc_p99.9",
    "busy_alloc_p99.99",
];

const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

/// The longest time that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Times single allocations of the mix.
#[derive(Debug)]
struct Busy {
    pages: usize,
    operations: usize,
}

/// Runs the mix beside whatever keeps each subject busy.
pub(crate) fn measure(plan: &Plan) -> Result<Outcome, Failure> {
    let work = Busy {
        pages: plan.scale.busy_bytes / PAGE_SIZE,
        operations: plan.scale.busy_ops,
    };
    // A pool's daemons inherit the CPUs of the thread that opens it.
    if let Some(others) = plan.cpus.get(1..).filter(|cpus| !cpus.is_empty()) {
        pin_to_any(others)?;
    }
    let outcome = measure_with::<Pressed, Busy>(&work, plan);
    pin_to_any(&plan.cpus)?;
    outcome
}

/// What the lanes share.
#[derive(Debug)]
struct Press {
    background: Background,
    is_over: AtomicBool,
}

impl Work for Busy {
    type Shared<S: Subject> = Press;

    fn rows(&self) -> &'static [&'static str] {
        ROWS
    }

    fn lanes(&self) -> usize {
        2
    }

    fn users(&self) -> usize {
        1
    }

    fn memory(&self) -> usize {
        self.pages * PAGE_SIZE
    }

    fn share<S: Subject>(&self) -> Press {
        Press {
            background: Background::new(),
            is_over: AtomicBool::new(true),
        }
    }

    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, Press>) -> Round<'a> {
        // Relaxed, all: only the flag itself is passed on, and the lanes meet before and after.
        if seat.lane > 0 {
            return Box::new(move || {
                seat.meet.wait();
                let is_over = || seat.shared.is_over.load(Ordering::Relaxed);
                seat.subject.press(&seat.shared.background, &is_over);
                seat.meet.wait();
                Vec::new()
            });
        }
        let mut live = Live::fill(seat, self.pages);
        let mut times = Times::new();
        Box::new(move || {
            live.prepare(self.operations);
            times.0.reset();
            let Press { is_over, .. } = live.seat.shared;
            is_over.store(false, Ordering::Relaxed);
            live.seat.meet.wait();
            let answers = live.follow(&mut times);
            is_over.store(true, Ordering::Relaxed);
            live.seat.meet.wait();
            assert_eq!(
                times.0.len(),
                answers.requests,
                "every allocation was timed"
            );
            live.seat.tally.add(answers);
            times.percentiles()
        })
    }
}

/// Nanoseconds of single allocations.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Times {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Times(histogram.expect("the bounds are in order"))
    }

    fn percentiles(&self) -> Vec<f64> {
        let at = |&quantile: &f64| self.0.value_at_quantile(quantile) as f64;
        QUANTILES.iter().map(at).collect()
    }
}

impl Watch for Times {
    #[inline]
    fn allocation<R>(&mut self, allocate: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let result = allocate();
        let ns = begun.elapsed().as_nanos() as u64;
        self.0.saturating_record(ns.max(1));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut times = Times::new();
        for ns in 1..=100_000 {
            times.0.record(ns).unwrap();
        }
        let expected = [50_000.0, 99_000.0, 99_900.0, 99_990.0];
        for (found, expected) in times.percentiles().into_iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 0.001, "{found} {expected}");
        }
    }
}
