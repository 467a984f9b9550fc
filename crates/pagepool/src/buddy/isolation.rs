//! Pageblocks whose free pages are withheld, so that they can be emptied.
//!
//! *Kernel counterpart:* `set_migratetype_isolate`, `unset_migratetype_isolate` (v5.0). Isolation is
//! a mark beside the type (spec 9.15): ending it restores the type that the pageblock had.

use super::Buddy;
use super::block::State;
use crate::sync::atomic::Ordering;
use crate::types::Pfn;

impl Buddy {
    /// Withholds the free pages of the pageblock that `pfn` lies in, and those freed into it from
    /// now on. Returns whether it was not isolated before.
    pub(crate) fn isolate(&mut self, pfn: Pfn) -> bool {
        let block = self.block_of(pfn);
        if self.word(block).is_isolated() {
            return false;
        }
        self.stand_alone(block);
        self.count_isolated(1);
        self.set_isolated(block, true);
        true
    }

    /// Releases the free pages of an isolated pageblock. Returns whether it was isolated.
    pub(crate) fn unisolate(&mut self, pfn: Pfn) -> bool {
        let block = self.block_of(pfn);
        if !self.word(block).is_isolated() {
            return false;
        }
        self.set_isolated(block, false);
        self.count_isolated(-1);
        if self.word(block).state() == State::Head {
            self.remerge(block);
        }
        true
    }

    /// Pageblocks that are isolated.
    pub(crate) fn nr_isolated_blocks(&self) -> usize {
        // Relaxed: written under the zone's lock, which the caller holds.
        self.blocks.shared.nr_isolated.load(Ordering::Relaxed)
    }

    fn count_isolated(&self, change: isize) {
        let nr = self.nr_isolated_blocks();
        let changed = nr.wrapping_add_signed(change);
        // Relaxed: what is ordered by it, whoever isolates orders by emptying caches.
        let nr_isolated = &self.blocks.shared.nr_isolated;
        nr_isolated.store(changed, Ordering::Relaxed);
    }

    /// Splits a larger free block so that `block` is at most a free block of its own.
    fn stand_alone(&mut self, block: usize) {
        while self.fresh.contains(&block) {
            self.enter_fresh();
        }
        if matches!(self.word(block).state(), State::Parts) {
            return;
        }
        let mut head = self.head_of(block);
        while self.word(head).order() > self.block_order {
            let order = self.word(head).order();
            let half = crate::types::Order::at(order.idx() - 1);
            self.split_whole(head, order, half);
            if block >= head + self.nr_blocks_in(half) {
                head += self.nr_blocks_in(half);
            }
        }
    }

    fn set_isolated(&mut self, block: usize, isolated: bool) {
        let word = self.word(block);
        let new = word.with_isolated(isolated);
        if word.state() == State::Head {
            // What is withheld cannot be withdrawn: it does not count as memory to give back.
            let counted = &mut self.whole_free[word.residency().idx()];
            let pages = self.block_order.pages();
            *counted = if isolated {
                *counted - pages
            } else {
                *counted + pages
            };
            self.tally.sub(self.row(word), self.block_order, 1);
            self.tally.add(self.row(new), self.block_order, 1);
        } else {
            self.move_parts(block, word, new);
        }
        self.change(block, word, new);
    }
}
