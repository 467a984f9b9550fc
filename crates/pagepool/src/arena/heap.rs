//! A zeroed block of the global allocator, in place of a reservation.
//!
//! Loom, Miri and the simulation run without system calls, and AddressSanitizer finds what runs
//! over either end of a block that it knows.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    io,
    ptr::NonNull,
};

use super::asan;

/// A block of the heap, freed on drop.
#[derive(Debug)]
pub(super) struct HeapBlock {
    base: NonNull<u8>,
    layout: Layout,
}

impl HeapBlock {
    /// Allocates `bytes` zero bytes, not none, aligned to `align`, a power of two.
    pub(super) fn new(bytes: usize, align: usize) -> io::Result<HeapBlock> {
        assert!(bytes > 0, "a block of the heap has a size");
        let no_memory = || io::Error::from(io::ErrorKind::OutOfMemory);

        let layout = Layout::from_size_align(bytes, align).map_err(|_| no_memory())?;
        // SAFETY: the size is not 0.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or_else(no_memory)?;
        Ok(HeapBlock { base, layout })
    }

    /// The first byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        asan::unpoison(self.base, self.layout.size());
        // SAFETY: the block was allocated with this layout, and is freed once, here.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
