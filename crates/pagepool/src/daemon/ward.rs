//! A node of a pool, as what a [`kswapd`](super::kswapd) or a [`kcompactd`](super::kcompactd) looks after.

use std::sync::Arc;

use super::affinity::{Affinity, Subscription};
use super::{Site, Ward};
use crate::compact::{CompactNode, Compacted, Proactive};
use crate::node::{DaemonPost, Node, Nodes, Pressure, StartBy};
use crate::reclaim::Shrink;
use crate::reclaim::balance::{Balance, Balanced, Circumstances};
use crate::sync::{Requests, WaitQueue};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// What a pool gives to its daemons. Each thread owns one, and drops it as the last thing it does.
pub(crate) trait Machine: Send + 'static {
    /// The pool's nodes.
    fn nodes(&self) -> &Nodes;

    /// Calls `f` with who takes folios out of memory.
    fn with_shrinker(&self, f: &mut dyn FnMut(&dyn Shrink));

    /// Calls `f` with who moves folios together.
    fn with_compactor(&self, f: &mut dyn FnMut(&dyn CompactNode));

    /// What reclaim depends on just now.
    fn circumstances(&self) -> Circumstances;

    /// Whether the daemons of a node should run on its CPUs only. On simulated nodes they should not: a
    /// daemon would wait for its CPU behind the very thread that needs it.
    fn binds_to_cpus(&self) -> bool;

    /// Forgets what compaction has noted of the node's pageblocks: memory was freed since (kernel:
    /// `reset_isolation_suitable`).
    fn reset_isolation_hints(&self, node: &Node);
}

/// One node of a machine.
#[derive(Debug)]
pub(crate) struct NodeWard<M> {
    machine: M,
    node: NodeId,
    affinity: Affinity,
}

impl<M: Machine> NodeWard<M> {
    /// Returns a node as a ward.
    pub(crate) fn new(machine: M, node: NodeId, news: Option<Arc<Subscription>>) -> NodeWard<M> {
        NodeWard {
            machine,
            node,
            affinity: Affinity::new(news),
        }
    }

    fn node(&self) -> &Node {
        self.machine.nodes().node(self.node)
    }

    fn settle(&mut self) {
        if self.machine.binds_to_cpus() {
            let node = self.machine.nodes().node(self.node);
            self.affinity.refresh(node.cpus());
        }
    }

    /// Has the machine's compactor do something with the node.
    fn with_compactor<T>(&self, f: impl Fn(&dyn CompactNode, &Node) -> T) -> T {
        let mut outcome = None;
        self.machine
            .with_compactor(&mut |compactor| outcome = Some(f(compactor, self.node())));
        outcome.expect("a machine has a compactor")
    }
}

impl<M: Machine> Site for NodeWard<M> {
    fn nid(&self) -> NodeId {
        self.node
    }

    fn post(&self) -> &DaemonPost {
        &self.node().kcompactd
    }

    fn compact(&self, asked: Requests, is_interrupted: &dyn Fn() -> bool) -> Compacted {
        self.with_compactor(|compactor, node| compactor.compact_node(node, asked, is_interrupted))
    }

    fn compact_proactively(&self, is_interrupted: &dyn Fn() -> bool) -> Proactive {
        self.with_compactor(|compactor, node| compactor.compact_proactively(node, is_interrupted))
    }

    fn settle_on_cpus(&mut self) {
        self.settle();
    }

    fn count(&self, event: VmEvent) {
        self.machine.nodes().events().count(event);
    }
}

impl<M: Machine> Ward for NodeWard<M> {
    fn nid(&self) -> NodeId {
        self.node
    }

    fn post(&self) -> &DaemonPost {
        &self.node().kswapd
    }

    fn throttled(&self) -> &WaitQueue {
        self.node().pfmemalloc()
    }

    fn is_balanced(&self, asked: Requests) -> bool {
        self.node().is_balanced_for(asked)
    }

    fn is_hopeless(&self) -> bool {
        self.node().is_hopeless()
    }

    fn balance(&self, asked: Requests, is_interrupted: &dyn Fn() -> bool) -> Balanced {
        let mut outcome = None;
        self.machine.with_shrinker(&mut |shrinker| {
            let balance = Balance {
                nodes: self.machine.nodes(),
                node: self.node(),
                shrinker,
                circumstances: &|| self.machine.circumstances(),
                is_interrupted,
            };
            outcome = Some(balance.run(asked));
        });
        outcome.expect("a machine has a shrinker")
    }

    fn hand_over(&self, asked: Requests) {
        let node = self.node();
        self.machine.reset_isolation_hints(node);
        for (class_idx, order) in asked.iter() {
            let order = Order::at(usize::from(order));
            let events = self.machine.nodes().events();
            node.wake_kcompactd(order, ZoneType::ALL[class_idx], StartBy::Caller, events);
        }
    }

    fn set_pressure(&self, pressure: Pressure) {
        self.node().set_pressure(pressure);
    }

    fn settle_on_cpus(&mut self) {
        self.settle();
    }

    fn count(&self, event: VmEvent) {
        self.machine.nodes().events().count(event);
    }
}
