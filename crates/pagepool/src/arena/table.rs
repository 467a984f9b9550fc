//! Tables that cost memory only where they are written.
//!
//! *Kernel counterpart:* `vmemmap` (v5.0), which the kernel fills at boot. A pool of hundreds of GiB
//! must open in microseconds, so its tables mean something sensible while they are all zero.
//!
//! **Invariants**
//! - Z1: `elements` points to memory that the table owns, initialised, until drop.
//! - Z2: `mapping` is what to unmap; without one, `elements` is a boxed slice.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use crossbeam::utils::CachePadded;
use memmap2::{MmapMut, MmapOptions};

use super::HEAP_ONLY;
use crate::{
    error::BuildError,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize},
    types::PAGE_SIZE,
};

/// Types whose value of all zero bytes is their default.
///
/// # Safety
/// All zero bytes are a valid value, the same as [`Default`] gives, and need not be dropped.
/// Builds for loom are exempt: there atomics are neither zeroable nor mapped, and tables are filled
/// with [`Default`].
pub(crate) unsafe trait Zeroable: Default {}

macro_rules! zeroable {
    ($($integer:ty)*) => {
        // SAFETY: an integer, or an atomic that is laid out as one, is 0 in zero bytes and by
        // default, and has nothing to drop.
        $(unsafe impl Zeroable for $integer {})*
    };
}
zeroable!(u8 u16 u32 u64 usize AtomicU8 AtomicU32 AtomicU64 AtomicUsize);

// SAFETY: padding takes any bytes; the value is zero bytes, which is what the default wraps.
unsafe impl<T: Zeroable> Zeroable for CachePadded<T> {}

// SAFETY: zero bytes are zero elements, each of which is its default; likewise for dropping.
unsafe impl<T: Zeroable, const N: usize> Zeroable for [T; N] where [T; N]: Default {}

/// A fixed number of elements, all zero at first, mapped lazily.
///
/// Less than a page comes from the heap, as does everything where a tool knows only the heap.
pub(crate) struct ZeroedTable<T> {
    elements: NonNull<[T]>,
    mapping: Option<MmapMut>,
}

// SAFETY: the table owns its elements as a box does (Z1), and a mapping may be unmapped anywhere.
unsafe impl<T: Send> Send for ZeroedTable<T> {}
// SAFETY: through a shared table there are only shared references to elements.
unsafe impl<T: Sync> Sync for ZeroedTable<T> {}

impl<T: Zeroable> ZeroedTable<T> {
    const FITS_A_MAPPING: () = assert!(align_of::<T>() <= PAGE_SIZE);

    /// Returns a table of `len` elements for `what`, which an error names.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room.
    pub(crate) fn new(len: usize, what: &'static str) -> Result<ZeroedTable<T>, BuildError> {
        let () = Self::FITS_A_MAPPING;
        let bytes = len.saturating_mul(size_of::<T>());
        if HEAP_ONLY || bytes < PAGE_SIZE {
            return Ok(ZeroedTable::on_the_heap(len));
        }

        let mut mapping = map(bytes).map_err(|source| BuildError::Map {
            what,
            bytes,
            source,
        })?;
        let first = NonNull::new(mapping.as_mut_ptr().cast::<T>())
            .expect("the system maps nothing at address 0");
        // The mapping is `bytes` long, aligned to a page, and all zero, which `T` admits (Z1).
        Ok(ZeroedTable {
            elements: NonNull::slice_from_raw_parts(first, len),
            mapping: Some(mapping),
        })
    }

    /// Builds each element by itself.
    fn on_the_heap(len: usize) -> ZeroedTable<T> {
        let elements: Box<[T]> = (0..len).map(|_| T::default()).collect();
        ZeroedTable {
            elements: NonNull::from(Box::leak(elements)),
            mapping: None,
        }
    }
}

impl<T> ZeroedTable<T> {
    /// Bytes of address space that the table takes, and of memory once every element is written.
    pub(crate) fn bytes(&self) -> usize {
        Self::bytes_for(self.elements.len())
    }

    /// What [`bytes`](Self::bytes) is for a table of `len` elements.
    pub(crate) fn bytes_for(len: usize) -> usize {
        match len * size_of::<T>() {
            small if HEAP_ONLY || small < PAGE_SIZE => small,
            mapped => mapped.next_multiple_of(PAGE_SIZE),
        }
    }
}

/// Maps `bytes` zero bytes, none of which takes memory yet.
fn map(bytes: usize) -> io::Result<MmapMut> {
    if bytes > isize::MAX as usize {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    MmapOptions::new().len(bytes).no_reserve_swap().map_anon()
}

impl<T> Deref for ZeroedTable<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: (Z1) the elements are initialised and ours, and `self` is borrowed as long.
        unsafe { self.elements.as_ref() }
    }
}

impl<T> DerefMut for ZeroedTable<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: (Z1) the elements are initialised and ours, and `self` is borrowed exclusively.
        unsafe { self.elements.as_mut() }
    }
}

impl<T> Drop for ZeroedTable<T> {
    fn drop(&mut self) {
        if self.mapping.is_none() {
            // SAFETY: (Z2) without a mapping the elements came out of a box, and go back once.
            drop(unsafe { Box::from_raw(self.elements.as_ptr()) });
        }
    }
}

impl<T> fmt::Debug for ZeroedTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The elements are too many to print, and printing would touch them.
        f.debug_struct("ZeroedTable")
            .field("len", &self.elements.len())
            .finish_non_exhaustive()
    }
}
