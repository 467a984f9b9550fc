//! The tail of an inactive list: each folio is judged, and leaves memory or goes back.
//!
//! *Kernel counterpart:* `shrink_inactive_list`, `shrink_page_list` (v5.0); the rules are in
//! [`policy::page`](super::policy::page).

use super::control::ScanControl;
use super::domain::Domain;
use super::policy::page::{self, Action, Backup, PageFacts, PageTerms, StoreOwner};
use super::policy::throttle::{ISOLATED_WAIT, too_many_isolated};
use super::shrink::{Batch, Reclaimer};
use super::state::Obstacle;
use super::trace::{self, Fate};
use super::write_out::Writer;
use crate::folio::{CustodyFlag, FolioSlot, Mark};
use crate::node::lru::Isolated;
use crate::node::lru_list::{FolioKind, LruList};
use crate::node::{Custodian, Node};
use crate::sync::thread;
use crate::types::ZoneType;
use crate::zone::vmstat::{NodeItem, VmEvent};

impl Reclaimer<'_> {
    /// Looks at `nr` pages at the tail of an inactive list; returns how many were reclaimed, or are being
    /// written in order to be.
    pub(super) fn shrink_inactive(
        &self,
        domain: Domain<'_>,
        list: LruList,
        nr: usize,
        sc: &mut ScanControl,
        writer: &mut Writer<'_>,
    ) -> usize {
        let Domain { node, group } = domain;
        if self.is_crowded(node, list, sc) {
            return 0;
        }
        let Custodian { nodes, folios, .. } = self.custodian;
        node.drain_lru(folios);
        let mut batch = Batch::new();
        let up_to = sc.reclaim_idx;
        let from = (group, list);
        let found = node.isolate_from_lru(folios, from, nr, up_to, nodes.events(), &mut batch);
        let kind = list.kind().expect("an inactive list has a kind");
        self.memory(node)
            .history(group, |history| history.note_scanned(kind, found.taken));
        nodes
            .events()
            .add(sc.who.scan_event(), found.scanned as u64);
        sc.nr_scanned += found.scanned;

        let pushed = writer.pushed();
        let mut dropped = 0;
        let mut back = Batch::new();
        for one in batch {
            dropped += self.shrink_folio(node, one, sc, writer, &mut back);
        }
        let activated = self.note_activated(domain, list, &back);
        let dirty = self.dirty_pages_of_files(&back);
        self.put_back(node, &back);
        let written = writer.pushed() - pushed;
        let fate = Fate {
            reclaimed: dropped,
            dirty,
            writeback: written,
            activate: activated,
            ref_keep: found.taken.saturating_sub(dropped + written + activated),
        };
        trace::lru_isolate(sc, list, nr, found);
        trace::lru_shrink_inactive(node.id(), sc, list, found.scanned, fate);
        dropped + written
    }

    /// Whether so many folios are isolated already that this thread should not isolate more. Waits for
    /// others first, for as long as it has time.
    fn is_crowded(&self, node: &Node, list: LruList, sc: &ScanControl) -> bool {
        let powers = sc.powers;
        let item = match list.kind() {
            Some(FolioKind::File) => NodeItem::IsolatedFile,
            Some(FolioKind::Anon) | None => NodeItem::IsolatedAnon,
        };
        let is_crowded = || {
            let inactive = node.lru().size(list, ZoneType::Movable);
            let isolated = node.counter(item) as usize;
            too_many_isolated(sc.who, powers, inactive, isolated)
        };
        if !is_crowded() {
            return false;
        }
        thread::sleep(sc.time_left().min(ISOLATED_WAIT));
        sc.is_late() || is_crowded()
    }

    /// Judges one folio, and sees to it; returns the pages that left memory at once.
    fn shrink_folio(
        &self,
        node: &Node,
        mut one: Isolated,
        sc: &mut ScanControl,
        writer: &mut Writer<'_>,
        back: &mut Batch,
    ) -> usize {
        let slot = self.custodian.folios.slot(one.folio);
        let terms = self.terms(node, sc);
        let facts = self.facts(node, &one, slot, sc);
        if facts.pinned || facts.held {
            self.state.note_obstacle(Some(Obstacle::Pinned));
        }
        match page::decide(&facts, &terms) {
            Action::Keep => back.push(one),
            Action::Activate => {
                self.activate(&mut one);
                back.push(one);
            }
            Action::SetAside => {
                one.list = LruList::Unevictable;
                let pages = one.order.pages() as u64;
                let events = self.custodian.nodes.events();
                events.add(VmEvent::UnevictablePgsCulled, pages);
                back.push(one);
            }
            Action::Reclaim => match self.evict_clean(node, one) {
                Ok(pages) => {
                    self.note_stolen(sc, pages);
                    return pages;
                }
                Err(one) => back.push(one),
            },
            Action::NeedsSwapSlot | Action::StartWrite => {
                if let Err(mut one) = writer.push(one, sc) {
                    self.activate(&mut one);
                    back.push(one);
                }
            }
        }
        0
    }

    /// Counts pages that have left memory.
    pub(super) fn note_stolen(&self, sc: &mut ScanControl, pages: usize) {
        sc.nr_reclaimed += pages;
        self.state.note_obstacle(None);
        let events = self.custodian.nodes.events();
        events.add(sc.who.steal_event(), pages as u64);
    }

    fn terms(&self, node: &Node, sc: &ScanControl) -> PageTerms {
        PageTerms {
            may_writepage: sc.may_writepage,
            may_swap: self.can_swap(node, sc),
            may_enter_fs: sc.may_enter_fs,
        }
    }

    fn facts(&self, node: &Node, one: &Isolated, slot: &FolioSlot, sc: &ScanControl) -> PageFacts {
        let candidate = self.candidate(node, one, sc);
        let judgement = self.state.policy.judge(&candidate);
        node.set_uses_of(one, judgement.uses);
        let word = slot.word();
        let dirty = slot.is(Mark::Dirty);
        PageFacts {
            held: word.is_in_use(),
            pinned: word.pins() > 0,
            locked: candidate.locked,
            dirty,
            backup: backup(one.kind, dirty, node.map().copy(one.pfn)),
            verdict: judgement.verdict,
        }
    }

    /// Makes an isolated folio active; one that has a place in swap gives it up when places are rare.
    fn activate(&self, one: &mut Isolated) {
        one.list = one.list.with_active(true);
        trace::lru_activate(one);
        if one.kind == FolioKind::Anon && self.swap.is_half_full() {
            self.custodian.give_up_copy(one);
        }
    }

    fn dirty_pages_of_files(&self, batch: &[Isolated]) -> usize {
        let slot = |one: &Isolated| self.custodian.folios.slot(one.folio);
        batch
            .iter()
            .filter(|one| one.kind == FolioKind::File && slot(one).is(Mark::Dirty))
            .map(|one| one.order.pages())
            .sum()
    }

    /// Counts the pages that were made active; returns them.
    fn note_activated(&self, domain: Domain<'_>, from: LruList, back: &[Isolated]) -> usize {
        let activated = back
            .iter()
            .filter(|one| one.list == from.with_active(true))
            .map(|one| one.order.pages())
            .sum::<usize>();
        if activated > 0 {
            let events = self.custodian.nodes.events();
            events.add(VmEvent::Pgactivate, activated as u64);
            let kind = from.kind().expect("an inactive list has a kind");
            self.memory(domain.node).history(domain.group, |history| {
                history.note_rotated(kind, activated);
            });
        }
        activated
    }

    /// Takes a folio out of memory whose contents can be had again. Returns its pages; or itself, if
    /// somebody took or dirtied it meanwhile.
    fn evict_clean(&self, node: &Node, one: Isolated) -> Result<usize, Isolated> {
        let slot = self.custodian.folios.slot(one.folio);
        if !slot.begin_copy() {
            return Err(one);
        }
        // Looked at after the copy was begun: who dirties it from here on ends the copy.
        if slot.is(Mark::Dirty) {
            slot.end_copy();
            return Err(one);
        }
        self.evict(node, one, node.map().copy(one.pfn))
            .inspect_err(|_| {
                // Whoever reads it now does not end the copy, and it is not being written out.
                slot.end_copy();
            })
    }

    /// Takes a folio out of memory of which a copy has been made, as its word knows. Returns its pages; or
    /// itself, its copy unharmed, if somebody holds it or has written to it.
    pub(crate) fn evict(&self, node: &Node, one: Isolated, copy: u32) -> Result<usize, Isolated> {
        let slot = self.custodian.folios.slot(one.folio);
        let pages = one.order.pages();
        // Its owner has locked it since it was judged.
        if slot.is_locked() {
            slot.end_copy();
            return Err(one);
        }
        slot.expect_no_use();
        // Looked at after the copy was begun: an owner who moves it from here on ends the copy.
        let group = self.custodian.folios.group(one.folio);
        let vec = node.lru().of(group);
        if self.state.policy.leaves_shadow(one.kind) {
            let workingset = node.custody_of(&one).has(CustodyFlag::Workingset);
            let shadow = self.state.buckets.shadow(vec.age(), workingset);
            slot.set_shadow(node.id().get() as u8, shadow.raw());
        }
        if !slot.evict(copy) {
            slot.clear(Mark::Evicted);
            return Err(one);
        }
        vec.advance_age(pages);
        self.custodian.free_evicted(one, group);
        Ok(pages)
    }
}

/// Where the contents of a folio can be had again, given the number of its copy.
fn backup(kind: FolioKind, dirty: bool, copy: u32) -> Backup {
    match kind {
        FolioKind::File => Backup::At(StoreOwner::User),
        FolioKind::Anon if dirty => Backup::None,
        FolioKind::Anon if copy == 0 => Backup::Zeros,
        FolioKind::Anon => Backup::At(StoreOwner::Pool),
    }
}
