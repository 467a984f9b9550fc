//! Blocks in their owners' hands.
//!
//! **Invariants**
//! - O1: a [`Pages`] or [`PagesUninit`] owns its block: no other handle, cache or free list holds any
//!   of its frames.
//! - O2: the memory of a block is mapped, readable and writable as long as the block is out.

use std::fmt;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::at_hand::Hand;
use super::block_ptr::{BlockPtr, Mark};
use super::lifetime::{self, PoolRef, Tether};
use super::short_way;
use super::{Inner, PagePool, at_hand};
use crate::alloc::Charge;
use crate::arena::Arena;
use crate::buddy::{IdleBlock, Residency};
use crate::error::AllocError;
use crate::folio::follow_last_owner;
use crate::gfp::Gfp;
use crate::memmap::{FrameState, Memmap};
use crate::node::{Granted, identity};
use crate::record::Happening;
use crate::types::{GroupId, Migratetype, NodeId, Order, PAGEBLOCK_ORDER, Pfn, ZoneType};
use crate::zone::evacuate::EmptyUnit;
use crate::zone::hotplug::OfflineBlock;
use crate::zone::kind::Kind;
use crate::zone::{Taken, TakenRun, Zone};

/// Who is charged for a block.
#[derive(Debug)]
pub(super) enum Paid<'a> {
    /// No group.
    ByNobody,
    /// A group, just now.
    Now(Charge<'a>),
    /// A group, for a page before it, whose charge came with the block.
    Before(GroupId),
}

/// An owned block, without a statement about its contents.
struct Block {
    tether: Tether,
    ptr: BlockPtr,
}

// Two words: what returns one, or an `Option` of it, has it in registers, and what is inlined the `Result` as well.
const _: () = assert!(size_of::<Result<PagesUninit, AllocError>>() == 2 * size_of::<usize>());

// SAFETY: (O1) a block owns its memory as a `Box<[u8]>` does; the pool is `Sync`.
unsafe impl Send for Block {}
// SAFETY: `&Block` gives out `&[u8]` only, and reads of the pool, which is `Sync`.
unsafe impl Sync for Block {}

impl Block {
    fn pool(&self) -> &Inner {
        // SAFETY: this block is out.
        unsafe { self.tether.pool() }
    }

    fn pfn(&self) -> Pfn {
        self.pool().bases.frame(self.ptr.node(), self.ptr.start())
    }

    fn order(&self) -> Order {
        self.ptr.order()
    }

    fn arena(&self) -> &Arena {
        self.pool().nodes.node(self.ptr.node()).arena()
    }

    fn map(&self) -> &Memmap {
        self.pool().nodes.node(self.ptr.node()).map()
    }

    fn zone(&self) -> &Zone {
        self.pool().zone_of(self.pfn())
    }

    /// The block of `order` that begins `part` such blocks into this one.
    ///
    /// # Panics
    /// If there are not so many.
    fn part(&self, part: usize, order: Order) -> Block {
        assert!(order <= self.order() && part < self.order().pages() >> order.get());
        // SAFETY: it lies in the block, as just seen.
        let ptr = unsafe { self.ptr.at(part * order.bytes(), order) };
        Block { ptr, ..*self }
    }

    /// Takes the frame out of the state "allocated at this order" and returns its mobility, or says
    /// what it is instead.
    fn take_state(&self) -> Result<Migratetype, FrameState> {
        let pfn = self.pfn();
        let state = self.map().state(pfn);
        match state.block() {
            Some((order, mobility)) if state.is_allocated() && order == self.order() => {
                if self.ptr.is(Mark::WasRaw) {
                    let allocated = FrameState::allocated(order, mobility);
                    self.map().transition(pfn, allocated, FrameState::FREE)?;
                }
                Ok(mobility)
            }
            _ => Err(state),
        }
    }
}

impl Block {
    /// Each of `count` parts of this order belongs to the block's group from now on.
    fn share_group(&self, order: Order, count: usize) {
        let first = self.pfn();
        let group = self.map().group_of_raw(first);
        for part in 1..count {
            let pfn = first.add(part << order.get());
            self.map().set_group_of_raw(pfn, group);
            self.pool().groups.slot(group).join();
        }
    }

    /// Gives a single page back with its charge, which the next page of its group finds; or gives back the
    /// charge alone, and returns false.
    fn release_with_charge(&self) -> bool {
        let (pfn, order) = (self.pfn(), self.order());
        let group = self.map().take_group_of_raw(pfn);
        let groups = &self.pool().groups;
        if order == Order::ZERO {
            let may_keep = || groups.may_keep_charges(group);
            // SAFETY: 1. (O1) the block is ours, and this is its end; 2. `take_state` has seen to it.
            let released = unsafe {
                lifetime::release_charged(self.tether, self.zone(), pfn, group, may_keep)
            };
            match released {
                Ok(()) => return true,
                Err((_, 0)) => {}
                Err((other, pages)) => groups.leave_raw(other, pages, pages),
            }
        }
        groups.leave_raw(group, 1, order.pages());
        false
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if !self.ptr.is_plain(Order::ZERO) {
            return self.end_block();
        }
        // SAFETY: (O1) the block is ours, and this is its end; its state is looked at there.
        if let Err(refused) = unsafe { at_hand::release(self.tether, self.ptr) } {
            self.end_refused(refused);
        }
    }
}

impl Block {
    /// Gives a single page back that the thread's magazine did not take.
    #[cold]
    #[inline(never)]
    fn end_refused(&self, refused: at_hand::Refused) {
        // SAFETY: as in `drop`.
        if !unsafe { at_hand::release_again(self.tether, self.ptr, refused) } {
            self.end();
        }
    }

    /// Gives a block back that is not just a page of nobody's.
    #[inline(never)]
    fn end_block(&self) {
        // Where the order is known, there is less to be done.
        if self.ptr.is_plain(PAGEBLOCK_ORDER) {
            self.end_whole();
        } else {
            self.end_other_block();
        }
    }

    #[inline(never)]
    fn end_whole(&self) {
        self.end_plain(PAGEBLOCK_ORDER);
    }

    #[inline(never)]
    fn end_other_block(&self) {
        if self.ptr.is(Mark::WasRaw) || self.ptr.is(Mark::Charged) {
            return self.end();
        }
        self.end_plain(self.order());
    }

    /// Gives a block of several pages back, which is of this order.
    #[inline(always)]
    fn end_plain(&self, order: Order) {
        if !Kind::is_any_of(order) {
            return self.end_block_refused(at_hand::Refused::UNTRIED);
        }
        // SAFETY: (O1) the block is ours, and this is its end; its state is looked at there.
        if let Err(refused) = unsafe { at_hand::release_block(self.tether, self.ptr, order) } {
            self.end_block_refused(refused);
        }
    }

    /// Gives a block back that the thread's magazine did not take, or keeps none of.
    #[inline(never)]
    fn end_block_refused(&self, refused: at_hand::Refused) {
        let pool = self.pool();
        at_hand::see_to_refused(pool, refused);
        match short_way::see_off(pool, self.ptr) {
            // SAFETY: 1. as above, it is still ours; 2. `see_off` has looked.
            Some((zone, pfn)) => unsafe {
                lifetime::release(self.tether, zone, pfn, self.order());
            },
            None => self.end(),
        }
    }

    /// Gives the block back in any case.
    #[cold]
    #[inline(never)]
    fn end(&self) {
        let (pfn, order) = (self.pfn(), self.order());
        let mobility = match self.take_state() {
            Ok(mobility) => mobility,
            Err(state) => panic!("{pfn} is freed at {order:?}, but it is {state}"),
        };
        // Before it is given back, so that whoever gets it next is later.
        self.pool().recorder.note(|| Happening::Free { pfn, order });
        if mobility == Migratetype::Reclaimable {
            self.pool().count_reclaimable(pfn, -(order.pages() as i64));
        }
        let (arena, index, pages) = (self.arena(), pfn.index(), order.pages());
        if identity::is_measured(|| self.pool().tag()) {
            identity::note_freed(pages);
        }
        if self.pool().hardened {
            // SAFETY: (O1) the block is ours.
            unsafe { arena.poison(index, pages) };
        }
        arena.asan_poison(index, pages);
        if self.ptr.is(Mark::Charged) && self.release_with_charge() {
            return;
        }
        // SAFETY: 1. (O1) the block is ours, and this is its end; 2. `take_state` has seen to it.
        unsafe { lifetime::release(self.tether, self.zone(), pfn, order) };
    }
}

macro_rules! block_api {
    ($name:ident) => {
        impl $name {
            /// The order of the block: it has 2^order pages.
            #[must_use]
            pub fn order(&self) -> Order {
                self.block.order()
            }

            /// The first frame's number.
            #[must_use]
            pub fn pfn(&self) -> Pfn {
                self.block.pfn()
            }

            /// The node the block lies in.
            #[must_use]
            pub fn node(&self) -> NodeId {
                self.block.ptr.node()
            }

            /// The zone the block lies in.
            #[must_use]
            pub fn zone(&self) -> ZoneType {
                self.block.zone().zone_type()
            }

            /// Whether the block was taken without regard to the marks, and so perhaps from the
            /// reserves (kernel: `page_is_pfmemalloc`): it should only serve to free more.
            #[must_use]
            pub fn is_from_reserve(&self) -> bool {
                self.block.ptr.is(Mark::FromReserve)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("pfn", &self.pfn())
                    .field("order", &self.order())
                    .finish_non_exhaustive()
            }
        }
    };
}

/// An owned block of 2^order pages at a fixed address, aligned to its size.
///
/// Dereferences to its bytes, frees itself when dropped, and may outlive the [`PagePool`] that it
/// came from. It does not move: memory that should be movable belongs in a folio.
///
/// ```
/// # use pagepool::{Gfp, Order, PagePool};
/// # let pool = PagePool::builder().memory(16 << 20).build()?;
/// let mut block = pool.alloc_pages(Order::new(2)?, Gfp::KERNEL)?;
/// block.fill(7);
/// let quarters: Vec<_> = block.split(Order::ZERO).collect();
/// assert!(quarters.len() == 4 && quarters[3].iter().all(|byte| *byte == 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pages {
    block: Block,
}

block_api!(Pages);

impl Pages {
    /// Splits the block into blocks of a smaller order, in ascending order of their addresses.
    ///
    /// # Panics
    /// If `order` is larger than the block's.
    #[must_use = "what is not taken out of the iterator is freed"]
    pub fn split(self, order: Order) -> Split {
        let own = self.order();
        assert!(
            order <= own,
            "a block at {own:?} cannot be split into {order:?}"
        );
        let whole = ManuallyDrop::new(self);
        let block = &whole.block;
        let (first, count) = (block.pfn(), own.pages() >> order.get());
        block.pool().recorder.note(|| Happening::Split {
            pfn: first,
            order: own,
            into: order,
        });
        let (_, mobility) = block
            .map()
            .state(first)
            .block()
            .expect("O1: it is allocated");
        for part in 0..count {
            let pfn = first.add(part << order.get());
            block
                .map()
                .set_state(pfn, FrameState::allocated(order, mobility));
        }
        if block.ptr.is(Mark::Charged) {
            block.share_group(order, count);
        }
        Split {
            whole,
            order,
            next: 0,
            count,
        }
    }

    /// The pool that it is of.
    pub(super) fn pool(&self) -> &Inner {
        self.block.pool()
    }

    /// Says whether the block belongs to a group.
    pub(super) fn set_charged(&mut self, is_charged: bool) {
        self.block.ptr = self.block.ptr.with(Mark::Charged, is_charged);
    }

    /// Gives up the handle for a pointer to the first byte. The block stays out until it comes back
    /// by [`PagePool::from_raw`].
    #[must_use = "the block is leaked unless it comes back by `from_raw`"]
    pub fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).block.ptr.start()
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let ptr = self.block.ptr;
        // SAFETY: (O1, O2) the bytes are ours, mapped and initialised; borrowed as long as `self`.
        unsafe { NonNull::slice_from_raw_parts(ptr.start(), ptr.bytes()).as_ref() }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        let ptr = self.block.ptr;
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { NonNull::slice_from_raw_parts(ptr.start(), ptr.bytes()).as_mut() }
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Pages {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// An owned block whose contents are whatever they were.
///
/// Dereferences to `[MaybeUninit<u8>]`. Turn it into [`Pages`] by [`zeroed`](Self::zeroed), or by
/// [`assume_init`](Self::assume_init) once every byte was written.
pub struct PagesUninit {
    block: Block,
}

block_api!(PagesUninit);

impl PagesUninit {
    /// Makes the handle of a block that was taken from this pool. A [`Taken`](crate::zone::Taken) is
    /// made by a zone alone, for each block that leaves it, and cannot be copied: who has it owns the
    /// block (O1).
    #[inline(always)]
    pub(super) fn new(pool: &PoolRef, granted: Granted, paid: Paid<'_>) -> PagesUninit {
        let Granted {
            taken,
            from_reserve,
        } = granted;
        let (pfn, order) = (taken.pfn(), taken.order());
        let arena = pool.arena_of(pfn);
        arena.asan_unpoison(pfn.index(), order.pages());
        // A folio may have been here, and somebody be reading it optimistically still.
        follow_last_owner();
        let is_charged = !matches!(paid, Paid::ByNobody);
        let group = match paid {
            Paid::ByNobody => GroupId::ROOT,
            Paid::Now(charge) => {
                let group = charge.keep();
                pool.groups.join_raw(group, order.pages());
                group
            }
            Paid::Before(group) => group,
        };
        if is_charged {
            let map = pool.nodes.node(pfn.node()).map();
            map.set_group_of_raw(pfn, group);
        }
        // SAFETY: (O1, O2) this is the block.
        let ptr = unsafe { BlockPtr::new(arena.ptr(pfn.index()), pfn.node(), order) };
        let block = Block {
            tether: pool.tether(),
            ptr: ptr
                .with(Mark::FromReserve, from_reserve)
                .with(Mark::Charged, is_charged)
                .with(Mark::Blank, taken.residency().reads_as_zeros()),
        };
        PagesUninit { block }
    }

    /// Makes the handle of a block, as [`new`](Self::new) does: nothing is particular about it.
    #[inline]
    pub(super) fn of_plain_block(tether: Tether, hand: Hand<'_>, taken: &Taken) -> PagesUninit {
        let (pfn, order) = (taken.pfn(), taken.order());
        hand.arena.asan_unpoison(pfn.index(), order.pages());
        // As in `new`.
        follow_last_owner();
        let block = Block {
            tether,
            ptr: hand.block(taken),
        };
        PagesUninit { block }
    }

    /// Has a block of whole pageblocks, which has no memory yet, backed by huge pages, if the pool wants that: its owner
    /// asked for all of it.
    pub(super) fn back_hugely(&self) {
        let (pfn, order) = (self.block.pfn(), self.block.order());
        debug_assert!(self.block.ptr.is(Mark::Blank), "it has no memory yet");
        if order >= PAGEBLOCK_ORDER {
            // SAFETY: (O1) the block is ours.
            unsafe { self.block.arena().back_hugely(pfn.index(), order.pages()) };
        }
    }

    /// In a hardened pool, sees whether the memory is as it was left when it was freed.
    ///
    /// # Panics
    /// If it was written meanwhile. The block is freed like any other then.
    #[inline]
    pub(super) fn check_poison(&self) {
        if self.block.pool().hardened {
            check_poison(&self.block);
        }
    }

    /// Zeroes the block.
    #[must_use]
    pub fn zeroed(self) -> Pages {
        Pages {
            block: self.zero_in_place().block,
        }
    }

    pub(super) fn zero_in_place(mut self) -> PagesUninit {
        if !self.block.ptr.is(Mark::Blank) {
            let (pfn, order) = (self.block.pfn(), self.block.order());
            // SAFETY: (O1) the block is ours.
            unsafe { self.block.arena().zero(pfn.index(), order.pages()) };
            self.block.ptr = self.block.ptr.with(Mark::Blank, true);
        }
        self
    }

    /// Declares the contents to be initialised.
    ///
    /// # Safety
    /// Every byte of the block was written since it was allocated.
    #[must_use]
    pub unsafe fn assume_init(self) -> Pages {
        Pages { block: self.block }
    }
}

/// Memory that is poisoned while it is free must come back as it was left.
fn check_poison(block: &Block) {
    let (pfn, order) = (block.pfn(), block.order());
    // SAFETY: (O1) the block is ours.
    if let Err(offset) = unsafe { block.arena().check_poison(pfn.index(), order.pages()) } {
        let frame = pfn.add(offset / crate::types::PAGE_SIZE);
        panic!("{frame} was written while it was free: byte {offset} of a block at {order:?}");
    }
}

impl Deref for PagesUninit {
    type Target = [MaybeUninit<u8>];

    fn deref(&self) -> &[MaybeUninit<u8>] {
        let ptr = self.block.ptr;
        // SAFETY: (O1, O2) the bytes are ours and mapped; borrowed as long as `self`.
        unsafe { NonNull::slice_from_raw_parts(ptr.start().cast(), ptr.bytes()).as_ref() }
    }
}

impl DerefMut for PagesUninit {
    fn deref_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let ptr = self.block.ptr.with(Mark::Blank, false);
        self.block.ptr = ptr;
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { NonNull::slice_from_raw_parts(ptr.start().cast(), ptr.bytes()).as_mut() }
    }
}

/// The parts of a block that was [split](Pages::split); those not taken out are freed with it.
#[derive(Debug)]
pub struct Split {
    whole: ManuallyDrop<Pages>,
    order: Order,
    next: usize,
    count: usize,
}

impl Iterator for Split {
    type Item = Pages;

    fn next(&mut self) -> Option<Pages> {
        if self.next == self.count {
            return None;
        }
        let block = self.whole.block.part(self.next, self.order);
        self.next += 1;
        Some(Pages { block })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Split {}

impl Drop for Split {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

/// Blocks that follow each other, as they came from a zone; those not taken out are freed with it.
pub(super) struct Run {
    tether: Tether,
    /// The next one, if any is left.
    next: BlockPtr,
    left: usize,
    is_vacant: bool,
}

impl Run {
    /// Takes blocks over. A [`TakenRun`] is made by a zone alone, for blocks that leave it, and cannot be copied: who
    /// has it owns them (O1).
    #[expect(clippy::needless_pass_by_value, reason = "it is given up")]
    pub(super) fn new(pool: &PoolRef, taken: TakenRun) -> Run {
        let (first, order, residency) = (taken.first(), taken.order(), taken.residency());
        let arena = pool.arena_of(first);
        arena.asan_unpoison(first.index(), taken.nr() << order.get());
        // As in `PagesUninit::new`.
        follow_last_owner();
        // SAFETY: (O1, O2) this is the first one.
        let next = unsafe { BlockPtr::new(arena.ptr(first.index()), first.node(), order) };
        Run {
            tether: pool.tether(),
            next: next.with(Mark::Blank, residency.reads_as_zeros()),
            left: taken.nr(),
            is_vacant: residency == Residency::Vacant,
        }
    }

    /// Whether they have no memory yet.
    pub(super) fn is_vacant(&self) -> bool {
        self.is_vacant
    }
}

impl Iterator for Run {
    type Item = PagesUninit;

    #[inline]
    fn next(&mut self) -> Option<PagesUninit> {
        self.left = self.left.checked_sub(1)?;
        let (tether, ptr) = (self.tether, self.next);
        if self.left > 0 {
            // SAFETY: (O1) there is another one, which follows it.
            self.next = unsafe { ptr.next() };
        }
        let block = Block { tether, ptr };
        Some(PagesUninit { block })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl PagePool {
    /// Takes back a block that was given up by [`Pages::into_raw`].
    ///
    /// # Safety
    /// 1. `ptr` came from [`Pages::into_raw`] or [`alloc_raw`](Self::alloc_raw) of this pool, has not
    ///    come back since, and nobody else uses the memory.
    /// 2. Every byte of the block is initialised.
    ///
    /// # Panics
    /// If `ptr` is not the first byte of a block of this pool that is out; the message names the frame
    /// and its state. Of two that come back with the same block, the second to drop it panics.
    #[must_use]
    pub unsafe fn from_raw(&self, ptr: NonNull<u8>) -> Pages {
        // SAFETY: the caller's first promise.
        let block = unsafe { self.claim_raw(ptr) };
        Pages { block }
    }

    /// # Safety
    /// As the first of [`from_raw`](Self::from_raw).
    unsafe fn claim_raw(&self, ptr: NonNull<u8>) -> Block {
        let nodes = &self.inner.nodes;
        let Some(pfn) = nodes.locate(ptr.as_ptr()) else {
            panic!("{ptr:p} does not belong to this pool");
        };
        let node = nodes.node(pfn.node());
        assert!(
            node.arena().ptr(pfn.index()) == ptr,
            "{ptr:p} lies inside {pfn}, not at its start"
        );
        let state = node.map().state(pfn);
        let Some((order, _)) = state.block().filter(|_| state.is_allocated()) else {
            panic!("{pfn} comes back from a raw pointer, but it is {state}");
        };
        let is_charged = !node.map().group_of_raw(pfn).is_root();
        // SAFETY: (O2) such a block begins there, as just seen, and is out by the caller's promise.
        let start = unsafe { BlockPtr::new(node.arena().ptr(pfn.index()), pfn.node(), order) };
        Block {
            tether: self.inner.tether(),
            ptr: { start.with(Mark::WasRaw, true) }.with(Mark::Charged, is_charged),
        }
    }

    /// Allocates a block and returns a pointer to its first byte; the contents are whatever they were,
    /// or zeros with [`Gfp::ZERO`]. For callers who manage lifetimes themselves, such as other
    /// languages.
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages).
    pub fn alloc_raw(&self, order: Order, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
        let pages = self.alloc_pages_uninit(order, gfp)?;
        Ok(ManuallyDrop::new(pages).block.ptr.start())
    }

    /// Frees a block by its pointer.
    ///
    /// # Safety
    /// As the first of [`from_raw`](Self::from_raw).
    ///
    /// # Panics
    /// As [`from_raw`](Self::from_raw).
    pub unsafe fn free_raw(&self, ptr: NonNull<u8>) {
        // SAFETY: the caller's promise.
        drop(unsafe { self.claim_raw(ptr) });
    }

    /// Whether the block belongs to this pool.
    #[must_use]
    pub fn owns(&self, pages: &Pages) -> bool {
        pages.block.tether.same_pool(&self.inner)
    }
}

/// Frames that a zone has withdrawn from its free lists: who has the value owns them.
pub(super) trait Withdrawn {
    /// The first frame, and how many there are.
    fn frames(&self) -> (Pfn, usize);
}

impl Withdrawn for IdleBlock {
    fn frames(&self) -> (Pfn, usize) {
        (self.pfn(), self.order().pages())
    }
}

impl Withdrawn for OfflineBlock {
    fn frames(&self) -> (Pfn, usize) {
        (self.pfn(), self.pages())
    }
}

/// Asks the system for the memory of a withdrawn block that has none, which reads as zeros then; returns how many
/// pages of it are parts of huge ones.
pub(super) fn populate(arena: &Arena, idle: &IdleBlock) -> io::Result<usize> {
    let (index, pages) = (idle.pfn().index(), idle.order().pages());
    debug_assert_eq!(idle.residency(), Residency::Vacant);
    // SAFETY: the value is made by a zone alone, of frames that it has taken off its lists, and cannot be copied:
    // nobody else uses their memory.
    let huge = unsafe { arena.back_hugely(index, pages) };
    if huge < pages {
        // SAFETY: as above.
        unsafe { arena.populate(index, pages) }?;
    }
    Ok(huge)
}

/// Has the system back an emptied unit by huge pages, if the pool wants that.
pub(super) fn back_hugely(arena: &Arena, unit: &EmptyUnit) {
    let (pfn, pages) = unit.frames();
    // SAFETY: the value is made by a zone alone, of frames that are free and withheld from everybody, and who has it
    // has not released them: nobody else uses their memory.
    unsafe { arena.back_hugely(pfn.index(), pages) };
}

/// Gives the memory of withdrawn frames to the system; returns whether it is gone.
pub(super) fn give_back(arena: &Arena, withdrawn: &impl Withdrawn) -> bool {
    let (pfn, pages) = withdrawn.frames();
    // SAFETY: the value is made by a zone alone, of frames that it has taken off its lists, cannot be
    // copied, and is consumed when they go back: nobody else uses their memory.
    unsafe { arena.give_back(pfn.index(), pages) }.is_ok()
}
