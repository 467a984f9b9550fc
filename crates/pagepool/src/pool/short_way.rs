//! Raw blocks of several pages by a short way: from the calling thread's magazine, if that has one, or from the zone
//! that it has at hand, if that has what is wanted above its low mark and nothing about the request is particular.
//!
//! *Kernel counterpart:* the first attempt of `__alloc_pages_nodemask`, on the first zone of the list;
//! `free_unref_page`, `free_one_page` (v5.0).
//!
//! What the long way does besides has no say in such a request: it finds the node's zone, asks who may go below
//! the marks, keeps types apart, which a block of the right type cannot mix, and walks on where a zone has none.

#![forbid(unsafe_code)]

use super::at_hand::{hand, plain};
use super::block_ptr::BlockPtr;
use super::pages::PagesUninit;
use super::{Inner, PagePool};
use crate::alloc::class_of_raw;
use crate::backing::callback;
use crate::buddy::Residency;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::{StartBy, identity};
use crate::record::Happening;
use crate::sync::cpu;
use crate::types::{Migratetype, Order, Pfn, ZoneType};
use crate::zone::Zone;
use crate::zone::kind::Kind;

/// The type of block that is wanted, if a request may go the short way.
#[inline(always)]
fn wanted(order: Order, gfp: Gfp) -> Option<Migratetype> {
    plain(gfp).filter(|_| class_of_raw(order, gfp) == ZoneType::Normal)
}

impl PagePool {
    /// Takes a block of several pages from the calling thread's magazine, or else from the zone that it has at hand; or
    /// goes the long way.
    #[inline(always)]
    pub(super) fn alloc_block(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        let kind = wanted(order, gfp).and_then(|want| Kind::of(order, want));
        if let Some(block) = kind.and_then(|kind| self.alloc_kept(kind)) {
            return Ok(block);
        }
        match self.alloc_shortly(order, gfp) {
            Some(block) => Ok(block),
            None => self.alloc_block_the_long_way(order, gfp),
        }
    }

    /// Takes a block from the zone at hand, if the calling thread runs on a CPU of its node.
    #[inline(never)]
    fn alloc_shortly(&self, order: Order, gfp: Gfp) -> Option<PagesUninit> {
        let want = wanted(order, gfp)?;
        let hand = hand(self.inner()).filter(|_| !callback::is_inside_any())?;
        let (cpu, pool) = (cpu::current(), self.inner());
        if pool.nodes.of_cpu(cpu) != hand.zone.node() {
            return None;
        }
        let taken = hand.zone.take_shortly(cpu, order, want)?;
        let is_vacant = taken.residency() == Residency::Vacant;
        let block = PagesUninit::of_plain_block(self.inner.tether(), hand, &taken);
        if let Some(kind) = Kind::of(order, want) {
            hand.note_source(kind, taken.pfn());
        }
        if is_vacant {
            block.back_hugely();
        }
        pool.nodes
            .tell_of_fragmentation(hand.zone, StartBy::of(gfp));
        pool.note_alloc(&block, gfp);
        Some(block)
    }

    /// Takes a block that was not to be had the short way.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_block_the_long_way(
        &self,
        order: Order,
        gfp: Gfp,
    ) -> Result<PagesUninit, AllocError> {
        let block = self.alloc_the_long_way(order, gfp)?;
        let kind = wanted(order, gfp).and_then(|want| Kind::of(order, want));
        // By now the thread may have a magazine.
        let hand = hand(self.inner()).filter(|hand| hand.zone.contains(block.pfn()));
        if let (Some(hand), Some(kind)) = (hand, kind) {
            hand.note_source(kind, block.pfn());
        }
        Ok(block)
    }
}

/// Sees a block off that is about to be given back, if its zone is the one that the calling thread has at hand, and
/// its state says that it is allocated at this order, and neither reclaimable nor urgent: returns the zone, and the
/// block's first frame. None, and nothing has happened, if it has to go the long way. The caller owns it, and nobody uses
/// its memory any more.
#[inline]
pub(super) fn see_off(pool: &Inner, block: BlockPtr) -> Option<(&Zone, Pfn)> {
    let hand = hand(pool).filter(|_| !identity::is_any_measured())?;
    let (pfn, order) = (hand.frame_of(block)?, block.order());
    hand.zone.mobility_out(pfn, order)?;
    pool.recorder.note(|| Happening::Free { pfn, order });
    hand.arena.asan_poison(pfn.index(), order.pages());
    Some((hand.zone, pfn))
}
