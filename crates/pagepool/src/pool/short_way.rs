//! Raw blocks of several pages by a short way: from the zone that the calling thread has at hand, if that has what
//! is wanted above its low mark and nothing about the request is particular.
//!
//! *Kernel counterpart:* the first attempt of `__alloc_pages_nodemask`, on the first zone of the list;
//! `free_unref_page`, `free_one_page` (v5.0).
//!
//! What the long way does besides has no say in such a request: it finds the node's zone, asks who may go below
//! the marks, keeps types apart, which a block of the right type cannot mix, and walks on where a zone has none.

#![forbid(unsafe_code)]

use super::at_hand::{hand, plain};
use super::pages::PagesUninit;
use super::{Inner, PagePool};
use crate::alloc::class_of_raw;
use crate::backing::callback;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::identity;
use crate::record::Happening;
use crate::sync::cpu;
use crate::types::{Migratetype, Order, Pfn, ZoneType};
use crate::zone::{Taken, Zone};

/// The type of block that is wanted, if a request may go the short way.
#[inline]
fn wanted(order: Order, gfp: Gfp) -> Option<Migratetype> {
    plain(gfp).filter(|_| class_of_raw(order, gfp) == ZoneType::Normal)
}

impl PagePool {
    /// Takes a block of several pages the short way; else goes the long one.
    #[inline(never)]
    pub(super) fn alloc_block(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        let pool = self.inner();
        if let Some(want) = wanted(order, gfp)
            && let Some(hand) = hand(pool)
            && let Some(taken) = pool.take_shortly(hand.zone, order, want)
        {
            let block = PagesUninit::of_plain_block(self.inner.tether(), hand.arena, &taken);
            pool.note_alloc(&block, gfp);
            return Ok(block);
        }
        self.alloc_the_long_way(order, gfp)
    }
}

impl Inner {
    #[inline]
    fn take_shortly(&self, zone: &Zone, order: Order, want: Migratetype) -> Option<Taken> {
        let cpu = cpu::current();
        if callback::is_inside_any() || self.nodes.of_cpu(cpu) != zone.node() {
            return None;
        }
        let taken = zone.take_shortly(cpu, order, want)?;
        self.nodes.tell_of_fragmentation(zone);
        Some(taken)
    }
}

/// Sees a block off that is about to be given back: the zone that the calling thread has at hand, if it is of that,
/// and its state says that it is allocated at this order, and not as reclaimable. None, and nothing has happened, if
/// it has to go the long way. The caller owns it, and nobody uses its memory any more.
#[inline]
pub(super) fn see_off(pool: &Inner, pfn: Pfn, order: Order) -> Option<&Zone> {
    let hand = hand(pool)?;
    if !hand.zone.contains(pfn) || identity::is_any_measured() || !hand.zone.has_out(pfn, order) {
        return None;
    }
    pool.recorder.note(|| Happening::Free { pfn, order });
    hand.arena.asan_poison(pfn.index(), order.pages());
    Some(hand.zone)
}
