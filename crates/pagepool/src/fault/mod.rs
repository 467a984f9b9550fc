//! Bringing a folio back to memory, or giving it its first.
//!
//! *Kernel counterpart:* `do_anonymous_page`, `do_swap_page`, `swapin_readahead`, `filemap_fault`
//! (v5.0).
//!
//! **Invariants**
//! - Q1: a folio is brought back by one thread, which has BUSY in its word; others wait or go on.
//! - Q2: whatever fails, or unwinds, leaves the folio where it was, and nobody waiting.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::alloc::{Allocator, Placement, Purpose};
use crate::error::{AccessError, AllocError};
use crate::folio::{FolioId, FolioSlot, FolioWord, Frames, Landing, Mark, Vacated};
use crate::gfp::Gfp;
use crate::node::Custodian;
use crate::node::lru::kind_of;
use crate::node::lru_list::LruList;
use crate::sync::clock::Instant;
use crate::types::{Order, PAGE_SIZE};
use crate::zone::vmstat::VmEvent;

/// What a fault may do to get its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The request's flags.
    pub(crate) gfp: Gfp,
    /// How long it waits for memory.
    pub(crate) patience: Duration,
    /// When it gives up waiting for a store.
    pub(crate) deadline: Option<Instant>,
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
    is_over: bool,
}

impl<'a> Faulter<'a> {
    /// Brings a folio back, if it is away and nobody else does, and hands it to `landing`.
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
        let fault = Fault {
            custodian: self.custodian,
            folio,
            slot,
            from: word.location(),
            is_over: false,
        };
        let mut frames = self.take_frames(slot.order(), terms)?;
        match self.fill(&fault, &mut frames, terms) {
            Ok(()) => Ok(fault.publish(frames, landing)),
            Err(error) => {
                self.give_up(frames);
                Err(error)
            }
        }
    }

    /// Takes frames for a folio.
    fn take_frames(&self, order: Order, terms: Terms) -> Result<Frames<'a>, AllocError> {
        let placement = Placement {
            purpose: Purpose::Folio,
            patience: Some(terms.patience),
            ..Placement::default()
        };
        let granted = self.allocator.alloc_placed(order, terms.gfp, placement)?;
        let node = self.allocator.nodes.node(granted.taken.pfn().node());
        let frames = Frames::new(node.arena(), granted.taken);
        if self.hardened
            && let Err(offset) = frames.check_poison()
        {
            let frame = frames.pfn().add(offset / PAGE_SIZE);
            panic!("{frame} was written while it was free: byte {offset} of a block at {order:?}");
        }
        Ok(frames)
    }

    fn give_up(&self, frames: Frames<'_>) {
        let (pfn, order) = (frames.pfn(), frames.order());
        let _ = frames.into_taken();
        self.custodian.frames.free_frames(Vacated::new(pfn, order));
    }

    /// Fills the frames with what the folio holds.
    fn fill(
        &self,
        fault: &Fault<'_>,
        frames: &mut Frames<'_>,
        _terms: Terms,
    ) -> Result<(), AccessError> {
        debug_assert_eq!(fault.from, 0);
        frames.zero();
        Ok(())
    }
}

impl Fault<'_> {
    /// Publishes that the folio is back.
    fn publish(mut self, frames: Frames<'_>, landing: Landing) -> Claim {
        let (pfn, order) = (frames.pfn(), frames.order());
        let _ = frames.into_taken();
        let Custodian { nodes, folios, .. } = self.custodian;
        let node = nodes.node(pfn.node());
        node.map().set_owner(pfn, Some(self.folio.get()));
        node.map().set_copy(pfn, self.from);
        node.expect_on_lru(pfn, false);
        self.custodian.count_resident(self.folio, pfn, order, 1);
        self.is_over = true;
        let released = self.slot.end_fault(pfn.get(), landing);
        nodes.events().count(VmEvent::Pgfault);
        if released.word.is_dead() {
            // Its owner has dropped it meanwhile, and left everything to us.
            node.clear_lru(pfn);
            node.map().set_owner(pfn, None);
            node.map().set_copy(pfn, 0);
            self.custodian.count_resident(self.folio, pfn, order, -1);
            self.custodian.frames.free_frames(Vacated::new(pfn, order));
            self.custodian.bury(self.folio, self.from);
        } else {
            let list = kind_of(folios, self.folio).inactive();
            node.add_to_lru(folios, self.folio, pfn, order, list);
        }
        if released.wake {
            folios.waiters().wake(self.folio);
        }
        Claim::Done(released.word)
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
