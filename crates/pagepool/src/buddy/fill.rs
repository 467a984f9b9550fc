//! Single pages for those who take many at a time, side by side: each *filler* goes on with a pageblock of its own.
//!
//! *Kernel counterpart:* none; the trees that LLFree reserves for CPUs (Wrenger et al., 2023). What is known of the
//! pages of a pageblock lies on a few cache lines. Threads that allocate from one pageblock, and free what they had,
//! would wait for those lines again and again.
//!
//! A pageblock that a filler has begun with is kept for nobody: a block of any size may come from it, and the filler
//! goes on as long as it has a page. It begins with the fullest one that no other filler goes on with; then with a
//! wholly free one; and only then shares. So at most one pageblock for each filler is broken that need not have been.

use super::Buddy;
use super::block::State;
use crate::types::{Migratetype, NR_MIGRATETYPES, Order, Pfn};

/// Fillers at most.
pub(crate) const MAX_FILLERS: usize = 16;

/// Pageblocks that are looked at for one that no other filler goes on with: each of the others has one.
const LOOKS: usize = MAX_FILLERS;

/// Which pageblock each filler went on with last, by type: its number plus one, or 0. A hint: it is looked at whether
/// there is still something to be had.
#[derive(Debug, Default)]
pub(super) struct Begun([[u32; MAX_FILLERS]; NR_MIGRATETYPES]);

impl Begun {
    fn by(&self, filler: usize, mt: Migratetype) -> Option<usize> {
        (self.0[mt.idx()][filler] as usize).checked_sub(1)
    }

    fn set(&mut self, filler: usize, mt: Migratetype, block: usize) {
        self.0[mt.idx()][filler] = block as u32 + 1;
    }

    fn is_by_other(&self, filler: usize, mt: Migratetype, block: usize) -> bool {
        let mut begun = self.0[mt.idx()].iter().enumerate();
        begun.any(|(other, begun)| other != filler && *begun as usize == block + 1)
    }
}

impl Buddy {
    /// Takes up to `count` single pages of type `want`, and of no other, for a filler; returns how many. Passes the first
    /// of several that follow each other to `sink`, and how many these are.
    pub(crate) fn fill(
        &mut self,
        want: Migratetype,
        filler: usize,
        count: usize,
        sink: &mut dyn FnMut(Pfn, usize),
    ) -> usize {
        let mt = self.grouped(want);
        let mut taken = 0;
        while taken < count {
            let more = self.fill_from_one(mt, filler, count - taken, sink);
            if more == 0 {
                break;
            }
            taken += more;
        }
        taken
    }

    /// The same, as far as one pageblock goes.
    fn fill_from_one(
        &mut self,
        mt: Migratetype,
        filler: usize,
        count: usize,
        sink: &mut dyn FnMut(Pfn, usize),
    ) -> usize {
        if let Some(block) = self.part_for(mt, filler) {
            self.begun.set(filler, mt, block);
            return self.take_runs(block, Order::ZERO, count, sink);
        }
        // Of a whole one; or of one that another filler goes on with.
        let whole = self.smallest_of_whole(Order::ZERO, mt);
        let Some(grant) = whole.or_else(|| self.smallest(Order::ZERO, mt)) else {
            return 0;
        };
        let block = self.block_of(grant.pfn);
        self.begun.set(filler, mt, block);
        sink(grant.pfn, 1);
        1 + self.take_runs(block, Order::ZERO, count - 1, sink)
    }

    /// The partly free pageblock that a filler goes on with, or is to begin with.
    fn part_for(&mut self, mt: Migratetype, filler: usize) -> Option<usize> {
        let begun = self.begun.by(filler, mt).filter(|block| {
            let word = self.word(*block);
            let is_part = word.state() == State::Parts && word.free() > 0;
            is_part && word.migratetype() == mt && !word.is_isolated()
        });
        begun.or_else(|| self.next_part_for(mt, filler))
    }

    /// The one that it is to begin with. What is unmerged of that is merged first: what it will take are longer runs
    /// then. None if that makes it whole, since whole ones are to be had now.
    fn next_part_for(&mut self, mt: Migratetype, filler: usize) -> Option<usize> {
        let block = self.merge_until(|buddy| {
            let mut parts = buddy.shelves.in_order(mt).take(LOOKS);
            parts.find(|block| !buddy.begun.is_by_other(filler, mt, *block))
        })?;
        self.merge_one(block);
        (self.word(block).state() == State::Parts).then_some(block)
    }
}
