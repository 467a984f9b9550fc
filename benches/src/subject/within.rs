//! Allocators that keep their own records within the memory they are given.
//!
//! talc and rlsf write theirs before or behind each block, so that a block that begins at a page takes a
//! page more. They get an arena that has room for that.

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

use buddy_alloc::buddy_alloc::{BuddyAlloc as RawBuddyAlloc, BuddyAllocParam};
use pagepool::{Order, PAGE_SIZE};
use talc::DefaultBinning;
use talc::base::Talc as RawTalc;
use talc::source::Manual;

use super::arena::Arena;
use super::heap::layout;
use super::in_arena::{Names, Single};

/// The start of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start(NonNull<u8>);

// SAFETY: it is the address of memory that nobody else refers to.
unsafe impl Send for Start {}

/// What these allocators take for tables, at most.
const TABLES: usize = 4 << 20;

/// buddy-alloc: a list and two maps of bits for each order.
pub(crate) struct BuddyAlloc(RawBuddyAlloc);

// SAFETY: its pointers lead into its own arena, which moves with it.
unsafe impl Send for BuddyAlloc {}

impl Single for BuddyAlloc {
    type Place = Start;

    const NAMES: Names = Names {
        alone: "buddy-alloc",
        locked: "buddy-alloc, mutex",
    };

    fn arena_for(bytes: usize) -> usize {
        bytes + TABLES
    }

    fn new(arena: &Arena) -> BuddyAlloc {
        let start = arena.start().as_ptr();
        let param = BuddyAllocParam::new_with_zero_filled(start, arena.bytes(), PAGE_SIZE);
        // SAFETY: the arena is mapped, all zeroes, and nobody else's; it outlives the allocator.
        BuddyAlloc(unsafe { RawBuddyAlloc::new(param) })
    }

    #[inline]
    fn alloc(&mut self, order: Order) -> Option<Start> {
        NonNull::new(self.0.malloc(order.bytes())).map(Start)
    }

    #[inline]
    fn free(&mut self, place: Start, _order: Order) {
        self.0.free(place.0.as_ptr());
    }

    fn start(place: Start, _arena: &Arena) -> NonNull<u8> {
        place.0
    }
}

/// talc: bins of free ranges, with tags behind blocks.
pub(crate) type Talc = RawTalc<Manual, DefaultBinning>;

impl Single for Talc {
    type Place = Start;

    const NAMES: Names = Names {
        alone: "talc",
        locked: "talc, mutex",
    };

    fn arena_for(bytes: usize) -> usize {
        with_a_page_more(bytes)
    }

    fn new(arena: &Arena) -> Talc {
        let mut talc = RawTalc::new(Manual);
        // SAFETY: (1) the arena is mapped and nobody else's; it outlives the allocator; (2) the source
        // `Manual` allows it.
        let end = unsafe { talc.claim(arena.start().as_ptr(), arena.bytes()) };
        assert!(end.is_some(), "an arena of {} bytes", arena.bytes());
        talc
    }

    #[inline]
    fn alloc(&mut self, order: Order) -> Option<Start> {
        // SAFETY: the layout's size is not zero.
        unsafe { self.allocate(layout(order)) }.map(Start)
    }

    #[inline]
    fn free(&mut self, place: Start, order: Order) {
        // SAFETY: `alloc` made the block with this layout, and it is given up here.
        unsafe { self.deallocate(place.0.as_ptr(), layout(order)) };
    }

    fn start(place: Start, _arena: &Arena) -> NonNull<u8> {
        place.0
    }
}

/// rlsf: two-level segregated fit, for blocks of up to 8 GiB.
pub(crate) struct Rlsf(rlsf::Tlsf<'static, u32, u32, 28, 32>);

impl fmt::Debug for Rlsf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rlsf").finish_non_exhaustive()
    }
}

impl Single for Rlsf {
    type Place = Start;

    const NAMES: Names = Names {
        alone: "rlsf",
        locked: "rlsf, mutex",
    };

    fn arena_for(bytes: usize) -> usize {
        with_a_page_more(bytes)
    }

    fn new(arena: &Arena) -> Rlsf {
        let start = arena.start().cast::<MaybeUninit<u8>>().as_ptr();
        // SAFETY: the arena is mapped and nobody else's; it outlives the allocator, which is all that
        // keeps the slice.
        let memory: &'static mut _ = unsafe { slice::from_raw_parts_mut(start, arena.bytes()) };
        let mut tlsf = rlsf::Tlsf::new();
        let _ = tlsf.insert_free_block(memory);
        Rlsf(tlsf)
    }

    #[inline]
    fn alloc(&mut self, order: Order) -> Option<Start> {
        self.0.allocate(layout(order)).map(Start)
    }

    #[inline]
    fn free(&mut self, place: Start, _order: Order) {
        // SAFETY: `alloc` made the block with this alignment, and it is given up here.
        unsafe { self.0.deallocate(place.0, PAGE_SIZE) };
    }

    fn start(place: Start, _arena: &Arena) -> NonNull<u8> {
        place.0
    }
}

/// Room for blocks of `bytes` together, of one page each in the worst case, when each takes a page more.
fn with_a_page_more(bytes: usize) -> usize {
    2 * bytes + TABLES
}
