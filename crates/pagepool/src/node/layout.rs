//! How a node's memory is divided.

use std::ops::Range;
use std::sync::Arc;

use super::{DaemonPost, Node};
use crate::arena::{Arena, ArenaOptions};
use crate::buddy::Geometry;
use crate::error::BuildError;
use crate::memmap::Memmap;
use crate::psi::PsiState;
use crate::sync::{DeltaCounters, FenceNames, WaitQueue};
use crate::types::{NR_ZONES, NodeId, Order, Pfn, ZoneType};
use crate::zone::Zone;
use crate::zone::vmstat::normal_threshold;

/// Pages of each zone of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ZonePlan {
    /// Pages of the DMA, the Normal and the Movable zone.
    pub(crate) pages: [usize; NR_ZONES],
}

impl ZonePlan {
    /// Pages of all zones.
    pub(crate) fn total(&self) -> usize {
        self.pages.iter().sum()
    }

    /// Where each zone lies in the arena, as page indexes. Zones begin at multiples of the largest
    /// block, since buddies are found by exclusive or; the gaps are address space, not memory.
    pub(crate) fn ranges(&self) -> [Range<usize>; NR_ZONES] {
        let mut next = 0;
        self.pages.map(|pages| {
            let start = next;
            next = (start + pages).next_multiple_of(Order::MAX.pages());
            start..start + pages
        })
    }

    /// Pages of address space that the zones span.
    pub(crate) fn span(&self) -> usize {
        self.ranges()
            .iter()
            .map(|range| range.end)
            .max()
            .unwrap_or(0)
            .max(1)
    }
}

/// A node to be built.
#[derive(Clone, Debug)]
pub(crate) struct NodePlan {
    /// Its zones.
    pub(crate) zones: ZonePlan,
    /// How its arena is reserved.
    pub(crate) arena: ArenaOptions,
    /// The CPUs that belong to it.
    pub(crate) cpus: Vec<usize>,
    /// Its distance to each node, itself included.
    pub(crate) distances: Vec<u8>,
    /// How many groups its lists are for, beside the root.
    pub(crate) max_groups: usize,
}

impl NodePlan {
    /// An upper bound of what the node's tables will take, in bytes.
    pub(crate) fn metadata_bytes(&self, nr_cpus: usize) -> usize {
        let zones: usize = self
            .zones
            .pages
            .iter()
            .map(|pages| Zone::estimate(*pages, nr_cpus))
            .sum();
        Memmap::estimate(self.zones.span()) + zones + Node::fixed_bytes(nr_cpus, self.max_groups)
    }

    pub(super) fn build(
        &self,
        id: NodeId,
        nr_cpus: usize,
        freed: &Arc<WaitQueue>,
    ) -> Result<Node, BuildError> {
        let ranges = self.zones.ranges();
        let span = self.zones.span();
        let dma = ranges[ZoneType::Dma.idx()].clone();
        let locked = (!dma.is_empty()).then_some(dma);
        let options = ArenaOptions {
            locked,
            ..self.arena.clone()
        };
        let arena = Arena::new(span, &options)?;
        // Free from the start, and so it is to whoever looks for those that touch free memory.
        arena.asan_poison(0, span);
        let map = Arc::new(Memmap::new(id, span)?);
        let zone = |zone: ZoneType| {
            let range = &ranges[zone.idx()];
            let geometry = Geometry {
                start: Pfn::new(id, range.start),
                pages: range.len(),
            };
            Zone::new(
                (id, zone),
                geometry,
                Arc::clone(&map),
                nr_cpus,
                Arc::clone(freed),
            )
        };
        let zones = [
            zone(ZoneType::Dma)?,
            zone(ZoneType::Normal)?,
            zone(ZoneType::Movable)?,
        ];
        let thresholds = self
            .zones
            .pages
            .map(|pages| normal_threshold(nr_cpus, pages));
        let threshold = thresholds.into_iter().fold(1, u8::max);
        Ok(Node {
            id,
            arena: Arc::new(arena),
            map,
            zones,
            cpus: self.cpus.clone(),
            distances: self.distances.clone(),
            counters: DeltaCounters::new(nr_cpus, threshold),
            lru: super::lru::Lru::new(nr_cpus, self.max_groups),
            kswapd: DaemonPost::new(FenceNames {
                waker: "kswapd.waker",
                sleeper: "kswapd.sleeper",
            }),
            kcompactd: DaemonPost::new(FenceNames {
                waker: "kcompactd.waker",
                sleeper: "kcompactd.sleeper",
            }),
            pfmemalloc: WaitQueue::new(FenceNames {
                waker: "pfmemalloc.waker",
                sleeper: "pfmemalloc.sleeper",
            }),
            psi: PsiState::new(),
        })
    }
}
