//! The shortest paths: single raw pages by way of the calling thread's magazine.
//!
//! *Kernel counterpart:* `rmqueue_pcplist`, `free_unref_page_commit` (v5.0).
//!
//! **Lifetimes.** A page in a magazine counts as out (L2): it is subtracted by whoever takes it from there while
//! the pool ends. So once a block's page was put there, and its owner does not find the magazine revoked, the
//! pool may be gone; the magazine itself is not (C2).
//!
//! While the pool is recorded, magazines are watched, and what these paths do is done by their slow ends, which note
//! it ([`record`](crate::record)).

use super::block_ptr::{BlockPtr, Mark};
use super::lifetime::{Tether, settle};
use super::pages::PagesUninit;
use super::{Inner, PagePool};
use crate::alloc::at_hand;
use crate::arena::{Arena, Zeroable};
use crate::backing::callback;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::{FrameSink, StartBy, identity};
use crate::record::Happening;
use crate::sync::cpu;
use crate::types::{Migratetype, NodeId, Order, PAGE_SIZE, Pfn, ZoneType};
use crate::zone::at_hand::Used;
use crate::zone::exchange::FreedOfHalf;
use crate::zone::kind::Kind;
use crate::zone::magazine::{Magazine, Opens};
use crate::zone::{Freed, Taken, Zone};

// SAFETY: a magazine consists of atomics and arrays of them, all of which are 0 or false in zero bytes, as they are by
// default; none has anything to drop.
unsafe impl Zeroable for Magazine {}

/// The type of page that is wanted, if a request may be served from a magazine.
#[inline(always)]
pub(super) const fn wanted(order: Order, gfp: Gfp) -> Option<Migratetype> {
    if order.get() == 0 { plain(gfp) } else { None }
}

/// The type of page that is wanted, if the flags ask for nothing particular.
#[inline(always)]
pub(super) const fn plain(gfp: Gfp) -> Option<Migratetype> {
    let particular = Gfp::DMA
        .union(Gfp::DMA32)
        .union(Gfp::RECLAIMABLE)
        .union(Gfp::THISNODE)
        .union(Gfp::ZERO);
    if gfp.intersects(particular) {
        None
    } else if gfp.contains(Gfp::MOVABLE) {
        Some(Migratetype::Movable)
    } else {
        Some(Migratetype::Unmovable)
    }
}

/// A thread's magazine with its zone and its node's memory.
#[derive(Clone, Copy)]
pub(super) struct Hand<'a> {
    magazine: &'a Magazine,
    /// The zone.
    pub(super) zone: &'a Zone,
    /// The memory of its node.
    pub(super) arena: &'a Arena,
    /// The zone's first page.
    first: BlockPtr,
    slot: usize,
}

impl Hand<'_> {
    /// A block of the zone, which was just taken from it.
    #[inline(always)]
    pub(super) fn block(&self, taken: &Taken) -> BlockPtr {
        let bytes = self.zone.offset_of(taken.pfn()) * PAGE_SIZE;
        // SAFETY: (O2) whoever has a `Taken` has such a block, and the zone's memory is in one piece.
        let block = unsafe { self.first.neighbour(bytes, taken.order()) };
        if taken.residency().reads_as_zeros() {
            block.with(Mark::Blank, true)
        } else {
            block
        }
    }

    /// The frame that a block begins with, if that is one of the zone's.
    #[inline(always)]
    pub(super) fn frame_of(&self, block: BlockPtr) -> Option<Pfn> {
        self.zone.frame_at(block.pages_after(self.first))
    }

    /// Whether what passes through the magazine is to be noted.
    pub(super) fn is_watched(&self) -> bool {
        self.magazine.is_watched()
    }

    /// Notes that such a block came from the zone instead.
    #[inline]
    pub(super) fn note_source(&self, kind: Kind, pfn: Pfn) {
        self.zone.note_source(self.magazine, kind, pfn);
    }
}

/// What the calling thread has at hand of a pool, if it used that one last.
#[inline(always)]
pub(super) fn hand(pool: &Inner) -> Option<Hand<'_>> {
    // SAFETY: it was just seen that it did.
    at_hand::is_here(pool.id).then(|| unsafe { hand_of_last(pool) })
}

/// What the calling thread has at hand of the pool that it used last.
///
/// # Safety
/// That is this pool.
#[inline(always)]
unsafe fn hand_of_last(_pool: &Inner) -> Hand<'_> {
    let place = at_hand::here();
    // SAFETY: (C4) this is a zone of the pool, which is there: its nodes do not move before it ends.
    let zone = unsafe { &*place.zone };
    // SAFETY: (C4) as above; nodes keep their arenas.
    let arena = unsafe { &*place.arena };
    // SAFETY: (C4) as above; it is the zone's first page in that arena, as `find` was told.
    let first = unsafe { BlockPtr::from_raw(place.first) };
    // SAFETY: (C2) it is one of that zone's, which keeps them; and the thread keeps them after the pool's end.
    let magazine = unsafe { &*place.magazine };
    Hand {
        magazine,
        zone,
        arena,
        first,
        slot: place.slot,
    }
}

impl PagePool {
    /// Takes a page of a type from the calling thread's magazine, if there is one.
    #[inline(always)]
    pub(super) fn alloc_at_hand(&self, want: Migratetype) -> Option<PagesUninit> {
        // Where the type is known, there is less to be done.
        match want {
            Migratetype::Movable => self.alloc_movable_at_hand(),
            _ => self.alloc_unmovable_at_hand(),
        }
    }

    #[inline(never)]
    fn alloc_movable_at_hand(&self) -> Option<PagesUninit> {
        self.take_at_hand(Migratetype::Movable)
    }

    #[inline(never)]
    fn alloc_unmovable_at_hand(&self) -> Option<PagesUninit> {
        self.take_at_hand(Migratetype::Unmovable)
    }

    #[inline(always)]
    fn take_at_hand(&self, want: Migratetype) -> Option<PagesUninit> {
        self.take_by(|hand| { hand.zone }.take_at_hand(hand.magazine, want, Opens::Unwatched))
    }

    /// Takes what `take` takes from the calling thread's magazine, which is not watched.
    #[inline(always)]
    fn take_by(&self, take: impl FnOnce(Hand<'_>) -> Used<Option<Taken>>) -> Option<PagesUninit> {
        let pool = self.inner();
        if !at_hand::is_here(pool.id) || callback::is_inside_any() {
            return None;
        }
        // SAFETY: it was just seen that the thread used this pool last.
        let hand = unsafe { hand_of_last(pool) };
        let used = take(hand);
        if used.is_revoked {
            return self.see_to_revoked(used.outcome);
        }
        used.outcome.map(|taken| self.page_at_hand(hand, &taken))
    }

    /// Takes a block of a kind from the calling thread's magazine, if there is one.
    #[inline(always)]
    pub(super) fn alloc_kept(&self, kind: Kind) -> Option<PagesUninit> {
        match kind {
            Kind::WHOLE => self.alloc_whole_kept(),
            _ => self.alloc_part_kept(kind),
        }
    }

    #[inline(never)]
    fn alloc_whole_kept(&self) -> Option<PagesUninit> {
        self.take_block_by(Kind::WHOLE)
    }

    #[inline(never)]
    fn alloc_part_kept(&self, kind: Kind) -> Option<PagesUninit> {
        self.take_block_by(kind)
    }

    #[inline(always)]
    fn take_block_by(&self, kind: Kind) -> Option<PagesUninit> {
        self.take_by(|hand| { hand.zone }.take_block_at_hand(hand.magazine, kind))
    }

    /// Empties the calling thread's magazine, which was revoked while it was used, or could not be opened; returns what
    /// was taken before.
    #[cold]
    #[inline(never)]
    fn see_to_revoked(&self, taken: Option<Taken>) -> Option<PagesUninit> {
        let pool = self.inner();
        let Some(hand) = hand(pool) else {
            unreachable!("C3: the magazine was there just now");
        };
        // First of all it has an owner, whatever comes.
        let page = taken.map(|taken| self.page_at_hand(hand, &taken));
        // It may only be watched.
        if page.is_some() || hand.magazine.is_revoked() {
            pool.empty_own(hand);
        }
        page
    }

    /// Takes a page that was not to be had from the magazine at once: from one that is watched, from what the depot
    /// fills it with, or from the zones.
    // Not the same with an order: then that is to be kept on the way here.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_page_the_long_way(&self, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        let page = self.take_watched(gfp);
        match page.or_else(|| self.restock_and_take(gfp)) {
            Some(page) => Ok(page),
            None => self.alloc_the_long_way(Order::ZERO, gfp),
        }
    }

    /// Takes a page from the calling thread's magazine, if that is watched, and notes it.
    fn take_watched(&self, gfp: Gfp) -> Option<PagesUninit> {
        let pool = self.inner();
        let hand = hand(pool).filter(|hand| hand.is_watched() && !callback::is_inside_any())?;
        let used = { hand.zone }.take_at_hand(hand.magazine, plain(gfp)?, Opens::Any);
        // First of all it has an owner, whatever comes.
        let page = { used.outcome }.map(|taken| self.page_at_hand(hand, &taken));
        if let Some(page) = &page {
            pool.note_alloc(page, gfp);
        }
        if used.is_revoked {
            pool.empty_own(hand);
        }
        page
    }

    /// Fills the calling thread's magazine by the depot, and takes a page.
    fn restock_and_take(&self, gfp: Gfp) -> Option<PagesUninit> {
        let pool = self.inner();
        let hand = hand(pool).filter(|hand| !hand.is_watched() && !callback::is_inside_any())?;
        if pool.nodes.of_cpu(cpu::current()) != hand.zone.node() {
            return None;
        }
        let want = plain(gfp)?;
        let restocked = hand.zone.restock_by_depot(hand.slot, want)?;
        let taken = { hand.zone }.take_at_hand(hand.magazine, want, Opens::Unwatched);
        // First of all it has an owner, whatever comes.
        let page = { taken.outcome }.map(|taken| self.page_at_hand(hand, &taken));
        if restocked.is_revoked || taken.is_revoked {
            pool.empty_own(hand);
        }
        { &pool.nodes }.tell_of_fragmentation(hand.zone, StartBy::of(gfp));
        page
    }

    #[inline(always)]
    fn page_at_hand(&self, hand: Hand<'_>, taken: &Taken) -> PagesUninit {
        PagesUninit::of_plain_block(self.inner.tether(), hand, taken)
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
    /// Of a request for more than a page, only the latter.
    #[cold]
    #[inline(never)]
    pub(super) fn stock_at_hand(&self, order: Order, gfp: Gfp) {
        let Some(want) = plain(gfp).filter(|_| !self.hardened) else {
            return;
        };
        let node = self.nodes.of_cpu(cpu::current());
        let zone = self.zone_at_hand(node);
        let arena = self.nodes.node(node).arena();
        if find(self, zone, arena).is_none() {
            return;
        }
        if let Some(hand) = hand(self)
            && order == Order::ZERO
            && hand.zone.restock(hand.slot, want).is_revoked
        {
            self.empty_own(hand);
        }
    }

    /// Empties the calling thread's own magazine, which was revoked while it used it. The caller keeps the pool
    /// alive.
    #[cold]
    #[inline(never)]
    pub(super) fn empty_own(&self, hand: Hand<'_>) {
        let mut pages = hand.zone.magazines().take_own(hand.slot);
        if !pages.is_empty() {
            self.see_to_freed(hand.zone, hand.zone.give_to_buddy(&mut pages));
        }
    }
}

/// A page is not in its thread's magazine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// The magazine was revoked: its owner has to empty it.
    is_revoked: bool,
}

impl Refused {
    /// It was not even tried.
    pub(super) const UNTRIED: Refused = Refused { is_revoked: false };
}

/// Puts a single page into the calling thread's magazine, if it may be there.
///
/// # Errors
/// It may not; nothing has happened.
///
/// # Safety
/// The page is out, and the caller owns it: nobody uses its memory any more.
#[inline(always)]
pub(super) unsafe fn release(tether: Tether, page: BlockPtr) -> Result<(), Refused> {
    // SAFETY: by the caller's promise.
    let (hand, pfn) = unsafe { hand_for(tether, page) }?;
    let put = { hand.zone }.put_at_hand(hand.magazine, pfn, Opens::Unwatched, || ());
    see_to_put(tether, &put)
}

/// Puts the page there, whether the magazine is watched or not, and notes it if it is, before it is there for anybody.
///
/// # Safety
/// As [`release`].
unsafe fn put_and_note(tether: Tether, page: BlockPtr) -> Result<(), Refused> {
    // SAFETY: by the caller's promise.
    let (hand, pfn) = unsafe { hand_for(tether, page) }?;
    // SAFETY: (L2) the caller's page is out.
    let recorder = unsafe { &tether.pool().recorder };
    let order = Order::ZERO;
    let note = || recorder.note(|| Happening::Free { pfn, order });
    let put = { hand.zone }.put_at_hand(hand.magazine, pfn, Opens::Any, note);
    see_to_put(tether, &put)
}

/// Puts a block of several pages, of this order, into the calling thread's magazine, if it may be there.
///
/// # Errors
/// It may not; nothing has happened.
///
/// # Safety
/// The block is out, and the caller owns it: nobody uses its memory any more. It is of that order.
#[inline(always)]
pub(super) unsafe fn release_block(
    tether: Tether,
    block: BlockPtr,
    order: Order,
) -> Result<(), Refused> {
    debug_assert_eq!(block.order(), order);
    // SAFETY: by the caller's promise.
    let (hand, pfn) = unsafe { hand_for(tether, block) }?;
    let put = { hand.zone }.put_block_at_hand((hand.magazine, hand.slot), pfn, order);
    see_to_put(tether, &put)
}

/// What the calling thread has at hand for a block that is given back, and the block's first frame, if it is of the zone
/// that this is in front of.
///
/// # Safety
/// The block is out, and the caller owns it: nobody uses its memory any more. What is returned is used no longer than
/// the block is out: until it was put into the magazine, which may be the last that is heard of the pool.
// No closure gets it: that is not inlined everywhere, and costs a tenth.
#[inline(always)]
unsafe fn hand_for<'a>(tether: Tether, block: BlockPtr) -> Result<(Hand<'a>, Pfn), Refused> {
    // SAFETY: (L2) the caller's block is out.
    let pool = unsafe { tether.pool() };
    if !at_hand::is_here(pool.id) || identity::is_any_measured() {
        return Err(Refused::UNTRIED);
    }
    // SAFETY: it was just seen that the thread used this pool last.
    let hand = unsafe { hand_of_last(pool) };
    let pfn = hand.frame_of(block).ok_or(Refused::UNTRIED)?;
    { hand.arena }.asan_poison(pfn.index(), block.bytes() / PAGE_SIZE);
    Ok((hand, pfn))
}

/// Sees to what came of putting a block into the calling thread's magazine. If it is there, the pool may be gone.
#[inline(always)]
fn see_to_put(tether: Tether, put: &Used<bool>) -> Result<(), Refused> {
    let is_revoked = put.is_revoked;
    if !put.outcome {
        return Err(Refused { is_revoked });
    }
    if is_revoked {
        empty_after_put(tether);
    }
    Ok(())
}

/// Sees to the calling thread's magazine, which did not take a block: it may be revoked, or only watched. The caller's
/// block keeps the pool alive.
pub(super) fn see_to_refused(pool: &Inner, refused: Refused) {
    if refused.is_revoked
        && let Some(hand) = hand(pool)
        && hand.magazine.is_revoked()
    {
        pool.empty_own(hand);
    }
}

/// Empties the calling thread's magazine after its page went there: the pool is there as long as anything is in
/// the magazine, since that counts as out.
#[cold]
#[inline(never)]
fn empty_after_put(tether: Tether) {
    let Some((magazines, place)) = at_hand::latest() else {
        return;
    };
    let mut pages = magazines.take_own(place.slot);
    if pages.is_empty() {
        return;
    }
    // SAFETY: (C4, L2) the zone's pool is there until these pages, which are out, are put back here.
    let zone = unsafe { &*place.zone };
    let freed = zone.give_to_buddy(&mut pages);
    // SAFETY: it came from this zone just now, and what is out of it keeps the pool alive.
    unsafe { settle(tether, zone, freed) };
}

/// The page was refused: finds the calling thread a magazine, or makes room in it, and puts the page there. Or the
/// magazine is watched. Returns whether the page is there.
///
/// # Safety
/// As [`release`], which has just refused the page.
pub(super) unsafe fn release_again(tether: Tether, page: BlockPtr, refused: Refused) -> bool {
    // SAFETY: (L2) the caller's block is out.
    let pool = unsafe { tether.pool() };
    let mut refused = refused;
    if refused.is_revoked && hand(pool).is_some_and(|hand| hand.magazine.is_watched()) {
        // SAFETY: by the caller's promise.
        match unsafe { put_and_note(tether, page) } {
            Ok(()) => return true,
            Err(still) => refused = still,
        }
    }
    let is_possible = match hand(pool) {
        None => find_for(pool, page),
        Some(_) => make_room(tether, pool, page, refused),
    };
    if !is_possible {
        return false;
    }
    // SAFETY: by the caller's promise.
    let Err(refused) = (unsafe { put_and_note(tether, page) }) else {
        return true;
    };
    if refused.is_revoked {
        empty_after_put(tether);
    }
    false
}

/// Finds the calling thread a magazine in front of a zone of the pool, which is in this memory.
fn find(pool: &Inner, zone: &Zone, arena: &Arena) -> Option<at_hand::Place> {
    let start = arena.ptr(zone.start().index());
    // SAFETY: there the zone's first page is.
    let first = unsafe { BlockPtr::new(start, zone.node(), Order::ZERO) };
    at_hand::find(pool.id, zone, arena, first.into_raw())
}

/// Finds the calling thread a magazine that the page may go to.
fn find_for(pool: &Inner, page: BlockPtr) -> bool {
    let node = pool.nodes.of_cpu(cpu::current());
    let zone = pool.zone_at_hand(node);
    let arena = pool.nodes.node(node).arena();
    let is_there = node == page.node() && zone.contains(pool.bases.frame(node, page.start()));
    !pool.hardened && is_there && find(pool, zone, arena).is_some()
}

/// Empties the calling thread's magazine if it was revoked, or makes room in it if it is full; returns whether it did
/// the latter.
fn make_room(tether: Tether, pool: &Inner, page: BlockPtr, refused: Refused) -> bool {
    let empty = |is_revoked: bool| {
        if is_revoked {
            empty_after_put(tether);
        }
    };
    empty(refused.is_revoked);
    let Some(hand) = hand(pool) else {
        return false;
    };
    let pfn = hand.frame_of(page);
    let Some(mobility) = pfn.and_then(|pfn| hand.zone.lacks_room(hand.magazine, pfn)) else {
        return false;
    };
    let mut all = FreedOfHalf::new();
    let made = hand.zone.make_room(hand.slot, mobility, &mut all);
    empty(made.is_revoked);
    for freed in all {
        // Whoever is called for that may use a magazine on this very thread, and another than this by now.
        // SAFETY: it came from this zone just now; the caller's block keeps the pool alive.
        unsafe { settle(tether, hand.zone, freed) };
    }
    true
}
