//! The shortest paths: single raw pages by way of the calling thread's magazine.
//!
//! *Kernel counterpart:* `rmqueue_pcplist`, `free_unref_page_commit` (v5.0).
//!
//! **Lifetimes.** A page in a magazine counts as out (L2): it is subtracted by whoever takes it from there while
//! the pool ends. So once a block's page was put there, and its owner does not find the magazine revoked, the
//! pool may be gone; the magazine itself is not (C2).

use super::lifetime::{Tether, settle};
use super::pages::PagesUninit;
use super::{Inner, PagePool};
use crate::alloc::at_hand::{self, Place};
use crate::arena::Arena;
use crate::backing::callback;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::{FrameSink, identity};
use crate::sync::cpu;
use crate::types::{Migratetype, NodeId, Order, Pfn, ZoneType};
use crate::zone::at_hand::{Kept, Used};
use crate::zone::{Freed, Taken, Zone};

/// The type of page that is wanted, if a request may be served from a magazine.
#[inline(always)]
const fn wanted(order: Order, gfp: Gfp) -> Option<Migratetype> {
    let particular = Gfp::DMA
        .union(Gfp::DMA32)
        .union(Gfp::RECLAIMABLE)
        .union(Gfp::THISNODE)
        .union(Gfp::ZERO);
    if order.get() != 0 || gfp.intersects(particular) {
        None
    } else if gfp.contains(Gfp::MOVABLE) {
        Some(Migratetype::Movable)
    } else {
        Some(Migratetype::Unmovable)
    }
}

/// Whether a request may be served from a magazine.
#[inline(always)]
pub(super) const fn is_kept(order: Order, gfp: Gfp) -> bool {
    wanted(order, gfp).is_some()
}

impl PagePool {
    /// Takes a page from the calling thread's magazine, if that is what the request wants and there is one; else
    /// goes the long way.
    #[inline(always)]
    pub(super) fn alloc_at_hand(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        let pool = self.inner();
        if let Some(want) = wanted(order, gfp)
            && let Some(place) = at_hand::here(pool.id)
            && !callback::is_inside_any()
        {
            let node = pool.nodes.node(place.node);
            let used = node.zone(ZoneType::Normal).take_at_hand(place.slot, want);
            // The rest is left to calls that this ends with: then it needs no frame of its own.
            if used.is_revoked {
                return self.alloc_after_revoked(place, used.outcome, order, gfp);
            }
            if let Some(taken) = used.outcome {
                return Ok(self.page_at_hand(node.arena(), &taken));
            }
        }
        self.alloc_the_long_way(order, gfp)
    }

    #[inline(always)]
    fn page_at_hand(&self, arena: &Arena, taken: &Taken) -> PagesUninit {
        PagesUninit::of_plain_page(self.inner.tether(), arena, taken)
    }

    /// The same, once the magazine was found to be revoked.
    #[cold]
    #[inline(never)]
    fn alloc_after_revoked(
        &self,
        place: Place,
        taken: Option<Taken>,
        order: Order,
        gfp: Gfp,
    ) -> Result<PagesUninit, AllocError> {
        let node = self.inner().nodes.node(place.node);
        // First of all it has an owner, whatever comes.
        let page = taken.map(|taken| self.page_at_hand(node.arena(), &taken));
        self.inner()
            .empty_own(node.zone(ZoneType::Normal), place.slot);
        match page {
            Some(page) => Ok(page),
            None => self.alloc_the_long_way(order, gfp),
        }
    }
}

impl Inner {
    fn see_to_freed(&self, zone: &Zone, freed: Freed) {
        if freed.is_something() {
            self.see_to(zone, freed);
        }
    }

    /// The zone that a node's magazines are in front of.
    #[inline]
    fn zone_at_hand(&self, node: NodeId) -> &Zone {
        self.nodes.node(node).zone(ZoneType::Normal)
    }

    /// Fills the calling thread's magazine after a request that it could not serve; finds it one, if it has none.
    #[cold]
    #[inline(never)]
    pub(super) fn stock_at_hand(&self, order: Order, gfp: Gfp) {
        let Some(want) = wanted(order, gfp).filter(|_| !self.hardened) else {
            return;
        };
        let node = self.nodes.of_cpu(cpu::current());
        let zone = self.zone_at_hand(node);
        let Some(Place { slot, .. }) = at_hand::find(self.id, node, zone.magazines()) else {
            return;
        };
        if zone.restock(slot, want).is_revoked {
            self.empty_own(zone, slot);
        }
    }

    /// Empties the calling thread's own magazine, which was revoked while it used it. The caller keeps the pool
    /// alive.
    #[cold]
    #[inline(never)]
    fn empty_own(&self, zone: &Zone, slot: usize) {
        let mut pages = zone.magazines().take_own(slot);
        if !pages.is_empty() {
            self.see_to_freed(zone, zone.give_to_buddy(&mut pages));
        }
    }
}

/// Puts a single page into the calling thread's magazine, if it may be there.
///
/// # Safety
/// 1. The page is out, and the caller owns it: nobody uses its memory any more. 2. Unless this returns true,
///    nothing has happened.
#[inline(always)]
pub(super) unsafe fn release(tether: Tether, pfn: Pfn) -> bool {
    // SAFETY: (L2) the caller's block is out.
    let pool = unsafe { tether.pool() };
    let id = pool.id;
    let Some(place) = at_hand::here(id) else {
        // SAFETY: by the caller's promise.
        return unsafe { release_into_new(tether, pfn) };
    };
    let node = pool.nodes.node(place.node);
    let zone = node.zone(ZoneType::Normal);
    if !zone.contains(pfn) || identity::is_any_measured() {
        return false;
    }
    node.arena().asan_poison(pfn.index(), 1);
    let used = zone.put_at_hand(place.slot, pfn);
    if used.outcome != Kept::Yes {
        // SAFETY: by the caller's promise: the block is still out.
        return unsafe { release_after(tether, pfn, place, &used) };
    }
    if used.is_revoked {
        empty_after_put(tether, id, place);
    }
    true
}

/// Empties the calling thread's magazine after its page went there: the pool is there as long as anything is in
/// the magazine, since that counts as out.
#[cold]
#[inline(never)]
fn empty_after_put(tether: Tether, id: at_hand::PoolId, place: Place) {
    let Some(magazines) = at_hand::magazines_of(id) else {
        return;
    };
    let mut pages = magazines.take_own(place.slot);
    if pages.is_empty() {
        return;
    }
    // SAFETY: (L2) these pages are out until they are put back here.
    let zone = unsafe { tether.pool() }.zone_at_hand(place.node);
    let freed = zone.give_to_buddy(&mut pages);
    // SAFETY: it came from this zone just now, and what is out of it keeps the pool alive.
    unsafe { settle(tether, zone, freed) };
}

/// The magazine did not take the page: makes room in it, or gives up.
///
/// # Safety
/// As [`release`].
#[cold]
#[inline(never)]
unsafe fn release_after(tether: Tether, pfn: Pfn, place: Place, used: &Used<Kept>) -> bool {
    // SAFETY: (L2) the caller's block is out.
    let pool = unsafe { tether.pool() };
    let zone = pool.zone_at_hand(place.node);
    let empty = |is_revoked: bool| {
        if is_revoked {
            empty_after_put(tether, pool.id, place);
        }
    };
    empty(used.is_revoked);
    let Kept::Full(mobility) = used.outcome else {
        return false;
    };
    let made = zone.make_room(place.slot, mobility);
    empty(made.is_revoked);
    for freed in made.outcome {
        // SAFETY: it came from this zone just now; the caller's block keeps the pool alive.
        unsafe { settle(tether, zone, freed) };
    }
    let id = pool.id;
    // Whoever is called for that may use a magazine on this very thread, and another than this by now.
    if at_hand::here(id) != Some(place) {
        return false;
    }
    let used = zone.put_at_hand(place.slot, pfn);
    if used.is_revoked {
        empty_after_put(tether, id, place);
    }
    used.outcome == Kept::Yes
}

/// Finds the calling thread a magazine, and puts the page there.
///
/// # Safety
/// As [`release`].
#[cold]
#[inline(never)]
unsafe fn release_into_new(tether: Tether, pfn: Pfn) -> bool {
    // SAFETY: (L2) the caller's block is out.
    let pool = unsafe { tether.pool() };
    if pool.hardened {
        return false;
    }
    let node = pool.nodes.of_cpu(cpu::current());
    let zone = pool.zone_at_hand(node);
    if !zone.contains(pfn) || at_hand::find(pool.id, node, zone.magazines()).is_none() {
        return false;
    }
    // SAFETY: by the caller's promise; the thread has a magazine now, so that this ends.
    unsafe { release(tether, pfn) }
}
