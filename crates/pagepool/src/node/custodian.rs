//! What everybody needs who takes folios into memory and out of it.
//!
//! *Kernel counterpart:* `free_unref_page_list`, `put_page`, `swap_free`, `delete_from_swap_cache`
//! (v5.0): the ends of frames, of copies and of folios.

use super::lru::{Isolated, kind_of};
use super::lru_list::FolioKind;
use super::{Node, Nodes};
use crate::folio::{FolioId, FolioTable, FolioWord, Mark, Vacated};
use crate::group::{GroupItem, Groups};
use crate::types::{GroupId, Order, Pfn};
use crate::zone::evacuate::EmptyUnit;
use crate::zone::vmstat::{NodeItem, VmEvent};
use crate::zone::{Freed, Zone};

/// Where frames go that nobody uses any more. Given from above, since what follows from a free may
/// concern the whole pool.
pub(crate) trait FrameSink: Sync {
    /// Gives frames back to their zone, and wakes who waits for them. Called with no lock held.
    fn free_frames(&self, frames: Vacated);

    /// The same for frames of one zone whose contents were moved elsewhere, all at once and past the
    /// caches. Called with no lock held.
    fn free_vacated(&self, zone: &Zone, frames: &[Vacated]);

    /// Has the system back an emptied unit by huge pages, if the pool wants that. Called with no lock held.
    fn back_hugely(&self, unit: &EmptyUnit);

    /// Sees to what a zone has handed over. Called with no lock held.
    fn see_to(&self, zone: &Zone, freed: Freed);
}

/// Where copies go that nobody needs any more.
pub(crate) trait CopySink: Sync {
    /// Gives up the copy with this number: a folio's place in swap, or, when the folio has ended, its hold
    /// on a user's store.
    fn drop_copy(&self, copy: u32);
}

/// The pool, as far as folios go.
#[derive(Clone, Copy)]
pub(crate) struct Custodian<'a> {
    /// Zones and lists.
    pub(crate) nodes: &'a Nodes,
    /// The folios.
    pub(crate) folios: &'a FolioTable,
    /// Who is charged for them.
    pub(crate) groups: &'a Groups,
    /// Where frames go.
    pub(crate) frames: &'a dyn FrameSink,
    /// Where copies go.
    pub(crate) copies: &'a dyn CopySink,
}

impl Custodian<'_> {
    /// Ends a folio, for its owner. What somebody else holds of it, that one frees.
    pub(crate) fn end_folio(&self, folio: FolioId) {
        let slot = self.folios.slot(folio);
        let word = slot.kill();
        if word.is_busy() {
            return; // who brings it back finds out
        }
        if !word.is_resident() {
            self.bury(folio, word.location());
            return;
        }
        // It stays where it is: what is dead is neither evicted nor moved.
        let pfn = Pfn::from_raw(word.location());
        if self.nodes.node(pfn.node()).disown(self.folios, pfn) {
            self.end_resident(folio, pfn, slot.order());
        }
    }

    /// Frees everything of a folio that has ended while somebody held it isolated.
    pub(crate) fn end_isolated(&self, isolated: Isolated) {
        self.end_resident(isolated.folio, isolated.pfn, isolated.order);
    }

    /// Frees everything of a folio that has ended in these frames, which are on no list.
    fn end_resident(&self, folio: FolioId, pfn: Pfn, order: Order) {
        let node = self.nodes.node(pfn.node());
        let kind = kind_of(self.folios, folio);
        let copy = node.map().copy(pfn);
        node.map().set_owner(pfn, None);
        node.set_copy(kind, pfn, order, 0);
        if self.count_clean(node, folio, order) {
            self.nodes.events().count(VmEvent::LostWrites);
        }
        self.give_back(self.folios.group(folio), kind, Vacated::new(pfn, order));
        self.bury(folio, copy);
    }

    /// Frees what is left of a folio that has ended: its copy, and its slot.
    pub(crate) fn bury(&self, folio: FolioId, copy: u32) {
        if copy != 0 {
            self.copies.drop_copy(copy);
        }
        let group = self.folios.group(folio);
        self.folios.vacate(folio);
        if !group.is_root() {
            self.groups.slot(group).leave(1);
        }
    }

    /// Frees the copy of an isolated folio, which is dirty from then on: its contents are nowhere else.
    pub(crate) fn give_up_copy(&self, isolated: &Isolated) {
        let node = self.nodes.node(isolated.pfn.node());
        let copy = node.map().copy(isolated.pfn);
        if copy != 0 {
            self.folios.slot(isolated.folio).set(Mark::Dirty);
            node.set_copy(isolated.kind, isolated.pfn, isolated.order, 0);
            self.copies.drop_copy(copy);
        }
    }

    /// Makes an isolated folio blank, if nobody holds it; else puts it back. Returns whether it did.
    pub(crate) fn discard_isolated(&self, isolated: Isolated) -> bool {
        let Isolated { folio, pfn, .. } = isolated;
        let node = self.nodes.node(pfn.node());
        let slot = self.folios.slot(folio);
        if slot.begin_copy() {
            let copy = node.map().copy(pfn);
            let group = self.folios.group(folio);
            if slot.evict(0) {
                slot.clear(Mark::Dirty);
                slot.clear(Mark::Evicted);
                self.free_evicted(isolated, group);
                if copy != 0 {
                    self.copies.drop_copy(copy);
                }
                return true;
            }
            slot.end_copy();
        }
        node.put_back_on_lru(self.folios, &[isolated], |ended| self.end_isolated(ended));
        false
    }

    /// Makes a folio blank that is away; returns whether it did. Its owner calls.
    pub(crate) fn discard_away(&self, folio: FolioId) -> bool {
        let slot = self.folios.slot(folio);
        let Ok(word) = slot.begin_fault() else {
            return false;
        };
        let copy = word.location();
        slot.clear(Mark::Evicted);
        let released = slot.blank_fault();
        if copy != 0 {
            self.copies.drop_copy(copy);
        }
        if released.wake {
            self.folios.waiters().wake(folio);
        }
        true
    }

    /// Frees the frames that an isolated folio of `group` has left. Its slot is not looked at: the owner may
    /// have dropped the folio where it is now, and the slot may be another's.
    pub(crate) fn free_evicted(&self, isolated: Isolated, group: GroupId) {
        let Isolated {
            kind, pfn, order, ..
        } = isolated;
        self.nodes.node(pfn.node()).forget_isolated(&isolated);
        self.give_back(group, kind, Vacated::new(pfn, order));
    }

    /// Frees frames of a folio that was in them, and gives back what its group was charged for them.
    pub(crate) fn give_back(&self, group: GroupId, kind: FolioKind, frames: Vacated) {
        let (pfn, order) = (frames.pfn(), frames.order());
        self.count_resident(group, kind, pfn, order, -1);
        self.frames.free_frames(frames);
        self.groups.uncharge(group, order.pages());
    }

    /// Counts a backed folio that has become dirty, for the writer that has set the mark; `word` is what
    /// that gave. Whoever changes the mark of a backed folio counts it, so that the sum is right whatever
    /// comes first.
    pub(crate) fn count_dirtied(&self, folio: FolioId, word: FolioWord) {
        let node = self.nodes.node(Pfn::from_raw(word.location()).node());
        let pages = self.folios.slot(folio).order().pages() as i64;
        node.count(NodeItem::Dirty, pages);
        node.count(NodeItem::Dirtied, pages);
    }

    /// Takes the mark off a folio that is written out, or ends; counts that if it is backed. Returns
    /// whether it is, and was dirty.
    pub(crate) fn count_clean(&self, node: &Node, folio: FolioId, order: Order) -> bool {
        let slot = self.folios.slot(folio);
        let is_counted = slot.clear(Mark::Dirty) && slot.is(Mark::Backed);
        if is_counted {
            node.count(NodeItem::Dirty, -(order.pages() as i64));
        }
        is_counted
    }

    /// Marks a folio as dirty again whose write came to nothing; counts that if it is backed.
    pub(crate) fn count_dirty_again(&self, node: &Node, folio: FolioId, order: Order) {
        let slot = self.folios.slot(folio);
        if slot.set(Mark::Dirty) && slot.is(Mark::Backed) {
            node.count(NodeItem::Dirty, order.pages() as i64);
        }
    }

    /// Counts a folio of a group that has come to these frames, or left them.
    pub(crate) fn count_resident(
        &self,
        group: GroupId,
        kind: FolioKind,
        pfn: Pfn,
        order: Order,
        sign: i64,
    ) {
        let (item, of_group) = match kind {
            FolioKind::Anon => (NodeItem::AnonPages, GroupItem::Anon),
            FolioKind::File => (NodeItem::FilePages, GroupItem::File),
        };
        let pages = sign * order.pages() as i64;
        self.nodes.node(pfn.node()).count(item, pages);
        if !group.is_root() {
            self.groups.slot(group).add(of_group, pages);
        }
    }
}
