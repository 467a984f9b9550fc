//! Raw blocks of several pages by a short way: from the calling thread's magazine, if that has one, or from the zone
//! that it has at hand, if that has what is wanted above its low mark and nothing about the request is particular.
//!
//! *Kernel counterpart:* the first attempt of `__alloc_pages_nodemask`, on the first zone of the list;
//! `free_unref_page`, `free_one_page` (v5.0).
//!
//! What the long way does besides has no say in such a request: it finds the node's zone, asks who may go below
//! the marks, keeps types apart, which a block of the right type cannot mix, and walks on where a zone has none.

#![forbid(unsafe_code)]

use super::at_hand::{Hand, hand, plain};
use super::pages::PagesUninit;
use super::{Inner, PagePool};
use crate::alloc::class_of_raw;
use crate::backing::callback;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::{StartBy, identity};
use crate::record::Happening;
use crate::sync::cpu;
use crate::types::{Migratetype, Order, Pfn, ZoneType};
use crate::zone::Taken;
use crate::zone::kind::Kind;

/// The type of block that is wanted, if a request may go the short way.
#[inline]
fn wanted(order: Order, gfp: Gfp) -> Option<Migratetype> {
    plain(gfp).filter(|_| class_of_raw(order, gfp) == ZoneType::Normal)
}

impl PagePool {
    /// Takes a block of several pages from the calling thread's magazine, or else from the zone that it has at hand;
    /// or goes the long way.
    #[inline(never)]
    pub(super) fn alloc_block(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        let Some(want) = wanted(order, gfp) else {
            return self.alloc_the_long_way(order, gfp);
        };
        if let Some(hand) = hand(self.inner())
            && !callback::is_inside_any()
        {
            let kind = Kind::of(order, want).filter(|_| !hand.is_watched());
            if let Some(block) = kind.and_then(|kind| self.take_kept(hand, kind)) {
                return Ok(block);
            }
            if let Some(mut block) = self.take_shortly(hand, order, want) {
                block.back_hugely();
                { &self.inner.nodes }.tell_of_fragmentation(hand.zone, StartBy::of(gfp));
                self.inner.note_alloc(&block, gfp);
                return Ok(block);
            }
        }
        self.alloc_block_the_long_way(order, gfp, want)
    }

    #[inline]
    fn take_kept(&self, hand: Hand<'_>, kind: Kind) -> Option<PagesUninit> {
        let used = hand.take_block(kind);
        // First of all it has an owner, whatever comes.
        let block = used.outcome.map(|taken| self.block_at_hand(hand, &taken));
        if used.is_revoked {
            self.inner.empty_own(hand);
        }
        block
    }

    /// Takes a block from the zone at hand, if the calling thread runs on a CPU of its node.
    #[inline]
    fn take_shortly(&self, hand: Hand<'_>, order: Order, want: Migratetype) -> Option<PagesUninit> {
        let (cpu, nodes) = (cpu::current(), &self.inner.nodes);
        if nodes.of_cpu(cpu) != hand.zone.node() {
            return None;
        }
        let taken = hand.zone.take_shortly(cpu, order, want)?;
        let block = self.block_at_hand(hand, &taken);
        if let Some(kind) = Kind::of(order, want) {
            hand.note_source(kind, block.pfn());
        }
        Some(block)
    }

    #[inline]
    fn block_at_hand(&self, hand: Hand<'_>, taken: &Taken) -> PagesUninit {
        PagesUninit::of_plain_block(self.inner.tether(), hand.arena, taken)
    }

    #[cold]
    #[inline(never)]
    fn alloc_block_the_long_way(
        &self,
        order: Order,
        gfp: Gfp,
        want: Migratetype,
    ) -> Result<PagesUninit, AllocError> {
        let block = self.alloc_the_long_way(order, gfp)?;
        // By now the thread may have a magazine.
        let hand = hand(self.inner()).filter(|hand| hand.zone.contains(block.pfn()));
        if let (Some(hand), Some(kind)) = (hand, Kind::of(order, want)) {
            hand.note_source(kind, block.pfn());
        }
        Ok(block)
    }
}

/// Where a block goes that is given back the short way.
pub(super) struct Returning<'a> {
    /// What the calling thread has at hand; the block is of that zone.
    pub(super) hand: Hand<'a>,
    /// Its kind, if it may go into the magazine.
    pub(super) kind: Option<Kind>,
}

/// Sees a block off that is about to be given back, if its zone is the one that the calling thread has at hand, and
/// its state says that it is allocated at this order, and not as reclaimable. None, and nothing has happened, if it
/// has to go the long way. The caller owns it, and nobody uses its memory any more.
#[inline]
pub(super) fn see_off(pool: &Inner, pfn: Pfn, order: Order) -> Option<Returning<'_>> {
    let hand = hand(pool).filter(|hand| hand.zone.contains(pfn))?;
    let mobility = hand.zone.mobility_out(pfn, order)?;
    if mobility == Migratetype::Reclaimable || identity::is_any_measured() {
        return None;
    }
    let is_watched = hand.is_watched();
    pool.recorder.note(|| Happening::Free { pfn, order });
    hand.arena.asan_poison(pfn.index(), order.pages());
    Some(Returning {
        hand,
        kind: Kind::of(order, mobility).filter(|_| !is_watched),
    })
}
