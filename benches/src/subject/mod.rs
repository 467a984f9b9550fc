//! The allocators that are compared, behind one trait.
//!
//! There is pagepool; there are general allocators as a program has them ([`Heap`]), and allocators of a
//! given arena, which one thread at a time may use ([`InArena`]). The harness is generic over [`Subject`]
//! and compiled once for each, so that a call costs what the allocator's own call costs; the [`Null`]
//! subject shows what remains.

mod arena;
mod frames;
mod heap;
mod in_arena;
mod null;
mod peers;
mod pool;
mod pressed;
mod within;

use pagepool::Order;

pub(crate) use frames::{BuddySystem, OffsetAllocator};
pub(crate) use heap::Heap;
pub(crate) use in_arena::{Alone, InArena, Keeper, Locked};
pub(crate) use null::Null;
pub(crate) use peers::{CLibrary, Jemalloc, Mimalloc, Rpmalloc};
pub(crate) use pool::Pool;
pub(crate) use pressed::Pressed;
pub(crate) use within::{BuddyAlloc, Rlsf, Talc};

use crate::background::Background;

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

    /// Whether it allocates for itself, too, so that it counts more than it was asked for.
    const HAS_OWN_USE: bool = false;

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

    /// Keeps the calling thread, and whatever threads the allocator has, busy until `is_over`.
    fn press(&self, background: &Background, is_over: &dyn Fn() -> bool) {
        background.copy_pages(is_over);
    }

    /// What a reader of the figures must know about this one.
    fn remark(&self) -> Option<String> {
        None
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
