//! Churn of one order: random frees and allocations at a steady occupancy.
//!
//! The start is the worst one for large blocks: the player fills its share of the pool and frees
//! random blocks until the wished occupancy is left, scattered evenly. Then each generation is as
//! many frees of random blocks, and as many allocations, as there are live blocks, in random order.
//! Nothing is moved: only the pool's choice of where to put a block can gather free memory.
#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::{Gfp, Order};

use super::{Played, Player, Stage, Wish, bag::Bag};
use crate::{
    content::{Depth, Held, Tag},
    control::EVENTS_PER_LOOK,
    rng::Rng,
    tally::Tally,
};

/// Ordinary memory that is refused rather than waited for.
pub(crate) const CHURN_GFP: Gfp = Gfp::KERNEL.difference(Gfp::DIRECT_RECLAIM);

/// What is churned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) order: Order,
    /// Blocks in the player's share of the pool.
    pub(crate) share_blocks: usize,
    /// Blocks held at the wished occupancy.
    pub(crate) live_blocks: usize,
    pub(crate) generations: u64,
}

/// A player of one generation after the other; each call of `play` is one, the first one the fill.
pub(crate) struct ChurnPlayer {
    load: Load,
    seed: u64,
    rng: Rng,
    bag: Bag,
    nr_tags: u64,
    generation: Option<u64>,
    unlooked: u64,
    tally: Tally,
}

impl ChurnPlayer {
    pub(crate) fn new(load: Load, seed: u64) -> ChurnPlayer {
        ChurnPlayer {
            load,
            seed,
            rng: Rng::new(seed),
            bag: Bag::new(load.share_blocks),
            nr_tags: 0,
            generation: None,
            unlooked: 0,
            tally: Tally::new(),
        }
    }

    /// Fills the share, or as much as the pool gives, and frees random blocks.
    fn fill(&mut self, stage: &Stage) -> bool {
        while self.bag.room() > 0 && self.alloc(stage) {
            if self.is_over(stage) {
                return false;
            }
        }
        while self.bag.len() > self.load.live_blocks {
            self.free();
            if self.is_over(stage) {
                return false;
            }
        }
        true
    }

    fn churn(&mut self, stage: &Stage) -> bool {
        let (mut frees, mut allocs) = (self.bag.len(), self.bag.len());
        while frees + allocs > 0 {
            // Each order of the remaining frees and allocations is equally likely.
            if self.rng.below(frees + allocs) < frees {
                self.free();
                frees -= 1;
            } else {
                if self.bag.room() > 0 {
                    self.alloc(stage);
                }
                allocs -= 1;
            }
            if self.is_over(stage) {
                return false;
            }
        }
        true
    }

    fn alloc(&mut self, stage: &Stage) -> bool {
        let order = self.load.order;
        let wish = Wish {
            order,
            gfp: CHURN_GFP,
            deadline: Duration::ZERO,
            depth: Depth::Full,
        };
        let Some(pages) = self.tally.allocate(&stage.pool, wish) else {
            return false;
        };
        self.nr_tags += 1;
        self.bag.push(Held::fill(
            pages,
            Tag::new(self.seed, self.nr_tags),
            Depth::Full,
        ));
        true
    }

    fn free(&mut self) {
        if let Some(held) = self.bag.take_any(&mut self.rng) {
            self.tally.check_and_free(held, Depth::Full);
        }
    }

    /// Counts an event, and looks now and then whether it is time to stop.
    fn is_over(&mut self, stage: &Stage) -> bool {
        self.unlooked += 1;
        if self.unlooked < EVENTS_PER_LOOK {
            return false;
        }
        stage.control.look(std::mem::take(&mut self.unlooked))
    }
}

impl Player for ChurnPlayer {
    fn play(&mut self, stage: &Stage, _events: u64) -> Played {
        let generation = self.generation.map_or(0, |generation| generation + 1);
        let complete = match generation {
            0 => self.fill(stage),
            _ => self.churn(stage),
        };
        self.generation = Some(generation);
        match complete {
            false => Played::Stopped,
            true if generation == self.load.generations => Played::Finished,
            true => Played::Paused,
        }
    }

    fn release(&mut self, _stage: &Stage) {
        while let Some(held) = self.bag.pop() {
            self.tally.check_and_free(held, Depth::Full);
        }
    }

    fn rewind(&mut self) {
        self.generation = None;
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
