//! What does a block cost that goes straight back? We expect the per-CPU cache alone: no zone lock.
//!
//! At order 9 too, since that order is cached in a large pool; there the general allocators reach for their page
//! level on every pair. With two threads the figure should hardly move: they share no cache line.

#![forbid(unsafe_code)]

use std::hint::black_box;

use pagepool::Order;

use super::{huge_order, timed};
use crate::harness::{Round, Seat, Work};
use crate::plan::Plan;
use crate::subject::Subject;

pub(crate) const ONE_PAGE: &[&str] = &["pair_o0_t1"];
pub(crate) const ONE_PAGE_TWICE: &[&str] = &["pair_o0_t2"];
const ONE_PAGE_MANY: &[&str] = &["pair_o0"];
pub(crate) const HUGE: &[&str] = &["pair_o9_t1"];

/// Allocates and frees one block, over and over.
#[derive(Debug)]
pub(crate) struct Pair {
    rows: &'static [&'static str],
    lanes: usize,
    order: Order,
    pairs: usize,
    memory: usize,
}

/// Pairs of one page, in so many lanes.
pub(crate) fn one_page(plan: &Plan, lanes: usize) -> Pair {
    Pair {
        rows: match lanes {
            1 => ONE_PAGE,
            2 => ONE_PAGE_TWICE,
            _ => ONE_PAGE_MANY,
        },
        lanes,
        order: Order::ZERO,
        pairs: plan.scale.pairs,
        memory: (64 << 20).max(lanes << 23),
    }
}

/// Pairs of 2 MiB, of a memory in which the cache of each CPU may keep one such block.
pub(crate) fn huge(plan: &Plan) -> Pair {
    Pair {
        rows: HUGE,
        lanes: 1,
        order: huge_order(),
        pairs: plan.scale.huge_pairs,
        memory: (1 << 30).max(plan.cpus.len() << 28),
    }
}

impl Work for Pair {
    type Shared<S: Subject> = ();

    fn rows(&self) -> &'static [&'static str] {
        self.rows
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn memory(&self) -> usize {
        self.memory
    }

    fn share<S: Subject>(&self) {}

    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, ()>) -> Round<'a> {
        seat.touch_one(self.order);
        Box::new(move || {
            seat.meet.wait();
            let ns = timed(self.pairs, || {
                for _ in 0..self.pairs {
                    let block = seat.take(self.order);
                    // By reference: what is moved out of a black box was written in other pieces than it is read in,
                    // if it is more than a word, and the CPU waits for that.
                    black_box(&block);
                    seat.subject.free(block);
                }
            });
            seat.tally.count(self.order, self.pairs);
            vec![ns]
        })
    }
}
