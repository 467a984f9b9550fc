//! What a node's state means for everybody on it: how exact its counters are, and what reclaim has
//! noticed.
//!
//! *Kernel counterpart:* `set_pgdat_percpu_threshold`, `calculate_pressure_threshold`, the
//! `PGDAT_CONGESTED`, `PGDAT_DIRTY` and `PGDAT_WRITEBACK` bits (v5.0). Free pages are counted exactly
//! here, so that the thresholds only bound the error of the sizes of LRU lists and the like.

use super::Node;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::zone::Zone;
use crate::zone::vmstat::{drift_mark, normal_threshold, pressure_threshold};
use crate::zone::watermark::Mark;

/// How much depends on exact counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pressure {
    /// The background reclaimer sleeps: counting must be cheap.
    Calm,
    /// It works: counts must be near the truth.
    Under,
}

/// The threshold of one zone.
fn threshold(pressure: Pressure, nr_cpus: usize, zone: &Zone) -> u8 {
    let marks = [Mark::Min, Mark::Low, Mark::High].map(|mark| zone.marks().get(mark));
    let drifts = drift_mark(nr_cpus, zone.managed(), marks).is_some();
    match pressure {
        Pressure::Under if drifts => pressure_threshold(nr_cpus, marks[0], marks[1]),
        Pressure::Under | Pressure::Calm => normal_threshold(nr_cpus, zone.managed()),
    }
}

impl Node {
    /// Sets how exact the node's counters are: as the largest of its zones asks for.
    pub(crate) fn set_pressure(&self, pressure: Pressure) {
        let nr_cpus = self.counters.nr_cpus();
        let zones = self.zones.iter().filter(|zone| zone.is_managed());
        let thresholds = zones.map(|zone| threshold(pressure, nr_cpus, zone));
        self.counters.set_threshold(thresholds.fold(1, u8::max));
    }
}

/// What reclaim has noticed of a node lately. Advice: nothing depends on its being right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum NodeBit {
    /// Stores are slower than reclaim.
    Congested = 1,
    /// Many dirty folios are at the tail of the lists.
    Dirty = 2,
    /// Many folios under write-out are.
    Writeback = 4,
}

/// The bits of a node.
#[derive(Debug, Default)]
pub(crate) struct NodeBits(AtomicU8);

impl NodeBits {
    /// Sets a bit.
    pub(crate) fn set(&self, bit: NodeBit) {
        // Relaxed: advice.
        self.0.fetch_or(bit as u8, Ordering::Relaxed);
    }

    /// Whether a bit is set.
    pub(crate) fn has(&self, bit: NodeBit) -> bool {
        // Relaxed: advice.
        self.0.load(Ordering::Relaxed) & bit as u8 != 0
    }

    /// Clears all of them: the node is balanced.
    pub(crate) fn clear(&self) {
        // Relaxed: advice.
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::node::fixture::nodes;
    use crate::types::{NodeId, ZoneType};
    use crate::zone::watermark::Marks;

    #[test]
    fn counters_are_exact_enough_under_pressure_and_cheap_in_calm() {
        // Marks of 4, 5 and 6 pages and two CPUs: each may hold back nothing to speak of.
        let nodes = nodes(&[[0, 1024, 0]], 4);
        let node = nodes.node(NodeId::at(0));
        let calm = node.counters.threshold();
        node.set_pressure(Pressure::Under);
        assert_eq!(node.counters.threshold(), 1);
        node.set_pressure(Pressure::Calm);
        assert_eq!(node.counters.threshold(), calm);
        assert!(calm > 1);
    }

    #[test]
    fn the_least_exact_zone_decides() {
        let nodes = nodes(&[[0, 1024, 1024]], 400);
        let node = nodes.node(NodeId::at(0));
        // From the minimum to the low mark it is 7 pages in the Movable zone, 100 in the other: two
        // CPUs that hold back 4 each may miss the one and not the other.
        for (zone, gap) in [(ZoneType::Normal, 100), (ZoneType::Movable, 7)] {
            node.zone(zone).set_marks(Marks::from_raw(gap << 32 | 10));
        }
        let each = [ZoneType::Normal, ZoneType::Movable]
            .map(|zone| threshold(Pressure::Under, 2, node.zone(zone)));
        assert_eq!(each, [4, 3]);
        node.set_pressure(Pressure::Under);
        assert_eq!(node.counters.threshold(), 4);
    }

    #[test]
    fn bits_are_set_one_by_one_and_cleared_together() {
        let bits = NodeBits::default();
        bits.set(NodeBit::Dirty);
        bits.set(NodeBit::Congested);
        assert!(bits.has(NodeBit::Dirty) && bits.has(NodeBit::Congested));
        assert!(!bits.has(NodeBit::Writeback));
        bits.clear();
        assert!(!bits.has(NodeBit::Dirty) && !bits.has(NodeBit::Congested));
    }
}
