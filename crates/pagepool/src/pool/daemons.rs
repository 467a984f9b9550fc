//! The pool's daemons: what they are given, and how its users start, stop and freeze them.

#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use super::lifetime::DaemonRef;
use super::{Inner, PagePool};
use crate::compact::CompactNode;
use crate::daemon::{Daemons, Machine, StartError, StillRunning, Stopped};
use crate::error::BuildError;
use crate::node::{DaemonPost, DaemonState, Node, Nodes};
use crate::reclaim::Shrink;
use crate::reclaim::balance::Circumstances;
use crate::sync::clock;
use crate::types::NodeId;

impl PagePool {
    /// Starts what does not run of the pool's daemons: a no-op where all do. A daemon that has died by a
    /// panic is started again.
    ///
    /// # Errors
    /// [`BuildError::Thread`] if the system has no thread to give; the daemons before it run.
    pub fn start_daemons(&self) -> Result<(), BuildError> {
        let machine = self.inner.for_daemons();
        self.inner.daemons.start(&machine).map_err(BuildError::from)
    }

    /// Starts a node's daemons if they do not run: for a node whose memory has come into service while
    /// the pool ran.
    ///
    /// # Errors
    /// As [`start_daemons`](Self::start_daemons). A node that does not exist has none to start.
    pub fn online_node(&self, node: NodeId) -> Result<(), BuildError> {
        if self.inner.nodes.get(node).is_none() {
            return Ok(());
        }
        let machine = self.inner.for_daemons();
        let started = self.inner.daemons.run(&machine, node);
        self.inner.renew_boost_rule();
        started.map_err(BuildError::from)
    }

    /// Ends a node's daemons, and returns after they have. What was asked of them is kept for the next
    /// [`online_node`](Self::online_node).
    pub fn offline_node(&self, node: NodeId) {
        if self.inner.nodes.get(node).is_some() {
            self.inner.daemons.stop(&self.inner.nodes, node);
            self.inner.renew_boost_rule();
        }
    }

    /// Returns when every daemon stands at a safe point, with no lock and no folio in its hands: to fork,
    /// to take a snapshot. What is asked of them meanwhile is kept, and requests reclaim for themselves.
    ///
    /// # Errors
    /// [`StillRunning`] names the daemons that did not come to one in time; none is frozen then.
    pub fn freeze(&self, patience: Duration) -> Result<(), StillRunning> {
        Daemons::freeze(&self.inner.nodes, clock::deadline_after(patience))
    }

    /// Lets the daemons go on that [`freeze`](Self::freeze) has stopped.
    pub fn thaw(&self) {
        Daemons::thaw(&self.inner.nodes);
    }

    /// Has the daemons bind themselves anew to the CPUs of their nodes, at their next wake: for after the
    /// system's CPUs have changed. Only daemons of nodes on NUMA nodes of the host are bound.
    pub fn cpus_changed(&self) {
        self.inner.daemons.cpus_changed();
    }
}

/// Daemons that stand still; dropping it lets them go on.
#[must_use = "the daemons go on when it is dropped"]
pub(super) struct Frozen<'a>(&'a Nodes);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        Daemons::thaw(self.0);
    }
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> BuildError {
        let (name, source) = match error {
            StartError::Kind { kind, source } => (kind.to_string(), io::Error::other(source)),
            StartError::Thread { name, source } => (name.to_string(), source),
        };
        BuildError::Thread { name, source }
    }
}

impl Inner {
    /// Ends all daemons, and returns after they have.
    pub(super) fn stop_daemons(&self) {
        match self.daemons.stop_all(&self.nodes) {
            Stopped::Ended => {}
            Stopped::Itself => unreachable!("a daemon has no handle that it could drop"),
        }
    }

    /// Has the daemons stand still until the result is dropped; none if somebody has done so already, or if
    /// they do not within `patience`.
    pub(super) fn freeze_for(&self, patience: Duration) -> Option<Frozen<'_>> {
        let is_frozen = |node: &Node| {
            let states = [&node.kswapd, &node.kcompactd].map(DaemonPost::state);
            states.contains(&DaemonState::Frozen)
        };
        if self.nodes.iter().any(is_frozen) {
            return None;
        }
        let deadline = clock::deadline_after(patience);
        let frozen = Daemons::freeze(&self.nodes, deadline);
        frozen.is_ok().then_some(Frozen(&self.nodes))
    }

    /// Has boosts end by themselves on nodes without a reclaimer that would answer them.
    pub(super) fn renew_boost_rule(&self) {
        for node in self.nodes.iter() {
            let is_alone = matches!(
                node.kswapd.state(),
                DaemonState::Absent | DaemonState::Stopped | DaemonState::Dead
            );
            node.zones()
                .iter()
                .for_each(|zone| zone.set_boost_lapses(is_alone));
        }
    }

    /// Bytes that the pool's tables and buffers take now.
    fn metadata_in_use(&self) -> usize {
        let areas = self.swap.areas();
        let slots = areas.iter().map(|area| area.bytes()).sum::<usize>();
        let buffers = self.stores.iter().count() * crate::backing::Store::bytes();
        let tables = self.nodes.metadata_bytes() + self.folios.bytes() + self.compact.bytes();
        tables + slots + buffers + self.shrinkers.bytes()
    }
}

impl Machine for DaemonRef {
    fn nodes(&self) -> &Nodes {
        &self.pool().nodes
    }

    fn with_shrinker(&self, f: &mut dyn FnMut(&dyn Shrink)) {
        f(&self.pool().reclaimer());
    }

    fn with_compactor(&self, f: &mut dyn FnMut(&dyn CompactNode)) {
        f(&self.pool().compactor());
    }

    fn circumstances(&self) -> Circumstances {
        let pool = self.pool();
        Circumstances {
            laptop_mode: pool.reclaim.laptop_mode() > 0,
            metadata_over_limit: pool.metadata_in_use() > pool.config.metadata_bytes(),
        }
    }

    fn binds_to_cpus(&self) -> bool {
        self.pool().config.is_on_host_nodes()
    }

    fn reset_isolation_hints(&self, node: &Node) {
        self.pool().compactor().flush_hints(node);
    }
}
