//! Passes over a node's lists: how much of each is looked at, in what order, and what came of it.
//!
//! *Kernel counterpart:* `shrink_node_memcg`, `shrink_list`, `age_active_anon` (v5.0). Which groups a pass
//! is over is in [`groups`](super::groups).

use arrayvec::ArrayVec;

use super::control::{SWAP_CLUSTER_MAX, ScanControl};
use super::domain::Domain;
use super::policy::balance_lists::Balance;
use super::policy::scan_count::{ScanInputs, file_is_tiny};
use super::policy::scan_loop::{ScanLoop, Thoroughness};
use super::policy::verdict::{Aging, Candidate};
use super::policy::{PerKind, PerList};
use super::shrinkers::Shrinkers;
use super::state::{NodeMemory, ReclaimState};
use super::trace;
use super::write_out::Writer;
use crate::backing::{Entry, Stores};
use crate::folio::{CustodyFlag, Mark};
use crate::group::protection::beyond;
use crate::node::lru::{ISOLATE_MAX, Isolated};
use crate::node::lru_list::{FolioKind, LruList};
use crate::node::{Custodian, Node, identity};
use crate::swap::SwapSpace;
use crate::types::ZoneType;
use crate::zone::Zone;
use crate::zone::vmstat::{NodeItem, VmEvent};
use crate::zone::watermark::Mark as Watermark;

/// Takes folios out of a pool's memory.
#[derive(Clone, Copy)]
pub(crate) struct Reclaimer<'a> {
    /// Where folios are.
    pub(crate) custodian: Custodian<'a>,
    /// Where anonymous ones go.
    pub(crate) swap: &'a SwapSpace,
    /// What contents are written to.
    pub(crate) stores: &'a Stores,
    /// Policy, settings, memory of earlier runs.
    pub(crate) state: &'a ReclaimState,
    /// Users' caches that can be trimmed.
    pub(crate) shrinkers: &'a Shrinkers,
}

/// A batch of isolated folios, and what becomes of each.
pub(super) type Batch = ArrayVec<Isolated, ISOLATE_MAX>;

impl<'a> Reclaimer<'a> {
    pub(super) fn memory(&self, node: &Node) -> &'a NodeMemory {
        self.state.node(node.id())
    }

    /// Whether anonymous folios of a node may go to swap, and some could.
    pub(super) fn can_swap(&self, node: &Node, sc: &ScanControl) -> bool {
        sc.may_swap && self.has_room_for_anon(node)
    }

    /// Whether there is room in swap, or a folio of the node has a copy there: that one can leave memory
    /// though swap is full, or make room there for others.
    pub(crate) fn has_room_for_anon(&self, node: &Node) -> bool {
        self.swap.free_pages() > 0 || node.counter(NodeItem::SwapCached) > 0
    }

    /// How many pages from `entry` on follow each other, of `pages`, and where the rest begins.
    pub(crate) fn run(&self, entry: Entry, pages: usize) -> (usize, Option<Entry>) {
        let Some(area) = self.swap.area(entry.store()) else {
            return (pages, entry.further(pages)); // a backing: its pages follow each other
        };
        let (run, next) = area.run(entry.page(), pages as u32);
        let next = next.map(|page| Entry::new(entry.store(), page));
        (run.len as usize, next)
    }

    fn balance(&self, domain: Domain<'_>, kind: FolioKind, counts_refaults: bool) -> Balance {
        Balance {
            kind,
            inactive: domain.size(kind.inactive()),
            active: domain.size(kind.active()),
            refaulted: counts_refaults && domain.vec().has_refaulted(kind),
            has_swap: self.swap.has_area(),
        }
    }

    /// Whether folios of a kind should be moved to the inactive list, by the lengths of the lists alone.
    fn inactive_is_low(&self, domain: Domain<'_>, kind: FolioKind) -> bool {
        let balance = self.balance(domain, kind, false);
        self.state.policy.inactive_is_low(&balance)
    }

    fn inputs(&self, domain: Domain<'_>, sc: &ScanControl, protected: usize) -> ScanInputs {
        let Domain { node, group } = domain;
        let usage = self.custodian.groups.slot(group).pages();
        let sizes = domain.sizes(sc.reclaim_idx);
        let is_low = |kind| self.inactive_is_low(domain, kind);
        ScanInputs {
            eligible: PerList::each(|list| match list {
                LruList::Unevictable => 0,
                list => beyond(sizes[list], usage, protected),
            }),
            priority: sc.priority,
            least: SWAP_CLUSTER_MAX,
            swappiness: self.state.swappiness(),
            can_swap: self.can_swap(node, sc),
            file_is_tiny: sc.target.is_root() && is_short_of_files(node),
            inactive_is_low: PerKind::each(is_low),
        }
    }

    /// One pass over the lists of a group, `protected` of whose pages are left to it, for `wanted` pages.
    pub(super) fn shrink_lists(
        &self,
        domain: Domain<'_>,
        sc: &mut ScanControl,
        wanted: usize,
        protected: usize,
    ) {
        let inputs = self.inputs(domain, sc, protected);
        let memory = self.memory(domain.node);
        let targets = memory.history(domain.group, |history| {
            history.fade(domain.kind_sizes());
            self.state.policy.scan_targets(&inputs, history)
        });

        let thoroughness = Thoroughness::of(sc.who, sc.priority, wanted);
        let mut pass = ScanLoop::new(targets.targets, wanted, thoroughness);
        let mut writer = Writer::new(*self, domain);
        while let Some(batch) = pass.next_batch() {
            let kind = batch
                .list
                .kind()
                .expect("a list that is scanned has a kind");
            let progress = if batch.list.is_active() {
                if self.is_to_age(domain, &self.balance(domain, kind, true), sc) {
                    self.shrink_active(domain, batch.list, batch.pages, sc);
                }
                0
            } else {
                self.shrink_inactive(domain, batch.list, batch.pages, sc, &mut writer)
            };
            pass.note_reclaimed(progress);
            if sc.is_late() {
                break;
            }
        }
        writer.finish(sc);

        self.age_anon(domain, sc);
    }

    /// Moves some folios to the inactive anonymous list if that is short, and of use.
    pub(super) fn age_anon(&self, domain: Domain<'_>, sc: &ScanControl) {
        let balance = self.balance(domain, FolioKind::Anon, false);
        if self.swap.has_area() && self.is_to_age(domain, &balance, sc) {
            self.shrink_active(domain, LruList::ActiveAnon, SWAP_CLUSTER_MAX, sc);
        }
    }

    /// Whether folios of a kind are to move to the inactive list now.
    fn is_to_age(&self, domain: Domain<'_>, balance: &Balance, sc: &ScanControl) -> bool {
        trace::inactive_list_is_low(domain.node.id(), sc.reclaim_idx, balance);
        self.state.policy.inactive_is_low(balance)
    }

    /// Moves folios from the tail of an active list to the inactive one.
    fn shrink_active(&self, domain: Domain<'_>, list: LruList, nr: usize, sc: &ScanControl) {
        let Domain { node, group } = domain;
        let Custodian { nodes, folios, .. } = self.custodian;
        node.drain_lru(folios);
        let mut batch = Batch::new();
        let up_to = sc.reclaim_idx;
        let from = (group, list);
        let found = node.isolate_from_lru(folios, from, nr, up_to, nodes.events(), &mut batch);
        nodes.events().add(VmEvent::Pgrefill, found.scanned as u64);

        let mut deactivated = 0;
        let mut rotated = 0;
        for one in &mut batch {
            let pages = one.order.pages();
            let candidate = self.candidate(node, one, sc);
            match self.state.policy.age(&candidate) {
                Aging::Keep => rotated += pages,
                Aging::Deactivate {
                    rotated: was_used,
                    uses,
                } => {
                    node.set_uses_of(one, uses);
                    node.set_flag_of(one, CustodyFlag::Workingset, true);
                    one.list = list.with_active(false);
                    deactivated += pages;
                    rotated += if was_used { pages } else { 0 };
                }
                Aging::SetAside => one.list = LruList::Unevictable,
            }
        }
        let kind = list.kind().expect("an active list has a kind");
        self.memory(node).history(group, |history| {
            history.note_scanned(kind, found.taken);
            history.note_rotated(kind, rotated);
        });
        nodes
            .events()
            .add(VmEvent::Pgdeactivate, deactivated as u64);
        self.put_back(node, &batch);
        trace::lru_isolate(sc, list, nr, found);
        trace::lru_shrink_active(node.id(), sc, list, found, deactivated, rotated);
    }

    /// What is known of an isolated folio's use. Clears the accessed mark: the next look sees what came
    /// after this one.
    pub(super) fn candidate(&self, node: &Node, one: &Isolated, sc: &ScanControl) -> Candidate {
        let slot = self.custodian.folios.slot(one.folio);
        Candidate {
            kind: one.kind,
            accessed: slot.clear(Mark::Accessed),
            uses: node.custody_of(one).uses(),
            locked: slot.is(Mark::Locked),
            sticky: false,
            cold: slot.is(Mark::Cold),
            in_need: sc.is_in_need(),
        }
    }

    /// Puts isolated folios back, and ends those that were dropped meanwhile.
    pub(super) fn put_back(&self, node: &Node, batch: &[Isolated]) {
        let Custodian { folios, .. } = self.custodian;
        node.put_back_on_lru(folios, batch, |ended| {
            identity::note_freed(ended.order.pages());
            self.custodian.end_isolated(ended);
        });
    }
}

/// Whether all files of a node together could not lift it above its high marks.
fn is_short_of_files(node: &Node) -> bool {
    let high_marks: usize = node
        .managed_up_to(ZoneType::Movable)
        .map(|zone| zone.mark(Watermark::High))
        .sum();
    let free: usize = node.zones().iter().map(Zone::free_pages).sum();
    let size = |list| node.lru().size(list, ZoneType::Movable);
    let files = size(LruList::InactiveFile) + size(LruList::ActiveFile);
    file_is_tiny(files, free, high_marks)
}
