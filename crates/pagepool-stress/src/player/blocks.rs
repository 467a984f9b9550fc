//! Replays a trace of blocks: allocates, frees and splits as it says.
//!
//! An allocation that the pool refuses is counted with its cause, and what the trace later does
//! with that block is passed over.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::Order;

use super::{Played, Player, Stage, Wish, bag::empty_slots};
use crate::{
    content::{Depth, Held, Tag},
    control::EVENTS_PER_LOOK,
    rng::{Rng, nth},
    tally::Tally,
    trace::blocks::{Action, BlockTrace},
};

/// How long a blocking request may wait: not at all, since a trace has nobody else who would free
/// memory meanwhile. Each request still tries everything once.
const DEADLINE: Duration = Duration::ZERO;

/// Full replays verify a page of a random live block once in so many events.
const EVENTS_PER_SAMPLE: usize = 64;

/// Slots looked at for a live block to sample.
const SAMPLE_TRIES: usize = 8;

/// A replay of one copy of a trace.
pub(crate) struct BlockPlayer {
    trace: Arc<BlockTrace>,
    depth: Depth,
    seed: u64,
    round: u64,
    next: usize,
    slots: Vec<Option<Held>>,
    rng: Rng,
    tally: Tally,
}

impl BlockPlayer {
    pub(crate) fn new(trace: Arc<BlockTrace>, depth: Depth, seed: u64) -> BlockPlayer {
        let slots = empty_slots(trace.nr_slots);
        let (rng, tally) = (Rng::new(seed), Tally::new());
        BlockPlayer {
            trace,
            depth,
            seed,
            round: 0,
            next: 0,
            slots,
            rng,
            tally,
        }
    }

    fn step(&mut self, stage: &Stage) {
        let event = self.trace.events[self.next];
        match event.action {
            Action::Alloc { order, kind } => self.alloc(stage, event.slot, order, kind),
            Action::Free => self.free(event.slot),
            Action::Split => self.split(event.slot),
        }
        if self.depth == Depth::Full && self.rng.one_in(EVENTS_PER_SAMPLE) {
            self.sample();
        }
        self.next += 1;
    }

    fn alloc(&mut self, stage: &Stage, slot: u32, order: Order, kind: u8) {
        let gfp = self.trace.kinds[usize::from(kind)];
        let wish = Wish {
            order,
            gfp,
            deadline: DEADLINE,
            depth: self.depth,
        };
        let Some(pages) = self.tally.allocate(&stage.pool, wish) else {
            return;
        };
        let tag = Tag::new(nth(self.seed, self.round), self.next as u64);
        self.slots[slot as usize] = Some(Held::fill(pages, tag, self.depth));
    }

    fn free(&mut self, slot: u32) {
        match self.slots[slot as usize].take() {
            Some(held) => self.tally.check_and_free(held, self.depth),
            None => self.tally.nr_skipped += 1,
        }
    }

    fn split(&mut self, index: u32) {
        let split = &self.trace.splits[index as usize];
        let Some(held) = self.slots[split.slot as usize].take() else {
            self.tally.nr_skipped += 1;
            return;
        };
        let parts = held.split(split.order);
        if parts.len() != split.parts.len() {
            self.tally.violations.add(format_args!(
                "a split made {} parts instead of {}",
                parts.len(),
                split.parts.len()
            ));
        }
        for (slot, part) in split.parts.iter().zip(parts) {
            self.slots[*slot as usize] = Some(part);
        }
        self.tally.ops += 1;
        self.tally.nr_splits += 1;
    }

    /// Verifies a page of a live block, if a few tries find one.
    fn sample(&mut self) {
        let nr_slots = self.slots.len();
        let tries = (0..SAMPLE_TRIES).map(|_| self.rng.below(nr_slots));
        let Some(slot) = tries.into_iter().find(|slot| self.slots[*slot].is_some()) else {
            return;
        };
        let held = self.slots[slot].as_ref().expect("just seen");
        let page = self.rng.below(held.nr_pages());
        self.tally.verified(held.check_page(page, self.depth));
    }
}

impl Player for BlockPlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let mut left = events.min((self.trace.events.len() - self.next) as u64);
        while left > 0 {
            let burst = left.min(EVENTS_PER_LOOK);
            (0..burst).for_each(|_| self.step(stage));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        match self.next == self.trace.events.len() {
            true => Played::Finished,
            false => Played::Paused,
        }
    }

    fn release(&mut self, _stage: &Stage) {
        for slot in &mut self.slots {
            if let Some(held) = slot.take() {
                self.tally.check_and_free(held, self.depth);
            }
        }
    }

    fn rewind(&mut self) {
        self.next = 0;
        self.round += 1;
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
