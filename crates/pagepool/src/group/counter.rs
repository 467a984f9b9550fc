//! How many pages a group has, against how many it may have.
//!
//! *Kernel counterpart:* `struct page_counter`, `page_counter_try_charge`, `page_counter_uncharge`
//! (v5.0). There, a charge that goes beyond the limit is taken back, and others may see it meanwhile; here
//! a charge is one compare-exchange, and the count is never beyond the limit on that account.
//!
//! **Waiting.** Who finds no room may wait for it. That somebody waits is a bit in the word that charges
//! are counted in, so that giving pages back needs no barrier:
//!
//! ```text
//! sleeper                               waker: uncharge()              waker: set_max()
//! ───────                               ─────────────────              ────────────────
//! publish the entry                     word -= pages                  max = new
//! word |= WAITERS, if there is no room  was WAITERS set? take it off   take WAITERS off; was it set?
//! still no room, by max as it is now?   and wake                       then wake
//! sleep
//! ```
//!
//! What is charged for pages that were freed may be [kept aside](crate::zone) for the next ones. Who sleeps
//! gathers it after WAITERS was set; who keeps something looks for WAITERS under the lock that the former takes.
//!
//! All steps on the word are read-modify-writes, and of two of them the second sees the first. A limit is
//! read again after WAITERS was set: whoever raises it later finds the bit.
//!
//! **Invariants**
//! - G1: pages are what was charged and not given back.
//! - G2: a charge leaves them at most at the limit. They are beyond it only where the limit was lowered.

#![allow(
    unreachable_pub,
    reason = "`pub` items are what the models can reach through `pagepool::model`"
)]

use crate::sync::WaitQueue;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::clock::Instant;
use crate::sync::fence::mutated;

/// Somebody waits for pages to be given back.
const WAITERS: u64 = 1 << 63;

/// No limit, in pages.
pub const UNLIMITED: usize = usize::MAX;

/// A count of pages with a limit.
#[derive(Debug)]
pub struct PageCounter {
    /// Pages, and [`WAITERS`].
    word: AtomicU64,
    max: AtomicUsize,
    peak: AtomicUsize,
}

impl Default for PageCounter {
    fn default() -> PageCounter {
        PageCounter {
            word: AtomicU64::new(0),
            max: AtomicUsize::new(UNLIMITED),
            peak: AtomicUsize::new(0),
        }
    }
}

fn pages_of(word: u64) -> usize {
    (word & !WAITERS) as usize
}

impl PageCounter {
    /// Pages charged at this moment.
    pub fn pages(&self) -> usize {
        // Relaxed: a number by itself.
        pages_of(self.word.load(Ordering::Relaxed))
    }

    /// The most that there ever were, as seen by those who charged.
    pub fn peak(&self) -> usize {
        // Relaxed: as in `pages`.
        self.peak.load(Ordering::Relaxed)
    }

    /// Forgets what there was before.
    pub(super) fn forget_peak(&self) {
        // Relaxed: as in `pages`.
        self.peak.store(self.pages(), Ordering::Relaxed);
    }

    /// The most that there may be.
    pub fn max(&self) -> usize {
        // Relaxed: a setting by itself; who sleeps on account of it reads it in `wait`.
        self.max.load(Ordering::Relaxed)
    }

    /// Whether so many more pages would be too many.
    fn is_full_for(&self, word: u64, pages: usize) -> bool {
        pages_of(word).saturating_add(pages) > self.max()
    }

    /// Counts pages, if there is room for them; returns whether there was.
    #[must_use]
    pub fn try_charge(&self, pages: usize) -> bool {
        // Relaxed, here and in the loop: nothing but the number is handed over.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if self.is_full_for(word, pages) {
                return false;
            }
            let charged = word + pages as u64;
            if mutated("group.charge_in_one") {
                self.word.store(charged, Ordering::Relaxed);
                return true;
            }
            match self.word.compare_exchange_weak(
                word,
                charged,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.note_peak(pages_of(charged));
                    return true;
                }
                Err(found) => word = found,
            }
        }
    }

    fn note_peak(&self, pages: usize) {
        // Looked at first, so that a count that goes up and down stores nothing. Relaxed: as in `pages`.
        if pages > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(pages, Ordering::Relaxed);
        }
    }

    /// Gives pages back; returns whether waiters must be woken.
    #[must_use = "threads sleep on until they are woken"]
    pub fn uncharge(&self, pages: usize) -> bool {
        // Relaxed: who waits set the bit by a read-modify-write, and one of the two is the second.
        let before = self.word.fetch_sub(pages as u64, Ordering::Relaxed);
        debug_assert!(pages_of(before) >= pages, "G1: {pages} of {before:x}");
        before & WAITERS != 0 && !mutated("group.uncharge_wakes") && self.call_waiters()
    }

    /// Takes WAITERS off; returns whether it was set.
    #[cold]
    fn call_waiters(&self) -> bool {
        // AcqRel: a limit that was stored before is seen by who sets the bit after; and who set it has
        // published its entry. Pairs with the AcqRel in `is_to_wait`.
        let order = if mutated("group.call_limit") {
            Ordering::Acquire
        } else {
            Ordering::AcqRel
        };
        self.word.fetch_and(!WAITERS, order) & WAITERS != 0
    }

    /// Sets the limit; returns whether waiters must be woken.
    #[must_use = "threads sleep on until they are woken"]
    pub fn set_max(&self, max: usize) -> bool {
        // Relaxed: ordered by the step on the word that follows.
        self.max.store(max, Ordering::Relaxed);
        !mutated("group.max_wakes") && self.call_waiters()
    }

    /// Whether somebody waits for pages to be given back.
    #[inline]
    pub fn has_waiters(&self) -> bool {
        // Relaxed: asked under a lock that who waits takes after it has set the bit (see `wait`).
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Sleeps on `queue` until pages are given back, the limit is raised or the deadline passes; not at
    /// all if there is room for so many pages. `gather` gives back what is kept aside: after WAITERS was set,
    /// so that from then on nothing is kept aside any more.
    pub fn wait(
        &self,
        queue: &WaitQueue,
        pages: usize,
        deadline: Option<Instant>,
        gather: impl FnOnce(),
    ) {
        queue.wait(deadline, || {
            let is_to_wait = self.is_to_wait(pages);
            if is_to_wait && !mutated("group.gather") {
                gather();
            }
            !is_to_wait
        });
    }

    /// Sets WAITERS, unless there is room; returns whether there was none once it was set.
    fn is_to_wait(&self, pages: usize) -> bool {
        // AcqRel: passes the entry on to who takes the bit off, and sees the limit of who did so last. Pairs
        // with `call_waiters`.
        let order = if mutated("group.wait_limit") {
            Ordering::Release
        } else {
            Ordering::AcqRel
        };
        // Relaxed: a first guess.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if self.is_full_for(word, pages) {
                match self.word.compare_exchange_weak(
                    word,
                    word | WAITERS,
                    order,
                    Ordering::Relaxed,
                ) {
                    // By the limit as it is now: it may have been raised before the bit was set.
                    Ok(_) if mutated("group.room_recheck") => return true,
                    Ok(_) => return self.is_full_for(word, pages),
                    Err(found) => word = found,
                }
            } else {
                return false;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_charge_beyond_the_limit_is_refused_and_leaves_no_trace() {
        let counter = PageCounter::default();
        assert!(!counter.set_max(10));
        assert!(counter.try_charge(7));
        assert!(!counter.try_charge(4));
        assert!(counter.try_charge(3));
        assert_eq!((counter.pages(), counter.peak()), (10, 10));
        assert!(!counter.uncharge(10));
        assert_eq!((counter.pages(), counter.peak()), (0, 10));
    }

    #[test]
    fn a_limit_may_be_lowered_below_what_there_is() {
        let counter = PageCounter::default();
        assert!(counter.try_charge(8));
        let _ = counter.set_max(4);
        assert!(!counter.try_charge(1));
        assert!(!counter.uncharge(5));
        assert!(counter.try_charge(1));
        assert_eq!(counter.pages(), 4);
    }

    #[test]
    fn no_limit_is_never_reached() {
        let counter = PageCounter::default();
        assert!(counter.try_charge(usize::MAX >> 2));
        assert!(counter.try_charge(1));
    }

    #[test]
    fn who_waits_is_announced_once() {
        let counter = PageCounter::default();
        let _ = counter.set_max(1);
        assert!(counter.try_charge(1));
        assert!(counter.is_to_wait(1));
        assert!(counter.uncharge(1), "somebody waits");
        assert!(!counter.is_to_wait(1), "there is room");
        assert!(counter.try_charge(1));
        assert!(!counter.uncharge(1), "nobody waits any more");
    }
}
