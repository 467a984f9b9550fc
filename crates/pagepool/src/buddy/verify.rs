//! Counting everything anew.

use super::block::{BlockWord, NR_RESIDENCIES, Shelf, State};
use super::tally::Tally;
use super::{Buddy, tree};
use crate::error::{Violation, ensure};
use crate::types::{Migratetype, Order};

impl Buddy {
    /// Checks B1 to B9 and Q by walking every pageblock. Nothing is unmerged.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        ensure!(
            self.unmerged.is_empty(),
            "Q3",
            "{} pages are unmerged and others count as if they were not",
            self.unmerged.nr_pages()
        );
        let mut tally = Tally::new(self.block_order);
        let mut whole_free = [0; NR_RESIDENCIES];
        let mut expected_on_shelves = 0;
        let mut nr_isolated = 0;
        for block in 0..self.nr_blocks() {
            let word = self.word(block);
            self.verify_block(block, word)?;
            self.recount(block, word, &mut tally);
            nr_isolated += usize::from(word.is_isolated());
            if word.shelf(self.block_order) != Shelf::NONE {
                expected_on_shelves += 1;
            }
            if word.state() == State::Head && !word.is_isolated() {
                whole_free[word.residency().idx()] += word.order().pages();
            }
        }
        self.verify_shelves(expected_on_shelves)?;
        ensure!(
            nr_isolated == self.nr_isolated_blocks(),
            "B6",
            "{nr_isolated} isolated pageblocks, recorded {}",
            self.nr_isolated_blocks()
        );
        ensure!(
            tally == self.tally,
            "B6",
            "counted {tally:?}, recorded {:?}",
            self.tally
        );
        ensure!(
            whole_free == self.whole_free,
            "B6",
            "{whole_free:?} pages in whole free blocks (vacant, blank, used), recorded {:?}",
            self.whole_free
        );
        let reserved = self.count_highatomic();
        ensure!(
            reserved == self.nr_reserved_highatomic,
            "B8",
            "{reserved} pages in HighAtomic pageblocks, recorded {}",
            self.nr_reserved_highatomic
        );
        Ok(())
    }

    fn verify_block(&self, block: usize, word: BlockWord) -> Result<(), Violation> {
        let pfn = self.pfn(block);
        let is_fresh = self.fresh.contains(&block);
        ensure!(
            is_fresh == (word.state() == State::Fresh),
            "B9",
            "{pfn}: {word:?}, but the fresh pageblocks are {:?}",
            self.fresh
        );
        match word.state() {
            State::Fresh => Ok(()),
            State::Parts => self.verify_parts(block, word),
            State::Head => self.verify_head(block, word),
            State::Tail => {
                let covered = self.block_order.up_to(self.max_order).any(|order| {
                    let head = block & !(self.nr_blocks_in(order) - 1);
                    let word = self.word(head);
                    word.state() == State::Head && head + self.nr_blocks_in(word.order()) > block
                });
                ensure!(covered, "B1", "{pfn}: inside a free block that has no head");
                Ok(())
            }
        }
    }

    fn verify_parts(&self, block: usize, word: BlockWord) -> Result<(), Violation> {
        let pfn = self.pfn(block);
        let words = &self.trees[block];
        let free = self.count_free(block);
        ensure!(
            free == word.free(),
            "B6",
            "{pfn}: {free} pages free, recorded {}",
            word.free()
        );
        let mut seen = vec![None; self.block_order.pages()];
        for order in (0..self.block_order.idx()).map(Order::at) {
            let any = tree::any(words, self.block_order, order);
            ensure!(
                any == (word.levels() >> order.get() & 1 != 0),
                "B6",
                "{pfn}: level {order:?}"
            );
            for offset in tree::offsets(words, self.block_order, order) {
                let at = pfn.add(offset);
                let buddy = offset ^ order.pages();
                let unmerged = tree::is_free(words, self.block_order, order, buddy);
                ensure!(
                    !unmerged,
                    "B2",
                    "{at} free at {order:?} but its buddy is free too"
                );
                for page in &mut seen[offset..offset + order.pages()] {
                    ensure!(
                        page.is_none(),
                        "B1",
                        "{at} free at {order:?} and at {page:?}"
                    );
                    *page = Some(order);
                }
            }
        }
        Ok(())
    }

    fn verify_head(&self, block: usize, word: BlockWord) -> Result<(), Violation> {
        let (pfn, order) = (self.pfn(block), word.order());
        ensure!(
            order >= self.block_order && order <= self.max_order,
            "B3",
            "{pfn}: head at {order:?}"
        );
        for tail in self.blocks_in(block, order).skip(1) {
            let tail_word = self.word(tail);
            ensure!(
                tail_word.state() == State::Tail,
                "B1",
                "{}: {tail_word:?} inside {pfn} {order:?}",
                self.pfn(tail)
            );
            ensure!(
                tail_word.migratetype() == word.migratetype(),
                "B4",
                "{}: {} inside a {} block",
                self.pfn(tail),
                tail_word.migratetype(),
                word.migratetype()
            );
        }
        if order < self.max_order {
            let buddy = block ^ self.nr_blocks_in(order);
            ensure!(
                !self.may_merge(word, buddy, order),
                "B7",
                "{pfn} free at {order:?} but its buddy is free too"
            );
        }
        Ok(())
    }

    fn recount(&self, block: usize, word: BlockWord, tally: &mut Tally) {
        let row = self.row(word);
        match word.state() {
            State::Fresh if block.is_multiple_of(self.nr_blocks_in(self.max_order)) => {
                tally.add(super::Row::Open(Migratetype::Movable), self.max_order, 1);
            }
            State::Parts => {
                for order in (0..self.block_order.idx()).map(Order::at) {
                    tally.add(
                        row,
                        order,
                        tree::count(&self.trees[block], self.block_order, order),
                    );
                }
            }
            State::Head => tally.add(row, word.order(), 1),
            State::Fresh | State::Tail => {}
        }
    }

    fn verify_shelves(&self, expected: usize) -> Result<(), Violation> {
        let mut found = 0;
        for (block, shelf) in self.shelves.iter() {
            let named = self.word(block).shelf(self.block_order);
            ensure!(
                named == shelf,
                "B4",
                "{}: on {shelf:?}, its word names {named:?}",
                self.pfn(block)
            );
            found += 1;
            ensure!(
                found <= expected,
                "B4",
                "more pageblocks on shelves than belong there"
            );
        }
        ensure!(
            found == expected,
            "B4",
            "{found} pageblocks on shelves, {expected} belong there"
        );
        ensure!(
            self.shelves.bits_agree(),
            "B5",
            "a shelf's bit and its head disagree"
        );
        Ok(())
    }
}
