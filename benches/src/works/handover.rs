//! What does a page cost that another thread frees? We expect batches again: no page changes hands alone.
//!
//! One lane allocates, the other frees, 64 pages at a time through a ring; the vectors that carry
//! them come back through a second ring. The figure is the freeing lane's, from the common start to
//! the last page. The page counts afterwards show that none was stranded on the way.

#![forbid(unsafe_code)]

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::Backoff;
use pagepool::Order;

use super::timed;
use crate::harness::{Plan, Round, Seat, Work};
use crate::subject::Subject;

pub(crate) const ROWS: &[&str] = &["handover_t2"];

/// Pages handed over at once.
const BATCH: usize = 64;
/// Batches on their way, at most.
const DEPTH: usize = 64;

/// Allocates on one thread and frees on another.
#[derive(Debug)]
pub(crate) struct Handover {
    batches: usize,
}

impl Handover {
    pub(crate) fn new(plan: &Plan) -> Handover {
        Handover {
            batches: plan.scale.pairs / BATCH,
        }
    }

    fn pages(&self) -> usize {
        self.batches * BATCH
    }

    fn allocate<S: Subject>(&self, seat: &Seat<'_, S, Rings<S::Block>>) {
        for _ in 0..self.batches {
            let mut batch = pop(&seat.shared.empty);
            for _ in 0..BATCH {
                batch.push(seat.take(Order::ZERO));
            }
            push(&seat.shared.full, batch);
        }
    }

    fn free<S: Subject>(&self, seat: &Seat<'_, S, Rings<S::Block>>) {
        for _ in 0..self.batches {
            let mut batch = pop(&seat.shared.full);
            for block in batch.drain(..) {
                seat.subject.free(block);
            }
            push(&seat.shared.empty, batch);
        }
    }
}

/// Batches on their way, and the empty vectors on their way back.
#[derive(Debug)]
pub(crate) struct Rings<B> {
    full: ArrayQueue<Vec<B>>,
    empty: ArrayQueue<Vec<B>>,
}

impl Work for Handover {
    type Shared<S: Subject> = Rings<S::Block>;

    fn rows(&self) -> &'static [&'static str] {
        ROWS
    }

    fn lanes(&self) -> usize {
        2
    }

    fn memory(&self) -> usize {
        128 << 20
    }

    fn share<S: Subject>(&self) -> Rings<S::Block> {
        let rings = Rings {
            full: ArrayQueue::new(DEPTH),
            empty: ArrayQueue::new(DEPTH),
        };
        for _ in 0..DEPTH {
            push(&rings.empty, Vec::with_capacity(BATCH));
        }
        rings
    }

    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, Rings<S::Block>>) -> Round<'a> {
        if seat.lane == 0 {
            touch_all_on_their_way(&seat);
            return Box::new(move || {
                seat.meet.wait();
                self.allocate(&seat);
                seat.tally.count(Order::ZERO, self.pages());
                Vec::new()
            });
        }
        Box::new(move || {
            seat.meet.wait();
            vec![timed(self.pages(), || self.free(&seat))]
        })
    }
}

/// Touches as many pages as will ever be under way.
fn touch_all_on_their_way<S: Subject, T>(seat: &Seat<'_, S, T>) {
    let mut blocks: Vec<_> = (0..BATCH * DEPTH).map(|_| seat.take(Order::ZERO)).collect();
    for block in &mut blocks {
        seat.subject.touch(block);
    }
    for block in blocks {
        seat.subject.free(block);
    }
    seat.tally.count(Order::ZERO, BATCH * DEPTH);
}

/// Takes from the ring, waiting for the other lane if it is empty.
fn pop<T>(ring: &ArrayQueue<T>) -> T {
    let backoff = Backoff::new();
    loop {
        match ring.pop() {
            Some(batch) => return batch,
            None => backoff.snooze(),
        }
    }
}

/// Puts into the ring, which has room for every batch there is.
fn push<T>(ring: &ArrayQueue<T>, batch: T) {
    if ring.push(batch).is_err() {
        unreachable!("there are no more batches than places");
    }
}
