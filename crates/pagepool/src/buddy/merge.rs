//! Merging what is [unmerged](super::unmerged).
//!
//! *Kernel counterpart:* `__free_one_page` (v5.0), for many pages at once.

use super::Buddy;
use super::block::State;
use super::tree::{self, Tree};
use super::unmerged::Pages;

impl Buddy {
    /// Merges what is unmerged of the next group of pageblocks that has any; returns how many pages that were, or 0
    /// if there is none. Sixty-four pageblocks at most: the lock is held.
    pub(crate) fn merge_group(&mut self) -> usize {
        let mut merged = 0;
        while merged == 0
            && self.unmerged.nr_pages() > 0
            && let Some(group) = self.unmerged.take_group(self.next_group)
        {
            self.next_group = group.next() % self.unmerged.nr_groups();
            merged = group.blocks().map(|block| self.merge_one(block)).sum();
        }
        merged
    }

    /// Merges what is unmerged of a pageblock; returns how many pages that were.
    pub(super) fn merge_one(&mut self, block: usize) -> usize {
        let pages = self.unmerged.take_block(block);
        let nr = pages.iter().map(|word| word.count_ones() as usize).sum();
        if nr > 0 {
            self.merge_pages(block, &pages, nr);
            self.unmerged.note_merged(nr);
        }
        nr
    }

    /// Gives back so many pages of one pageblock.
    fn merge_pages(&mut self, block: usize, pages: &Pages, nr: usize) {
        let word = self.word(block);
        let (row, root) = (self.row(word), self.block_order);
        let (tally, words) = (&mut self.tally, &mut self.trees[block]);
        debug_assert!(
            word.state() == State::Parts && tree::has_none_of(words, root, pages),
            "Q1: some page of {block} is free already: {word:?}"
        );
        let mut levels = word.levels();
        let is_whole = Tree::new(words, root).put_pages(pages, nr, |change| {
            tally.change(row, change.order, change.blocks);
            let level = 1 << change.order.get();
            levels = if change.is_empty {
                levels & !level
            } else {
                levels | level
            };
        });
        if is_whole {
            self.change(block, word, word.with_free(0).with_levels(0));
            self.free_whole(block, root);
        } else {
            let after = word.with_free(word.free() + nr);
            self.change(block, word, after.with_levels(levels));
        }
    }

    /// Calls `find` until it finds something, as long as there is anything unmerged to merge before the next call, and
    /// not often: the lock is held.
    pub(super) fn merge_until<T>(
        &mut self,
        find: impl FnMut(&mut Buddy) -> Option<T>,
    ) -> Option<T> {
        /// Groups of pageblocks: 512 MiB.
        const MOST: usize = 4;
        self.merge_groups_until(MOST, find)
    }

    /// The same, as long as it takes: each group of pageblocks once at the most, since others may put pages there
    /// meanwhile.
    pub(super) fn merge_all_until<T>(
        &mut self,
        find: impl FnMut(&mut Buddy) -> Option<T>,
    ) -> Option<T> {
        self.merge_groups_until(self.unmerged.nr_groups(), find)
    }

    fn merge_groups_until<T>(
        &mut self,
        most: usize,
        mut find: impl FnMut(&mut Buddy) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..most {
            let found = find(self);
            if found.is_some() || self.merge_group() == 0 {
                return found;
            }
        }
        find(self)
    }
}
