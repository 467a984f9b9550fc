//! Pageblocks kept back for urgent requests of order 1 and above.
//!
//! *Kernel counterpart:* `reserve_highatomic_pageblock`, `unreserve_highatomic_pageblock` (v5.0),
//! with two later fixes (spec 9.21): a zone of which 1 % is less than a pageblock reserves none, and
//! watermark checks subtract the reserve's *free* pages, which are known exactly.

use super::block::State;
use super::{Buddy, tree};
use crate::types::{Migratetype, Order, Pfn};

impl Buddy {
    /// Pages in reserved pageblocks.
    pub(crate) fn reserved_highatomic_pages(&self) -> usize {
        self.nr_reserved_highatomic
    }

    /// Whether another pageblock may be reserved in a zone of `managed` pages.
    pub(crate) fn may_reserve_highatomic(&self, managed: usize) -> bool {
        let (percent, block) = (managed / 100, self.block_order.pages());
        percent >= block && self.nr_reserved_highatomic < percent + block
    }

    /// Reserves the pageblock in which an urgent request has just been served.
    pub(crate) fn reserve_highatomic(&mut self, pfn: Pfn, managed: usize) {
        let block = self.block_of(pfn);
        // What is free of it is not for everybody any more.
        self.merge_one(block);
        let word = self.word(block);
        let excluded = word.is_isolated() || word.migratetype() == Migratetype::HighAtomic;
        if excluded || !self.may_reserve_highatomic(managed) {
            return;
        }
        self.retype(block, Migratetype::HighAtomic);
        self.nr_reserved_highatomic += self.block_order.pages();
    }

    /// Gives a reserved pageblock with free pages to requests of type `want`, one that holds a block
    /// of `order` if there is any; returns whether there was one. Unless `force`d, the last pageblock
    /// stays reserved.
    pub(crate) fn unreserve_highatomic(
        &mut self,
        want: Migratetype,
        order: Order,
        force: bool,
    ) -> bool {
        if !force && self.nr_reserved_highatomic <= self.block_order.pages() {
            return false;
        }
        let found = self
            .free_highatomic_block(order)
            .or_else(|| self.free_highatomic_block(Order::ZERO));
        let Some((block, nr_blocks)) = found else {
            return false;
        };
        self.retype(block, want);
        if self.word(block).state() == State::Head {
            self.remerge(block);
        }
        let pages = nr_blocks << self.block_order.get();
        debug_assert!(pages <= self.nr_reserved_highatomic, "B8");
        self.nr_reserved_highatomic = self.nr_reserved_highatomic.saturating_sub(pages);
        true
    }

    /// A pageblock of the reserve that has a block of `order` free, the smallest that does.
    fn free_highatomic_block(&self, order: Order) -> Option<(usize, usize)> {
        let mt = Migratetype::HighAtomic;
        let part = (order.idx()..self.block_order.idx())
            .find_map(|largest| self.shelves.emptiest(mt, Order::at(largest)))
            .map(|block| (block, 1));
        part.or_else(|| {
            order
                .max(self.block_order)
                .up_to(self.max_order)
                .find_map(|order| Some((self.shelves.whole(mt, order)?, self.nr_blocks_in(order))))
        })
    }

    /// Pages in pageblocks of type HighAtomic, counted anew (B8).
    pub(super) fn count_highatomic(&self) -> usize {
        self.nr_blocks_of(Migratetype::HighAtomic) << self.block_order.get()
    }

    /// Free pages in one pageblock, counted anew.
    pub(super) fn count_free(&self, block: usize) -> usize {
        (0..self.block_order.idx())
            .map(Order::at)
            .map(|order| tree::count(&self.trees[block], self.block_order, order) << order.get())
            .sum()
    }
}
