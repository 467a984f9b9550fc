//! Which shrinkers have objects of one group in one node: a bit for each.
//!
//! *Kernel counterpart:* `struct memcg_shrinker_map`, `memcg_set_shrinker_bit` (v5.0). With many groups,
//! most shrinkers have nothing of most of them, and asking each for each group is what reclaim then spends
//! its time with. A map belongs to a group, as long as it lives.
//!
//! ```text
//! owner of the objects: note_object             reclaimer: settle_empty
//! ────────────────────────────────              ───────────────────────
//! add the object                                the shrinker has said that there is none
//! fence            [shrinker_map.add]           take the bit off
//! is the bit set? done                          fence            [shrinker_map.clear]
//! set it                                        ask again: is there an object? set the bit
//! ```
//!
//! Each stores one word and then loads the other's. So either the owner sees that the bit is gone, or the
//! reclaimer sees the object.
//!
//! **Invariants**
//! - R20: once both are done, a bit is set if there is an object.
//!
//! **Locking:** none. Whoever settles a bit is the only one that calls the shrinker meanwhile; that the bit
//! is set without need costs a call.

#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "`pub` items are what models reach through `pagepool::model`"
)]

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::fence::{fence_at, mutated, ordering_at};

/// The most shrinkers that a pool can have.
pub const MAX_SHRINKERS: usize = 64;

const WORDS: usize = MAX_SHRINKERS.div_ceil(u64::BITS as usize);

/// A bit for each shrinker. See the head of the module.
#[derive(Debug)]
pub struct ShrinkerMap {
    words: [AtomicU64; WORDS],
}

impl ShrinkerMap {
    /// Returns a map in which no bit is set.
    #[must_use]
    pub fn new() -> ShrinkerMap {
        ShrinkerMap {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn place(&self, shrinker: usize) -> (&AtomicU64, u64) {
        let bits = u64::BITS as usize;
        (&self.words[shrinker / bits], 1 << (shrinker % bits))
    }

    /// Whether a shrinker may have objects.
    #[must_use]
    pub fn is_set(&self, shrinker: usize) -> bool {
        let (word, bit) = self.place(shrinker);
        // Relaxed: nothing is read on account of it; an object just added is seen by the next look.
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Notes that a shrinker may have objects.
    pub fn set(&self, shrinker: usize) {
        let (word, bit) = self.place(shrinker);
        // Release: who then takes the bit off sees the object that it was set for. Pairs with the Acquire in
        // `settle_empty`.
        let release = ordering_at("shrinker_map.publish", Ordering::Release);
        word.fetch_or(bit, release);
    }

    /// Notes that a shrinker has an object, which was added before. Where that is known already, nothing that
    /// threads share is written.
    pub fn note_object(&self, shrinker: usize) {
        // Orders the object before the look at the bit. Pairs with the fence in `settle_empty`.
        fence_at("shrinker_map.add");
        if !self.is_set(shrinker) {
            self.set(shrinker);
        }
    }

    /// A shrinker has said that it has nothing: takes its bit off, unless it says otherwise when asked again.
    /// Returns the second answer.
    pub fn settle_empty<T>(
        &self,
        shrinker: usize,
        ask_again: impl FnOnce() -> T,
        is_empty: impl FnOnce(&T) -> bool,
    ) -> T {
        let (word, bit) = self.place(shrinker);
        // Acquire: what was added before the bit was set is seen by the second question. Pairs with the
        // Release in `set`.
        if mutated("shrinker_map.one_step") {
            word.store(word.load(Ordering::Acquire) & !bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Acquire);
        }
        // Orders that before the second question. Pairs with the fence in `note_object`.
        fence_at("shrinker_map.clear");
        let answer = ask_again();
        if !is_empty(&answer) && !mutated("shrinker_map.recount") {
            self.set(shrinker);
        }
        answer
    }

    /// Takes the bit of a shrinker off that is there no more.
    pub fn forget(&self, shrinker: usize) {
        let (word, bit) = self.place(shrinker);
        // Relaxed: nobody calls it any more.
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

impl Default for ShrinkerMap {
    fn default() -> ShrinkerMap {
        ShrinkerMap::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_shrinker_has_a_bit_of_its_own() {
        let map = ShrinkerMap::new();
        for shrinker in [0, 1, MAX_SHRINKERS - 1] {
            assert!(!map.is_set(shrinker));
            map.note_object(shrinker);
            assert!(map.is_set(shrinker));
        }
        map.forget(1);
        let set: Vec<_> = (0..MAX_SHRINKERS).filter(|n| map.is_set(*n)).collect();
        assert_eq!(set, [0, MAX_SHRINKERS - 1]);
    }

    #[test]
    fn the_second_answer_decides() {
        let map = ShrinkerMap::new();
        map.set(3);
        let answer = map.settle_empty(3, || 7, |objects| *objects == 0);
        assert!(answer == 7 && map.is_set(3));
        map.settle_empty(3, || 0, |objects| *objects == 0);
        assert!(!map.is_set(3));
    }

    #[test]
    fn the_bit_is_off_while_the_second_question_is_asked() {
        let map = ShrinkerMap::new();
        map.set(0);
        map.settle_empty(0, || assert!(!map.is_set(0)), |()| true);
    }
}
