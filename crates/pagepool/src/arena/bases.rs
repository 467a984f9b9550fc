//! The arenas of all nodes, one step away: from a frame's number to its address by one load.
//!
//! A node knows its arena, but the way there leads over the list of nodes. Guards and copies of folios
//! are too short for that way.

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Arena, racing};
use crate::types::{MAX_NODES, NodeId, PAGE_SIZE, Pfn};

/// Where the frames of each node are. Keeps the arenas.
pub(crate) struct Bases {
    /// Of each node, where its first frame is.
    starts: [NonNull<u8>; MAX_NODES],
    /// And how many bytes there are from there on: none where there is no node.
    sizes: [usize; MAX_NODES],
    arenas: Vec<Arc<Arena>>,
}

// SAFETY: the addresses are those of the arenas, which are `Send` and `Sync` and which this keeps.
unsafe impl Send for Bases {}
// SAFETY: as above; through `&Bases` a thread gets addresses, and copies that any thread may make.
unsafe impl Sync for Bases {}

impl Bases {
    /// For the arenas of the nodes 0, 1 and so on.
    pub(crate) fn new(arenas: Vec<Arc<Arena>>) -> Bases {
        let mut starts = [NonNull::dangling(); MAX_NODES];
        let mut sizes = [0; MAX_NODES];
        for (node, arena) in arenas.iter().enumerate() {
            starts[node] = arena.base();
            sizes[node] = arena.pages() * PAGE_SIZE;
        }
        Bases {
            starts,
            sizes,
            arenas,
        }
    }

    /// The address of a frame.
    #[inline]
    pub(crate) fn ptr(&self, pfn: Pfn) -> NonNull<u8> {
        let (node, start) = place_of(pfn);
        debug_assert!(start < self.sizes[node], "A1: {pfn} of {:?}", self.sizes);
        // Saturating keeps this safe for a frame that there is not; for others it is a plain add.
        self.starts[node].map_addr(|addr| addr.saturating_add(start))
    }

    /// The frame of this node that begins at `start`: what [`ptr`](Self::ptr) made of it.
    #[inline]
    pub(crate) fn frame(&self, node: NodeId, start: NonNull<u8>) -> Pfn {
        let base = self.starts[node.get()].addr().get();
        Pfn::new(node, start.addr().get().wrapping_sub(base) / PAGE_SIZE)
    }

    /// Copies bytes out from `offset` bytes into a frame, which somebody may be writing meanwhile: see
    /// [`racing`]. Fills `dst`.
    ///
    /// # Panics
    /// If the bytes are not all in the frame's arena.
    #[inline]
    pub(crate) fn copy_racing(&self, pfn: Pfn, offset: usize, dst: &mut [MaybeUninit<u8>]) {
        let (node, start) = place_of(pfn);
        // Saturating, which no arena is as large as.
        let start = start.saturating_add(offset);
        if start.saturating_add(dst.len()) > self.sizes[node] {
            beyond(dst.len(), start, self.sizes[node]);
        }
        // SAFETY: `start` is not beyond the end of the arena, just checked.
        let src = unsafe { self.starts[node].add(start) };
        // SAFETY: the bytes lie in an arena that this keeps, which stays mapped and readable (A3), and
        // anonymous memory is initialised.
        unsafe { racing::copy(src, dst) }
    }
}

/// The number of a frame's node, and where the frame is in it.
#[inline]
fn place_of(pfn: Pfn) -> (usize, usize) {
    (pfn.node().get(), pfn.index() * PAGE_SIZE)
}

#[cold]
#[inline(never)]
fn beyond(len: usize, start: usize, bytes: usize) -> ! {
    panic!("A1: {len} bytes at {start} of {bytes}")
}

impl fmt::Debug for Bases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.arenas).finish()
    }
}
