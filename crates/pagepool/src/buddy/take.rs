//! Taking blocks: from the fullest pageblock of the type, then from a whole one, then from other types.
//!
//! *Kernel counterpart:* `__rmqueue`, `__rmqueue_smallest`, `expand` (v5.0).

use super::block::{BlockWord, Residency, best_fit};
use super::tree::{self, Tree};
use super::{Buddy, Demand, Grant, MovableCensus};
use crate::types::{Migratetype, Order, Pfn};

impl Buddy {
    /// Takes a block, or nothing when the demand cannot be met.
    pub(crate) fn alloc(&mut self, demand: Demand, census: &dyn MovableCensus) -> Option<Grant> {
        let Demand {
            order,
            highatomic,
            fallback,
            ..
        } = demand;
        if order > self.max_order {
            return None;
        }
        let want = self.grouped(demand.want);
        if highatomic
            && order > Order::ZERO
            && let Some(grant) = self.smallest_shelved(order, Migratetype::HighAtomic)
        {
            return Some(grant);
        }
        self.smallest(order, want)
            .or_else(|| self.fall_back(order, want, fallback, census))
    }

    /// The type that blocks are taken as: the wanted one, unless pageblocks are not told apart.
    pub(super) fn grouped(&self, want: Migratetype) -> Migratetype {
        if self.grouping {
            want
        } else {
            Migratetype::Unmovable
        }
    }

    /// Takes up to `count` blocks, and returns how many: the same ones as so many calls of [`alloc`](Self::alloc) would,
    /// but that a pageblock that is begun with is gone on with, also where another is as full. Passes the first of several
    /// that follow each other to `sink`, and how many these are; what had to be done to other types is reported by its
    /// grants, each of which is a single block.
    pub(crate) fn alloc_bulk(
        &mut self,
        demand: Demand,
        count: usize,
        census: &dyn MovableCensus,
        sink: &mut dyn FnMut(Grant, usize),
    ) -> usize {
        let mut taken = 0;
        while taken < count {
            match self.alloc_run(demand, count - taken, census, sink) {
                0 => break,
                more => taken += more,
            }
        }
        taken
    }

    /// The same, as far as one pageblock goes; a single block, where that is taken from another type, which is
    /// decided anew each time.
    pub(crate) fn alloc_run(
        &mut self,
        demand: Demand,
        count: usize,
        census: &dyn MovableCensus,
        sink: &mut dyn FnMut(Grant, usize),
    ) -> usize {
        if count == 0 {
            return 0;
        }
        let Some(grant) = self.alloc(demand, census) else {
            return 0;
        };
        self.go_on(grant, demand.order, count, sink)
    }

    /// Passes a block on, and what else its pageblock has, up to `count`; returns how many.
    fn go_on(
        &mut self,
        grant: Grant,
        order: Order,
        count: usize,
        sink: &mut dyn FnMut(Grant, usize),
    ) -> usize {
        let block = self.block_of(grant.pfn);
        let goes_on = grant.fallback.is_none() && order < self.block_order;
        sink(grant, 1);
        if !goes_on {
            return 1;
        }
        let more = self.take_runs(block, order, count - 1, |pfn, nr| {
            let grant = Grant {
                pfn,
                residency: Residency::Used,
                fallback: None,
            };
            sink(grant, nr);
        });
        1 + more
    }

    /// Takes up to `count` blocks of `order` out of a pageblock of which a part is handed out, as so many calls of
    /// [`take_part`](Self::take_part) would, but with one change to its word; returns how many. Passes the first frame of
    /// several that follow each other to `sink`, and how many these are.
    #[inline]
    pub(super) fn take_runs(
        &mut self,
        block: usize,
        order: Order,
        count: usize,
        mut sink: impl FnMut(Pfn, usize),
    ) -> usize {
        let (word, start) = (self.word(block), self.pfn(block));
        let (mut levels, mut left) = (word.levels(), count);
        while left > 0
            && let Some((offset, nr)) = self.take_run(block, word, &mut levels, order, left)
        {
            sink(start.add(offset), nr);
            left -= nr;
        }
        let taken = count - left;
        if taken > 0 {
            self.change_taken(block, word, levels, taken << order.get());
        }
        taken
    }

    /// Takes several blocks of `order` that follow each other out of the smallest free one that holds one; `levels` are
    /// those of the pageblock's tree. Returns the first one's offset, and how many it took, which is not more than `most`.
    #[inline(always)]
    fn take_run(
        &mut self,
        block: usize,
        word: BlockWord,
        levels: &mut u32,
        order: Order,
        most: usize,
    ) -> Option<(usize, usize)> {
        let from = best_fit(*levels, order)?;
        let (row, root) = (self.row(word), self.block_order);
        // As much of it as is wanted whole: its parts are what would be taken next, one by one.
        let wanted = order.idx() + most.ilog2() as usize;
        let size = Order::at(wanted.min(from.idx()));
        let words = &mut self.trees[block];
        let taken = Tree::new(words, root).take(size, from);
        let taken = taken.expect("B6: the level is not empty");
        self.tally.sub(row, from, 1);
        self.tally.add_each(row, size..from);
        *levels |= (1 << from.get()) - (1 << size.get());
        if !tree::any(words, root, from) {
            *levels &= !(1 << from.get());
        }
        Some((taken.offset, 1 << (size.idx() - order.idx())))
    }

    /// Notes in the word of a pageblock, which was this one, that so many pages were taken.
    #[inline]
    fn change_taken(&mut self, block: usize, word: BlockWord, levels: u32, pages: usize) {
        let free = word.free() - pages;
        let after = word.with_free(free).with_levels(levels);
        self.change(block, word, after.with_residency(Residency::Used));
    }

    /// Takes a block of type `mt`, splitting a larger one if need be; before a wholly free one is broken, what is
    /// unmerged is merged, until that helps.
    pub(super) fn smallest(&mut self, order: Order, mt: Migratetype) -> Option<Grant> {
        if order < self.block_order
            && let Some(block) = self.merge_until(|buddy| buddy.shelves.fullest(mt, order))
        {
            return Some(self.take_part(block, order));
        }
        self.smallest_of_whole(order, mt)
    }

    /// The same out of a wholly free block.
    pub(super) fn smallest_of_whole(&mut self, order: Order, mt: Migratetype) -> Option<Grant> {
        let (block, found) = self.smallest_whole(order.max(self.block_order), mt)?;
        Some(self.take_whole(block, found, order))
    }

    /// The same without merging anything: of what stands on the shelves.
    pub(super) fn smallest_shelved(&mut self, order: Order, mt: Migratetype) -> Option<Grant> {
        if order < self.block_order
            && let Some(block) = self.shelves.fullest(mt, order)
        {
            return Some(self.take_part(block, order));
        }
        let (block, found) = self.shelved_whole(order.max(self.block_order), mt)?;
        Some(self.take_whole(block, found, order))
    }

    /// The smallest wholly free block of type `mt` that holds one of `order`; what is unmerged is merged, until there
    /// is one.
    pub(super) fn smallest_whole(
        &mut self,
        order: Order,
        mt: Migratetype,
    ) -> Option<(usize, Order)> {
        match self.merge_until(|buddy| buddy.shelved_whole(order, mt)) {
            None if mt == Migratetype::Movable => self.enter_fresh(),
            found => found,
        }
    }

    /// The smallest one on the shelves.
    fn shelved_whole(&self, order: Order, mt: Migratetype) -> Option<(usize, Order)> {
        let mut orders = order.up_to(self.max_order);
        orders.find_map(|order| Some((self.shelves.whole(mt, order)?, order)))
    }

    /// Enters the lowest fresh block of the largest order into the lists (B9).
    pub(super) fn enter_fresh(&mut self) -> Option<(usize, Order)> {
        if self.fresh.is_empty() {
            return None;
        }
        let block = self.fresh.start;
        self.fresh.start += self.nr_blocks_in(self.max_order);
        let vacant = Residency::Vacant;
        self.mark_whole(block, self.max_order, Migratetype::Movable, vacant);
        Some((block, self.max_order))
    }

    /// Takes a block out of a partly free pageblock that is known to hold one.
    pub(super) fn take_part(&mut self, block: usize, order: Order) -> Grant {
        let word = self.word(block);
        let mut levels = word.levels();
        let taken = self.take_run(block, word, &mut levels, order, 1);
        let (offset, _) = taken.expect("B4: the shelf says that the pageblock holds one");
        self.change_taken(block, word, levels, order.pages());
        Grant {
            pfn: self.pfn(block).add(offset),
            residency: Residency::Used,
            fallback: None,
        }
    }

    /// Takes the lowest block of `order` out of the wholly free block at `block`, of order `found`.
    pub(super) fn take_whole(&mut self, block: usize, found: Order, order: Order) -> Grant {
        let residency = self.word(block).residency();
        let keep = order.max(self.block_order);
        self.split_whole(block, found, keep);
        self.unmark_whole(block, keep);
        if order < self.block_order {
            self.open_block(block, order);
        }
        Grant {
            pfn: self.pfn(block),
            residency,
            fallback: None,
        }
    }

    /// Turns a handed-out pageblock into a partly free one of which the lowest block of `order`
    /// is taken.
    pub(super) fn open_block(&mut self, block: usize, order: Order) {
        let word = self.word(block);
        Tree::new(&mut self.trees[block], self.block_order).take_first(order);
        self.tally.add_each(self.row(word), order..self.block_order);
        let levels = (1 << self.block_order.get()) - (1 << order.get());
        let free = self.block_order.pages() - order.pages();
        self.change(block, word, word.with_free(free).with_levels(levels));
    }
}
