//! Reclaim that is confined to a group: since it is at its limit, far beyond its soft one, or since
//! somebody asks for it; and to a node, since its memory is to leave service.
//!
//! *Kernel counterpart:* `try_to_free_mem_cgroup_pages`, `mem_cgroup_soft_limit_reclaim`,
//! `mem_cgroup_soft_reclaim` (v5.0).

use arrayvec::ArrayVec;

use super::control::{DEF_PRIORITY, Reclaimed, SWAP_CLUSTER_MAX, ScanControl, Shrink, Who};
use super::policy::throttle::Powers;
use super::shrink::Reclaimer;
use crate::gfp::Gfp;
use crate::node::{Node, identity};
use crate::sync::clock::Instant;
use crate::types::{GroupId, NodeMask, Order, ZoneType};

/// Below this priority dirty folios are written out in any case.
const WRITES_BELOW: u8 = DEF_PRIORITY - 2;

/// Groups that a soft-limit reclaim tries in vain before it leaves it to the general one (kernel:
/// `MEM_CGROUP_MAX_SOFT_LIMIT_RECLAIM_LOOPS`).
const MAX_SOFT_TRIES: usize = 3;

/// How hard a group that is beyond its soft limit is looked at, in turn, until it has given enough. v5.0
/// begins with the last, and so takes what is in use as readily as what is not.
const OFFENDER_PRIORITIES: [u8; 4] = [DEF_PRIORITY, 8, 4, 0];

/// What is to be reclaimed of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupTerms {
    /// The group, with all below it.
    pub(crate) group: GroupId,
    /// From which nodes.
    pub(crate) nodes: NodeMask,
    /// How many pages.
    pub(crate) pages: usize,
    /// What whoever wants them may do.
    pub(crate) gfp: Gfp,
    /// When to give up.
    pub(crate) deadline: Option<Instant>,
}

impl GroupTerms {
    fn control(&self) -> ScanControl {
        let GroupTerms {
            group,
            nodes: _,
            pages,
            gfp,
            deadline,
        } = *self;
        ScanControl {
            who: Who::Direct,
            target: group,
            breaks_low: false,
            low_spared: false,
            order: Order::ZERO,
            reclaim_idx: ZoneType::Movable,
            priority: DEF_PRIORITY,
            nr_to_reclaim: pages.max(SWAP_CLUSTER_MAX),
            may_writepage: true,
            may_swap: gfp.contains(Gfp::IO),
            may_enter_fs: gfp.contains(Gfp::FS),
            may_shrink_slab: gfp.contains(Gfp::FS),
            powers: if gfp.contains(Gfp::IO | Gfp::FS) {
                Powers::Full
            } else {
                Powers::Restricted
            },
            deadline,
            nr_scanned: 0,
            nr_reclaimed: 0,
        }
    }
}

impl Reclaimer<'_> {
    /// Reclaims from a group, over the nodes; returns the pages reclaimed. What a low limit protects below
    /// the group goes only if there is nothing else.
    pub(crate) fn try_to_free_group_pages(&self, terms: GroupTerms) -> usize {
        let mut sc = terms.control();
        sc.may_writepage = self.state.laptop_mode() == 0;
        self.reclaim_confined(&mut sc, || self.nodes_in(terms.nodes))
    }

    /// The same from one node, and from its zones up to `class`.
    pub(crate) fn try_to_free_node_pages(
        &self,
        node: &Node,
        class: ZoneType,
        terms: GroupTerms,
    ) -> usize {
        let mut sc = ScanControl {
            who: Who::Controller,
            reclaim_idx: class,
            may_writepage: self.state.laptop_mode() == 0,
            ..terms.control()
        };
        self.reclaim_confined(&mut sc, || std::iter::once(node))
    }

    fn reclaim_confined<'n, N>(&self, sc: &mut ScanControl, nodes: impl Fn() -> N) -> usize
    where
        N: Iterator<Item = &'n Node>,
    {
        // What a callback of another pool's freed before, on this thread, is that pool's to count.
        let not_ours = identity::take_freed();
        self.descend(sc, &nodes);
        if sc.nr_reclaimed == 0 && sc.low_spared && !sc.is_late() {
            sc.breaks_low = true;
            self.descend(sc, &nodes);
        }
        for node in nodes() {
            self.snapshot_refaults(node);
        }
        identity::note_freed(not_ours);
        sc.nr_reclaimed
    }

    fn nodes_in(&self, mask: NodeMask) -> impl Iterator<Item = &Node> {
        let nodes = self.custodian.nodes.iter();
        nodes.filter(move |node| mask.contains(node.id()))
    }

    /// From the lightest look at the lists to the hardest, until there is enough.
    fn descend<'n, N>(&self, sc: &mut ScanControl, nodes: impl Fn() -> N)
    where
        N: Iterator<Item = &'n Node>,
    {
        let wanted = sc.nr_to_reclaim;
        for priority in (0..=DEF_PRIORITY).rev() {
            sc.priority = priority;
            sc.may_writepage |= priority < WRITES_BELOW;
            for node in nodes() {
                self.shrink_node(node, sc);
                sc.nr_reclaimed += identity::take_freed();
                sc.nr_to_reclaim = wanted.saturating_sub(sc.nr_reclaimed);
                if sc.nr_to_reclaim == 0 || sc.is_late() {
                    return;
                }
            }
        }
    }

    /// Reclaims from the groups that are the farthest beyond their soft limits, in one node, before
    /// anybody else has to give; returns what that brought.
    pub(super) fn shrink_offenders(&self, node: &Node, sc: &ScanControl) -> Reclaimed {
        let groups = self.custodian.groups;
        let mut passed = ArrayVec::<GroupId, MAX_SOFT_TRIES>::new();
        let mut total = Reclaimed::default();
        while !passed.is_full() && total.reclaimed < sc.nr_to_reclaim && !sc.is_late() {
            let Some((group, beyond)) = groups.worst_offender(&passed) else {
                break;
            };
            let gained = self.shrink_offender(node, sc, group, beyond);
            total.scanned += gained.scanned;
            total.reclaimed += gained.reclaimed;
            if gained.reclaimed == 0 {
                passed.push(group);
            }
        }
        total
    }

    /// Takes a quarter of what a group has beyond its soft limit, or as much as is wanted.
    fn shrink_offender(
        &self,
        node: &Node,
        sc: &ScanControl,
        group: GroupId,
        beyond: usize,
    ) -> Reclaimed {
        let groups = self.custodian.groups;
        let (protection, pages) = groups.protection_of(group, sc.target);
        let spare = pages.saturating_sub(protection.min);
        let quarter = (beyond / 4).max(SWAP_CLUSTER_MAX);
        let wanted = { quarter.min(sc.nr_to_reclaim.max(SWAP_CLUSTER_MAX)) }.min(spare);
        if wanted == 0 {
            return Reclaimed::default();
        }
        let mut total = Reclaimed::default();
        for priority in OFFENDER_PRIORITIES {
            let mut confined = ScanControl {
                target: group,
                order: Order::ZERO,
                priority,
                nr_to_reclaim: wanted - total.reclaimed,
                nr_scanned: 0,
                nr_reclaimed: 0,
                ..sc.clone()
            };
            let pass = self.shrink_node(node, &mut confined);
            total.scanned += pass.scanned;
            total.reclaimed += pass.reclaimed;
            if total.reclaimed >= wanted || confined.is_late() {
                break;
            }
        }
        total
    }
}
