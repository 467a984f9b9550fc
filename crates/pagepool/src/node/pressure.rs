//! How exact a node's counters are, as there is need.
//!
//! *Kernel counterpart:* `set_pgdat_percpu_threshold`, `calculate_pressure_threshold` (v5.0). Free pages
//! are counted exactly here, so that the thresholds only bound the error of the sizes of LRU lists and
//! the like. The `PGDAT_CONGESTED`, `PGDAT_DIRTY` and `PGDAT_WRITEBACK` bits are absent, since no folio
//! that is being written is on a list.

use super::Node;
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
}
