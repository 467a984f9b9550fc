//! What a request does for its own memory counts as waiting for it.

use std::thread;

use super::*;
use crate::node::fixture::nodes;
use crate::psi::PressureKind;
use crate::types::NodeId;

/// Notes whether the request is stalled, in the pool, its node and another, while it is at work.
struct Witness<'a> {
    nodes: &'a Nodes,
    reclaimed: Mutex<Vec<[bool; 3]>>,
    compacted: Mutex<Vec<[bool; 3]>>,
}

fn stalled(nodes: &Nodes) -> [bool; 3] {
    let [first, second] = [0, 1].map(|node| nodes.node(NodeId::at(node)).psi());
    [nodes.psi(), first, second].map(|psi| psi.is_stalled(PressureKind::Some))
}

impl Reclaim for Witness<'_> {
    fn reclaim(&self, _request: &Request, _deadline: Option<Instant>) -> usize {
        self.reclaimed.lock().push(stalled(self.nodes));
        0
    }

    fn reclaimable_pages(&self, _zone: &Zone) -> usize {
        0
    }
}

impl Compact for Witness<'_> {
    fn compact(
        &self,
        _request: &Request,
        _flags: AllocFlags,
        _priority: CompactPriority,
        _deadline: Option<Instant>,
    ) -> DirectRun {
        self.compacted.lock().push(stalled(self.nodes));
        DirectRun {
            result: CompactResult::Complete,
            captured: None,
        }
    }

    fn note_success(&self, _request: &Request, _zone: &Zone) {}

    fn would_help(&self, _request: &Request, _flags: AllocFlags) -> bool {
        false
    }
}

/// Asks node 1 for a block.
fn ask_the_second(allocator: &Allocator<'_>, n: usize) -> Result<Granted, AllocError> {
    let placement = Placement {
        preferred: Some(NodeId::at(1)),
        ..Placement::default()
    };
    allocator.alloc_placed(order(n), Gfp::KERNEL, placement)
}

#[test]
fn s4_16_direct_reclaim_and_compaction_are_stalls_of_the_preferred_node() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 8);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    let witness = Witness {
        nodes: &nodes,
        reclaimed: Mutex::new(vec![]),
        compacted: Mutex::new(vec![]),
    };
    let allocator = Allocator {
        reclaimer: Some(&witness),
        compactor: Some(&witness),
        ..bare(&nodes, 30 * MS)
    };
    assert!(ask_the_second(&allocator, 1).is_err(), "nothing is free");
    for seen in [&witness.reclaimed, &witness.compacted] {
        let seen = seen.lock();
        assert!(!seen.is_empty());
        assert!(seen.iter().all(|at| *at == [true, false, true]), "{seen:?}");
    }
    assert_eq!(stalled(&nodes), [false; 3]);
}

#[test]
fn waiting_for_freed_memory_is_a_stall() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 8);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| ask_the_second(&bare(&nodes, AGES), 0).is_ok());
        while !nodes.freed().has_sleeper() {
            thread::yield_now();
        }
        assert_eq!(stalled(&nodes), [true, false, true]);
        pages.iter().for_each(|pfn| nodes.give(*pfn, 0));
        assert!(waiter.join().unwrap());
    });
    assert_eq!(stalled(&nodes), [false; 3]);
}
