//! What does a block cost when sizes mix and memory is short? We expect splits and merges to be
//! cheap, and next to no refusals: every request is for memory that is free, if not in one piece.
//!
//! Orders 0 to 10 are equally likely; between 70 and 90 % of the memory is in use, wandering from
//! one mark to the other and back. Allocations and frees are counted alike. Only a pool has a limit
//! to run into: the peers take more from the system, so their share of refusals says nothing.

#![forbid(unsafe_code)]

use std::hint::black_box;

use pagepool::{Order, PAGE_SIZE};

use super::timed;
use crate::harness::{Answers, Plan, Round, Seat, Work};
use crate::subject::Subject;

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
        let mut live = Live {
            seat,
            script: Script::new(self.pages),
            blocks: Vec::new(),
        };
        live.fill();
        let mut steps = Vec::with_capacity(self.operations);
        Box::new(move || {
            live.script.write(self.operations, &mut steps);
            live.make_room();
            live.seat.meet.wait();
            let mut answers = Answers::default();
            let ns = timed(self.operations, || answers = live.follow(&steps));
            live.seat.tally.add(answers);
            vec![ns]
        })
    }
}

/// One step of a script; slots are places in a table of live blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Alloc { slot: u32, order: Order },
    Free { slot: u32 },
}

/// Writes the steps, the same for every subject, ahead of the clock.
#[derive(Debug)]
pub(crate) struct Script {
    rng: fastrand::Rng,
    pages: usize,
    in_use: usize,
    is_filling: bool,
    live: Vec<(u32, Order)>,
    idle_slots: Vec<u32>,
}

impl Script {
    /// A script for a memory of `pages` pages, all free.
    pub(crate) fn new(pages: usize) -> Script {
        Script {
            rng: fastrand::Rng::with_seed(7),
            pages,
            in_use: 0,
            is_filling: true,
            live: Vec::new(),
            idle_slots: Vec::new(),
        }
    }

    /// Share of the memory in use if nothing is refused, in percent.
    pub(crate) fn percent_in_use(&self) -> usize {
        self.in_use * 100 / self.pages
    }

    /// Number of slots ever used.
    fn slots(&self) -> usize {
        self.live.len() + self.idle_slots.len()
    }

    /// Replaces `steps` by the next `count` steps.
    pub(crate) fn write(&mut self, count: usize, steps: &mut Vec<Step>) {
        steps.clear();
        steps.extend((0..count).map(|_| self.step()));
    }

    /// Two steps in three go towards the mark that is being wandered to, the third goes back.
    fn step(&mut self) -> Step {
        let order = Order::new(self.rng.u8(0..=Order::MAX.get())).expect("drawn in range");
        if (self.in_use + order.pages()) * 100 > self.pages * 90 {
            self.is_filling = false;
            return self.free();
        }
        if self.percent_in_use() < 71 {
            self.is_filling = true;
            return self.alloc(order);
        }
        let goes_forward = self.rng.u8(0..3) < 2;
        if self.is_filling == goes_forward {
            self.alloc(order)
        } else {
            self.free()
        }
    }

    fn alloc(&mut self, order: Order) -> Step {
        let slot = self.idle_slots.pop().unwrap_or(self.live.len() as u32);
        self.live.push((slot, order));
        self.in_use += order.pages();
        Step::Alloc { slot, order }
    }

    fn free(&mut self) -> Step {
        let victim = self.rng.usize(0..self.live.len());
        let (slot, order) = self.live.swap_remove(victim);
        self.idle_slots.push(slot);
        self.in_use -= order.pages();
        Step::Free { slot }
    }
}

/// The live blocks of one subject. A refused block leaves its slot empty.
struct Live<'a, S: Subject> {
    seat: Seat<'a, S, ()>,
    script: Script,
    blocks: Vec<Option<S::Block>>,
}

impl<S: Subject> Live<'_, S> {
    /// Fills the memory to the lower mark, and touches it.
    fn fill(&mut self) {
        let mut steps = Vec::new();
        while self.script.percent_in_use() < 70 {
            self.script.write(1, &mut steps);
            self.make_room();
            let answers = self.follow(&steps);
            self.seat.tally.add(answers);
        }
        for block in self.blocks.iter_mut().flatten() {
            self.seat.subject.touch(block);
        }
    }

    fn make_room(&mut self) {
        let slots = self.script.slots().max(self.blocks.len());
        self.blocks.resize_with(slots, || None);
    }

    /// Does the steps, and returns what came of the allocations among them.
    fn follow(&mut self, steps: &[Step]) -> Answers {
        let mut answers = Answers::default();
        for &step in steps {
            match step {
                Step::Alloc { slot, order } => {
                    let block = black_box(self.seat.subject.alloc(order));
                    answers.add(order, block.is_some());
                    self.blocks[slot as usize] = block;
                }
                Step::Free { slot } => {
                    if let Some(block) = self.blocks[slot as usize].take() {
                        self.seat.subject.free(block);
                    }
                }
            }
        }
        answers
    }
}

impl<S: Subject> Drop for Live<'_, S> {
    fn drop(&mut self) {
        for block in self.blocks.drain(..).flatten() {
            self.seat.subject.free(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_keeps_between_the_marks_and_reaches_both() {
        let mut script = Script::new(262_144);
        let mut steps = Vec::new();
        while script.percent_in_use() < 70 {
            script.write(1, &mut steps);
        }
        let (mut lowest, mut highest) = (100, 0);
        for _ in 0..100_000 {
            script.write(1, &mut steps);
            lowest = lowest.min(script.percent_in_use());
            highest = highest.max(script.percent_in_use());
        }
        assert_eq!((lowest, highest), (70, 89), "89.x rounds down");
    }
}
