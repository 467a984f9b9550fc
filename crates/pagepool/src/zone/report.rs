//! What a zone says of itself: counts, free areas, and whether its invariants hold.
//!
//! *Kernel counterpart:* `zoneinfo_show_print`, `pagetypeinfo_showfree` (`mm/vmstat.c`, v5.0).

use super::fragmentation::FreeCounts;
use super::magazine::Magazines;
use super::moves::BlockMoves;
use super::pcp::{Pcp, PcpEvents, verify_cached};
use super::watermark::Mark;
use super::{Zone, ZoneEvents};
use crate::buddy::{Availability, Buddy, Residency};
use crate::error::{Violation, ensure};
use crate::sync::atomic::Ordering;
use crate::types::{Migratetype, NR_MIGRATETYPES, NR_ORDERS, Order};

impl Zone {
    /// What passed through the caches and past them.
    pub(crate) fn events(&self) -> ZoneEvents {
        let mut sum = ZoneEvents::default();
        for lists in self.pcp.each() {
            let PcpEvents {
                pages_allocated,
                pages_freed,
                local_hits,
            } = lists.events();
            sum.pages_allocated += pages_allocated;
            sum.pages_freed += pages_freed;
            sum.local_hits += local_hits;
        }
        let at_hand = self.magazines.events();
        sum.pages_allocated += at_hand.allocated;
        sum.local_hits += at_hand.hits;
        sum.pages_freed += at_hand.freed;
        let direct = self.core.lock().events;
        ZoneEvents {
            pages_allocated: sum.pages_allocated + direct.pages_allocated,
            pages_freed: sum.pages_freed + direct.pages_freed,
            local_hits: sum.local_hits + direct.local_hits,
            ..direct
        }
    }

    /// Pages in the caches of all CPUs and in threads' magazines.
    pub(crate) fn cached_pages(&self) -> usize {
        let by_cpus: usize = self.pcp.each().map(|lists| lists.cached_pages()).sum();
        by_cpus + self.magazines.pages()
    }

    /// Pages in each CPU's cache.
    pub(crate) fn cached_by_cpu(&self) -> Vec<usize> {
        self.pcp.each().map(|lists| lists.cached_pages()).collect()
    }

    /// Free blocks by type and order.
    pub(crate) fn free_areas(&self) -> FreeAreas {
        let core = self.lock_merged();
        let row = |mt| std::array::from_fn(|o| core.buddy.nr_free(mt, Order::at(o)) as u64);
        FreeAreas {
            nr_free: Migratetype::ALL.map(row),
            reserved_highatomic: core.buddy.reserved_highatomic_pages(),
            blank: core.buddy.free_pages_with(Residency::Blank),
        }
    }

    /// Pageblocks of each type.
    pub(crate) fn pageblocks_by_type(&self) -> [u64; NR_MIGRATETYPES] {
        self.blocks.count_by_type().map(|nr| nr as u64)
    }

    /// The type of each pageblock, lowest first.
    pub(crate) fn types_by_pageblock(&self) -> Vec<Migratetype> {
        self.blocks.types_by_block().collect()
    }

    /// Pages of each pageblock that are not free, lowest first.
    pub(crate) fn in_use_by_pageblock(&self) -> Vec<u16> {
        drop(self.lock_merged());
        let size = self.block_order().pages();
        let in_use = |(block, free): (usize, usize)| {
            let pages = size.min(self.pages - block * size);
            pages.saturating_sub(free) as u16
        };
        let free = self.blocks.free_pages_by_block();
        free.enumerate().map(in_use).collect()
    }

    /// Pages that were moved out of each pageblock, and into each, so far, lowest first.
    pub(crate) fn moved_by_pageblock(&self) -> (Vec<u64>, Vec<u64>) {
        (
            self.moves.pages_out().collect(),
            self.moves.pages_in().collect(),
        )
    }

    /// Pageblocks that hold allocated blocks that can be moved and others, by their type (kernel: mixed
    /// blocks of `pagetypeinfo`). Walks the frame table without the lock, which would be held too long:
    /// exact when nothing else runs.
    pub(crate) fn mixed_pageblocks(&self) -> [u64; NR_MIGRATETYPES] {
        let size = self.block_order().pages();
        let mut mixed = [0; NR_MIGRATETYPES];
        for offset in (0..self.pages).step_by(size) {
            let start = self.start.add(offset);
            let kinds = self.map.kinds(start, size.min(self.pages - offset));
            if kinds.are_mixed() {
                mixed[self.blocks.migratetype(start).idx()] += 1;
            }
        }
        mixed
    }

    /// Bytes of the zone's tables and caches, the zone itself not counted.
    pub(crate) fn metadata_bytes(&self) -> usize {
        let caches = Pcp::bytes(self.pcp.nr_cpus()) + self.magazines.bytes();
        self.core.lock().buddy.bytes() + self.moves.bytes() + caches
    }

    /// An upper bound of [`metadata_bytes`](Self::metadata_bytes) for a zone of `pages`.
    pub(crate) fn estimate(pages: usize, nr_cpus: usize) -> usize {
        let buddy = Buddy::estimate(pages) + BlockMoves::estimate(pages);
        buddy + Pcp::bytes(nr_cpus) + Magazines::estimate(pages, nr_cpus)
    }

    /// Checks every invariant of the zone and what it is made of. Exact when nothing else runs; the
    /// locks are taken one after the other.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        let mut cached = 0;
        let mut slots = self.pcp.each();
        for lists in &mut slots {
            lists.verify(&self.map)?;
            cached += lists.cached_pages();
        }
        drop(slots);
        let mut outcome = Ok(());
        self.magazines.each_frame(|pfn, order| {
            cached += order.pages();
            if outcome.is_ok() {
                outcome = verify_cached(&self.map, pfn, order);
            }
        });
        outcome?;

        let core = self.lock_merged();
        core.buddy.verify()?;
        let free = core.buddy.free_pages();
        ensure!(
            free == self.free_pages(),
            "N2",
            "{free} pages free, published {}",
            self.free_pages()
        );
        let available = Availability::from_raw(self.published.available.load(Ordering::Relaxed));
        ensure!(
            core.buddy.availability() == available,
            "N2",
            "the published availability is old"
        );
        let out = self.verify_frames(&core.buddy)?;
        let withheld = core.buddy.isolated_free_pages();
        ensure!(
            free + withheld + cached + out.allocated + core.withdrawn == self.pages,
            "N1",
            "{free} free + {withheld} withheld + {cached} cached + {} out + {} withdrawn is not {} in {} of {:?}",
            out.allocated,
            core.withdrawn,
            self.pages,
            self.zone,
            self.node
        );
        let left: u64 = self.moves.pages_out().sum();
        let entered: u64 = self.moves.pages_in().sum();
        ensure!(
            left == entered,
            "N4",
            "{left} pages were moved out of pageblocks, {entered} into them"
        );
        let marks = self.marks();
        ensure!(
            marks.get(Mark::Min) <= marks.get(Mark::High),
            "W1",
            "{marks:?}"
        );
        Ok(())
    }

    /// Walks the frames: those marked as heads are not free in the buddy, those inside no block are.
    fn verify_frames(&self, buddy: &Buddy) -> Result<Out, Violation> {
        let mut out = Out::default();
        let mut offset = 0;
        while offset < self.pages {
            let pfn = self.start.add(offset);
            let state = self.map.state(pfn);
            let free = buddy.free_order(pfn);
            match (state.block(), free) {
                (Some((order, _)), None) => {
                    if state.is_allocated() {
                        out.allocated += order.pages();
                    }
                    offset += order.pages();
                }
                (None, Some(order)) => offset += order.pages(),
                (Some(_), Some(order)) => {
                    return Err(Violation::new(
                        "N3",
                        format_args!("{pfn} is {state}, but free at {order:?}"),
                    ));
                }
                (None, None) if state.is_free() => {
                    return Err(Violation::new("N1", format_args!("{pfn} is nowhere")));
                }
                // Withdrawn: counted by the zone; its length is that of its pageblocks.
                (None, None) => {
                    offset += self.block_order().pages() - offset % self.block_order().pages();
                }
            }
        }
        Ok(out)
    }
}

#[derive(Default)]
struct Out {
    allocated: usize,
}

/// What a zone has free.
#[derive(Clone, Debug)]
pub(crate) struct FreeAreas {
    /// Free blocks by type and order.
    pub(crate) nr_free: [[u64; NR_ORDERS]; NR_MIGRATETYPES],
    /// Pages in reserved pageblocks.
    pub(crate) reserved_highatomic: usize,
    /// Pages of whole free blocks whose memory nobody has used yet.
    pub(crate) blank: usize,
}

impl FreeAreas {
    /// Free blocks by order, all types together.
    pub(crate) fn by_order(&self) -> FreeCounts {
        std::array::from_fn(|order| self.nr_free.iter().map(|row| row[order]).sum())
    }
}
