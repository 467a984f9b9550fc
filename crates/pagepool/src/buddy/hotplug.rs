//! Pageblocks that leave service and come back.
//!
//! *Kernel counterpart:* `offline_pages`, `online_pages` (v5.0), for pageblocks that are wholly free:
//! emptying others is for compaction. An offline pageblock is an isolated one that nobody is emptying.

use super::Buddy;
use super::block::{Residency, State};
use crate::types::Pfn;

impl Buddy {
    /// Isolates pageblocks of which every page is free, from the highest down, as long as they fit
    /// into `pages`. Passes each to `sink`, with the pages that it has.
    pub(crate) fn isolate_free_blocks(
        &mut self,
        mut pages: usize,
        mut sink: impl FnMut(Pfn, usize),
    ) {
        for block in (0..self.nr_blocks()).rev() {
            let present = self.present_pages(block);
            if present > pages || !self.is_wholly_free(block) {
                continue;
            }
            let pfn = self.pfn(block);
            self.isolate(pfn);
            pages -= present;
            sink(pfn, present);
        }
    }

    /// Isolates the zone's last pageblock if it is a short one, wholly free, and memory may stand
    /// behind it; returns its first frame and its pages. A short pageblock never becomes a whole free
    /// block, so this is the only way for its memory to go back to the system.
    pub(crate) fn isolate_idle_tail(&mut self) -> Option<(Pfn, usize)> {
        let block = self.nr_blocks().checked_sub(1)?;
        let pages = self.present_pages(block);
        let is_short = pages < self.block_order.pages();
        let is_vacant = self.word(block).residency() == Residency::Vacant;
        if !is_short || is_vacant || !self.is_wholly_free(block) {
            return None;
        }
        let pfn = self.pfn(block);
        self.isolate(pfn);
        Some((pfn, pages))
    }

    /// Notes that no memory stands behind an isolated pageblock any more.
    pub(crate) fn note_vacant(&mut self, pfn: Pfn) {
        let block = self.block_of(pfn);
        let word = self.word(block);
        debug_assert!(word.is_isolated());
        if word.residency() == Residency::Vacant {
            return;
        }
        self.change(block, word, word.with_residency(Residency::Vacant));
    }

    /// Pages of a pageblock that exist: fewer at the zone's end.
    pub(super) fn present_pages(&self, block: usize) -> usize {
        self.pages_from(block).min(self.block_order.pages())
    }

    fn is_wholly_free(&self, block: usize) -> bool {
        let word = self.word(block);
        let free = match word.state() {
            State::Fresh | State::Head | State::Tail => true,
            State::Parts => word.free() == self.present_pages(block),
        };
        free && !word.is_isolated()
    }
}
