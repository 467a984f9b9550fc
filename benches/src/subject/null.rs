//! The subject that does nothing: what its rows show is the harness.

#![forbid(unsafe_code)]

use std::hint::black_box;

use pagepool::Order;

use super::{NULL, Subject};

/// An allocator whose blocks have no memory.
#[derive(Debug)]
pub(crate) struct Null;

/// As large as the blocks of the heaps: an address that is none, and the order.
#[derive(Debug)]
pub(crate) struct NoBlock {
    address: usize,
    order: Order,
}

impl Subject for Null {
    type Block = NoBlock;

    const NAME: &'static str = NULL;

    fn open(_bytes: usize) -> Result<Null, String> {
        Ok(Null)
    }

    #[inline]
    fn alloc(&self, order: Order) -> Option<NoBlock> {
        Some(NoBlock { address: 0, order })
    }

    #[inline]
    fn free(&self, block: NoBlock) {
        black_box((block.address, block.order));
    }

    fn touch(&self, _block: &mut NoBlock) {}
}
