//! The part of a pass over a node that is not about folios: users' caches are asked to free something.
//!
//! *Kernel counterpart:* the call of `shrink_slab` in `shrink_node`, `drop_slab`, `drop_slab_node` (v5.0).
//! kswapd asks in each pass, also while it answers a boost (spec 9.3). A thread that needs memory itself asks
//! only if its request may wait for locks of the application ([`Gfp::FS`](crate::Gfp::FS)).

use std::time::Duration;

use super::control::{ScanControl, Who};
use super::shrink::Reclaimer;
use super::shrinkers::{Errand, Takings};
use crate::node::Node;
use crate::sync::clock::{self, Instant};
use crate::types::GroupId;
use crate::zone::vmstat::VmEvent;

/// How long a pass waits for all shrinkers together: as long as for all I/O.
const PASS_PATIENCE: Duration = Duration::from_millis(100);

/// When all shrinkers together free no more than this, dropping everything has come to an end.
const HARDLY_ANY: usize = 10;

impl Reclaimer<'_> {
    /// Has users' caches trimmed by as much as the pass's priority says; what that freed counts as reclaimed.
    pub(super) fn shrink_slab(&self, node: &Node, sc: &mut ScanControl) {
        if !sc.may_shrink_slab {
            return;
        }
        // kswapd's deadline is for the I/O of this pass, and may be used up.
        let own = clock::deadline_after(PASS_PATIENCE);
        let callers = sc.deadline.filter(|_| sc.who != Who::Kswapd);
        let deadline = [own, callers].into_iter().flatten().min();
        let mut takings = Takings::default();
        for group in self.custodian.groups.under(sc.target) {
            if self.may_take_from(group, sc) {
                takings += self.ask_shrinkers(node, group, sc.priority, deadline);
            }
        }
        sc.nr_reclaimed += takings.pages;
        let of_files = takings.pages_of_files as u64;
        self.custodian
            .nodes
            .events()
            .add(sc.who.inodesteal_event(), of_files);
    }

    /// Has every shrinker free what it can, again and again, until hardly anything comes of it or the
    /// deadline has passed. Returns pages freed.
    pub(crate) fn drop_slab(&self, deadline: Option<Instant>) -> usize {
        let mut pages = 0;
        for node in self.custodian.nodes.iter() {
            loop {
                let mut takings = Takings::default();
                for group in self.custodian.groups.under(GroupId::ROOT) {
                    takings += self.ask_shrinkers(node, group, 0, deadline);
                }
                pages += takings.pages;
                if takings.freed <= HARDLY_ANY || clock::is_over(deadline) {
                    break;
                }
            }
        }
        self.custodian.nodes.events().count(VmEvent::DropSlab);
        pages
    }

    fn ask_shrinkers(
        &self,
        node: &Node,
        group: GroupId,
        priority: u8,
        deadline: Option<Instant>,
    ) -> Takings {
        let takings = self.shrinkers.shrink(Errand {
            node: node.id(),
            group,
            priority,
            pressure: self.state.vfs_cache_pressure(),
            deadline,
        });
        let scanned = takings.scanned as u64;
        self.custodian
            .nodes
            .events()
            .add(VmEvent::SlabsScanned, scanned);
        takings
    }
}
