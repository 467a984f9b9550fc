//! What a swap area is on.

use std::any::Any;
use std::io;
use std::sync::Arc;

/// A device that swap can be put on: a number of bytes that are kept until they are written anew.
///
/// **Contract.** Offsets and lengths are multiples of 4096, within the capacity, and buffers are aligned
/// to 4096. Calls are made on worker threads of the pool, several at once, but never two that touch the
/// same bytes. A call may block; who waits for it has a deadline, and one that does not return for
/// seconds gets its thread replaced. It must not allocate from the pool.
///
/// What the device says is not trusted: each page has a checksum in memory, and what does not match it
/// is an error and never anybody's data.
pub trait SwapDevice: Any + Send + Sync {
    /// What messages call it.
    fn name(&self) -> &str;

    /// Its size in bytes, which stays the same. Only whole pages are used.
    fn capacity(&self) -> u64;

    /// Reads; returns how many bytes. Fewer than asked for are read on from there.
    ///
    /// # Errors
    /// Kinds such as `Interrupted`, `WouldBlock` and `TimedOut` are tried again; others are final.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes; returns how many bytes. The rest is written from the last whole page on.
    ///
    /// # Errors
    /// As for reading. `StorageFull` means that there is no room, now: the data stays in memory.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
}

/// A device that somebody else keeps a reference to.
impl<D: SwapDevice + ?Sized> SwapDevice for Arc<D> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn capacity(&self) -> u64 {
        (**self).capacity()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        (**self).write_at(bytes, offset)
    }
}
