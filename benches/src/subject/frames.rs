//! Allocators that hand out numbers: they never touch the memory that the numbers stand for.
//!
//! Each gets an arena of as many pages as it has numbers, so that a block of theirs is memory, too.

#![forbid(unsafe_code)]

use std::ptr::NonNull;

use pagepool::{Order, PAGE_SIZE};

use super::arena::Arena;
use super::in_arena::{Names, Single};

/// offset-allocator: two levels of bins over ranges of any size.
pub(crate) type OffsetAllocator = offset_allocator::Allocator<u32>;

impl Single for OffsetAllocator {
    type Place = offset_allocator::Allocation<u32>;

    const NAMES: Names = Names {
        alone: "offset-alloc",
        locked: "offset-alloc, mutex",
    };

    fn arena_for(bytes: usize) -> usize {
        bytes
    }

    fn new(arena: &Arena) -> OffsetAllocator {
        let pages = u32::try_from(arena.pages()).expect("less than 16 TiB");
        // A node for each page, and for what is free beside it.
        OffsetAllocator::with_max_allocs(pages, 2 * pages)
    }

    #[inline]
    fn alloc(&mut self, order: Order) -> Option<Self::Place> {
        self.allocate(order.pages() as u32)
    }

    #[inline]
    fn free(&mut self, place: Self::Place, _order: Order) {
        OffsetAllocator::free(self, place);
    }

    fn start(place: Self::Place, arena: &Arena) -> NonNull<u8> {
        arena.page(place.offset as usize)
    }
}

/// buddy_system_allocator's allocator of frames: a tree of free frames for each order.
pub(crate) type BuddySystem = buddy_system_allocator::FrameAllocator<FRAME_ORDERS>;

/// Orders 0 to 10, as pagepool has.
const FRAME_ORDERS: usize = Order::MAX.get() as usize + 1;

impl Single for BuddySystem {
    type Place = usize;

    const NAMES: Names = Names {
        alone: "buddy_system",
        locked: "buddy_system, mutex",
    };

    fn arena_for(bytes: usize) -> usize {
        bytes
    }

    fn new(arena: &Arena) -> BuddySystem {
        let mut frames = BuddySystem::new();
        frames.add_frame(0, arena.bytes() / PAGE_SIZE);
        frames
    }

    #[inline]
    fn alloc(&mut self, order: Order) -> Option<usize> {
        BuddySystem::alloc(self, order.pages())
    }

    #[inline]
    fn free(&mut self, place: usize, order: Order) {
        self.dealloc(place, order.pages());
    }

    fn start(place: usize, arena: &Arena) -> NonNull<u8> {
        arena.page(place)
    }
}
