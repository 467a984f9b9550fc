//! What a pool is made of and how it stands, in numbers.
//!
//! *Kernel counterpart:* what `/proc/zoneinfo`, `/proc/buddyinfo` and their like are printed from (`mm/vmstat.c`,
//! v5.0). Here it is a snapshot first: text ([`procfs`](super::procfs)), JSON and metrics are made of the same
//! one, so that they agree.
//!
//! **Invariants**
//! - O1: within one snapshot a number that is said twice is the same: free pages of the pool, of its zones, by
//!   order and by type; pages on lists of a node, of its zones, and in [`Vmstat`].

#![forbid(unsafe_code)]

#[cfg(feature = "serde")]
mod serialize;
mod vmstat;

pub use vmstat::Vmstat;

use super::budget::BudgetStats;
use super::{Inner, PagePool};
use crate::node::lru_list::LruList;
use crate::node::{DaemonState, Node};
use crate::psi::Pressure;
use crate::reclaim::shrinkers::ShrinkerStats;
use crate::types::{
    Migratetype, NR_MIGRATETYPES, NR_ORDERS, NR_ZONES, NodeId, Order, Pfn, ZoneType,
};
use crate::zone::Zone;
use crate::zone::fragmentation;
use crate::zone::magazine::Magazines;
use crate::zone::score::node_score;
use crate::zone::watermark::Mark;

/// A pool at a moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The budget in force: what arena and metadata may take together, in bytes.
    pub budget_bytes: usize,
    /// What the budget should be, can be, and why it is not.
    pub budget: BudgetStats,
    /// What the pool's own tables take of it, in bytes, touched or not.
    pub metadata_bytes: usize,
    /// Pages that can be handed out.
    pub managed_pages: usize,
    /// Pages free in the zones. A page that something is being moved to, or that compaction keeps from others while
    /// it empties a pageblock, is not among them, although nobody holds it.
    pub free_pages: usize,
    /// Free pages in the caches of the CPUs.
    pub cached_pages: usize,
    /// Pages of swap.
    pub swap_total_pages: usize,
    /// Of these, pages that hold nothing.
    pub swap_free_pages: usize,
    /// Folios, in memory or away.
    pub folios: usize,
    /// Of these, movable blocks.
    pub movable_blocks: usize,
    /// Every shrinker: what it is doing, and what has come of it.
    pub shrinkers: Vec<ShrinkerStats>,
    /// Reports of requests that failed or came late so far: see [`failures`](crate::PagePool::failures).
    pub failure_reports: u64,
    /// Requests that entered the slow path so far.
    pub slowpath_entries: u64,
    /// For how long threads have waited for memory.
    pub pressure: Pressure,
    /// Every node.
    pub nodes: Vec<NodeStats>,
    /// What it counts and what happened so far, by the kernel's names.
    pub vmstat: Vmstat,
}

/// A node at a moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeStats {
    /// The node.
    pub id: NodeId,
    /// What its background reclaimer is doing.
    pub kswapd: DaemonState,
    /// What its background compactor is doing.
    pub kcompactd: DaemonState,
    /// Percentage of its free memory that is in smaller pieces than a pageblock, small zones counting
    /// little (kernel: the node's fragmentation score).
    pub fragmentation_score: usize,
    /// Runs of the reclaimer in a row that reclaimed nothing. From 16 on nobody waits for it, until memory
    /// is free again.
    pub kswapd_failures: u32,
    /// For how long threads have waited for its memory.
    pub pressure: Pressure,
    /// Pages of folios on each of its lists.
    pub lru: LruStats,
    /// What it counts, by the kernel's names, as the per-node part of `/proc/zoneinfo`.
    pub vmstat: Vmstat,
    /// How far each CPU's part of these counts may be from what the others know of it, while nobody asks
    /// (kernel: `vm stats threshold`). Here they are exact all the same.
    pub stat_threshold: u8,
    /// Its zones with memory, lowest first.
    pub zones: Vec<ZoneStats>,
    /// Its zones without memory in service, lowest first.
    pub empty_zones: Vec<EmptyZoneStats>,
}

/// A zone that has no memory in service, since it never had any or since all of it was taken out.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EmptyZoneStats {
    /// The zone's type.
    pub zone: ZoneType,
    /// Pages that exist, all of them out of service.
    pub present: usize,
    /// What would be kept back from requests of each class of zone.
    pub protection: [usize; NR_ZONES],
}

/// Pages of folios in memory, by the list that they are on (kernel: `nr_inactive_anon` and so on).
/// Folios that came a moment ago wait in a CPU's batch and are on none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LruStats {
    /// Anonymous folios that were not used lately: next to go to swap.
    pub inactive_anon: usize,
    /// Anonymous folios in use.
    pub active_anon: usize,
    /// Folios of mappings that were not used lately: next to be dropped, or written.
    pub inactive_file: usize,
    /// Folios of mappings in use.
    pub active_file: usize,
    /// Folios that are locked in memory.
    pub unevictable: usize,
}

impl LruStats {
    fn in_zone(node: &Node, zone: ZoneType) -> LruStats {
        let size = |list| node.lru().size_in(list, zone);
        LruStats {
            inactive_anon: size(LruList::InactiveAnon),
            active_anon: size(LruList::ActiveAnon),
            inactive_file: size(LruList::InactiveFile),
            active_file: size(LruList::ActiveFile),
            unevictable: size(LruList::Unevictable),
        }
    }

    /// In the order of the kernel's names.
    pub(crate) fn pages(&self) -> [usize; 5] {
        [
            self.inactive_anon,
            self.active_anon,
            self.inactive_file,
            self.active_file,
            self.unevictable,
        ]
    }
}

impl std::iter::Sum for LruStats {
    fn sum<I: Iterator<Item = LruStats>>(parts: I) -> LruStats {
        parts.fold(LruStats::default(), |sum, part| LruStats {
            inactive_anon: sum.inactive_anon + part.inactive_anon,
            active_anon: sum.active_anon + part.active_anon,
            inactive_file: sum.inactive_file + part.inactive_file,
            active_file: sum.active_file + part.active_file,
            unevictable: sum.unevictable + part.unevictable,
        })
    }
}

/// A zone at a moment. Sizes are in pages unless they say otherwise.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ZoneStats {
    /// The zone's name: `DMA`, `Normal`, `Movable`.
    pub name: &'static str,
    /// The zone's type.
    pub zone: ZoneType,
    /// Its first frame (kernel: `start_pfn`).
    pub start: Pfn,
    /// Pages from its first to its last frame.
    pub spanned: usize,
    /// Of these, pages that exist.
    pub present: usize,
    /// Of these, pages that can be handed out.
    pub managed: usize,
    /// Pages free in the zone, as in [`Stats::free_pages`].
    pub free: usize,
    /// Free pages in the caches of the CPUs and in threads' magazines.
    pub cached: usize,
    /// Pages in pageblocks reserved for urgent requests, free or not.
    pub reserved_highatomic: usize,
    /// The minimum mark, boost included.
    pub min: usize,
    /// The low mark, boost included.
    pub low: usize,
    /// The high mark, boost included.
    pub high: usize,
    /// How far fragmentation has raised the marks.
    pub boost: usize,
    /// What is kept back from requests of each class of zone.
    pub protection: [usize; NR_ZONES],
    /// Free blocks of each order.
    pub nr_free: [u64; NR_ORDERS],
    /// Free blocks by migratetype and order.
    pub nr_free_by_type: [[u64; NR_ORDERS]; NR_MIGRATETYPES],
    /// Pageblocks of each migratetype.
    pub pageblocks_by_type: [u64; NR_MIGRATETYPES],
    /// Pages of folios in this zone on each of the node's lists (kernel: `nr_zone_inactive_anon` and so on).
    pub lru: LruStats,
    /// The order of the zone's pageblocks.
    pub pageblock_order: Order,
    /// Pages free in whole pageblocks.
    pub whole_free_pages: usize,
    /// Whole pageblocks that proactive compaction keeps free of what is free now; 0 if it is off.
    pub whole_blocks_target: usize,
    /// Percentage of what is free that is in smaller pieces than a pageblock (kernel: the fragmentation
    /// score).
    pub fragmentation_score: usize,
    /// Of each pageblock, lowest first, the pages that are not free in the zone: those that are out, those
    /// in the caches of the CPUs, and those out of service.
    pub pageblocks: Vec<u16>,
    /// The type of each pageblock, lowest first; as many as [`pageblocks`](Self::pageblocks) has. Each is of its
    /// own moment: while the pool is at work they need not add up to
    /// [`pageblocks_by_type`](Self::pageblocks_by_type). Serialised, a string with a letter for each:
    /// see [`Migratetype::letter`].
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "serialize::pageblock_types")
    )]
    pub pageblock_types: Vec<Migratetype>,
    /// Of each pageblock, lowest first, the pages of folios that were moved out of it so far, for whoever wanted a
    /// large block or the memory back: what empties a pageblock. As many as [`pageblocks`](Self::pageblocks) has;
    /// they do not wrap, and stay while memory is out of service. (`pgmigrate_success` of the pool counts folios.)
    ///
    /// Serialised, both are a map from the number of a pageblock to pages, without those of which there are none.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::sparse"))]
    pub pageblock_moved_out: Vec<u64>,
    /// Of each pageblock, the pages that were moved into it so far, out of others of the same zone: both have the
    /// same sum while nothing moves.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::sparse"))]
    pub pageblock_moved_in: Vec<u64>,
    /// Pages of free blocks of a pageblock and more that have memory behind them.
    pub resident_free_pages: usize,
    /// Of these, pages whose memory was [asked for ahead](crate::PagePool::prefault) and not used yet: it reads as
    /// zeros. A block that is partly so counts as a whole.
    pub blank_free_pages: usize,
    /// The cache of each CPU.
    pub pagesets: Vec<PagesetStats>,
    /// What threads have at hand.
    pub magazines: MagazineStats,
}

/// The magazines in front of a zone: a few single pages for each thread, which it takes and gives back without a
/// lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MagazineStats {
    /// How many there are. 0 where requests go to the caches of the CPUs at once: in front of zones other than
    /// Normal's, in tiny zones, and where the system has no `membarrier`.
    pub slots: usize,
    /// Threads that have one.
    pub threads: usize,
    /// Pages of a migratetype that each may hold; 0 if they are switched off.
    pub depth: usize,
    /// Pages in all of them, and in the depots, where a thread leaves what it has too much of.
    pub pages: usize,
    /// Pages handed out from them so far.
    pub allocated: u64,
    /// Pages taken back into them so far.
    pub freed: u64,
    /// Pages that a thread left in a depot and that came out again for a thread, the same or another, so far.
    pub exchanged: u64,
}

/// The cache of one CPU in front of a zone.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PagesetStats {
    /// The CPU.
    pub cpu: usize,
    /// Pages in it.
    pub count: usize,
    /// Pages of small blocks at which a batch goes back to the zone.
    pub high: usize,
    /// Pages exchanged with the zone at once.
    pub batch: usize,
}

impl MagazineStats {
    fn of(magazines: &Magazines) -> MagazineStats {
        let events = magazines.events();
        MagazineStats {
            slots: magazines.nr_slots(),
            threads: magazines.nr_taken(),
            depth: magazines.depth(),
            pages: magazines.pages(),
            allocated: events.allocated,
            freed: events.freed,
            exchanged: events.exchanged,
        }
    }
}

impl ZoneStats {
    fn of(zone: &Zone, lru: LruStats) -> ZoneStats {
        let areas = zone.free_areas();
        let nr_free = areas.by_order();
        let shape = zone.free_shape();
        let sizes = zone.pcp_sizes();
        let cached = zone.cached_by_cpu();
        let magazines = MagazineStats::of(zone.magazines());
        let (pageblock_moved_out, pageblock_moved_in) = zone.moved_by_pageblock();
        let pageset = |(cpu, count): (usize, &usize)| PagesetStats {
            cpu,
            count: *count,
            high: sizes.high as usize,
            batch: usize::from(sizes.batch),
        };
        ZoneStats {
            name: zone.zone_type().name(),
            zone: zone.zone_type(),
            start: zone.start(),
            spanned: zone.present(),
            present: zone.present(),
            managed: zone.managed(),
            // Not the number that the zone publishes: it is of another moment.
            free: fragmentation::pages(&nr_free) as usize,
            cached: cached.iter().sum::<usize>() + magazines.pages,
            reserved_highatomic: areas.reserved_highatomic,
            min: zone.mark(Mark::Min),
            low: zone.mark(Mark::Low),
            high: zone.mark(Mark::High),
            boost: zone.boost(),
            protection: ZoneType::ALL.map(|class| zone.reserve(class)),
            nr_free,
            nr_free_by_type: areas.nr_free,
            pageblocks_by_type: zone.pageblocks_by_type(),
            lru,
            pageblock_order: zone.block_order(),
            whole_free_pages: shape.whole,
            whole_blocks_target: zone
                .proactive_marks()
                .map_or(0, |marks| marks.target_blocks(shape)),
            fragmentation_score: shape.score(),
            pageblocks: zone.in_use_by_pageblock(),
            pageblock_moved_out,
            pageblock_moved_in,
            pageblock_types: zone.types_by_pageblock(),
            resident_free_pages: zone.resident_free_pages(),
            blank_free_pages: areas.blank,
            pagesets: cached.iter().enumerate().map(pageset).collect(),
            magazines,
        }
    }

    /// The share of the free memory that a request of `order` cannot use, from 0.0 (all of it is in
    /// large enough blocks) to 1.0 (none is). Kernel: the unusable free index.
    #[must_use]
    pub fn unusable_index(&self, order: Order) -> f64 {
        fragmentation::unusable_index(&self.nr_free, order) as f64 / 1000.0
    }

    /// Why a request of `order` would fail: towards 0.0 for lack of memory, towards 1.0 because the
    /// free memory is in pieces; -1.0 if it would not fail. Kernel: the fragmentation index.
    #[must_use]
    pub fn fragmentation_index(&self, order: Order) -> f64 {
        fragmentation::fragmentation_index(&self.nr_free, order) as f64 / 1000.0
    }
}

impl EmptyZoneStats {
    fn of(zone: &Zone) -> EmptyZoneStats {
        EmptyZoneStats {
            zone: zone.zone_type(),
            present: zone.present(),
            protection: ZoneType::ALL.map(|class| zone.reserve(class)),
        }
    }
}

impl NodeStats {
    fn of(node: &Node) -> NodeStats {
        let lists = ZoneType::ALL.map(|zone| LruStats::in_zone(node, zone));
        let lru: LruStats = lists.into_iter().sum();
        let (mut zones, mut empty_zones) = (vec![], vec![]);
        for zone in node.zones() {
            if zone.is_managed() {
                zones.push(ZoneStats::of(zone, lists[zone.zone_type().idx()]));
            } else {
                empty_zones.push(EmptyZoneStats::of(zone));
            }
        }
        let scores = zones
            .iter()
            .map(|zone| (zone.fragmentation_score, zone.managed));
        NodeStats {
            id: node.id(),
            kswapd: node.kswapd.state(),
            kcompactd: node.kcompactd.state(),
            fragmentation_score: node_score(scores),
            kswapd_failures: node.kswapd.failures(),
            pressure: node.psi().pressure(),
            lru,
            vmstat: Vmstat::of_node(&lru, node.items()),
            stat_threshold: node.stat_threshold(),
            zones,
            empty_zones,
        }
    }
}

impl Stats {
    pub(super) fn of(inner: &Inner) -> Stats {
        let nodes: Vec<_> = inner.nodes.iter().map(NodeStats::of).collect();
        let zones = || nodes.iter().flat_map(|node| &node.zones);
        let vmstat = Vmstat::of_pool(&nodes, inner.nodes.events_so_far());
        Stats {
            budget_bytes: inner.budget_in_force(),
            budget: inner.budget_stats(),
            metadata_bytes: inner.config.metadata_bytes(),
            swap_total_pages: inner.swap.total_pages(),
            swap_free_pages: inner.swap.free_pages(),
            failure_reports: inner.failures.made(),
            folios: inner.folios.nr_open(),
            movable_blocks: inner.movables.len(),
            shrinkers: inner.shrinkers.stats(),
            managed_pages: zones().map(|zone| zone.managed).sum(),
            free_pages: zones().map(|zone| zone.free).sum(),
            cached_pages: zones().map(|zone| zone.cached).sum(),
            slowpath_entries: vmstat.get("pagepool_slowpath_entries").unwrap_or(0),
            pressure: inner.nodes.psi().pressure(),
            nodes,
            vmstat,
        }
    }
}

impl PagePool {
    /// Returns how many pageblocks hold both allocated memory that can be moved and other, by the type of
    /// the pageblock, in the order of [`Migratetype::ALL`](crate::types::Migratetype::ALL) (kernel: the mixed
    /// blocks of `pagetypeinfo`).
    ///
    /// Each of them is lost for large blocks as long as the other memory is there. How many pageblocks
    /// there are says [`ZoneStats::pageblocks`]. Unlike [`stats`](Self::stats) it walks the frame table,
    /// a byte for each page, about a millisecond for a GiB; exact if nothing else runs.
    ///
    /// ```
    /// use pagepool::{Gfp, Order, PagePool};
    /// let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let raw = pool.alloc_pages(Order::ZERO, Gfp::KERNEL)?;
    /// let folio = pool.alloc_folio(4096, Gfp::USER_MOVABLE)?;
    /// assert_eq!(pool.mixed_pageblocks().iter().sum::<u64>(), 0, "they are kept apart");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mixed_pageblocks(&self) -> [u64; NR_MIGRATETYPES] {
        let mut mixed = [0; NR_MIGRATETYPES];
        for zone in self.inner.nodes.iter().flat_map(Node::zones) {
            for (sum, nr) in mixed.iter_mut().zip(zone.mixed_pageblocks()) {
                *sum += nr;
            }
        }
        mixed
    }
}
