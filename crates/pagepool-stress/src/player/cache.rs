//! Replays references through a page cache of bounded size that lives in the pool.
//!
//! A reference to a block that is not held allocates it. When the cache is at its limit, or the
//! pool refuses, the least recently used blocks are evicted. At every hit the whole contents are
//! verified; a write replaces them.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::Gfp;

use super::{Played, Player, Stage, Wish, bag::empty_slots};
use crate::{
    content::{Depth, Held, Tag},
    control::EVENTS_PER_LOOK,
    policy::Links,
    rng::nth,
    tally::Tally,
    trace::references::{Access, Reference, ReferenceTrace},
};

/// A cache that is full evicts at once instead of waiting for somebody else to free memory.
const CACHE_GFP: Gfp = Gfp::HIGHUSER_MOVABLE
    .union(Gfp::NOWARN)
    .difference(Gfp::DIRECT_RECLAIM);

/// The only list.
const LRU: u32 = 0;

/// A replay of one copy of a trace.
pub(crate) struct CachePlayer {
    trace: Arc<ReferenceTrace>,
    limit_pages: u64,
    held_pages: u64,
    seed: u64,
    round: u64,
    next: usize,
    /// Blocks by key.
    slots: Vec<Option<Held>>,
    /// How often each key was written.
    versions: Vec<u32>,
    lru: Links,
    tally: Tally,
}

impl CachePlayer {
    pub(crate) fn new(trace: Arc<ReferenceTrace>, limit_pages: u64, seed: u64) -> CachePlayer {
        let nr_keys = trace.orders.len();
        CachePlayer {
            limit_pages,
            held_pages: 0,
            seed,
            round: 0,
            next: 0,
            slots: empty_slots(nr_keys),
            versions: touched(nr_keys),
            lru: Links::new(nr_keys, 1),
            tally: Tally::new(),
            trace,
        }
    }

    fn step(&mut self, stage: &Stage) {
        let reference = self.trace.references[self.next];
        self.next += 1;
        self.tally.ops += 1;
        let key = reference.key();
        if self.slots[key as usize].is_some() {
            self.hit(reference);
        } else {
            self.tally.nr_misses += 1;
            self.fetch(stage, key);
        }
    }

    fn hit(&mut self, reference: Reference) {
        let key = reference.key();
        self.tally.nr_hits += 1;
        self.lru.remove(key);
        self.lru.push(LRU, key);
        let held = self.slots[key as usize].as_mut().expect("a hit");
        self.tally.verified(held.check(Depth::Full));
        if reference.access() == Access::Write {
            self.versions[key as usize] = self.versions[key as usize].wrapping_add(1);
            let tag = self.tag(key);
            let held = self.slots[key as usize].as_mut().expect("a hit");
            held.rewrite(tag, Depth::Full);
        }
    }

    fn fetch(&mut self, stage: &Stage, key: u32) {
        let order = self.trace.orders[key as usize];
        let nr_pages = order.pages() as u64;
        while self.held_pages + nr_pages > self.limit_pages && self.evict() {}
        let wish = Wish {
            order,
            gfp: CACHE_GFP,
            deadline: Duration::ZERO,
            depth: Depth::Full,
        };
        let pages = loop {
            match self.tally.allocate(&stage.pool, wish) {
                Some(pages) => break pages,
                None if self.evict() => {}
                None => return,
            }
        };
        // An allocation is part of the reference, which is counted already.
        self.tally.ops -= 1;
        self.slots[key as usize] = Some(Held::fill(pages, self.tag(key), Depth::Full));
        self.lru.push(LRU, key);
        self.held_pages += nr_pages;
    }

    /// Frees the least recently used block; false if there is none.
    fn evict(&mut self) -> bool {
        let Some(key) = self.lru.oldest(LRU) else {
            return false;
        };
        self.tally.nr_evictions += 1;
        self.drop_block(key);
        true
    }

    fn drop_block(&mut self, key: u32) {
        self.lru.remove(key);
        let held = self.slots[key as usize]
            .take()
            .expect("what is in the list is held");
        self.held_pages -= held.nr_pages() as u64;
        self.tally.check_and_free(held, Depth::Full);
        self.tally.ops -= 1;
    }

    fn tag(&self, key: u32) -> Tag {
        let version = self.versions[key as usize];
        Tag::new(
            nth(self.seed, self.round),
            u64::from(key) << 32 | u64::from(version),
        )
    }
}

impl Player for CachePlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let mut left = events.min((self.trace.references.len() - self.next) as u64);
        while left > 0 {
            let burst = left.min(EVENTS_PER_LOOK);
            (0..burst).for_each(|_| self.step(stage));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        match self.next == self.trace.references.len() {
            true => Played::Finished,
            false => Played::Paused,
        }
    }

    fn release(&mut self, _stage: &Stage) {
        while let Some(key) = self.lru.oldest(LRU) {
            self.drop_block(key);
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

/// Zeros that are resident.
pub(super) fn touched(len: usize) -> Vec<u32> {
    let mut zeros = vec![1; len];
    zeros.fill(0);
    zeros
}
