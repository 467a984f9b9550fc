//! Requests that say more than an order and flags.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::PagePool;
use super::pages::{Pages, PagesUninit};
use crate::alloc::Placement;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::types::{GroupId, NodeId, NodeMask, Order};

/// A request for a block, to be completed and made.
///
/// ```
/// # use std::time::Duration;
/// # use pagepool::{Gfp, NodeId, NodeMask, Order, PagePool};
/// # let pool = PagePool::builder().memory(64 << 20).nodes(2).build()?;
/// let second = NodeId::new(1).unwrap();
/// let block = pool
///     .request(Order::ZERO, Gfp::KERNEL)
///     .nodes(NodeMask::only(second))
///     .deadline(Duration::from_millis(5))
///     .alloc()?;
/// assert_eq!(block.node(), second);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a request does nothing until it is made"]
pub struct AllocRequest<'a> {
    pool: &'a PagePool,
    order: Order,
    gfp: Gfp,
    placement: Placement,
}

impl<'a> AllocRequest<'a> {
    pub(super) fn new(pool: &'a PagePool, order: Order, gfp: Gfp) -> AllocRequest<'a> {
        AllocRequest {
            pool,
            order,
            gfp,
            placement: Placement::default(),
        }
    }

    /// The nodes that the block may come from; every node by default. A node outside the mask is
    /// neither allocated from nor asked to reclaim, however urgent the request.
    pub fn nodes(mut self, mask: NodeMask) -> Self {
        self.placement.mask = mask;
        self
    }

    /// The node that the block should come from; that of the CPU by default. Others follow in the
    /// order of their distance from it. A node that the pool does not have counts as not given.
    pub fn prefer(mut self, node: NodeId) -> Self {
        self.placement.preferred = self
            .pool
            .inner
            .nodes
            .get(node)
            .map(super::super::node::Node::id);
        self
    }

    /// How long the request may wait, if its flags let it wait at all; the pool's
    /// [deadline](super::Builder::deadline) by default. Zero tries everything once.
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.placement.patience = Some(patience);
        self
    }

    /// Who is charged for the block.
    pub(super) fn for_group(mut self, group: GroupId) -> Self {
        self.placement.group = group;
        self
    }

    /// Makes the request, for a zeroed block.
    ///
    /// # Errors
    /// As [`PagePool::alloc_pages`].
    pub fn alloc(self) -> Result<Pages, AllocError> {
        Ok(self.alloc_uninit()?.zeroed())
    }

    /// Makes the request, for a block with its contents left as they are.
    ///
    /// # Errors
    /// As [`PagePool::alloc_pages`].
    pub fn alloc_uninit(self) -> Result<PagesUninit, AllocError> {
        self.pool.alloc_placed(self.order, self.gfp, self.placement)
    }
}
