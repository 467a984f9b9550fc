//! What the mixed works do, step by step: written ahead of the clock, the same for every subject.
//!
//! Orders 0 to 10 are equally likely. Between 70 and 90 % of the memory is in use, wandering from one
//! mark to the other and back.

#![forbid(unsafe_code)]

use pagepool::Order;

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
    pub(crate) fn slots(&self) -> usize {
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
