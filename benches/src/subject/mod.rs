//! The allocators that are compared, behind one trait.
//!
//! The harness is generic over [`Subject`] and compiled once for each, so that a call costs what
//! the allocator's own call costs; the [`Null`] subject shows what remains.

mod heap;
mod null;
mod peers;
mod pool;

use pagepool::Order;

pub(crate) use heap::Heap;
pub(crate) use null::Null;
pub(crate) use peers::{CLibrary, Jemalloc, Mimalloc};
pub(crate) use pool::Pool;

/// The name of the subject that does nothing.
pub(crate) const NULL: &str = "null";
/// The name of the subject that all this is about.
pub(crate) const POOL: &str = "pagepool";

/// An allocator of blocks of 2^order pages, aligned to a page at least, not zeroed.
pub(crate) trait Subject: Sync + Sized + 'static {
    /// What the allocator hands out. Goes back through [`free`](Self::free).
    type Block: Send + 'static;

    /// The name in the table.
    const NAME: &'static str;

    /// Returns the allocator, able to hand out `bytes` at once.
    fn open(bytes: usize) -> Result<Self, String>;

    /// Returns a block of `order`, or `None` if it is refused.
    fn alloc(&self, order: Order) -> Option<Self::Block>;

    /// Takes back a block that [`alloc`](Self::alloc) returned.
    fn free(&self, block: Self::Block);

    /// Writes one byte to every page of `block`.
    fn touch(&self, block: &mut Self::Block);

    /// Pages handed out and taken back so far by the allocator's own count, if it keeps one.
    fn events(&self) -> Option<Events> {
        None
    }

    /// Checks the allocator itself, all blocks being free again.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What an allocator counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Events {
    /// Pages handed out.
    pub(crate) allocated: u64,
    /// Pages taken back.
    pub(crate) freed: u64,
}
