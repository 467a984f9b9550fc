//! Wholly free blocks that are withdrawn for a moment, so that the system can be told about their memory.
//!
//! No kernel counterpart: the kernel has nobody to give memory to, or to ask for it. A block is withdrawn, its
//! owner tells the system without holding the zone's lock, and puts it back with what then stands behind it:
//! nothing, and it is taken last; or memory that nobody has used.

use super::block::Residency;
use super::{Buddy, Row};
use crate::types::{Migratetype, Order, Pfn};

/// A wholly free block that was withdrawn: the caller owns it and must give it back.
#[derive(Debug)]
#[must_use = "the block is lost unless it is given back with `return_idle`"]
pub(crate) struct IdleBlock {
    pfn: Pfn,
    order: Order,
    residency: Residency,
}

impl IdleBlock {
    /// Its first frame.
    pub(crate) fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Its order, at least the zone's pageblock order.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// What stood behind it when it was withdrawn.
    pub(crate) fn residency(&self) -> Residency {
        self.residency
    }
}

impl Buddy {
    /// Withdraws a wholly free block with exactly this behind it, the largest there is.
    pub(crate) fn withdraw_idle(&mut self, residency: Residency) -> Option<IdleBlock> {
        let (block, order) = self.idle_block(residency)?;
        Some(self.withdraw(block, order, residency))
    }

    /// The order of the block that [`withdraw_idle`](Self::withdraw_idle) would withdraw.
    pub(crate) fn idle_order(&self, residency: Residency) -> Option<Order> {
        self.idle_block(residency).map(|(_, order)| order)
    }

    fn idle_block(&self, residency: Residency) -> Option<(usize, Order)> {
        let orders = self.block_order.up_to(self.max_order).rev();
        { orders }.find_map(|order| {
            let block = self.whole_of_any_type(order, residency)?;
            Some((block, order))
        })
    }

    fn whole_of_any_type(&self, order: Order, residency: Residency) -> Option<usize> {
        let mut types = Migratetype::ALL.into_iter();
        types.find_map(|mt| self.shelves.whole_with(mt, order, residency))
    }

    /// Withdraws a wholly free block behind which no memory stands, of order `most` at most: the one that requests
    /// would come to first.
    pub(crate) fn withdraw_vacant(&mut self, most: Order) -> Option<IdleBlock> {
        if most < self.block_order {
            return None;
        }
        let (block, found) = self.vacant_block()?;
        let order = found.min(most);
        self.split_whole(block, found, order);
        Some(self.withdraw(block, order, Residency::Vacant))
    }

    /// The first vacant block: one that has been taken before, or the lowest fresh one.
    fn vacant_block(&mut self) -> Option<(usize, Order)> {
        let shelved = self
            .block_order
            .up_to(self.max_order)
            .find_map(|order| Some((self.whole_of_any_type(order, Residency::Vacant)?, order)));
        shelved.or_else(|| self.enter_fresh())
    }

    fn withdraw(&mut self, block: usize, order: Order, residency: Residency) -> IdleBlock {
        self.unmark_whole(block, order);
        IdleBlock {
            pfn: self.pfn(block),
            order,
            residency,
        }
    }

    /// Puts a withdrawn block back, with this behind it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who gives a block back has it no more"
    )]
    pub(crate) fn return_idle(&mut self, idle: IdleBlock, residency: Residency) {
        let block = self.block_of(idle.pfn);
        for part in self.blocks_in(block, idle.order) {
            self.set_word(part, self.word(part).with_residency(residency));
        }
        self.free_blocks(block, idle.order);
    }

    /// Free pages in isolated pageblocks.
    pub(crate) fn isolated_free_pages(&self) -> usize {
        self.tally.pages(Row::Isolated)
    }
}
