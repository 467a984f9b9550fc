//! Whole free blocks: pageblocks that hold nothing else, by themselves or joined to larger blocks.

use super::Buddy;
use super::block::{Residency, Shelf, State};
use crate::types::{Migratetype, Order};

impl Buddy {
    /// Splits a wholly free block down to order `to`; `block` remains the head of the lowest part.
    pub(super) fn split_whole(&mut self, block: usize, from: Order, to: Order) {
        if from == to {
            return;
        }
        let word = self.word(block);
        self.withdraw_whole(block, from);
        for half in to.up_to(from).take(from.idx() - to.idx()) {
            let upper = block + self.nr_blocks_in(half);
            self.mark_whole(upper, half, word.migratetype(), word.residency());
            self.tally.add(self.row(word), half, 1);
        }
        self.mark_whole(block, to, word.migratetype(), word.residency());
        self.tally.add(self.row(word), to, 1);
    }

    /// Takes a wholly free block off its shelf and out of the tally, for being handed out: its
    /// pageblocks hold nothing free, and memory is about to stand behind them.
    pub(super) fn unmark_whole(&mut self, block: usize, order: Order) {
        self.withdraw_whole(block, order);
        for part in self.blocks_in(block, order) {
            let word = self.word(part);
            self.set_word(
                part,
                word.with_state(State::Parts)
                    .with_free(0)
                    .with_levels(0)
                    .with_residency(Residency::Used),
            );
        }
    }

    /// Takes a wholly free block off its shelf and out of the tally; its words are the caller's.
    pub(super) fn withdraw_whole(&mut self, block: usize, order: Order) {
        let word = self.word(block);
        debug_assert_eq!((word.state(), word.order()), (State::Head, order));
        self.tally.sub(self.row(word), order, 1);
        if !word.is_isolated() {
            self.whole_free[word.residency().idx()] -= order.pages();
        }
        let shelf = word.shelf(self.block_order);
        if shelf != Shelf::NONE {
            self.shelves.reshelve(block, shelf, Shelf::NONE);
        }
        // No longer a head: what it becomes is written next.
        self.set_word(block, word.with_state(State::Tail));
    }

    /// Makes the pageblocks from `block` on one wholly free block and shelves it. The tally is the
    /// caller's.
    pub(super) fn mark_whole(
        &mut self,
        block: usize,
        order: Order,
        mt: Migratetype,
        residency: Residency,
    ) {
        for part in self.blocks_in(block, order) {
            let word = self.word(part);
            debug_assert!(word.levels() == 0, "B3: no part of it is in the tree");
            self.set_word(
                part,
                word.with_state(State::Tail)
                    .with_free(self.block_order.pages())
                    .with_levels(0)
                    .with_migratetype(mt)
                    .with_residency(residency)
                    .with_order(Order::ZERO),
            );
        }
        let head = self.word(block).with_state(State::Head).with_order(order);
        self.set_word(block, head);
        if !head.is_isolated() {
            self.whole_free[residency.idx()] += order.pages();
        }
        let shelf = head.shelf(self.block_order);
        if shelf != Shelf::NONE {
            self.shelves.reshelve(block, Shelf::NONE, shelf);
        }
    }
}
