//! What does a page cost when many are held, and freed in no order? We expect batches to carry it.
//!
//! Pages pass the per-CPU cache in batches, so the zone lock is taken once in a batch; frees in
//! random order miss the CPU's cache on the frame table, 16 bytes a page against a header a page.

#![forbid(unsafe_code)]

use pagepool::{Order, PAGE_SIZE};

use super::timed;
use crate::harness::{Round, Seat, Work};
use crate::subject::Subject;

pub(crate) const ONE: &[&str] = &["held_100k_alloc_t1", "held_100k_free_t1"];
pub(crate) const TWO: &[&str] = &["held_100k_alloc_t2", "held_100k_free_t2"];
const MANY: &[&str] = &["held_alloc", "held_free"];

/// Allocates many pages, then frees them in random order.
#[derive(Debug)]
pub(crate) struct Held {
    lanes: usize,
    pages: usize,
}

impl Held {
    /// The work in so many lanes, each of which holds `pages`.
    pub(crate) fn new(pages: usize, lanes: usize) -> Held {
        Held { lanes, pages }
    }
}

impl Work for Held {
    type Shared<S: Subject> = ();

    fn rows(&self) -> &'static [&'static str] {
        match self.lanes {
            1 => ONE,
            2 => TWO,
            _ => MANY,
        }
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    /// A quarter more than is held, clear of every watermark.
    fn memory(&self) -> usize {
        self.lanes * self.pages * PAGE_SIZE * 5 / 4 + (16 << 20)
    }

    fn share<S: Subject>(&self) {}

    fn lane<'a, S: Subject>(&'a self, seat: Seat<'a, S, ()>) -> Round<'a> {
        let mut rng = fastrand::Rng::with_seed(seat.lane as u64);
        let mut held: Vec<S::Block> = Vec::with_capacity(self.pages);
        held.extend((0..self.pages).map(|_| seat.take(Order::ZERO)));
        for block in &mut held {
            seat.subject.touch(block);
        }
        seat.meet.wait();
        for block in held.drain(..) {
            seat.subject.free(block);
        }
        seat.tally.count(Order::ZERO, self.pages);

        Box::new(move || {
            seat.meet.wait();
            let alloc_ns = timed(self.pages, || {
                for _ in 0..self.pages {
                    held.push(seat.take(Order::ZERO));
                }
            });
            rng.shuffle(&mut held);
            seat.meet.wait();
            let free_ns = timed(self.pages, || {
                for block in held.drain(..) {
                    seat.subject.free(block);
                }
            });
            seat.tally.count(Order::ZERO, self.pages);
            vec![alloc_ns, free_ns]
        })
    }
}
