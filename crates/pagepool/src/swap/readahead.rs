//! How much to read around a slot that is needed (pure, but for the state at the end).
//!
//! *Kernel counterpart:* `mm/swap_state.c: swapin_nr_pages(), swap_cluster_readahead()` (v5.0). What was
//! swapped out together lies together, so a slot's neighbours are likely to be needed next. How likely
//! is seen from how many pages that were read ahead came to be used.

use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Hits that are assumed at first, so that the first windows are as large as allowed (kernel: the same).
const FIRST_HITS: u32 = 4;

/// What `page_cluster` may be: windows of at most 32 pages, one transfer.
pub(crate) const MAX_PAGE_CLUSTER: u32 = 5;

/// What `page_cluster` is unless it is set: windows of 4 pages with less than 16 MiB of memory, else
/// of 8.
pub(crate) const fn default_page_cluster(memory_bytes: usize) -> u32 {
    if memory_bytes < 16 << 20 { 2 } else { 3 }
}

/// The slots to read, `first` to `last`, with the one that is needed among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    /// The first slot, never the header.
    pub(crate) first: u32,
    /// The last slot.
    pub(crate) last: u32,
}

impl Window {
    /// The slots `nr` at a time, a power of two, that `page` is among, as far as the area goes.
    fn around(page: u32, nr: u32, nr_slots: u32) -> Window {
        Window {
            first: (page & !(nr - 1)).max(1),
            last: (page | (nr - 1)).min(nr_slots - 1),
        }
    }
}

/// What the last read left for the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Last {
    /// The slot that was needed at the last read that had no hits.
    page: u32,
    /// How many slots were read.
    nr: u32,
}

/// How many slots to read at once, given the number of hits since the last read.
fn nr_pages(hits: u32, page: u32, last: Last, max: u32) -> u32 {
    let wanted = match hits {
        0 if page.abs_diff(last.page) == 1 => 2,
        0 => 1,
        hits => (hits.min(max) + 2).next_power_of_two().max(4),
    };
    wanted.max(last.nr / 2).min(max)
}

/// The read-ahead of a pool's swap.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    hits: AtomicU32,
    page_cluster: AtomicU32,
    last: CoreMutex<Last>,
}

impl ReadAhead {
    /// Returns the state before the first read; windows have up to 2^`page_cluster` slots.
    pub(crate) fn new(page_cluster: u32) -> ReadAhead {
        debug_assert!(page_cluster <= MAX_PAGE_CLUSTER);
        ReadAhead {
            hits: AtomicU32::new(FIRST_HITS),
            page_cluster: AtomicU32::new(page_cluster),
            last: CoreMutex::new(Last::default()),
        }
    }

    /// The binary logarithm of the largest window; 0 is no read-ahead.
    pub(crate) fn page_cluster(&self) -> u32 {
        // Relaxed: a setting by itself.
        self.page_cluster.load(Relaxed)
    }

    /// Sets it.
    pub(crate) fn set_page_cluster(&self, page_cluster: u32) {
        debug_assert!(page_cluster <= MAX_PAGE_CLUSTER);
        // Relaxed: as above.
        self.page_cluster.store(page_cluster, Relaxed);
    }

    /// A page that was read ahead is used (kernel: `SWAP_RA_HIT`).
    pub(crate) fn hit(&self) {
        // Relaxed: a count by itself.
        self.hits.fetch_add(1, Relaxed);
    }

    /// What to read in order to get `page` of an area that has `nr_slots`, the header among them.
    pub(crate) fn window(&self, page: u32, nr_slots: u32) -> Window {
        let max = 1 << self.page_cluster();
        if max == 1 {
            return Window::around(page, 1, nr_slots);
        }
        // Relaxed: as above.
        let hits = self.hits.swap(0, Relaxed);
        let mut last = self.last.lock();
        let nr = nr_pages(hits, page, *last, max);
        if hits == 0 {
            last.page = page;
        }
        last.nr = nr;
        drop(last);
        Window::around(page, nr, nr_slots)
    }
}

#[cfg(test)]
impl Window {
    fn len(self) -> u32 {
        self.last - self.first + 1
    }
}

#[cfg(all(test, not(loom)))]
mod tv {
    use super::*;

    fn last(page: u32, nr: u32) -> Last {
        Last { page, nr }
    }

    #[test]
    fn s5_13_without_hits_only_a_neighbour_is_read_with_another() {
        assert_eq!(nr_pages(0, 100, last(50, 0), 8), 1);
        assert_eq!(nr_pages(0, 100, last(99, 0), 8), 2);
        assert_eq!(nr_pages(0, 100, last(101, 0), 8), 2);
    }

    #[test]
    fn s5_13_hits_round_up_to_a_power_of_two_from_4_on() {
        let with = |hits| nr_pages(hits, 100, last(50, 0), 32);
        assert_eq!([1, 2, 3, 6, 7].map(with), [4, 4, 8, 8, 16]);
        assert_eq!(nr_pages(30, 100, last(50, 0), 8), 8);
        assert_eq!(nr_pages(u32::MAX, 100, last(50, 0), 8), 8);
    }

    #[test]
    fn s5_13_a_window_shrinks_by_half_at_most() {
        assert_eq!(nr_pages(0, 100, last(50, 8), 8), 4);
        assert_eq!(nr_pages(0, 100, last(50, 4), 8), 2);
        assert_eq!(nr_pages(0, 100, last(50, 2), 8), 1);
    }

    #[test]
    fn s5_13_the_first_window_is_full_and_the_offset_is_kept_on_hits() {
        let ahead = ReadAhead::new(3);
        let window = ahead.window(100, 1000);
        assert_eq!((window.first, window.last), (96, 103)); // 4 hits were assumed
        assert_eq!(ahead.last.lock().page, 0);
        assert_eq!(ahead.window(300, 1000).len(), 4); // half of it
        assert_eq!(ahead.last.lock().page, 300);
    }

    #[test]
    fn s5_13_windows_are_aligned_and_skip_the_header_and_the_end() {
        assert_eq!(Window::around(5, 8, 1000), Window { first: 1, last: 7 });
        assert_eq!(Window::around(9, 8, 12), Window { first: 8, last: 11 });
        assert_eq!(Window::around(9, 1, 12), Window { first: 9, last: 9 });
    }

    #[test]
    fn s5_13_page_cluster_0_reads_nothing_ahead() {
        let ahead = ReadAhead::new(0);
        ahead.hit();
        assert_eq!(ahead.window(77, 1000).len(), 1);
    }

    #[test]
    fn s5_13_page_cluster_is_2_below_16_mib() {
        assert_eq!(default_page_cluster((16 << 20) - 1), 2);
        assert_eq!(default_page_cluster(16 << 20), 3);
    }
}
