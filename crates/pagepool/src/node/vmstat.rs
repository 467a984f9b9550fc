//! What the nodes of a pool have counted, by the kernel's names.
//!
//! *Kernel counterpart:* `all_vm_events`, `sum_zone_numa_state` (`mm/vmstat.c`, v5.0). Each sum is exact once
//! those who count were joined; all together they are of one moment only if nothing else runs.

use super::{Node, Nodes};
use crate::types::ZoneType;
use crate::zone::figure::Figure;
use crate::zone::vmstat::{NR_NODE_ITEMS, NodeItem, VmEvent};

impl Node {
    /// The exact value of each of its counters, by index.
    pub(crate) fn items(&self) -> [u64; NR_NODE_ITEMS] {
        NodeItem::ALL.map(|item| self.counter(item))
    }
}

impl Nodes {
    /// What happened so far, caches included, each event with its figure.
    pub(crate) fn events_so_far(&self) -> Vec<(VmEvent, Figure)> {
        let mut sums: Vec<u64> = VmEvent::ALL
            .iter()
            .map(|event| self.events.sum(*event))
            .collect();
        for zone in self.zones() {
            let events = zone.events();
            let pgalloc = match zone.zone_type() {
                ZoneType::Dma => VmEvent::PgallocDma,
                ZoneType::Normal => VmEvent::PgallocNormal,
                ZoneType::Movable => VmEvent::PgallocMovable,
            };
            sums[pgalloc as usize] += events.pages_allocated;
            sums[VmEvent::Pgfree as usize] += events.pages_freed;
            sums[VmEvent::NumaHit as usize] += events.local_hits;
            sums[VmEvent::NumaLocal as usize] += events.local_hits;
            sums[VmEvent::ExtfragEvents as usize] += events.extfrag;
            sums[VmEvent::PcpContended as usize] += events.contended;
        }
        for node in self.iter() {
            let huge = node.arena().huge_backing();
            sums[VmEvent::HugeBacked as usize] += huge.backed_pages;
            sums[VmEvent::HugeRefused as usize] += huge.refused_pages;
        }
        let events = VmEvent::ALL.iter().copied().zip(sums);
        events
            .map(|(event, sum)| (event, event.figure(sum)))
            .collect()
    }
}
