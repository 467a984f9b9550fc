//! The memory of staging buffers.

#![forbid(unsafe_code)]

use std::fs::File;

use super::uring::Ring;
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::types::PAGE_SIZE;

/// Pages of a staging buffer, which is the largest transfer: 128 KiB. The stores' outcomes keep a bit
/// for each page in 32; a disk gains little beyond it, and each buffer is memory that is never given
/// back.
pub(crate) const IO_PAGES: usize = 32;

/// A staging buffer's memory: page-aligned, as direct I/O wants it.
#[derive(Debug)]
pub(super) struct Buffer {
    /// What reads into it without a worker, once it was asked to. Dropped before the memory.
    pub(super) ring: Option<Box<Ring>>,
    memory: ZeroedTable<u8>,
    /// Where the aligned part begins. 0 but for tools that know only the heap.
    start: usize,
}

impl Buffer {
    pub(super) const BYTES: usize = IO_PAGES * PAGE_SIZE;

    /// Returns a buffer that takes no memory until it is written to.
    pub(super) fn new() -> Result<Buffer, BuildError> {
        let mut memory = ZeroedTable::<u8>::new(Self::BYTES, "a staging buffer")?;
        let is_aligned = |memory: &[u8]| (memory.as_ptr() as usize).is_multiple_of(PAGE_SIZE);
        if !is_aligned(&memory) {
            memory = ZeroedTable::new(Self::BYTES + PAGE_SIZE, "a staging buffer")?;
        }
        let start =
            (memory.as_ptr() as usize).next_multiple_of(PAGE_SIZE) - memory.as_ptr() as usize;
        Ok(Buffer {
            ring: None,
            memory,
            start,
        })
    }

    /// Sees to it that there is a ring for reading `file`; returns whether there is.
    pub(super) fn has_ring(&mut self, file: &File) -> bool {
        if self.ring.is_none() {
            self.ring = Ring::for_buffer(file, self.bytes_mut()).ok().map(Box::new);
        }
        self.ring.is_some()
    }

    /// Bytes that a buffer may come to take.
    pub(super) fn bytes_for() -> usize {
        ZeroedTable::<u8>::bytes_for(Self::BYTES)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + Self::BYTES]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + Self::BYTES]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_to_pages_and_hold_a_whole_transfer() {
        let mut buffer = Buffer::new().expect("there is room");
        assert!((buffer.bytes().as_ptr() as usize).is_multiple_of(PAGE_SIZE));
        assert_eq!(buffer.bytes().len(), IO_PAGES * PAGE_SIZE);
        buffer.bytes_mut().fill(7);
        assert!(buffer.bytes().iter().all(|&byte| byte == 7));
    }
}
