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
    rng::nth,
    tally::Tally,
    trace::references::{Access, Reference, ReferenceTrace},
};

/// A cache that is full evicts at once instead of waiting for somebody else to free memory.
const CACHE_GFP: Gfp = Gfp::HIGHUSER_MOVABLE
    .union(Gfp::NOWARN)
    .difference(Gfp::DIRECT_RECLAIM);

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
    lru: Lru,
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
            lru: Lru::new(nr_keys),
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
        self.lru.push(key);
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
        self.lru.push(key);
        self.held_pages += nr_pages;
    }

    /// Frees the least recently used block; false if there is none.
    fn evict(&mut self) -> bool {
        let Some(key) = self.lru.oldest() else {
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
        while let Some(key) = self.lru.oldest() {
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

/// Keys from the least to the most recently used: a ring of indices through one more entry.
struct Lru {
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

impl Lru {
    fn new(nr_keys: usize) -> Lru {
        let alone = |at: usize| Link {
            older: at as u32,
            newer: at as u32,
        };
        Lru {
            links: (0..=nr_keys).map(alone).collect(),
        }
    }

    fn end(&self) -> u32 {
        self.links.len() as u32 - 1
    }

    fn oldest(&self) -> Option<u32> {
        let oldest = self.links[self.end() as usize].newer;
        (oldest != self.end()).then_some(oldest)
    }

    /// Makes a key that is not in the list the most recently used.
    fn push(&mut self, key: u32) {
        let end = self.end();
        let older = self.links[end as usize].older;
        self.links[key as usize] = Link { older, newer: end };
        self.links[older as usize].newer = key;
        self.links[end as usize].older = key;
    }

    fn remove(&mut self, key: u32) {
        let Link { older, newer } = self.links[key as usize];
        self.links[older as usize].newer = newer;
        self.links[newer as usize].older = older;
    }
}

/// Zeros that are resident.
fn touched(len: usize) -> Vec<u32> {
    let mut zeros = vec![1; len];
    zeros.fill(0);
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_key_goes_first() {
        let mut lru = Lru::new(3);
        assert_eq!(lru.oldest(), None);
        (0..3).for_each(|key| lru.push(key));
        lru.remove(0);
        lru.push(0);
        let order: Vec<u32> = std::iter::from_fn(|| {
            let key = lru.oldest()?;
            lru.remove(key);
            Some(key)
        })
        .collect();
        assert_eq!(order, [1, 2, 0]);
    }
}
