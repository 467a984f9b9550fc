//! Who waits for memory, of a node and of the pool, and who works meanwhile.
//!
//! *Kernel counterpart:* the calls of `psi_memstall_enter` in `mm/` (v5.0, spec 4.16). The kernel has no
//! pressure of a node; here a section counts for the node whose memory is waited for, and for the pool.

use super::{Node, Nodes};
use crate::error::Violation;
use crate::group::Groups;
use crate::psi::worker::{self, Change, Registered};
use crate::psi::{PsiState, Stall};
use crate::types::{GroupId, NodeId};

impl Node {
    /// For how long threads have waited for its memory.
    pub(crate) fn psi(&self) -> &PsiState {
        &self.psi
    }
}

impl Nodes {
    /// For how long threads have waited for memory of any node.
    pub(crate) fn psi(&self) -> &PsiState {
        &self.psi
    }

    /// From now until the result is dropped, this thread waits for memory of a node.
    pub(crate) fn stall(&self, node: NodeId) -> Stall<'_> {
        // A worker of a pool is one of all its nodes.
        let standing = worker::standing_with(&self.psi);
        Stall::enter([(self.node(node).psi(), standing), (&self.psi, standing)])
    }

    /// The same, of a group's thread: the section counts for the group and those above it, too.
    pub(crate) fn stall_in<'a>(
        &'a self,
        node: NodeId,
        groups: &'a Groups,
        group: GroupId,
    ) -> Stall<'a> {
        let pool = worker::standing_with(&self.psi);
        let own = [(self.node(node).psi(), pool), (&self.psi, pool)];
        let of_groups = groups.chain(group).map(|one| {
            let psi = groups.slot(one).psi();
            (psi, worker::standing_with(psi))
        });
        Stall::enter(of_groups.chain(own))
    }

    /// Makes this thread a worker; returns whether [`dismiss_worker`](Self::dismiss_worker) is to be called
    /// for it. It is not if the thread is a worker of too many pools.
    pub(crate) fn enlist_worker(&self) -> bool {
        let registered = worker::register(&self.psi);
        if registered == Registered::First {
            self.for_each_psi(|psi| psi.change(Change::Join));
        }
        registered != Registered::TooMany
    }

    /// Takes back what [`enlist_worker`](Self::enlist_worker) has done, on the same thread.
    pub(crate) fn dismiss_worker(&self) {
        if worker::unregister(&self.psi) {
            self.for_each_psi(|psi| psi.change(Change::Leave));
        }
    }

    fn for_each_psi(&self, f: impl Fn(&PsiState)) {
        self.nodes.iter().map(Node::psi).for_each(&f);
        f(&self.psi);
    }

    /// Checks that pressure adds up, and that nobody waits if nothing runs.
    pub(crate) fn verify_psi(&self, is_quiescent: bool) -> Result<(), Violation> {
        let mut states = self.nodes.iter().map(Node::psi).chain([&self.psi]);
        states.try_for_each(|psi| psi.verify(is_quiescent))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::node::fixture::nodes;
    use crate::psi::PressureKind::{Full, Some};

    fn two_nodes() -> Nodes {
        nodes(&[[0, 64, 0], [0, 64, 0]], 4)
    }

    #[test]
    fn a_stall_counts_for_its_node_and_the_pool() {
        let nodes = two_nodes();
        let [first, second] = [0, 1].map(|node| nodes.node(NodeId::at(node)).psi());
        let stall = nodes.stall(NodeId::at(1));
        assert!(!first.is_stalled(Some) && second.is_stalled(Some) && nodes.psi().is_stalled(Some));
        assert_eq!(
            nodes.verify_psi(true).unwrap_err().invariant(),
            "V5",
            "somebody waits"
        );
        nodes.verify_psi(false).unwrap();
        drop(stall);
        nodes.verify_psi(true).unwrap();
    }

    #[test]
    fn a_worker_works_for_all_nodes_until_it_stalls_itself() {
        let nodes = two_nodes();
        assert!(nodes.enlist_worker() && nodes.enlist_worker());
        std::thread::scope(|scope| {
            let stall = || {
                let _stall = nodes.stall(NodeId::at(0));
                let states = [nodes.psi(), nodes.node(NodeId::at(0)).psi()];
                states.map(|psi| psi.is_stalled(Full))
            };
            assert_eq!(scope.spawn(stall).join().unwrap(), [false; 2]);
            assert_eq!(stall(), [true; 2], "it was the only one");
            nodes.dismiss_worker();
            assert_eq!(scope.spawn(stall).join().unwrap(), [false; 2]);
            nodes.dismiss_worker();
            assert_eq!(scope.spawn(stall).join().unwrap(), [true; 2]);
        });
        nodes.verify_psi(true).unwrap();
    }
}
