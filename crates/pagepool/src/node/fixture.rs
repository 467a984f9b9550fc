//! Small nodes for tests: pages of each zone are given, CPU n belongs to node n, and nothing is
//! cached until a test says so.

use super::{MarkSettings, NodePlan, Nodes, ZonePlan};
use crate::arena::{ArenaOptions, Source};
use crate::gfp::Gfp;
use crate::sync::CoreGuard;
use crate::types::{Migratetype, NR_ZONES, NodeId, NodeMask, Order, Pfn, ZoneType};
use crate::zone::Zone;
use crate::zone::fragmentation::DEFAULT_EXTFRAG_THRESHOLD;
use crate::zone::sizing::PcpSizes;
use crate::zone::vmstat::VmEvent;

use super::{Granted, Walk};

/// Class and order of each request to a daemon.
type Asked = Vec<(usize, u8)>;

/// Settings with a minimum of so many pages for all zones together, and no reserves.
pub(crate) fn settings(pages_min: u64) -> MarkSettings {
    MarkSettings {
        min_free_kbytes: Some(pages_min * 4),
        watermark_scale_factor: 1,
        watermark_boost_factor: 15_000,
        lowmem_reserve_ratio: [0; NR_ZONES],
        percpu_pagelist_fraction: 0,
        compaction_proactiveness: 0,
        extfrag_threshold: DEFAULT_EXTFRAG_THRESHOLD,
        keep_resident: None,
    }
}

/// Builds a node for each entry: pages of its DMA, Normal and Movable zone. The distance of two
/// nodes grows with the difference of their numbers.
pub(crate) fn nodes(zones: &[[usize; NR_ZONES]], pages_min: u64) -> Nodes {
    nodes_with(zones, &settings(pages_min))
}

/// As [`nodes`], with settings of the test's own.
pub(crate) fn nodes_with(zones: &[[usize; NR_ZONES]], settings: &MarkSettings) -> Nodes {
    let plan = |(node, pages): (usize, &[usize; NR_ZONES])| NodePlan {
        zones: ZonePlan { pages: *pages },
        arena: ArenaOptions {
            // The heap locks nothing, so that a DMA zone needs no permission.
            source: if pages[0] > 0 {
                Source::Heap
            } else {
                Source::System
            },
            ..ArenaOptions::default()
        },
        cpus: vec![node],
        distances: (0..zones.len())
            .map(|other| 10 + 10 * node.abs_diff(other) as u8)
            .collect(),
        max_groups: 0,
    };
    let plans: Vec<_> = zones.iter().enumerate().map(plan).collect();
    let nodes = Nodes::build(&plans, zones.len().max(2)).expect("small nodes can be built");
    nodes.apply(settings);
    let off = PcpSizes {
        batch: 1,
        high: 0,
        blocks: 0,
    };
    nodes.zones().for_each(|zone| zone.set_pcp_sizes(off));
    nodes
}

/// A walk for unmovable memory of the Normal class that prefers `node`.
pub(crate) fn walk_at(order: usize, node: usize) -> Walk {
    Walk {
        order: Order::at(order),
        want: Migratetype::Unmovable,
        class: ZoneType::Normal,
        preferred: NodeId::at(node),
        mask: NodeMask::ALL,
    }
}

/// The set of the nodes with these numbers.
pub(crate) fn mask(nodes: &[usize]) -> NodeMask {
    nodes.iter().map(|node| NodeId::at(*node)).collect()
}

impl Nodes {
    /// The Normal zone of a node.
    pub(crate) fn normal(&self, node: usize) -> &Zone {
        self.node(NodeId::at(node)).zone(ZoneType::Normal)
    }

    /// Gives a block back and wakes who waits for it.
    pub(crate) fn give(&self, pfn: Pfn, order: usize) {
        let zone = self.node(pfn.node()).zone_of(pfn).expect("it is ours");
        let freed = zone.put(pfn, Order::at(order));
        if let Some(waiters) = freed.waiters {
            waiters.wake_all();
        }
    }

    /// How often an event was counted past the caches.
    pub(crate) fn counted(&self, event: VmEvent) -> u64 {
        self.events().sum(event)
    }

    /// What the node's daemons were asked for: reclaimer, compactor.
    pub(crate) fn asked(&self, node: usize) -> (Asked, Asked) {
        let node = self.node(NodeId::at(node));
        let requests = |post: &super::DaemonPost| post.take().iter().collect();
        (requests(&node.kswapd), requests(&node.kcompactd))
    }

    /// Makes other drains wait, as a slow one does.
    pub(crate) fn hold_drain_turn(&self) -> CoreGuard<'_, ()> {
        self.drain_turn.lock()
    }

    /// Walks with no flags but those given, on behalf of nobody.
    pub(crate) fn plain_walk(&self, walk: &Walk) -> Option<Pfn> {
        let none = crate::zone::watermark::AllocFlags::empty();
        let granted: Option<Granted> = self.walk(walk, none, Gfp::empty());
        granted.map(|granted| granted.taken.pfn())
    }
}
