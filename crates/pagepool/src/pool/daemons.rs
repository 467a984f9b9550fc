//! The pool's daemons: what they are given, and how its users start, stop and freeze them.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::lifetime::DaemonRef;
use super::{Inner, PagePool};
use crate::alloc::scope;
use crate::compact::CompactNode;
use crate::daemon::{Answer, Daemons, Machine, Name, StartError, StillRunning, Stopped};
use crate::error::BuildError;
use crate::node::{DaemonPost, Node, Nodes, Starter, identity};
use crate::reclaim::Shrink;
use crate::reclaim::balance::Circumstances;
use crate::sync::{Turned, clock};
use crate::types::NodeId;

impl PagePool {
    /// Starts what does not run of the pool's daemons, those on call included: a no-op where all do. A daemon that
    /// has died by a panic is started again.
    ///
    /// # Errors
    /// [`BuildError::Thread`] if the system has no thread to give; the daemons before it run.
    /// [`BuildError::Limit`] if the pool follows its container and cannot find the limit any more.
    pub fn start_daemons(&self) -> Result<(), BuildError> {
        let machine = self.inner.for_daemons();
        let started = self.inner.daemons.start(&machine);
        self.inner.renew_boost_rule();
        started?;
        self.follow_container()
    }

    /// Has each daemon started by who first asks something of it.
    pub(super) fn call_daemons_on_demand(&self) -> Result<(), BuildError> {
        let starter_of = |name| -> Arc<dyn Starter> {
            let pool = self.inner.for_daemons();
            Arc::new(OnCall { pool, name })
        };
        let stand_by = self.inner.daemons.stand_by(&self.inner.nodes, starter_of);
        stand_by.map_err(BuildError::from)
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
    /// to take a snapshot. What is asked of them meanwhile is kept, and requests reclaim for themselves; none that
    /// is on call gets a thread. A
    /// [change of the budget](Self::resize_budget) ends first, and none begins meanwhile.
    ///
    /// # Errors
    /// [`StillRunning`] names the daemons that did not come to one in time; none is frozen then.
    pub fn freeze(&self, patience: Duration) -> Result<(), StillRunning> {
        let deadline = clock::deadline_after(patience);
        let turn = self.inner.budget.turn();
        if !turn.hold_back(deadline) {
            return Err(StillRunning::of(RESIZE));
        }
        let frozen = Daemons::freeze(&self.inner.nodes, deadline);
        if frozen.is_err() {
            turn.let_go();
        }
        frozen
    }

    /// Lets the daemons go on that [`freeze`](Self::freeze) has stopped.
    pub fn thaw(&self) {
        Daemons::thaw(&self.inner.nodes);
        self.inner.budget.turn().let_go();
    }

    /// Has the daemons bind themselves anew to the CPUs of their nodes, at their next wake: for after the
    /// system's CPUs have changed. Only daemons of nodes on NUMA nodes of the host are bound.
    pub fn cpus_changed(&self) {
        self.inner.daemons.cpus_changed();
    }
}

/// What a change of the budget is called among those that still run.
const RESIZE: &str = "a change of the budget";

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
    /// Ends all daemons, and returns after they have. First who gives them work.
    pub(super) fn stop_daemons(&self) {
        self.limit_watch.stop();
        match self.daemons.stop_all(&self.nodes) {
            Stopped::Ended => {}
            Stopped::Itself => unreachable!("a daemon has no handle that it could drop"),
        }
    }

    /// Has the budget stay as it is until the result is dropped; none if it does anyway, since the pool is frozen,
    /// or if a change does not end within `patience`.
    pub(super) fn keep_from_resizing(&self, patience: Duration) -> Option<Turned<'_>> {
        let turn = self.budget.turn();
        match turn.is_held_back() {
            true => None,
            false => turn.take(clock::deadline_after(patience)),
        }
    }

    /// Has the daemons stand still until the result is dropped; none if somebody has done so already, or if
    /// they do not within `patience`.
    pub(super) fn freeze_for(&self, patience: Duration) -> Option<Frozen<'_>> {
        let still = |node: &Node| [&node.kswapd, &node.kcompactd].map(DaemonPost::stands_still);
        if self.nodes.iter().flat_map(still).all(|still| still) {
            return None;
        }
        let deadline = clock::deadline_after(patience);
        let frozen = Daemons::freeze(&self.nodes, deadline);
        frozen.is_ok().then_some(Frozen(&self.nodes))
    }

    /// Has boosts end by themselves on nodes without a reclaimer that would answer them.
    pub(super) fn renew_boost_rule(&self) {
        for node in self.nodes.iter() {
            let is_alone = !node.kswapd.state().is_in_service();
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

/// A daemon of a pool that has no thread yet.
struct OnCall {
    pool: DaemonRef,
    name: Name,
}

impl Starter for OnCall {
    fn start(&self) {
        // Who frees memory on behalf of a request is not to need any, unless that is all it is there for.
        if scope::is_memalloc() && !identity::is_daemon() {
            return;
        }
        let pool = self.pool.pool();
        match pool.daemons.answer(&self.pool, self.name) {
            Answer::Left => {}
            // Boosts end by themselves where nobody answers them.
            Answer::Started | Answer::Failed(..) => pool.renew_boost_rule(),
        }
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
