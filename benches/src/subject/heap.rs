//! A general allocator as a subject: asked for page-aligned blocks, told to keep its memory.
//!
//! Unlike a pool it has no budget, so it never refuses.

use std::alloc::Layout;
use std::ptr::NonNull;

use pagepool::{Order, PAGE_SIZE};

use super::Subject;
use super::peers::Peer;

/// A [`Peer`] as a subject.
#[derive(Debug)]
pub(crate) struct Heap<A>(A);

/// A block of a heap, and the order it was asked for with.
#[derive(Debug)]
pub(crate) struct HeapBlock {
    start: NonNull<u8>,
    order: Order,
}

// SAFETY: the block is memory that nobody else refers to, and all peers take frees on any thread.
unsafe impl Send for HeapBlock {}

impl<A: Peer> Subject for Heap<A> {
    type Block = HeapBlock;

    const NAME: &'static str = A::NAME;

    fn open(_bytes: usize) -> Result<Heap<A>, String> {
        A::keep_idle_memory();
        Ok(Heap(A::INSTANCE))
    }

    #[inline]
    fn alloc(&self, order: Order) -> Option<HeapBlock> {
        // SAFETY: the layout's size is not zero.
        let start = unsafe { self.0.alloc(layout(order)) };
        NonNull::new(start).map(|start| HeapBlock { start, order })
    }

    #[inline]
    fn free(&self, block: HeapBlock) {
        // SAFETY: `alloc` made the block with this layout, and it is given up here.
        unsafe { self.0.dealloc(block.start.as_ptr(), layout(block.order)) };
    }

    fn touch(&self, block: &mut HeapBlock) {
        for page in 0..block.order.pages() {
            // SAFETY: the page begins within the block.
            let byte = unsafe { block.start.add(page * PAGE_SIZE) };
            // SAFETY: the byte is the caller's, who holds the block exclusively.
            unsafe { byte.write_volatile(1) };
        }
    }
}

/// How blocks of `order` are asked for.
#[inline]
pub(super) fn layout(order: Order) -> Layout {
    // SAFETY: (1) the alignment is a power of two; (2) sizes end at 4 MiB, far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(order.bytes(), PAGE_SIZE) }
}
