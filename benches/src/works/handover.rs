//! What does a page cost that another thread frees? We expect batches again: no page changes hands alone.
//!
//! One lane allocates, the other frees, 64 pages at a time through a ring; the vectors that carry
//! them come back through a second ring. The figure is the freeing lane's, from the common start to
//! the last page. The page counts afterwards show that none was stranded on the way.
//! More lanes are as many pairs; a single one does both by turns, which is what scaling starts from.

#![forbid(unsafe_code)]

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::Backoff;
use pagepool::Order;

use super::timed;
use crate::harness::{Round, Seat, Work};
use crate::plan::Plan;
use crate::subject::Subject;

pub(crate) const ROWS: &[&str] = &["handover_t2"];
const SCALED: &[&str] = &["handover"];

/// Pages handed over at once.
const BATCH: usize = 64;
/// Batches on their way, at most.
const DEPTH: usize = 64;

/// Allocates on one thread and frees on another.
#[derive(Debug)]
pub(crate) struct Handover {
    lanes: usize,
    batches: usize,
}

impl Handover {
    /// The work in so many lanes: one, or an even number.
    pub(crate) fn new(plan: &Plan, lanes: usize) -> Handover {
        assert!(lanes == 1 || lanes.is_multiple_of(2), "{lanes} lanes");
        Handover {
            lanes,
            batches: plan.scale.pairs / BATCH,
        }
    }

    /// How many pages are handed over at once, by as many pairs of lanes.
    pub(crate) fn pairs(&self) -> usize {
        self.lanes.div_ceil(2)
    }

    /// Pages that a pair hands over in a round.
    fn pages(&self) -> usize {
        self.batches * BATCH
    }
}

fn allocate_batch<S: Subject, T>(seat: &Seat<'_, S, T>, rings: &Rings<S::Block>) {
    let mut batch = pop(&rings.empty);
    for _ in 0..BATCH {
        batch.push(seat.take(Order::ZERO));
    }
    push(&rings.full, batch);
}

fn free_batch<S: Subject, T>(seat: &Seat<'_, S, T>, rings: &Rings<S::Block>) {
    let mut batch = pop(&rings.full);
    for block in batch.drain(..) {
        seat.subject.free(block);
    }
    push(&rings.empty, batch);
}

/// Batches on their way, and the empty vectors on their way back.
#[derive(Debug)]
pub(crate) struct Rings<B> {
    full: ArrayQueue<Vec<B>>,
    empty: ArrayQueue<Vec<B>>,
}

impl<B> Rings<B> {
    fn new() -> Rings<B> {
        let rings = Rings {
            full: ArrayQueue::new(DEPTH),
            empty: ArrayQueue::new(DEPTH),
        };
        for _ in 0..DEPTH {
            push(&rings.empty, Vec::with_capacity(BATCH));
        }
        rings
    }
}

impl Work for Handover {
    /// One for each pair of lanes.
    type Shared<S: Subject> = Vec<Rings<S::Block>>;

    fn rows(&self) -> &'static [&'static str] {
        if self.lanes == 2 { ROWS } else { SCALED }
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn memory(&self) -> usize {
        (128 << 20) * self.pairs()
    }

    fn share<S: Subject>(&self) -> Self::Shared<S> {
        (0..self.pairs()).map(|_| Rings::new()).collect()
    }

    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, Self::Shared<S>>) -> Round<'a> {
        let rings = &seat.shared[seat.lane / 2];
        let allocates = seat.lane.is_multiple_of(2);
        if allocates {
            touch_all_on_their_way(&seat);
        }
        Box::new(move || {
            seat.meet.wait();
            let ns = timed(self.pages(), || {
                for _ in 0..self.batches {
                    if allocates {
                        allocate_batch(&seat, rings);
                    }
                    if !allocates || self.lanes == 1 {
                        free_batch(&seat, rings);
                    }
                }
            });
            if allocates {
                seat.tally.count(Order::ZERO, self.pages());
            }
            let only_serves = allocates && self.lanes > 1;
            if only_serves { Vec::new() } else { vec![ns] }
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
