//! Pools as allocators of collections.
//!
//! [`PagePool`] and `&PagePool` implement `allocator_api2::alloc::Allocator` at the grain of pages:
//! every allocation is a block of its own, of the smallest order that holds it. That suits large
//! vectors, tables and the chunks of a bump allocator; for small objects put one of these in between.
//!
//! ```
//! use allocator_api2::vec::Vec;
//! use pagepool::PagePool;
//!
//! let pool = PagePool::builder().memory(64 << 20).build()?;
//! let mut numbers = Vec::new_in(&pool);
//! numbers.extend(0..100_000u32);
//! assert_eq!(pool.stats().managed_pages - pool.stats().free_pages - pool.stats().cached_pages, 128);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use crate::gfp::Gfp;
use crate::pool::PagePool;
use crate::types::Order;

/// Collections ask in the middle of anything and abort on a refusal: they may wait, but not for
/// long, and are told at once when waiting is no use.
const FLAGS: Gfp = Gfp::KERNEL;

/// The order of the block for a layout: blocks are aligned to their size, so a block as large as the
/// alignment is aligned enough.
fn order_for(layout: Layout) -> Result<Order, AllocError> {
    Order::for_bytes(layout.size().max(layout.align())).ok_or(AllocError)
}

fn allocate(pool: &PagePool, layout: Layout, flags: Gfp) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 {
        return Ok(NonNull::slice_from_raw_parts(dangling(layout), 0));
    }
    let order = order_for(layout)?;
    let ptr = pool.alloc_raw(order, flags).map_err(|_| AllocError)?;
    Ok(NonNull::slice_from_raw_parts(ptr, order.bytes()))
}

/// A well-aligned pointer to nothing.
fn dangling(layout: Layout) -> NonNull<u8> {
    NonNull::new(std::ptr::without_provenance_mut(layout.align())).expect("alignments are not zero")
}

/// # Safety
/// As [`Allocator::deallocate`].
unsafe fn deallocate(pool: &PagePool, ptr: NonNull<u8>, layout: Layout) {
    if layout.size() > 0 {
        // SAFETY: by the caller's promise `ptr` came from `allocate` and is not used any more.
        unsafe { pool.free_raw(ptr) };
    }
}

// SAFETY: a block stays valid until it is freed, even if every handle to the pool is gone; clones of
// a handle are handles to the same pool, and freeing looks the block up by its address.
unsafe impl Allocator for PagePool {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        allocate(self, layout, FLAGS)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        allocate(self, layout, FLAGS | Gfp::ZERO)
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { deallocate(self, ptr, layout) };
    }

    unsafe fn grow(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { relocate(self, ptr, old, new) }
    }

    unsafe fn shrink(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { relocate(self, ptr, old, new) }
    }
}

/// Makes an allocation fit another layout: in place, or in another block with what fits of its contents.
///
/// # Safety
/// As [`Allocator::grow`] or [`Allocator::shrink`], whichever the layouts ask for.
unsafe fn relocate(
    pool: &PagePool,
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    if let Some(same) = same_block(ptr, old, new)? {
        return Ok(same);
    }
    let other = allocate(pool, new, FLAGS)?;
    // SAFETY: by the caller's promise `old.size()` bytes at `ptr` are valid; the other block holds
    // `new.size()`, and is another.
    unsafe { ptr.copy_to_nonoverlapping(other.cast(), old.size().min(new.size())) };
    // SAFETY: the caller's promise; what stays was copied.
    unsafe { deallocate(pool, ptr, old) };
    Ok(other)
}

/// The block itself, if the new layout fits the one it is in.
fn same_block(
    ptr: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<Option<NonNull<[u8]>>, AllocError> {
    let (was, needs) = (order_for(old)?, order_for(new)?);
    // A layout without size has no block.
    let fits = old.size() > 0 && new.size() > 0 && was == needs;
    Ok(fits.then(|| NonNull::slice_from_raw_parts(ptr, was.bytes())))
}
