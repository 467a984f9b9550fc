//! Hooks that tell AddressSanitizer which pages are free; they do nothing in other builds.
//!
//! AddressSanitizer knows nothing of pages that the pool hands out. Told, it reports a touch of a
//! free page as "use-after-poison", with the stack of who did it.

pub(super) use hooks::{is_poisoned, poison, unpoison};

#[cfg(pagepool_asan)]
mod hooks {
    use std::{ffi::c_void, ptr::NonNull};

    // SAFETY: these are the signatures that the sanitizer's interface header gives.
    unsafe extern "C" {
        fn __asan_poison_memory_region(addr: *const c_void, size: usize);
        fn __asan_unpoison_memory_region(addr: *const c_void, size: usize);
        fn __asan_region_is_poisoned(addr: *const c_void, size: usize) -> *const c_void;
    }

    /// Makes a touch of the bytes an error.
    pub(in crate::arena) fn poison(start: NonNull<u8>, bytes: usize) {
        // SAFETY: marks the sanitizer's own notes on the bytes, and accesses none of them.
        unsafe { __asan_poison_memory_region(start.as_ptr().cast(), bytes) };
    }

    /// Makes the bytes accessible.
    pub(in crate::arena) fn unpoison(start: NonNull<u8>, bytes: usize) {
        // SAFETY: marks the sanitizer's own notes on the bytes, and accesses none of them.
        unsafe { __asan_unpoison_memory_region(start.as_ptr().cast(), bytes) };
    }

    /// Whether a touch of some of the bytes is an error.
    pub(in crate::arena) fn is_poisoned(start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: reads the sanitizer's own notes on the bytes, and accesses none of them.
        !unsafe { __asan_region_is_poisoned(start.as_ptr().cast(), bytes) }.is_null()
    }
}

#[cfg(not(pagepool_asan))]
mod hooks {
    use std::ptr::NonNull;

    /// Nothing to tell.
    pub(in crate::arena) fn poison(_start: NonNull<u8>, _bytes: usize) {}

    /// Nothing to tell.
    pub(in crate::arena) fn unpoison(_start: NonNull<u8>, _bytes: usize) {}

    /// Nobody was told.
    pub(in crate::arena) fn is_poisoned(_start: NonNull<u8>, _bytes: usize) -> bool {
        false
    }
}
