//! Bringing a folio back to memory, or giving it its first.
//!
//! *Kernel counterpart:* `do_anonymous_page`, `do_swap_page`, `swapin_readahead`, `filemap_fault`
//! (v5.0).
//!
//! **Invariants**
//! - Q1: a folio is brought back by one thread, which has BUSY in its word; others wait or go on.
//! - Q2: whatever fails, or unwinds, leaves the folio where it was, and nobody waiting; the frames that
//!   were taken for it go back.

#![forbid(unsafe_code)]

mod read_in;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::alloc::{Allocator, Charge, Placement, Purpose};
use crate::backing::Entry;
use crate::error::{AccessError, AllocError};
use crate::folio::{CustodyFlag, FolioId, FolioSlot, FolioWord, Frames, Landing, Mark, Vacated};
use crate::gfp::Gfp;
use crate::group::GroupItem;
use crate::node::lru::kind_of;
use crate::node::lru_list::FolioKind;
use crate::node::{Custodian, FrameSink, Node};
use crate::psi::Stall;
use crate::reclaim::Reclaimer;
use crate::reclaim::policy::tables::PerList;
use crate::reclaim::policy::workingset::{Refault, Shadow};
use crate::reclaim::policy::{Arrival, Newcomer};
use crate::swap::ReadAhead as ReadAheadState;
use crate::sync::clock::Instant;
use crate::types::{GroupId, NodeId, Order, Pfn};
use crate::zone::vmstat::{NodeItem, VmEvent};

use read_in::ReadAhead;

/// What a fault may do to get its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The request's flags.
    pub(crate) gfp: Gfp,
    /// How long it waits for memory.
    pub(crate) patience: Duration,
    /// When it gives up waiting for a store.
    pub(crate) deadline: Option<Instant>,
    /// Whether the folio is an object of a user's.
    pub(crate) is_object: bool,
}

/// Whether a fault was this thread's to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It was; this is the folio's word after it.
    Done(FolioWord),
    /// Somebody else has done it, or is about to: look again.
    Taken,
}

/// Brings folios back.
#[derive(Clone, Copy)]
pub(crate) struct Faulter<'a> {
    /// Where frames come from.
    pub(crate) allocator: Allocator<'a>,
    /// Where folios are.
    pub(crate) custodian: Custodian<'a>,
    /// Where contents are kept, and who judges folios.
    pub(crate) reclaimer: Reclaimer<'a>,
    /// How much is read around a slot of swap.
    pub(crate) read_ahead: &'a ReadAheadState,
    /// Whether freed memory is filled with a pattern, and checked.
    pub(crate) hardened: bool,
}

/// A fault that this thread has taken upon itself; ends it if it unwinds (Q2).
struct Fault<'a> {
    custodian: Custodian<'a>,
    folio: FolioId,
    slot: &'a FolioSlot,
    /// Where the folio is.
    from: u32,
    is_object: bool,
    is_over: bool,
}

/// Frames that were taken for a folio, and what its group is charged for them. Dropped, they go back (Q2).
struct FreshFrames<'a> {
    sink: &'a dyn FrameSink,
    /// None once a folio has them.
    frames: Option<Frames<'a>>,
    charge: Option<Charge<'a>>,
}

impl<'a> FreshFrames<'a> {
    /// Gives them to a folio: the first frame, and their size.
    fn publish(mut self) -> (Pfn, Order) {
        let taken = self.frames.take().expect("they are published once");
        let taken = taken.into_taken();
        if let Some(charge) = self.charge.take() {
            charge.keep();
        }
        (taken.pfn(), taken.order())
    }
}

impl<'a> Deref for FreshFrames<'a> {
    type Target = Frames<'a>;

    fn deref(&self) -> &Frames<'a> {
        self.frames.as_ref().expect("nobody has them yet")
    }
}

impl<'a> DerefMut for FreshFrames<'a> {
    fn deref_mut(&mut self) -> &mut Frames<'a> {
        self.frames.as_mut().expect("nobody has them yet")
    }
}

impl Drop for FreshFrames<'_> {
    fn drop(&mut self) {
        if let Some(frames) = self.frames.take() {
            let vacated = Vacated::new(frames.pfn(), frames.order());
            let _ = frames.into_taken();
            self.sink.free_frames(vacated);
        }
    }
}

impl<'a> Faulter<'a> {
    /// Brings a folio back, if it is away and nobody else does, and hands it to `landing`.
    ///
    /// # Errors
    /// What kept it away; it is as it was.
    pub(crate) fn fault(
        &self,
        folio: FolioId,
        landing: Landing,
        terms: Terms,
    ) -> Result<Claim, AccessError> {
        let slot = self.custodian.folios.slot(folio);
        let Ok(word) = slot.begin_fault() else {
            return Ok(Claim::Taken);
        };
        let mut fault = Fault::new(self.custodian, folio, slot, word.location());
        fault.is_object = terms.is_object;
        self.serve(fault, landing, terms).map(Claim::Done)
    }

    /// Brings a folio back that is thought to be at `entry`, if it is.
    ///
    /// # Errors
    /// As [`fault`](Self::fault).
    pub(crate) fn bring_back_from(
        &self,
        folio: FolioId,
        entry: Entry,
        terms: Terms,
    ) -> Result<(), AccessError> {
        let slot = self.custodian.folios.slot(folio);
        if slot.begin_fault_at(entry.raw()).is_err() {
            return Ok(());
        }
        let fault = Fault::new(self.custodian, folio, slot, entry.raw());
        self.serve(fault, Landing::Idle, terms)?;
        Ok(())
    }

    /// From now until the result is dropped this thread waits for a folio to be read back that is missed: it
    /// was in use when it was evicted, and comes back so soon that it still is. None if the folio is another,
    /// or in memory.
    pub(crate) fn stall_for(&self, folio: FolioId) -> Option<Stall<'a>> {
        let slot = self.custodian.folios.slot(folio);
        if slot.word().is_resident() || !slot.is(Mark::Evicted) {
            return None;
        }
        let (node, shadow) = self.left_by(slot);
        let group = self.custodian.folios.group(folio);
        // The cheap part of the judgement first.
        let is_missed = shadow.was_workingset() && {
            let kind = kind_of(self.custodian.folios, folio);
            let sizes = Reclaimer::sizes_of(node, group);
            self.judge(node, group, shadow, kind, &sizes) == Refault::Restore
        };
        is_missed.then(|| self.allocator.stall(node.id(), group))
    }

    fn serve(
        &self,
        fault: Fault<'_>,
        landing: Landing,
        terms: Terms,
    ) -> Result<FolioWord, AccessError> {
        let mut frames = self.take_frames(&fault, terms)?;
        let ahead = self.fill(&fault, &mut frames, terms)?;
        let word = self.publish(fault, frames, landing);
        self.publish_ahead(ahead);
        Ok(word)
    }

    /// Takes frames for a folio, and charges its group for them.
    fn take_frames(&self, fault: &Fault<'_>, terms: Terms) -> Result<FreshFrames<'a>, AllocError> {
        let order = fault.slot.order();
        let group = self.custodian.folios.group(fault.folio);
        let mut patience = terms.patience;
        let charge = self
            .allocator
            .charge(group, order.pages(), terms.gfp, &mut patience)?;
        let placement = Placement {
            purpose: Purpose::Folio,
            patience: Some(patience),
            group,
            returns: fault.from != 0,
            ..Placement::default()
        };
        let granted = self.allocator.alloc_placed(order, terms.gfp, placement)?;
        let node = self.allocator.nodes.node(granted.taken.pfn().node());
        let frames = FreshFrames {
            sink: self.custodian.frames,
            frames: Some(Frames::new(node.arena(), granted.taken)),
            charge: Some(charge),
        };
        if self.hardened {
            frames.assert_poison();
        }
        Ok(frames)
    }

    /// Fills the frames with what the folio holds.
    fn fill(
        &self,
        fault: &Fault<'_>,
        frames: &mut Frames<'_>,
        terms: Terms,
    ) -> Result<ReadAhead<'a>, AccessError> {
        match Entry::from_raw(fault.from) {
            Some(entry) => {
                let _stall = self.stall_for(fault.folio);
                self.read_in(entry, frames, terms)
            }
            None => {
                frames.zero();
                Ok(ReadAhead::none())
            }
        }
    }

    /// Publishes that a folio is back; returns its word.
    fn publish(
        &self,
        mut fault: Fault<'_>,
        frames: FreshFrames<'_>,
        landing: Landing,
    ) -> FolioWord {
        let Fault {
            folio,
            slot,
            from,
            is_object,
            ..
        } = fault;
        let Custodian { nodes, folios, .. } = self.custodian;
        slot.expect_use(landing);
        let newcomer = self.newcomer(&fault, frames.order());
        let placement = self.reclaimer.state.policy.place(&newcomer);
        let kind = kind_of(folios, folio);
        let copy = self.copy_to_keep(slot, kind, from, landing);
        let (pfn, order) = frames.publish();
        let node = nodes.node(pfn.node());
        node.map().set_owner(pfn, Some(folio.get()));
        node.set_copy(kind, pfn, order, copy);
        let workingset = placement.workingset.then_some(CustodyFlag::Workingset);
        let owned = is_object.then_some(CustodyFlag::Owned);
        node.expect_on_lru(pfn, workingset.into_iter().chain(owned));
        let group = folios.group(folio);
        self.custodian.count_resident(group, kind, pfn, order, 1);

        fault.is_over = true;
        let released = slot.end_fault(pfn.get(), landing);
        nodes.events().count(VmEvent::Pgfault);
        if copy != from {
            self.custodian.copies.drop_copy(from);
        }
        if released.word.is_dead() {
            self.end_late(folio, node, pfn, order, copy);
        } else {
            node.add_to_lru(folios, folio, pfn, order, placement.list);
        }
        if released.wake {
            folios.waiters().wake(folio);
        }
        released.word
    }

    /// Which copy a folio keeps that comes back `from` there: none in swap if it is about to be written
    /// to, or if slots are rare (kernel: `reuse_swap_page`, `try_to_free_swap`). It is dirty then. What
    /// comes back ahead of a use keeps its copy.
    fn copy_to_keep(&self, slot: &FolioSlot, kind: FolioKind, from: u32, landing: Landing) -> u32 {
        let is_outdated = landing == Landing::Write;
        let is_rare = || landing != Landing::Idle && self.reclaimer.swap.is_half_full();
        if kind == FolioKind::Anon && from != 0 && (is_outdated || is_rare()) {
            slot.set(Mark::Dirty);
            return 0;
        }
        from
    }

    /// The folio's owner has dropped it meanwhile, and left everything to who brought it back.
    fn end_late(&self, folio: FolioId, node: &Node, pfn: Pfn, order: Order, copy: u32) {
        let kind = kind_of(self.custodian.folios, folio);
        node.clear_lru(pfn);
        node.map().set_owner(pfn, None);
        node.set_copy(kind, pfn, order, 0);
        let group = self.custodian.folios.group(folio);
        self.custodian
            .give_back(group, kind, Vacated::new(pfn, order));
        self.custodian.bury(folio, copy);
    }

    fn newcomer(&self, fault: &Fault<'_>, order: Order) -> Newcomer {
        let slot = fault.slot;
        let kind = kind_of(self.custodian.folios, fault.folio);
        let was_evicted = slot.clear(Mark::Evicted);
        let arrival = if slot.is(Mark::ReadAhead) {
            Arrival::ReadAhead
        } else if was_evicted {
            Arrival::Back(self.refault(fault, kind, order))
        } else {
            Arrival::Fresh
        };
        Newcomer {
            kind,
            arrival,
            locked: slot.is(Mark::Locked),
            cold: slot.clear(Mark::Cold),
        }
    }

    /// What was left about a folio when it was evicted: from which node, and its shadow.
    fn left_by(&self, slot: &FolioSlot) -> (&'a Node, Shadow) {
        let (node, shadow) = slot.shadow();
        let node = self.allocator.nodes.node(NodeId::at(usize::from(node)));
        (node, Shadow::from_raw(shadow))
    }

    /// What it means that a folio of a group comes back now.
    fn judge(
        &self,
        node: &Node,
        group: GroupId,
        shadow: Shadow,
        kind: FolioKind,
        sizes: &PerList<usize>,
    ) -> Refault {
        let state = self.reclaimer.state;
        let distance = state.buckets.distance(node.lru().of(group).age(), shadow);
        let can_swap = self.reclaimer.has_room_for_anon(node);
        state
            .policy
            .refault(kind, distance, shadow, sizes, can_swap)
    }

    /// Judges how soon the folio came back, and counts it (kernel: `workingset_refault`).
    fn refault(&self, fault: &Fault<'_>, kind: FolioKind, order: Order) -> Refault {
        let (node, shadow) = self.left_by(fault.slot);
        let group = self.custodian.folios.group(fault.folio);
        let state = self.reclaimer.state;
        let sizes = Reclaimer::sizes_of(node, group);
        let refault = self.judge(node, group, shadow, kind, &sizes);
        let vec = node.lru().of(group);

        let pages = order.pages();
        let [refaults, activations, restorations] = items(kind);
        node.count(refaults, pages as i64);
        state
            .node(node.id())
            .history(group, |history| history.charge(kind, pages, sizes.total()));
        if !group.is_root() {
            let slot = self.custodian.groups.slot(group);
            slot.add(GroupItem::Refaulted, pages as i64);
        }
        if refault.activates() {
            node.count(activations, pages as i64);
            vec.note_activated(kind, pages);
        }
        if refault == Refault::Restore {
            node.count(restorations, pages as i64);
        }
        refault
    }
}

/// What counts refaults of a kind, those that activate, and those that restore.
fn items(kind: FolioKind) -> [NodeItem; 3] {
    match kind {
        FolioKind::Anon => [
            NodeItem::WorkingsetRefaultAnon,
            NodeItem::WorkingsetActivateAnon,
            NodeItem::WorkingsetRestoreAnon,
        ],
        FolioKind::File => [
            NodeItem::WorkingsetRefaultFile,
            NodeItem::WorkingsetActivateFile,
            NodeItem::WorkingsetRestoreFile,
        ],
    }
}

impl<'a> Fault<'a> {
    fn new(custodian: Custodian<'a>, folio: FolioId, slot: &'a FolioSlot, from: u32) -> Fault<'a> {
        Fault {
            custodian,
            folio,
            slot,
            from,
            is_object: false,
            is_over: false,
        }
    }
}

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let folios = self.custodian.folios;
        let released = self.slot.abort_fault();
        if released.word.is_dead() {
            self.custodian.bury(self.folio, self.from);
        }
        if released.wake {
            folios.waiters().wake(self.folio);
        }
    }
}
