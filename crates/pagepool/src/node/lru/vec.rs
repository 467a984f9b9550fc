//! What is known of the lists of a group in a node, in numbers, which are read without a lock.
//!
//! *Kernel counterpart:* `lru_zone_size`, `inactive_age`, `refaults` of a `struct lruvec` (v5.0).

use super::NR_LRU;
use crate::node::lru_list::{FolioKind, LruList};
use crate::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use crate::types::{NR_ZONES, ZoneType};

/// Pages on each list, by zone.
#[derive(Debug)]
pub(super) struct Sizes([[AtomicUsize; NR_LRU]; NR_ZONES]);

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes(std::array::from_fn(|_| {
            std::array::from_fn(|_| AtomicUsize::new(0))
        }))
    }
}

impl Sizes {
    pub(super) fn cell(&self, list: LruList, zone: ZoneType) -> &AtomicUsize {
        &self.0[zone.idx()][list.idx()]
    }

    /// Pages on a list in zones up to `up_to`.
    pub(super) fn sum(&self, list: LruList, up_to: ZoneType) -> usize {
        self.0[..=up_to.idx()]
            .iter()
            // Relaxed: a number by itself (U3).
            .map(|zone| zone[list.idx()].load(Ordering::Relaxed))
            .sum()
    }

    /// Adds to a size, under the lists' lock.
    pub(super) fn change(&self, list: LruList, zone: ZoneType, change: isize) {
        let size = self.cell(list, zone);
        // Relaxed: written under the lock only (U3).
        let pages = size.load(Ordering::Relaxed).wrapping_add_signed(change);
        size.store(pages, Ordering::Relaxed);
    }
}

/// What is known of the lists of one group in one node (kernel: the numbers of a `struct lruvec`).
#[derive(Debug, Default)]
pub(crate) struct LruVec {
    pub(super) sizes: Sizes,
    /// Evictions and activations so far, in pages: the clock of refault distances.
    age: AtomicU64,
    /// Pages activated when they came back, so far.
    activated: [AtomicU64; 2],
    /// The same when the last reclaim ended.
    refaults: [AtomicU64; 2],
    /// What it has given too little to reclaim so far, in pages, against other groups.
    credit: AtomicI64,
}

// Relaxed throughout: numbers by themselves, and advice.
impl LruVec {
    /// Pages of the group on a list in zones up to `up_to`.
    pub(crate) fn size(&self, list: LruList, up_to: ZoneType) -> usize {
        self.sizes.sum(list, up_to)
    }

    /// The clock of refault distances, in pages.
    pub(crate) fn age(&self) -> u64 {
        self.age.load(Ordering::Relaxed)
    }

    /// Lets the clock go on by `pages` evicted or activated ones.
    pub(crate) fn advance_age(&self, pages: usize) {
        self.age.fetch_add(pages as u64, Ordering::Relaxed);
    }

    /// Counts pages that were activated when they came back.
    pub(crate) fn note_activated(&self, kind: FolioKind, pages: usize) {
        self.activated[kind as usize].fetch_add(pages as u64, Ordering::Relaxed);
        self.advance_age(pages);
    }

    /// Whether pages were activated when they came back, since the last reclaim ended.
    pub(crate) fn has_refaulted(&self, kind: FolioKind) -> bool {
        let activated = self.activated[kind as usize].load(Ordering::Relaxed);
        activated != self.refaults[kind as usize].load(Ordering::Relaxed)
    }

    /// What it has given too little so far, against other groups.
    pub(crate) fn credit(&self) -> i64 {
        self.credit.load(Ordering::Relaxed)
    }

    /// Changes that. Of two who do at once, one may be lost.
    pub(crate) fn set_credit(&self, credit: i64) {
        self.credit.store(credit, Ordering::Relaxed);
    }

    /// A reclaim has ended.
    pub(crate) fn snapshot_refaults(&self) {
        for (refaults, activated) in self.refaults.iter().zip(&self.activated) {
            refaults.store(activated.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
