//! Memory that is reclaimed since somebody asks for it, before anybody is short of it.
//!
//! *Kernel counterpart:* `memory.reclaim`, a node's `reclaim` (later kernels, spec 9.24). Nobody waits for what
//! is reclaimed here, so it is not counted as pressure.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::{Inner, PagePool};
use crate::alloc::scope::{self, ScopeKind};
use crate::gfp::Gfp;
use crate::reclaim::GroupTerms;
use crate::reclaim::policy::proactive::Steps;
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NodeId, NodeMask, PAGE_SIZE};

/// Why nothing was reclaimed from a node on request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReclaimNodeError {
    /// The pool has no such node.
    #[error("node {node} does not exist: accepted is 0 to {}", nr_nodes - 1)]
    NoSuchNode {
        /// Which.
        node: NodeId,
        /// How many there are.
        nr_nodes: usize,
    },
    /// Another thread reclaims from it on request.
    #[error("somebody reclaims from node {node} on request already; try again when that has ended")]
    Busy {
        /// Which.
        node: NodeId,
    },
}

impl PagePool {
    /// Takes folios of any group out of memory, and has users' caches trimmed, until so many bytes were freed,
    /// nothing more can be, or `patience` ends (kernel: `memory.reclaim` of the root). Returns how many were:
    /// up to 128 KiB more than were asked for, or less.
    ///
    /// What it takes is what kswapd would: what was not used lately, clean before dirty. It may be called at
    /// any time, by several threads; [`Group::reclaim`](super::groups::Group::reclaim) does the same for one
    /// group.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pagepool::{Gfp, PagePool, SwapFile};
    /// let swap = SwapFile::temporary(16 << 20)?;
    /// let pool = PagePool::builder().memory(16 << 20).swap(swap).build()?;
    /// let mut folio = pool.alloc_folio(1 << 20, Gfp::USER_MOVABLE)?;
    /// folio.write()?.fill(7);
    /// let bytes = pool.reclaim(1 << 20, Duration::from_secs(10));
    /// assert_eq!((bytes, folio.is_resident()), (1 << 20, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reclaim(&self, bytes: usize, patience: Duration) -> usize {
        let deadline = clock::deadline_after(patience);
        let (group, nodes) = (GroupId::ROOT, NodeMask::ALL);
        self.inner.reclaim_asked(group, nodes, bytes, deadline)
    }

    /// The same for one node, for one caller at a time (kernel: a node's `reclaim`).
    ///
    /// # Errors
    /// [`ReclaimNodeError::NoSuchNode`], and [`ReclaimNodeError::Busy`] at once if another thread is at it.
    pub fn reclaim_node(
        &self,
        node: NodeId,
        bytes: usize,
        patience: Duration,
    ) -> Result<usize, ReclaimNodeError> {
        let inner = &*self.inner;
        let nr_nodes = inner.nodes.len();
        if inner.nodes.get(node).is_none() {
            return Err(ReclaimNodeError::NoSuchNode { node, nr_nodes });
        }
        let memory = inner.reclaim.node(node);
        let Some(_asked) = memory.enter_asked() else {
            return Err(ReclaimNodeError::Busy { node });
        };
        let deadline = clock::deadline_after(patience);
        let (group, nodes) = (GroupId::ROOT, NodeMask::only(node));
        Ok(inner.reclaim_asked(group, nodes, bytes, deadline))
    }
}

impl Inner {
    /// Reclaims on somebody's request, in steps; returns bytes.
    pub(super) fn reclaim_asked(
        &self,
        group: GroupId,
        nodes: NodeMask,
        bytes: usize,
        deadline: Option<Instant>,
    ) -> usize {
        let _memalloc = scope::enter(ScopeKind::Memalloc);
        let mut steps = Steps::towards(bytes.div_ceil(PAGE_SIZE));
        while let Some(pages) = steps.next() {
            steps.note(self.reclaim_confined(GroupTerms {
                group,
                nodes,
                pages,
                gfp: Gfp::KERNEL,
                deadline,
            }));
            if clock::is_over(deadline) {
                break;
            }
        }
        steps.freed() * PAGE_SIZE
    }
}
