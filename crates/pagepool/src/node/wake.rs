//! Asking daemons for work.
//!
//! *Kernel counterpart:* `wakeup_kswapd`, `wake_all_kswapds`, `wakeup_kcompactd`,
//! `kcompactd_node_suitable` (v5.0). Two defects of v5.0 are not repeated: a request is judged by its
//! own order and class *before* it is recorded, so that one which nobody will serve cannot spoil the
//! judgement of later ones; and every wake-up has the full barrier. A daemon on call is started by who asks
//! it, if he may block ([`StartBy`]).

use super::{Node, Nodes, StartBy, Walk};
use crate::gfp::Gfp;
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::Zone;
use crate::zone::fragmentation::Suitability;
use crate::zone::vmstat::{VmEvent, VmEvents};

impl Nodes {
    /// Asks the background reclaimer of each node that the request may use, once a node.
    pub(crate) fn wake_all_kswapds(&self, walk: &Walk, gfp: Gfp) {
        let mut last = None;
        for entry in self.zonelists.of(walk.preferred, walk.class) {
            if walk.mask.contains(entry.node) && last.replace(entry.node) != Some(entry.node) {
                self.wake_kswapd(entry.node, walk.order, walk.class, gfp);
            }
        }
    }

    /// Asks one node's background reclaimer, if there is something for it to do. If memory is free
    /// but in pieces, or the reclaimer is hopeless, only compaction can help: it is asked on behalf of
    /// requesters that cannot compact themselves.
    pub(crate) fn wake_kswapd(&self, node: NodeId, order: Order, class: ZoneType, gfp: Gfp) {
        let node = self.node(node);
        if node.needs_reclaim(order, class) {
            self.events.count(VmEvent::KswapdPosts);
            if node.kswapd.post(class, order, StartBy::of(gfp)).woke {
                tracing::event!(
                    name: "mm_vmscan_wakeup_kswapd",
                    target: "pagepool::vmscan",
                    tracing::Level::TRACE,
                    nid = node.id().get(),
                    zid = class.idx(),
                    order = order.get(),
                    gfp_flags = ?gfp,
                );
            }
        } else if !gfp.may_block() {
            node.wake_kcompactd(order, class, StartBy::Another, &self.events);
        }
    }

    /// Has the daemons started that were asked for something on a node that the request may use, and are on call:
    /// by a request that may not block and is about to be refused. Nobody else may ever come, and it would be
    /// refused for ever. It has emptied every cache by now, which takes as long.
    pub(crate) fn see_to_threads(&self, walk: &Walk) {
        for node in self.nodes.iter().filter(|node| walk.mask.contains(node.id)) {
            node.kcompactd.see_to_thread();
            node.kswapd.see_to_thread();
        }
    }
}

impl Node {
    fn needs_reclaim(&self, order: Order, class: ZoneType) -> bool {
        let satisfied = self.is_balanced(order, class) && !self.is_boosted(class);
        !satisfied && !self.is_hopeless()
    }

    /// Asks the background compactor for a block of `order` in a zone up to `class`.
    pub(crate) fn wake_kcompactd(
        &self,
        order: Order,
        class: ZoneType,
        by: StartBy,
        events: &VmEvents,
    ) {
        if order == Order::ZERO {
            return;
        }
        let can_compact = || self.can_compact(order, class);
        let Some(posted) = self.kcompactd.ask(class, order, by, can_compact) else {
            return;
        };
        events.count(VmEvent::KcompactdPosts);
        if posted.woke {
            tracing::event!(
                name: "mm_compaction_wakeup_kcompactd",
                target: "pagepool::compaction",
                tracing::Level::TRACE,
                nid = self.id().get(),
                order = order.get(),
                classzone_idx = class.idx(),
            );
        }
    }

    fn can_compact(&self, order: Order, class: ZoneType) -> bool {
        let suitable =
            |zone: &Zone| zone.compaction_suitable(order, class) == Suitability::Continue;
        self.managed_up_to(class).any(suitable)
    }
}
