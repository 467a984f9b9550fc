//! Which groups a pass over a node takes from, and how much of what is wanted from each.
//!
//! *Kernel counterpart:* `shrink_node`, `mem_cgroup_iter`, `mem_cgroup_protected`, `snapshot_refaults`
//! (v5.0). What differs: of several groups those have their turn that have given too little so far (see
//! [`fairness`](super::policy::fairness)); v5.0 visits all of them in a pass for the whole pool, and takes
//! what it wants from each.

use super::control::{Reclaimed, ScanControl, Shrink};
use super::domain::Domain;
use super::policy::for_compaction::{PassEnd, should_continue};
use super::policy::{PerList, fairness};
use super::shrink::Reclaimer;
use crate::group::protection::Verdict;
use crate::group::{GroupItem, Groups};
use crate::node::Node;
use crate::node::lru_list::LruList;
use crate::sync::thread;
use crate::types::{GroupId, Order, ZoneType};
use crate::zone::Zone;
use crate::zone::fragmentation::Suitability;

/// The least that a group is asked for.
const STAKE: usize = fairness::STAKE as usize;

impl<'a> Reclaimer<'a> {
    fn groups(&self) -> &'a Groups {
        self.custodian.groups
    }

    /// Pages on the lists of a group in a node.
    pub(crate) fn sizes_of(node: &Node, group: GroupId) -> PerList<usize> {
        Domain { node, group }.all_sizes()
    }

    /// One pass over the lists of all groups that the reclaim is for.
    fn shrink_groups(&self, node: &Node, sc: &mut ScanControl) {
        let groups = self.groups();
        if groups.is_trivial() {
            let group = GroupId::ROOT;
            return self.shrink_lists(Domain { node, group }, sc, sc.nr_to_reclaim, 0);
        }
        if !sc.target.is_root() {
            return self.shrink_subtree(node, sc);
        }
        self.pay_out_credit(node, sc);
        let mut richest: Option<(GroupId, i64)> = None;
        let mut has_looked = false;
        for group in groups.under(sc.target) {
            let credit = node.lru().of(group).credit();
            if sc.is_in_need() || fairness::has_turn(credit, sc.nr_to_reclaim) {
                has_looked |= self.take_turn(Domain { node, group }, sc);
            } else if richest.is_none_or(|(_, most)| credit > most) {
                richest = Some((group, credit));
            }
            if sc.is_late() {
                return;
            }
        }
        if let Some((group, _)) = richest.filter(|_| !has_looked) {
            self.take_turn(Domain { node, group }, sc);
        }
    }

    /// The same because of one group: those below it give by what could be taken of them, and what they owe
    /// to others stays as it is.
    fn shrink_subtree(&self, node: &Node, sc: &mut ScanControl) {
        let can_swap = self.can_swap(node, sc);
        let reclaim_idx = sc.reclaim_idx;
        let evictable = |group| Domain { node, group }.evictable(reclaim_idx, can_swap);
        let all = { self.groups().under(sc.target) }.map(evictable).sum();
        let wanted = sc.nr_to_reclaim;
        for group in self.groups().under(sc.target) {
            let share = fairness::earned(wanted, evictable(group), all);
            let share = usize::try_from(share).unwrap_or(0).max(STAKE);
            self.shrink_group(Domain { node, group }, sc, share.min(wanted));
            if sc.is_late() {
                return;
            }
        }
    }

    /// Each group earns by what could be taken of it.
    fn pay_out_credit(&self, node: &Node, sc: &ScanControl) {
        let can_swap = self.can_swap(node, sc);
        let evictable = |group| Domain { node, group }.evictable(sc.reclaim_idx, can_swap);
        let groups = || self.groups().under(sc.target);
        let all = groups().map(evictable).sum();
        for group in groups() {
            let vec = node.lru().of(group);
            let earned = fairness::earned(sc.nr_to_reclaim, evictable(group), all);
            // Who has nothing to give is owed nothing later.
            let credit = if earned == 0 { 0 } else { vec.credit() };
            vec.set_credit(fairness::changed(credit, earned));
        }
    }

    /// Whether anything of a group may be taken now.
    pub(super) fn may_take_from(&self, group: GroupId, sc: &ScanControl) -> bool {
        let (protection, pages) = self.groups().protection_of(group, sc.target);
        matches!(
            protection.verdict(pages, sc.breaks_low),
            Verdict::Beyond { .. }
        )
    }

    /// Takes from one group what it owes, in need all of it, and notes that as paid; returns whether it was
    /// looked at.
    fn take_turn(&self, domain: Domain<'_>, sc: &mut ScanControl) -> bool {
        let vec = domain.vec();
        let wanted = if sc.is_in_need() {
            sc.nr_to_reclaim
        } else {
            let owed = usize::try_from(vec.credit()).unwrap_or(0);
            owed.max(STAKE).min(sc.nr_to_reclaim)
        };
        let Some(pass) = self.shrink_group(domain, sc, wanted) else {
            return false;
        };
        // Paid by what was looked at, so that one whose folios are all in use does not keep its turn.
        let paid = pass.scanned.max(pass.reclaimed).max(1) as i64;
        vec.set_credit(fairness::changed(vec.credit(), -paid));
        true
    }

    /// Takes so many pages from one group, as far as that may be; returns what came of it, or none if it may
    /// not be at all.
    fn shrink_group(
        &self,
        domain: Domain<'_>,
        sc: &mut ScanControl,
        wanted: usize,
    ) -> Option<Reclaimed> {
        let slot = self.groups().slot(domain.group);
        let (protection, pages) = self.groups().protection_of(domain.group, sc.target);
        let protected = match protection.verdict(pages, sc.breaks_low) {
            Verdict::Never => return None,
            Verdict::NotYet => {
                sc.low_spared = true;
                return None;
            }
            Verdict::Beyond { protected } => protected,
        };
        let (scanned, reclaimed) = (sc.nr_scanned, sc.nr_reclaimed);
        self.shrink_lists(domain, sc, wanted, protected);
        let pass = Reclaimed {
            scanned: sc.nr_scanned - scanned,
            reclaimed: sc.nr_reclaimed - reclaimed,
        };
        slot.add(GroupItem::Scanned, pass.scanned as i64);
        slot.add(GroupItem::Stolen, pass.reclaimed as i64);
        if pass.reclaimed > 0 && slot.pages() < protection.low {
            slot.add(GroupItem::LowBroken, 1);
        }
        Some(pass)
    }

    fn pass_end(&self, node: &Node, sc: &ScanControl, pass: Reclaimed) -> PassEnd {
        let size = |list| node.lru().size(list, sc.reclaim_idx);
        let anon = if self.can_swap(node, sc) {
            size(LruList::InactiveAnon)
        } else {
            0
        };
        let can_compact = |zone: &Zone| {
            zone.compaction_suitable(sc.order, sc.reclaim_idx) != Suitability::Skipped
        };
        PassEnd {
            order: sc.order,
            priority: sc.priority,
            reclaimed: pass.reclaimed,
            total_reclaimed: sc.nr_reclaimed,
            inactive: size(LruList::InactiveFile) + anon,
            can_compact: node.managed_up_to(sc.reclaim_idx).any(can_compact),
        }
    }
}

impl Shrink for Reclaimer<'_> {
    fn shrink_node(&self, node: &Node, sc: &mut ScanControl) -> Reclaimed {
        let mut total = Reclaimed::default();
        loop {
            let before = Reclaimed {
                scanned: sc.nr_scanned,
                reclaimed: sc.nr_reclaimed,
            };
            self.shrink_groups(node, sc);
            self.shrink_slab(node, sc);
            let pass = Reclaimed {
                scanned: sc.nr_scanned - before.scanned,
                reclaimed: sc.nr_reclaimed - before.reclaimed,
            };
            total.scanned += pass.scanned;
            total.reclaimed += pass.reclaimed;

            thread::yield_now();
            if sc.is_late() || !should_continue(&self.pass_end(node, sc, pass)) {
                return total;
            }
        }
    }

    fn shrink_beyond_soft(&self, node: &Node, sc: &ScanControl) -> Reclaimed {
        let is_wanted = sc.order == Order::ZERO && self.groups().has_soft_limits();
        if is_wanted {
            self.shrink_offenders(node, sc)
        } else {
            Reclaimed::default()
        }
    }

    fn age_active_anon(&self, node: &Node, sc: &ScanControl) {
        let everywhere = ScanControl {
            reclaim_idx: ZoneType::Movable,
            ..sc.clone()
        };
        for group in self.groups().under(sc.target) {
            self.age_anon(Domain { node, group }, &everywhere);
        }
    }

    fn snapshot_refaults(&self, node: &Node) {
        for group in self.groups().under(GroupId::ROOT) {
            node.lru().of(group).snapshot_refaults();
        }
    }

    fn reclaimable_pages(&self, zone: &Zone) -> usize {
        let node = self.custodian.nodes.node(zone.node());
        let size = |list| node.lru().size_in(list, zone.zone_type());
        let file = size(LruList::InactiveFile) + size(LruList::ActiveFile);
        if self.has_room_for_anon(node) {
            file + size(LruList::InactiveAnon) + size(LruList::ActiveAnon)
        } else {
            file
        }
    }

    fn has_swap(&self) -> bool {
        self.swap.has_area()
    }
}
