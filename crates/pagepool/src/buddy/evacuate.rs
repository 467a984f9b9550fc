//! Units of pageblocks that are being emptied: set aside, and released when that is over; and the places
//! that their contents go to.
//!
//! *Kernel counterpart:* `isolate_freepages`, `suitable_migration_target` (v5.0). There, a scanner walks
//! down from the zone's end in search of free pages. Here the shelves know which pageblock is fullest, and
//! what fills it up leaves the others empty.

use super::block::State;
use super::tally::Row;
use super::{Buddy, Grant};
use crate::types::{Migratetype, Order, Pfn};

impl Buddy {
    /// The pageblocks of the unit of `order` that begins at `pfn`: a pageblock at least.
    fn blocks_of(&self, pfn: Pfn, order: Order) -> std::ops::Range<usize> {
        let block = self.block_of(pfn);
        self.blocks_in(block, order.max(self.block_order))
    }

    /// Isolates all pageblocks of a unit; returns whether it did. It does not if one is isolated already,
    /// is reserved for urgent requests, or lies beyond the zone's end.
    pub(crate) fn set_aside(&mut self, pfn: Pfn, order: Order) -> bool {
        let blocks = self.blocks_of(pfn, order);
        let may_go = |block| {
            let word = self.word(block);
            !word.is_isolated() && word.migratetype() != Migratetype::HighAtomic
        };
        let is_whole = blocks.end << self.block_order.get() <= self.pages;
        if !is_whole || !blocks.clone().all(may_go) {
            return false;
        }
        for block in blocks {
            self.isolate(self.pfn(block));
        }
        true
    }

    /// Ends the isolation of all pageblocks of a unit; what is free of it merges.
    pub(crate) fn release(&mut self, pfn: Pfn, order: Order) {
        for block in self.blocks_of(pfn, order) {
            self.unisolate(self.pfn(block));
        }
    }

    /// Pages of a unit that are free.
    pub(crate) fn free_pages_of(&self, pfn: Pfn, order: Order) -> usize {
        let blocks = self.blocks_of(pfn, order);
        let free = |block| match self.word(block).state() {
            State::Fresh | State::Head | State::Tail => self.block_order.pages(),
            State::Parts => self.word(block).free(),
        };
        blocks.map(free).sum()
    }

    /// Takes a block as the target of a move out of a unit of order `unit`: from the fullest pageblock for
    /// movable memory, and only if there is none, from a wholly free block that is smaller than the unit.
    /// What the unit becomes is worth more than what is broken for it.
    pub(crate) fn take_target(&mut self, order: Order, unit: Order) -> Option<Grant> {
        let mt = self.target_type();
        if order < self.block_order
            && let Some(block) = self.shelves.fullest(mt, order)
        {
            return Some(self.take_part(block, order));
        }
        let smaller = order.max(self.block_order).idx()..unit.idx();
        let (block, whole) = smaller
            .map(Order::at)
            .find_map(|whole| self.shelves.whole(mt, whole).map(|block| (block, whole)))?;
        Some(self.take_whole(block, whole, order))
    }

    /// Free pages that contents of a unit of order `unit` could be moved to: in partly free pageblocks, and
    /// in wholly free blocks that are smaller than the unit.
    pub(crate) fn target_pages(&self, unit: Order) -> usize {
        let row = Row::Open(self.target_type());
        let orders = (0..self.block_order.max(unit).idx()).map(Order::at);
        orders
            .map(|order| self.tally.blocks(row, order) << order.get())
            .sum()
    }

    /// Pageblocks that targets could come from of which a third or more is free, but not all.
    pub(crate) fn nr_sparse_blocks(&self) -> usize {
        self.shelves.nr_sparse(self.target_type())
    }

    fn target_type(&self) -> Migratetype {
        if self.grouping {
            Migratetype::Movable
        } else {
            Migratetype::Unmovable
        }
    }
}
