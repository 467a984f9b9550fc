//! In which order a request tries the zones of all nodes.
//!
//! *Kernel counterpart:* `build_zonelists`, `find_next_best_node` (v5.0), with the sequence counter
//! of later kernels (spec 9.22): readers take no lock, and a reader that found nothing looks whether
//! the list was rebuilt meanwhile.
//!
//! **Invariants**
//! - Z1: a node's list holds its own zones first, then other nodes by distance; a node's zones stand
//!   together, highest first; only zones with memory are in it.
//! - Z2: the sequence is odd while the lists are being written.

#![forbid(unsafe_code)]

use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use crate::sync::fence::{mutated, ordering_at};
use crate::types::{MAX_NODES, NR_ZONES, NodeId, ZoneType};

/// Entries of the longest list, without its end.
const MAX_ENTRIES: usize = MAX_NODES * NR_ZONES;

/// Marks the end of a list.
const END: u8 = u8::MAX;

/// One zone of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ZoneRef {
    /// The node.
    pub(crate) node: NodeId,
    /// Which of its zones.
    pub(crate) zone: ZoneType,
}

impl ZoneRef {
    const fn pack(self) -> u8 {
        (self.node.get() * NR_ZONES + self.zone.idx()) as u8
    }

    const fn unpack(packed: u8) -> Option<ZoneRef> {
        if packed == END {
            return None;
        }
        let packed = packed as usize;
        Some(ZoneRef {
            node: NodeId::at(packed / NR_ZONES),
            zone: ZoneType::ALL[packed % NR_ZONES],
        })
    }
}

/// What the lists are made from: one entry a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeShape {
    /// Which of its zones have memory.
    pub(crate) managed: [bool; NR_ZONES],
    /// Its distance to each node, itself included.
    pub(crate) distances: Vec<u8>,
    /// Whether CPUs belong to it.
    pub(crate) has_cpus: bool,
}

impl NodeShape {
    fn has_memory(&self) -> bool {
        self.managed.contains(&true)
    }
}

/// The lists of every node.
#[derive(Debug)]
pub(crate) struct Zonelists {
    /// Whose turn it is to rebuild. No allocation or free ever takes it, so that a rebuild may allocate.
    turn: CoreMutex<()>,
    seq: AtomicU32,
    lists: Vec<[AtomicU8; MAX_ENTRIES]>,
}

impl Zonelists {
    /// Returns empty lists for `nr_nodes` nodes.
    pub(crate) fn new(nr_nodes: usize) -> Zonelists {
        let empty = || std::array::from_fn(|_| AtomicU8::new(END));
        Zonelists {
            turn: CoreMutex::new(()),
            seq: AtomicU32::new(0),
            lists: (0..nr_nodes).map(|_| empty()).collect(),
        }
    }

    /// Bytes of one node's list.
    pub(crate) fn bytes_per_node() -> usize {
        size_of::<[AtomicU8; MAX_ENTRIES]>()
    }

    /// Writes all lists anew.
    pub(crate) fn rebuild(&self, nodes: &[NodeShape]) {
        let _turn = self.turn.lock();
        let orders = fallback_orders(nodes);
        let mark = u32::from(!mutated("zonelist.odd"));
        // Acquire: whoever found its cookie current before this has read its entries before the stores
        // below, and saw none of them. Pairs with the Release half of `is_current`. Release: hands that
        // on to the next rebuild's Acquire.
        let seq = self.seq.fetch_add(mark, Ordering::AcqRel);
        debug_assert_eq!(seq % 2, 0, "Z2: rebuilds take turns");
        for (list, order) in self.lists.iter().zip(orders) {
            let entries = order
                .into_iter()
                .flat_map(|node| zones_of(node, &nodes[node.get()]));
            let packed = entries.map(ZoneRef::pack).chain(std::iter::repeat(END));
            for (entry, packed) in list.iter().zip(packed) {
                // Relaxed: a reader may see old and new entries mixed; it finds out by the sequence.
                entry.store(packed, Ordering::Relaxed);
            }
        }
        // Release: publishes the entries. Pairs with the Acquire load in `sequence`.
        let publish = ordering_at("zonelist.publish", Ordering::Release);
        self.seq.fetch_add(2 - mark, publish);
    }

    /// The zones to try for a request that prefers `node`, up to `highest`.
    pub(crate) fn of(&self, node: NodeId, highest: ZoneType) -> impl Iterator<Item = ZoneRef> {
        self.lists[node.get()]
            .iter()
            // Relaxed: see `rebuild`.
            .map_while(|entry| ZoneRef::unpack(entry.load(Ordering::Relaxed)))
            .filter(move |entry| entry.zone <= highest)
    }

    /// A cookie for [`is_current`](Self::is_current).
    pub(crate) fn sequence(&self) -> u32 {
        // Acquire: pairs with the Release store in `rebuild`.
        self.seq
            .load(ordering_at("zonelist.observe", Ordering::Acquire))
    }

    /// Whether no list was rewritten since `cookie` was taken. To be asked before a refusal.
    pub(crate) fn is_current(&self, cookie: u32) -> bool {
        // A read-modify-write, though it changes nothing: it stands in one order with the one that
        // opens a rebuild. After that, it reads an odd value or a later one, and fails. Before, its
        // Release half, which pairs with the other's Acquire, puts the entries read here before those
        // written there. A load could be overtaken: new entries, and still the old sequence.
        // Acquire: keeps every change of the sequence in one chain, which is how models see its order.
        let now = if mutated("zonelist.newest") {
            self.seq.load(Ordering::Acquire)
        } else {
            self.seq.fetch_add(0, Ordering::AcqRel)
        };
        cookie.is_multiple_of(2) && now == cookie
    }
}

fn zones_of(node: NodeId, shape: &NodeShape) -> impl Iterator<Item = ZoneRef> {
    let managed = shape.managed;
    ZoneType::ALL
        .into_iter()
        .rev()
        .filter(move |zone| managed[zone.idx()])
        .map(move |zone| ZoneRef { node, zone })
}

/// For each node, all nodes with memory in the order in which its requests try them.
fn fallback_orders(nodes: &[NodeShape]) -> Vec<Vec<NodeId>> {
    let mut load = vec![0; nodes.len()];
    (0..nodes.len())
        .map(|local| fallback_order(local, nodes, &mut load))
        .collect()
}

/// The order for one node (spec 1.6). `load` makes nodes at equal distance take turns at being the
/// first choice of others.
fn fallback_order(local: usize, nodes: &[NodeShape], load: &mut [usize]) -> Vec<NodeId> {
    let mut left: Vec<usize> = (0..nodes.len())
        .filter(|n| nodes[*n].has_memory())
        .collect();
    let mut order = Vec::with_capacity(left.len());
    let mut turn = nodes.len();
    let mut last_distance = None;
    while let Some(best) = left
        .iter()
        .copied()
        .min_by_key(|n| score(local, *n, nodes, load))
    {
        left.retain(|n| *n != best);
        let distance = nodes[local].distances[best];
        if best != local && last_distance != Some(distance) {
            load[best] += turn;
        }
        last_distance = Some(distance);
        turn -= 1;
        order.push(NodeId::at(best));
    }
    order
}

fn score(local: usize, node: usize, nodes: &[NodeShape], load: &[usize]) -> (bool, usize) {
    let distance = usize::from(nodes[local].distances[node])
        + usize::from(node < local)
        + usize::from(nodes[node].has_cpus);
    let max_load = nodes.len() * nodes.len() + 1;
    (node != local, distance * max_load * MAX_NODES + load[node])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(distances: &[u8]) -> NodeShape {
        NodeShape {
            managed: [false, true, true],
            distances: distances.to_vec(),
            has_cpus: true,
        }
    }

    fn lists(nodes: &[NodeShape]) -> Zonelists {
        let lists = Zonelists::new(nodes.len());
        lists.rebuild(nodes);
        lists
    }

    fn names(lists: &Zonelists, node: usize, highest: ZoneType) -> Vec<String> {
        let entry = |z: ZoneRef| format!("{}{}", z.node, &z.zone.name()[..1]);
        lists.of(NodeId::at(node), highest).map(entry).collect()
    }

    #[test]
    fn own_zones_come_first_highest_first() {
        let lists = lists(&[shape(&[10, 20]), shape(&[20, 10])]);
        assert_eq!(
            names(&lists, 0, ZoneType::Movable),
            ["0M", "0N", "1M", "1N"]
        );
        assert_eq!(names(&lists, 1, ZoneType::Normal), ["1N", "0N"]);
        assert!(names(&lists, 1, ZoneType::Dma).is_empty());
    }

    #[test]
    fn nearer_nodes_come_before_farther_ones() {
        let nodes = [
            shape(&[10, 40, 20]),
            shape(&[40, 10, 20]),
            shape(&[20, 20, 10]),
        ];
        let lists = lists(&nodes);
        assert_eq!(names(&lists, 0, ZoneType::Normal), ["0N", "2N", "1N"]);
        assert_eq!(names(&lists, 1, ZoneType::Normal), ["1N", "2N", "0N"]);
    }

    #[test]
    fn equal_neighbours_take_turns() {
        let nodes = [
            shape(&[10, 20, 20]),
            shape(&[20, 10, 20]),
            shape(&[20, 20, 10]),
        ];
        let lists = lists(&nodes);
        let first_remote = |node| names(&lists, node, ZoneType::Normal)[1].clone();
        let firsts = [first_remote(0), first_remote(1), first_remote(2)];
        let mut distinct = firsts.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            3,
            "each node is somebody's first choice: {firsts:?}"
        );
    }

    #[test]
    fn empty_zones_and_nodes_are_left_out_until_they_have_memory() {
        let mut nodes = [shape(&[10, 20]), shape(&[20, 10])];
        nodes[0].managed = [false; 3];
        let lists = lists(&nodes);
        let cookie = lists.sequence();
        assert_eq!(names(&lists, 0, ZoneType::Movable), ["1M", "1N"]);
        nodes[0].managed = [false, true, false];
        assert!(lists.is_current(cookie));
        lists.rebuild(&nodes);
        assert!(!lists.is_current(cookie));
        assert_eq!(names(&lists, 0, ZoneType::Movable), ["0N", "1M", "1N"]);
    }
}
