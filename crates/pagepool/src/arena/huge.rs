//! Whether the system backs an arena by huge pages, and how it is asked to.
//!
//! A huge page is 2 MiB at once: one fault instead of 512, and one entry of the address translation. It is worth that
//! only where all of it is used, so that a pool may ask for it block by block. By `MADV_COLLAPSE`, and not by
//! `MADV_HUGEPAGE` before the first touch: this sets a mark on a range, of which the system keeps a record each time
//! its neighbours have none, and a process can have 65,530 of those; the former marks nothing, and takes half the time
//! where it was measured.
//!
//! **Locking and ordering:** none; the counters stand for themselves.

use std::io;

use super::{Arena, Memory, touch};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::types::{PAGE_SIZE, PAGEBLOCK_ORDER};

/// Whether the system is to back a pool's memory by huge pages (2 MiB). From a `bool`: `true` is always, `false`
/// never.
///
/// ```
/// use pagepool::{Gfp, HugePages, Order, PagePool};
///
/// let pool = PagePool::builder().managed(64 << 20).huge_pages(HugePages::WhenWhole).build()?;
/// let mut block = pool.alloc_pages(Order::new(9)?, Gfp::KERNEL)?; // 2 MiB, by one fault
/// block.fill(1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum HugePages {
    /// As the host is configured for everybody (`/sys/kernel/mm/transparent_hugepage/enabled`); nothing is asked.
    #[default]
    AsHost,
    /// Where a whole pageblock gets memory at once: for a block of 2 MiB or 4 MiB that had none when it was handed
    /// out, what [`prefault`](crate::PagePool::prefault) makes resident, and what compaction has emptied for nobody in
    /// particular. What is used 4 KiB at a time is spent 4 KiB at a time.
    WhenWhole,
    /// Everywhere: a first touch anywhere costs 2 MiB, if the host has a huge page free.
    Always,
    /// Nowhere, whatever the host does for others.
    Never,
}

impl From<bool> for HugePages {
    fn from(wanted: bool) -> HugePages {
        if wanted {
            HugePages::Always
        } else {
            HugePages::Never
        }
    }
}

/// After how many refusals in a row the system is asked no more: it does not know the advice, or has no huge page
/// free, and each vain attempt costs it a search.
const GIVE_UP_AFTER: u32 = 8;

/// How an arena stands with the system about huge pages.
#[derive(Debug)]
pub(super) struct Huge {
    choice: HugePages,
    backed: AtomicU64,
    refused: AtomicU64,
    refused_in_a_row: AtomicU32,
}

/// Pages of an arena that the system was asked to back by huge ones.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct HugeBacking {
    /// It did.
    pub(crate) backed_pages: u64,
    /// It did not.
    pub(crate) refused_pages: u64,
}

impl Huge {
    pub(super) fn new(choice: HugePages) -> Huge {
        Huge {
            choice,
            backed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refused_in_a_row: AtomicU32::new(0),
        }
    }

    fn has_given_up(&self) -> bool {
        // Relaxed: a hint; who asks once more has lost a system call.
        self.refused_in_a_row.load(Ordering::Relaxed) >= GIVE_UP_AFTER
    }

    /// Notes what the system did with a pageblock; returns whether it is backed.
    fn note(&self, outcome: &io::Result<()>) -> bool {
        let pages = PAGEBLOCK_ORDER.pages() as u64;
        let (counter, in_a_row) = match outcome {
            Ok(()) => (&self.backed, 0),
            // Relaxed: two who are refused at once may count as one.
            Err(_) => (
                &self.refused,
                self.refused_in_a_row.load(Ordering::Relaxed) + 1,
            ),
        };
        // Relaxed: counts by themselves.
        counter.fetch_add(pages, Ordering::Relaxed);
        // Relaxed: as above.
        self.refused_in_a_row.store(in_a_row, Ordering::Relaxed);
        outcome.is_ok()
    }
}

impl Arena {
    /// Has the system back whole pageblocks by huge pages, if the pool wants those where it can have them; returns how
    /// many pages are. Contents stay, and what had no memory reads as zeros.
    ///
    /// # Safety
    /// The caller owns the frames.
    #[cold]
    pub(crate) unsafe fn back_hugely(&self, index: usize, pages: usize) -> usize {
        let of_block = PAGEBLOCK_ORDER.pages();
        let is_whole = index.is_multiple_of(of_block) && pages.is_multiple_of(of_block);
        if !is_whole || !matches!(self.huge.choice, HugePages::WhenWhole | HugePages::Always) {
            return 0;
        }
        let blocks = (index..index + pages).step_by(of_block);
        // SAFETY: these are the caller's frames.
        let backed = blocks.filter(|block| unsafe { self.back_block_hugely(*block) });
        backed.count() * of_block
    }

    /// The same for one pageblock; returns whether it is.
    ///
    /// # Safety
    /// As for all.
    unsafe fn back_block_hugely(&self, index: usize) -> bool {
        let Memory::System(reservation) = &self.memory else {
            return false;
        };
        if self.huge.has_given_up() {
            return false;
        }
        let (start, bytes) = self.span(index, PAGEBLOCK_ORDER.pages());
        // The advice is refused where there is no page at all.
        // SAFETY: `span` has checked the range, whose first page this is, and the caller owns the frames.
        unsafe { touch(start, 1) };
        self.huge
            .note(&reservation.collapse(index * PAGE_SIZE, bytes))
    }

    /// What the system was asked to back by huge pages so far.
    pub(crate) fn huge_backing(&self) -> HugeBacking {
        // Relaxed: counts by themselves.
        HugeBacking {
            backed_pages: self.huge.backed.load(Ordering::Relaxed),
            refused_pages: self.huge.refused.load(Ordering::Relaxed),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn after_refusals_in_a_row_nothing_is_asked_any_more() {
        let huge = Huge::new(HugePages::WhenWhole);
        let refusal = || Err(io::Error::from_raw_os_error(libc::ENOMEM));
        for _ in 1..GIVE_UP_AFTER {
            assert!(!huge.note(&refusal()));
        }
        assert!(huge.note(&Ok(())) && !huge.has_given_up(), "not in a row");
        for _ in 0..GIVE_UP_AFTER {
            assert!(!huge.has_given_up());
            huge.note(&refusal());
        }
        assert!(huge.has_given_up());
    }
}
