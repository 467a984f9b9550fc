//! Passes over a node's lists: how much of each is looked at, in what order, and what came of it.
//!
//! *Kernel counterpart:* `shrink_node`, `shrink_node_memcg`, `shrink_list`, `age_active_anon` (v5.0).
//! Groups and pressure notes are not there yet; users' caches are in [`slab`](super::slab).

use arrayvec::ArrayVec;

use super::control::{Reclaimed, SWAP_CLUSTER_MAX, ScanControl, Shrink};
use super::policy::balance_lists::Balance;
use super::policy::for_compaction::{PassEnd, should_continue};
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
use crate::node::lru::{ISOLATE_MAX, Isolated};
use crate::node::lru_list::{FolioKind, LruList};
use crate::node::{Custodian, Node, identity};
use crate::swap::SwapSpace;
use crate::sync::thread;
use crate::types::ZoneType;
use crate::zone::Zone;
use crate::zone::fragmentation::Suitability;
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

    /// Pages on the lists of a node, in zones up to `up_to`.
    fn sizes(node: &Node, up_to: ZoneType) -> PerList<usize> {
        PerList::each(|list| node.lru().size(list, up_to))
    }

    /// Pages on the lists of a node.
    pub(crate) fn all_sizes(node: &Node) -> PerList<usize> {
        Self::sizes(node, ZoneType::Movable)
    }

    fn balance(&self, node: &Node, kind: FolioKind, counts_refaults: bool) -> Balance {
        let size = |list| node.lru().size(list, ZoneType::Movable);
        let refaulted = || activations(node, kind) != node.lru().refaults(kind);
        Balance {
            kind,
            inactive: size(kind.inactive()),
            active: size(kind.active()),
            refaulted: counts_refaults && refaulted(),
            has_swap: self.swap.has_area(),
        }
    }

    /// Whether folios of a kind should be moved to the inactive list, by the lengths of the lists alone.
    fn inactive_is_low(&self, node: &Node, kind: FolioKind) -> bool {
        let balance = self.balance(node, kind, false);
        self.state.policy.inactive_is_low(&balance)
    }

    fn inputs(&self, node: &Node, sc: &ScanControl) -> ScanInputs {
        let high_marks: usize = node
            .managed_up_to(ZoneType::Movable)
            .map(|zone| zone.mark(Watermark::High))
            .sum();
        let free: usize = node.zones().iter().map(Zone::free_pages).sum();
        let all = Self::sizes(node, ZoneType::Movable);
        let is_low = |kind| self.inactive_is_low(node, kind);
        ScanInputs {
            eligible: Self::sizes(node, sc.reclaim_idx),
            priority: sc.priority,
            least: SWAP_CLUSTER_MAX,
            swappiness: self.state.swappiness(),
            can_swap: self.can_swap(node, sc),
            file_is_tiny: file_is_tiny(all.of_kind(FolioKind::File), free, high_marks),
            inactive_is_low: PerKind::each(is_low),
        }
    }

    /// One pass over the lists.
    fn shrink_lists(&self, node: &Node, sc: &mut ScanControl) {
        let inputs = self.inputs(node, sc);
        let sizes = PerKind::each(|kind| Self::sizes(node, ZoneType::Movable).of_kind(kind));
        let targets = self.memory(node).history(|history| {
            history.fade(sizes);
            self.state.policy.scan_targets(&inputs, history)
        });

        let thoroughness = Thoroughness::of(sc.who, sc.priority, sc.nr_to_reclaim);
        let mut pass = ScanLoop::new(targets.targets, sc.nr_to_reclaim, thoroughness);
        let mut writer = Writer::new(*self, node);
        while let Some(batch) = pass.next_batch() {
            let kind = batch
                .list
                .kind()
                .expect("a list that is scanned has a kind");
            let progress = if batch.list.is_active() {
                if self.is_to_age(node, &self.balance(node, kind, true), sc) {
                    self.shrink_active(node, batch.list, batch.pages, sc);
                }
                0
            } else {
                self.shrink_inactive(node, batch.list, batch.pages, sc, &mut writer)
            };
            pass.note_reclaimed(progress);
            if sc.is_late() {
                break;
            }
        }
        writer.finish(sc);

        self.age_anon(node, sc);
    }

    /// Moves some folios to the inactive anonymous list if that is short, and of use.
    fn age_anon(&self, node: &Node, sc: &ScanControl) {
        let balance = self.balance(node, FolioKind::Anon, false);
        if self.swap.has_area() && self.is_to_age(node, &balance, sc) {
            self.shrink_active(node, LruList::ActiveAnon, SWAP_CLUSTER_MAX, sc);
        }
    }

    /// Whether folios of a kind are to move to the inactive list now.
    fn is_to_age(&self, node: &Node, balance: &Balance, sc: &ScanControl) -> bool {
        trace::inactive_list_is_low(node.id(), sc.reclaim_idx, balance);
        self.state.policy.inactive_is_low(balance)
    }

    /// Moves folios from the tail of an active list to the inactive one.
    fn shrink_active(&self, node: &Node, list: LruList, nr: usize, sc: &ScanControl) {
        let Custodian { nodes, folios, .. } = self.custodian;
        node.drain_lru(folios);
        let mut batch = Batch::new();
        let up_to = sc.reclaim_idx;
        let found = node.isolate_from_lru(folios, list, nr, up_to, nodes.events(), &mut batch);
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
        self.memory(node).history(|history| {
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

/// Activations of folios that came back, so far.
fn activations(node: &Node, kind: FolioKind) -> u64 {
    node.counter(match kind {
        FolioKind::Anon => NodeItem::WorkingsetActivateAnon,
        FolioKind::File => NodeItem::WorkingsetActivateFile,
    })
}

impl Shrink for Reclaimer<'_> {
    fn shrink_node(&self, node: &Node, sc: &mut ScanControl) -> Reclaimed {
        let mut total = Reclaimed::default();
        loop {
            let before = Reclaimed {
                scanned: sc.nr_scanned,
                reclaimed: sc.nr_reclaimed,
            };
            self.shrink_lists(node, sc);
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

    fn age_active_anon(&self, node: &Node, sc: &ScanControl) {
        let everywhere = ScanControl {
            reclaim_idx: ZoneType::Movable,
            ..sc.clone()
        };
        self.age_anon(node, &everywhere);
    }

    fn snapshot_refaults(&self, node: &Node) {
        for kind in FolioKind::ALL {
            node.lru().set_refaults(kind, activations(node, kind));
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
