//! Wholly free blocks whose memory goes back to the system.
//!
//! No kernel counterpart: the kernel has nobody to give memory back to. A block is withdrawn, its
//! owner tells the system without holding the zone's lock, and puts it back as *vacant*: free as
//! before, but taken last.

use super::{Buddy, Row};
use crate::types::{Migratetype, Order, Pfn};

/// A wholly free block that was withdrawn: the caller owns it and must give it back.
#[derive(Debug)]
#[must_use = "the block is lost unless it is given back with `return_idle`"]
pub(crate) struct IdleBlock {
    pfn: Pfn,
    order: Order,
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
}

impl Buddy {
    /// Withdraws a wholly free block that has memory behind it, the largest there is.
    pub(crate) fn withdraw_idle(&mut self) -> Option<IdleBlock> {
        let (block, order) = self.resident_block()?;
        self.unmark_whole(block, order);
        Some(IdleBlock {
            pfn: self.pfn(block),
            order,
        })
    }

    /// The order of the block that [`withdraw_idle`](Self::withdraw_idle) would withdraw.
    pub(crate) fn idle_order(&self) -> Option<Order> {
        self.resident_block().map(|(_, order)| order)
    }

    fn resident_block(&self) -> Option<(usize, Order)> {
        let orders = self.block_order.idx()..self.max_order.idx() + 1;
        orders.rev().map(Order::at).find_map(|order| {
            Migratetype::ALL
                .into_iter()
                .find_map(|mt| self.shelves.whole_resident(mt, order))
                .map(|block| (block, order))
        })
    }

    /// Puts a withdrawn block back; `vacant` says whether its memory is gone.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who gives a block back has it no more"
    )]
    pub(crate) fn return_idle(&mut self, idle: IdleBlock, vacant: bool) {
        let block = self.block_of(idle.pfn);
        for part in self.blocks_in(block, idle.order) {
            self.set_word(part, self.word(part).with_resident(!vacant));
        }
        self.free_blocks(block, idle.order);
    }

    /// Free pages in isolated pageblocks.
    pub(crate) fn isolated_free_pages(&self) -> usize {
        self.tally.pages(Row::Isolated)
    }
}
