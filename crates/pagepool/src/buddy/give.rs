//! Giving blocks back: merged with their buddies, inside a pageblock and among whole ones.
//!
//! *Kernel counterpart:* `__free_one_page` (v5.0).

use super::Buddy;
use super::block::{BlockWord, State};
use super::tree::{self, Tree};
use crate::types::{Migratetype, Order, Pfn};

impl Buddy {
    /// Gives a block back and merges it with its free buddies.
    ///
    /// # Panics
    /// In debug builds, if any of it is free already. In others the frame's state, which its owner's
    /// handle checks, is what keeps a block from being freed twice.
    pub(crate) fn free(&mut self, pfn: Pfn, order: Order) {
        debug_assert!(
            self.free_order(pfn).is_none(),
            "B1: {pfn} is given back at {order:?}, but is free at {:?} already",
            self.free_order(pfn)
        );
        self.free_at(pfn.offset_from(self.start), order);
    }

    /// Gives blocks back, each as by [`free`](Self::free), and sorts them for it: those of one pageblock change its
    /// word once.
    pub(crate) fn free_bulk(&mut self, blocks: &mut [(Pfn, Order)]) {
        // Large blocks are whole pageblocks, which no other block is in.
        let mut rest = &*blocks;
        while let Some(&(pfn, order)) = rest.first() {
            let block = self.block_of(pfn);
            if order >= self.block_order {
                self.free(pfn, order);
                rest = &rest[1..];
                continue;
            }
            let nr = rest
                .iter()
                .take_while(|(pfn, _)| self.block_of(*pfn) == block);
            let (here, others) = rest.split_at(nr.count());
            self.free_parts(block, here);
            rest = others;
        }
    }

    /// Gives back blocks that lie in one pageblock.
    fn free_parts(&mut self, block: usize, parts: &[(Pfn, Order)]) {
        let word = self.word(block);
        let (row, root, start) = (self.row(word), self.block_order, self.pfn(block));
        let (mut levels, mut free) = (word.levels(), word.free());
        let words = &mut self.trees[block];
        for &(pfn, order) in parts {
            let within = pfn.offset_from(start);
            debug_assert!(
                word.state() == State::Parts && tree::covering(words, root, within).is_none(),
                "B1: {pfn} is given back at {order:?}, but is free already"
            );
            let merged = Tree::new(words, root).put(within, order).order;
            if merged > order {
                self.tally.sub_each(row, order..merged);
                levels = tree::levels_left(words, root, levels, order..merged);
            }
            if merged == root {
                self.change(block, word, word.with_free(0).with_levels(0));
                return self.free_whole(block, merged);
            }
            self.tally.add(row, merged, 1);
            levels |= 1 << merged.get();
            free += order.pages();
        }
        self.change(block, word, word.with_free(free).with_levels(levels));
    }

    pub(super) fn free_at(&mut self, offset: usize, order: Order) {
        debug_assert!(offset + order.pages() <= self.pages);
        let block = offset >> self.block_order.get();
        if order >= self.block_order {
            return self.free_blocks(block, order);
        }
        self.free_parts(block, &[(self.start.add(offset), order)]);
    }

    /// Gives back one or more pageblocks. If some of them were isolated or reserved while they were
    /// handed out together, each goes its own way: an isolated one stands alone, so that its
    /// isolation can end by itself.
    pub(super) fn free_blocks(&mut self, block: usize, order: Order) {
        let is_reserved = |part| self.word(part).migratetype() == Migratetype::HighAtomic;
        let first = is_reserved(block);
        let alike = |part| !self.word(part).is_isolated() && is_reserved(part) == first;
        if self.blocks_in(block, order).all(alike) {
            return self.free_whole(block, order);
        }
        for part in self.blocks_in(block, order) {
            self.free_whole(part, self.block_order);
        }
    }

    /// Lets a wholly free block merge again after its type or isolation has changed.
    pub(super) fn remerge(&mut self, block: usize) {
        let order = self.word(block).order();
        self.withdraw_whole(block, order);
        self.free_whole(block, order);
    }

    /// Gives back one or more whole pageblocks, of which nothing is free or shelved.
    pub(super) fn free_whole(&mut self, block: usize, order: Order) {
        let word = self.word(block);
        let (mut head, mut grown) = (block, order);
        let parts = self.blocks_in(block, order);
        let mut residency = { parts.map(|part| self.word(part).residency()) }
            .max()
            .expect("there is one pageblock at least");
        while grown < self.max_order {
            let buddy = head ^ self.nr_blocks_in(grown);
            if !self.may_merge(word, buddy, grown) {
                break;
            }
            residency = residency.max(self.word(buddy).residency());
            self.withdraw_whole(buddy, grown);
            head = head.min(buddy);
            grown = Order::at(grown.idx() + 1);
        }
        self.mark_whole(head, grown, word.migratetype(), residency);
        self.tally.add(self.row(word), grown, 1);
    }

    /// Whether the wholly free block `buddy` may become one with a block like `word`. Regular
    /// types merge, the merged block taking the type of the one that was freed; reserved and
    /// isolated pageblocks stay by themselves.
    pub(super) fn may_merge(&self, word: BlockWord, buddy: usize, order: Order) -> bool {
        if buddy + self.nr_blocks_in(order) > self.nr_blocks() {
            return false;
        }
        let buddy = self.word(buddy);
        let (mt, other) = (word.migratetype(), buddy.migratetype());
        let regular = |mt| mt != Migratetype::HighAtomic;
        buddy.state() == State::Head
            && buddy.order() == order
            && !buddy.is_isolated()
            && !word.is_isolated()
            && (mt == other || (regular(mt) && regular(other)))
    }
}
