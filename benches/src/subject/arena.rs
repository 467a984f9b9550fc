//! Memory from the system for allocators that have to be given some.

use std::io;
use std::ptr::{self, NonNull};

use pagepool::PAGE_SIZE;

/// A mapping of zeroes, aligned to [`Arena::ALIGNMENT`]. Its pages take memory when they are touched.
#[derive(Debug)]
pub(crate) struct Arena {
    mapping: *mut libc::c_void,
    mapped: usize,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to the value, which gives out addresses and touches nothing itself.
unsafe impl Send for Arena {}
// SAFETY: likewise.
unsafe impl Sync for Arena {}

impl Arena {
    /// As large as the largest block.
    const ALIGNMENT: usize = 4 << 20;

    /// Maps `bytes`.
    pub(crate) fn map(bytes: usize) -> Result<Arena, String> {
        let mapped = bytes + Arena::ALIGNMENT;
        // SAFETY: a new mapping at an address that the system chooses touches nobody's memory.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(format!("mmap: {}", io::Error::last_os_error()));
        }
        let skipped = mapping.addr().next_multiple_of(Arena::ALIGNMENT) - mapping.addr();
        let start = mapping.cast::<u8>().wrapping_add(skipped);
        Ok(Arena {
            mapping,
            mapped,
            start: NonNull::new(start).ok_or("mmap returned address 0")?,
            bytes,
        })
    }

    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of whole pages.
    pub(crate) fn pages(&self) -> usize {
        self.bytes / PAGE_SIZE
    }

    /// The first byte of a page.
    ///
    /// # Panics
    /// If there is no such page.
    pub(crate) fn page(&self, page: usize) -> NonNull<u8> {
        assert!(page < self.pages(), "page {page} of {}", self.pages());
        // SAFETY: the page lies within the mapping.
        unsafe { self.start.add(page * PAGE_SIZE) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is whole, and whoever handed out parts of it is gone before it.
        unsafe { libc::munmap(self.mapping, self.mapped) };
    }
}
