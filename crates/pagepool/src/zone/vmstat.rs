//! What happened, counted, by the kernel's names.
//!
//! *Kernel counterpart:* `enum vm_event_item`, `count_vm_events` (v5.0). Events are counted per CPU
//! and summed when read; each CPU's counters have cache lines of their own. What the per-CPU caches
//! do is counted in the caches, under a lock that is held anyway, and added when read.
//!
//! A [`Figure`] is a count with its name and what it says, as `/proc/vmstat`, programs and Prometheus get it.
//!
//! Free pages are not here: a zone knows them exactly ([`Zone::free_pages`](super::Zone)).

#![forbid(unsafe_code)]

use super::figure::Figure;
use crate::sync::PerCpu;
use crate::sync::atomic::{AtomicU64, Ordering};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// An event that is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub(crate) enum VmEvent {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl VmEvent {
            /// All events, by index.
            pub(crate) const ALL: &[VmEvent] = &[$(VmEvent::$variant,)+];

            /// The kernel's name, or ours where there is none.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(VmEvent::$variant => $name,)+
                }
            }

            /// What it counts, in a sentence.
            const fn help(self) -> &'static str {
                match self {
                    $(VmEvent::$variant => concat!($($doc),+),)+
                }
            }
        }
    };
}

// In the order in which v5.0 prints them, ours last.
events! {
    /// Blocks from the preferred node.
    NumaHit = "numa_hit",
    /// Blocks from another node than the preferred one, counted where they came from.
    NumaMiss = "numa_miss",
    /// Blocks from another node than the preferred one, counted where they were wanted.
    NumaForeign = "numa_foreign",
    /// Blocks from the node of the CPU.
    NumaLocal = "numa_local",
    /// Blocks from another node than the CPU's.
    NumaOther = "numa_other",
    /// Pages read back from swap.
    Pswpin = "pswpin",
    /// Pages written to swap.
    Pswpout = "pswpout",
    /// Pages allocated from the DMA zone.
    PgallocDma = "pgalloc_dma",
    /// Pages allocated from the Normal zone.
    PgallocNormal = "pgalloc_normal",
    /// Pages allocated from the Movable zone.
    PgallocMovable = "pgalloc_movable",
    /// Direct reclaim entered for the DMA zone.
    AllocstallDma = "allocstall_dma",
    /// Direct reclaim entered for the Normal zone.
    AllocstallNormal = "allocstall_normal",
    /// Direct reclaim entered for the Movable zone.
    AllocstallMovable = "allocstall_movable",
    /// Pages passed over by reclaim since they lie above the zone it works for, here DMA.
    PgskipDma = "pgskip_dma",
    /// Pages passed over by reclaim since they lie above the zone it works for, here Normal.
    PgskipNormal = "pgskip_normal",
    /// Pages passed over by reclaim since they lie above the zone it works for, here Movable.
    PgskipMovable = "pgskip_movable",
    /// Pages freed.
    Pgfree = "pgfree",
    /// Pages moved to an active list since they were used.
    Pgactivate = "pgactivate",
    /// Pages moved to an inactive list.
    Pgdeactivate = "pgdeactivate",
    /// Folios brought back to memory or given their first memory by an access.
    Pgfault = "pgfault",
    /// Folios brought back to memory by an access that had to read them.
    Pgmajfault = "pgmajfault",
    /// Pages of active lists looked at.
    Pgrefill = "pgrefill",
    /// Pages reclaimed by kswapd.
    PgstealKswapd = "pgsteal_kswapd",
    /// Pages reclaimed by threads that allocate.
    PgstealDirect = "pgsteal_direct",
    /// Pages of inactive lists looked at by kswapd.
    PgscanKswapd = "pgscan_kswapd",
    /// Pages of inactive lists looked at by threads that allocate.
    PgscanDirect = "pgscan_direct",
    /// Times that a thread was made to wait for kswapd before it might reclaim.
    PgscanDirectThrottle = "pgscan_direct_throttle",
    /// Pages of mappings that went with the objects that a shrinker freed, on behalf of a thread that
    /// allocates.
    Pginodesteal = "pginodesteal",
    /// Objects that shrinkers looked at.
    SlabsScanned = "slabs_scanned",
    /// Pages of mappings that went with the objects that a shrinker freed, on behalf of kswapd.
    KswapdInodesteal = "kswapd_inodesteal",
    /// Times that kswapd was woken in its first short sleep.
    KswapdLowWmarkHitQuickly = "kswapd_low_wmark_hit_quickly",
    /// Times that kswapd did not go to sleep since the high mark no longer held, or never did, or something new
    /// was asked of it.
    KswapdHighWmarkHitQuickly = "kswapd_high_wmark_hit_quickly",
    /// Times that kswapd set out to balance its node.
    Pageoutrun = "pageoutrun",
    /// Pages moved to the tail of an inactive list, next to be reclaimed.
    Pgrotated = "pgrotated",
    /// Times that all clean folios of mappings were dropped that could be.
    DropPagecache = "drop_pagecache",
    /// Times that all shrinkers were asked to free what they could.
    DropSlab = "drop_slab",
    /// Folios moved to another place.
    PgmigrateSuccess = "pgmigrate_success",
    /// Folios that could not be moved.
    PgmigrateFail = "pgmigrate_fail",
    /// Pages looked at by compactions for folios to move.
    CompactMigrateScanned = "compact_migrate_scanned",
    /// Pages looked at by compactions for places to move them to.
    CompactFreeScanned = "compact_free_scanned",
    /// Pages that compactions took off lists, to move or to move to.
    CompactIsolated = "compact_isolated",
    /// Direct compactions that ran.
    CompactStall = "compact_stall",
    /// Direct compactions after which the block could not be had.
    CompactFail = "compact_fail",
    /// Direct compactions after which it could.
    CompactSuccess = "compact_success",
    /// Times that kcompactd set out to make a block that was asked for.
    KcompactdWake = "compact_daemon_wake",
    /// Pages looked at by kcompactd for folios to move.
    KcompactdMigrateScanned = "compact_daemon_migrate_scanned",
    /// Pages looked at by kcompactd for places to move them to.
    KcompactdFreeScanned = "compact_daemon_free_scanned",
    /// Pages found locked in memory by reclaim and set aside.
    UnevictablePgsCulled = "unevictable_pgs_culled",
    /// Pages set aside that could be reclaimed again.
    UnevictablePgsRescued = "unevictable_pgs_rescued",
    /// Pages that their owners locked in memory.
    UnevictablePgsMlocked = "unevictable_pgs_mlocked",
    /// Pages that their owners unlocked.
    UnevictablePgsMunlocked = "unevictable_pgs_munlocked",
    /// Pages read ahead from swap.
    SwapRa = "swap_ra",
    /// Pages read ahead that were then used.
    SwapRaHit = "swap_ra_hit",
    /// Requests that entered the slow path.
    SlowpathEntries = "pagepool_slowpath_entries",
    /// Requests that waited for memory to be freed.
    FreedWaits = "pagepool_freed_waits",
    /// Requests that would have been refused but for a last drain of the caches.
    DrainRescues = "pagepool_drain_rescues",
    /// Requests refused.
    Refusals = "pagepool_refusals",
    /// Fragmentation events: types mixed in a pageblock.
    ExtfragEvents = "pagepool_extfrag_events",
    /// Pages that found their CPU's cache taken and went straight to the zone.
    PcpContended = "pagepool_pcp_contended",
    /// Pages given back to the system.
    GivenBack = "pagepool_given_back",
    /// Pages made resident ahead of their first use.
    Prefaulted = "pagepool_prefaulted",
    /// Pages that the system backed by huge ones when it was asked to.
    HugeBacked = "pagepool_huge_backed",
    /// Pages for which it did not.
    HugeRefused = "pagepool_huge_refused",
    /// Folios whose write-out failed; they stay dirty, and in memory.
    WriteErrors = "pagepool_write_errors",
    /// Dirty folios of a user's store that were dropped and could not be written out.
    LostWrites = "pagepool_lost_writes",
    /// Requests for background reclaim that were posted.
    KswapdPosts = "pagepool_kswapd_posts",
    /// Requests for background compaction that were posted.
    KcompactdPosts = "pagepool_kcompactd_posts",
}

const NR_EVENTS: usize = VmEvent::ALL.len();

impl VmEvent {
    /// Whether it tells from which node a block came: v5.0 prints these with the zones, before the nodes.
    pub(crate) const fn is_numa(self) -> bool {
        matches!(
            self,
            VmEvent::NumaHit
                | VmEvent::NumaMiss
                | VmEvent::NumaForeign
                | VmEvent::NumaLocal
                | VmEvent::NumaOther
        )
    }

    /// The event as a figure.
    pub(crate) const fn figure(self, value: u64) -> Figure {
        Figure::counter(self.name(), self.help(), value)
    }
}

impl NodeItem {
    /// Whether it never falls.
    const fn only_rises(self) -> bool {
        match self {
            NodeItem::WorkingsetRefaultAnon
            | NodeItem::WorkingsetRefaultFile
            | NodeItem::WorkingsetActivateAnon
            | NodeItem::WorkingsetActivateFile
            | NodeItem::WorkingsetRestoreAnon
            | NodeItem::WorkingsetRestoreFile
            | NodeItem::VmscanWrite
            | NodeItem::VmscanImmediateReclaim
            | NodeItem::Dirtied
            | NodeItem::Written => true,
            NodeItem::IsolatedAnon
            | NodeItem::IsolatedFile
            | NodeItem::AnonPages
            | NodeItem::FilePages
            | NodeItem::Dirty
            | NodeItem::Writeback
            | NodeItem::KernelMiscReclaimable
            | NodeItem::SwapCached => false,
        }
    }

    /// The item as a figure.
    pub(crate) const fn figure(self, value: u64) -> Figure {
        if self.only_rises() {
            Figure::counter(self.name(), self.help(), value)
        } else {
            Figure::gauge(self.name(), self.help(), value)
        }
    }
}

macro_rules! node_items {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Counters of a node that go up and down, or only up. Each CPU gathers a few changes before
        /// it passes them on (spec 7.1): a read is at most the sum of all thresholds off, a snapshot
        /// is exact.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub(crate) enum NodeItem {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl NodeItem {
            /// All items, by index.
            pub(crate) const ALL: [NodeItem; NR_NODE_ITEMS] = [$(NodeItem::$variant,)+];

            /// The kernel's name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(NodeItem::$variant => $name,)+
                }
            }

            /// What it counts, in a sentence.
            const fn help(self) -> &'static str {
                match self {
                    $(NodeItem::$variant => concat!($($doc),+),)+
                }
            }
        }

        /// Number of node items.
        pub(crate) const NR_NODE_ITEMS: usize = [$($name,)+].len();
    };
}

// In the order in which v5.0 prints them, those of later kernels last or beside their kind.
node_items! {
    /// Pages of anonymous folios taken off their lists for the while.
    IsolatedAnon = "nr_isolated_anon",
    /// Pages of backed folios taken off their lists for the while.
    IsolatedFile = "nr_isolated_file",
    /// Pages of anonymous folios that came back although they had been evicted.
    WorkingsetRefaultAnon = "workingset_refault_anon",
    /// Pages of backed folios that came back although they had been evicted.
    WorkingsetRefaultFile = "workingset_refault_file",
    /// Pages of anonymous folios that came back soon enough to be active at once.
    WorkingsetActivateAnon = "workingset_activate_anon",
    /// Pages of backed folios that came back soon enough to be active at once.
    WorkingsetActivateFile = "workingset_activate_file",
    /// Pages of anonymous folios that came back soon, and had been active before they were evicted.
    WorkingsetRestoreAnon = "workingset_restore_anon",
    /// Pages of backed folios that came back soon, and had been active before they were evicted.
    WorkingsetRestoreFile = "workingset_restore_file",
    /// Pages of anonymous folios in memory.
    AnonPages = "nr_anon_pages",
    /// Pages of backed folios in memory.
    FilePages = "nr_file_pages",
    /// Pages of backed folios that were written to since they were written out.
    Dirty = "nr_dirty",
    /// Pages being written out.
    Writeback = "nr_writeback",
    /// Pages that reclaim wrote out, ever.
    VmscanWrite = "nr_vmscan_write",
    /// Pages that reclaim found dirty and marked to be reclaimed once they are written.
    VmscanImmediateReclaim = "nr_vmscan_immediate_reclaim",
    /// Pages of backed folios that became dirty, ever.
    Dirtied = "nr_dirtied",
    /// Pages written out, ever.
    Written = "nr_written",
    /// Pages of raw blocks whose owners can free them when asked.
    KernelMiscReclaimable = "nr_kernel_misc_reclaimable",
    /// Pages of anonymous folios in memory that have a copy in swap as well.
    SwapCached = "nr_swapcached",
}

/// The threshold beyond which a CPU passes its changes on, in normal times (spec 4.18): more CPUs and
/// more memory bear a larger error.
pub(crate) fn normal_threshold(nr_cpus: usize, managed: usize) -> u8 {
    let units = managed >> (27 - crate::types::PAGE_SHIFT); // of 128 MiB
    (2 * fls(nr_cpus) * (1 + fls(units))).min(125) as u8
}

/// The threshold while the background reclaimer works: all CPUs together may hold back no more than
/// the distance from the minimum to the low mark, so that the minimum is not missed unseen.
pub(crate) fn pressure_threshold(nr_cpus: usize, min: usize, low: usize) -> u8 {
    (low.saturating_sub(min) / nr_cpus).clamp(1, 125) as u8
}

/// Below how many free pages the sum of what the CPUs hold back matters in a zone, if ever: then the
/// threshold falls while the background reclaimer works (kernel: `percpu_drift_mark`). The minimum, low
/// and high mark are given.
pub(crate) fn drift_mark(
    nr_cpus: usize,
    managed: usize,
    [min, low, high]: [usize; 3],
) -> Option<usize> {
    let held_back = nr_cpus * usize::from(normal_threshold(nr_cpus, managed));
    (held_back > low.saturating_sub(min)).then_some(high + held_back)
}

/// The number of the highest bit that is set, counted from 1; 0 if none is.
const fn fls(x: usize) -> u32 {
    usize::BITS - x.leading_zeros()
}

/// The counters of one pool.
#[derive(Debug)]
pub(crate) struct VmEvents {
    per_cpu: PerCpu<[AtomicU64; NR_EVENTS]>,
}

impl VmEvents {
    /// Returns counters at zero for `nr_cpus` CPUs.
    pub(crate) fn new(nr_cpus: usize) -> VmEvents {
        let zeros = |_| std::array::from_fn(|_| AtomicU64::new(0));
        VmEvents {
            per_cpu: PerCpu::new(nr_cpus, zeros),
        }
    }

    /// Counts one event.
    pub(crate) fn count(&self, event: VmEvent) {
        self.add(event, 1);
    }

    /// Counts `nr` events.
    pub(crate) fn add(&self, event: VmEvent, nr: u64) {
        // Relaxed: a count by itself; the thread may have left the CPU, hence read-modify-write.
        self.per_cpu.local()[event as usize].fetch_add(nr, Ordering::Relaxed);
    }

    /// The sum over all CPUs.
    pub(crate) fn sum(&self, event: VmEvent) -> u64 {
        // Relaxed: exact once the counting threads were joined or locked out.
        self.per_cpu
            .iter()
            .map(|cpu| cpu[event as usize].load(Ordering::Relaxed))
            .sum()
    }

    /// Bytes of the counters of `nr_cpus` CPUs.
    pub(crate) fn bytes(nr_cpus: usize) -> usize {
        nr_cpus * size_of::<[AtomicU64; NR_EVENTS]>().next_multiple_of(128)
    }
}

#[cfg(test)]
mod tests {
    mod tv {
        use super::super::{drift_mark, normal_threshold, pressure_threshold};

        #[test]
        fn s4_18_normal_thresholds() {
            assert_eq!(normal_threshold(1, 262_144), 10);
            assert_eq!(normal_threshold(4, 262_144), 30);
            assert_eq!(normal_threshold(64, 262_144), 70);
            assert_eq!(normal_threshold(256, 1 << 24), 125);
        }

        #[test]
        fn s4_18_pressure_thresholds_and_drift_marks() {
            let small = [1024, 1286, 1548];
            assert_eq!(drift_mark(1, 262_144, small), None);
            assert_eq!(drift_mark(4, 262_144, small), None);
            assert_eq!(pressure_threshold(4, 1024, 1286), 65);
            assert_eq!(drift_mark(64, 262_144, small), Some(6028));
            assert_eq!(pressure_threshold(64, 1024, 1286), 4);
            let large = [8192, 24_969, 41_746];
            assert_eq!(drift_mark(256, 1 << 24, large), Some(73_746));
            assert_eq!(pressure_threshold(256, 8192, 24_969), 65);
            assert_eq!(pressure_threshold(256, 10, 12), 1, "at least one");
        }
    }
}
