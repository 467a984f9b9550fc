//! What does a block cost when sizes mix and memory is short? We expect splits and merges to be
//! cheap, and next to no refusals: every request is for memory that is free, if not in one piece.
//!
//! The [script](super::script) says what is allocated and freed; both are counted alike. The pool and
//! the allocators of an arena have a limit to run into, so that a refusal of theirs is one of a request
//! that should have fitted; talc and rlsf have an arena twice as large, for their headers. The general
//! allocators take more from the system.

#![forbid(unsafe_code)]

use pagepool::PAGE_SIZE;

use super::live::{Live, Unwatched};
use super::timed;
use crate::harness::{Round, Seat, Work};
use crate::plan::Plan;
use crate::subject::Subject;
use crate::tally::Answers;

pub(crate) const ROWS: &[&str] = &["mixed_o0_o10_t1"];

/// Allocates and frees blocks of all orders in a memory that is mostly in use.
#[derive(Debug)]
pub(crate) struct Mixed {
    pages: usize,
    operations: usize,
}

impl Mixed {
    pub(crate) fn new(plan: &Plan) -> Mixed {
        Mixed {
            pages: plan.scale.mixed_bytes / PAGE_SIZE,
            operations: plan.scale.mixed_ops,
        }
    }
}

impl Work for Mixed {
    type Shared<S: Subject> = ();

    fn rows(&self) -> &'static [&'static str] {
        ROWS
    }

    fn lanes(&self) -> usize {
        1
    }

    fn memory(&self) -> usize {
        self.pages * PAGE_SIZE
    }

    fn is_net(&self) -> bool {
        true
    }

    fn share<S: Subject>(&self) {}

    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, ()>) -> Round<'a> {
        let mut live = Live::fill(seat, self.pages);
        Box::new(move || {
            live.prepare(self.operations);
            live.seat.meet.wait();
            let mut answers = Answers::default();
            let ns = timed(self.operations, || answers = live.follow(&mut Unwatched));
            live.seat.tally.add(answers);
            vec![ns]
        })
    }
}
