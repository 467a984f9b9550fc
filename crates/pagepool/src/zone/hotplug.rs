//! Memory that leaves service and comes back while the pool runs.
//!
//! *Kernel counterpart:* `mm/memory_hotplug.c: offline_pages`, `online_pages` (v5.0), in whole
//! pageblocks that are free, or that compaction has emptied. `managed` follows; what is derived from it is the
//! caller's to renew.

use super::evacuate::Unit;
use super::watermark::Mark;
use super::{Core, Freed, Zone};
use crate::sync::atomic::Ordering;
use crate::types::Pfn;

/// A pageblock that was taken out of service: who has it owns its memory.
#[derive(Debug)]
pub(crate) struct OfflineBlock {
    pfn: Pfn,
    pages: usize,
}

impl OfflineBlock {
    /// Its first frame.
    pub(crate) fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// The pages that it has.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }
}

impl Zone {
    /// Takes free pageblocks out of service, up to `pages`; returns them.
    ///
    /// Their memory is the caller's to give back, with [`note_vacant`](Self::note_vacant) after each:
    /// nobody else can touch an offline pageblock.
    pub(crate) fn offline(&self, pages: usize) -> Vec<OfflineBlock> {
        self.offline_down_to(0, pages)
    }

    /// The same, as long as a mark holds for what stays.
    pub(crate) fn offline_above(&self, floor: Mark, pages: usize) -> Vec<OfflineBlock> {
        self.offline_down_to(self.mark(floor), pages)
    }

    fn offline_down_to(&self, least_free: usize, pages: usize) -> Vec<OfflineBlock> {
        self.drain();
        // Room first: nothing allocates under the lock.
        let mut taken = Vec::with_capacity(self.pages.div_ceil(self.block_order().pages()));
        let mut core = self.lock_merged();
        let to_spare = core.buddy.free_pages().saturating_sub(least_free);
        let pages = pages.min(to_spare);
        core.buddy
            .isolate_free_blocks(pages, |pfn, pages| taken.push(OfflineBlock { pfn, pages }));
        let nr_pages: usize = taken.iter().map(|block| block.pages).sum();
        core.offline += nr_pages;
        self.renew_managed(&core);
        self.publish(&core);
        taken
    }

    /// Keeps a pageblock that was [set aside](Self::set_aside) out of service if nothing is left in it;
    /// otherwise releases it.
    pub(crate) fn keep(&self, unit: Unit) -> Result<OfflineBlock, Freed> {
        let mut core = self.lock_merged();
        let pages = unit.order.pages();
        debug_assert_eq!(unit.order, self.block_order(), "one pageblock");
        if core.buddy.free_pages_of(unit.pfn, unit.order) < pages {
            core.buddy.release(unit.pfn, unit.order);
            return Err(self.settle_kept(&core));
        }
        core.offline += pages;
        self.renew_managed(&core);
        self.publish(&core);
        Ok(OfflineBlock {
            pfn: unit.pfn,
            pages,
        })
    }

    /// Notes that an offline pageblock's memory went back to the system.
    pub(crate) fn note_vacant(&self, block: &OfflineBlock) {
        let mut core = self.core.lock();
        core.buddy.note_vacant(block.pfn);
        self.publish(&core);
    }

    /// Withdraws the zone's last pageblock if it is a short one, wholly free, with memory behind it.
    /// To be followed by [`return_tail`](Self::return_tail).
    pub(crate) fn withdraw_tail(&self) -> Option<OfflineBlock> {
        let mut core = self.lock_merged();
        let (pfn, pages) = core.buddy.isolate_idle_tail()?;
        self.publish(&core);
        Some(OfflineBlock { pfn, pages })
    }

    /// Puts a withdrawn tail back.
    pub(crate) fn return_tail(&self, OfflineBlock { pfn, .. }: OfflineBlock) -> Freed {
        let mut core = self.core.lock();
        core.buddy.unisolate(pfn);
        self.settle(&mut core, 0)
    }

    /// Puts a pageblock back into service.
    pub(crate) fn online(&self, OfflineBlock { pfn, pages }: OfflineBlock) {
        let mut core = self.core.lock();
        let was_offline = core.buddy.unisolate(pfn);
        debug_assert!(was_offline, "{pfn} is in service");
        core.offline -= pages;
        self.renew_managed(&core);
        self.publish(&core);
    }

    fn renew_managed(&self, core: &Core) {
        // Relaxed: written under the lock; readers take it as it comes.
        self.managed
            .store(self.pages - core.offline, Ordering::Relaxed);
    }
}
