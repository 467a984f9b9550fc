//! The arenas of all nodes, one step away: from a frame's number to its address by one load.
//!
//! A node knows its arena, but the way there leads over the list of nodes. Guards and copies of folios
//! are too short for that way.

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Arena, racing};
use crate::types::{MAX_NODES, PAGE_SIZE, Pfn};

/// Where the frames of each node are. Keeps the arenas.
pub(crate) struct Bases {
    /// By node; a node that there is not has no bytes.
    spans: [Span; MAX_NODES],
    arenas: Vec<Arc<Arena>>,
}

/// The memory of one node.
#[derive(Clone, Copy)]
struct Span {
    start: NonNull<u8>,
    bytes: usize,
}

impl Span {
    const NONE: Span = Span {
        start: NonNull::dangling(),
        bytes: 0,
    };
}

// SAFETY: the addresses are those of the arenas, which are `Send` and `Sync` and which this keeps.
unsafe impl Send for Bases {}
// SAFETY: as above; through `&Bases` a thread gets addresses, and copies that any thread may make.
unsafe impl Sync for Bases {}

impl Bases {
    /// For the arenas of the nodes 0, 1 and so on.
    pub(crate) fn new(arenas: Vec<Arc<Arena>>) -> Bases {
        let mut spans = [Span::NONE; MAX_NODES];
        for (span, arena) in spans.iter_mut().zip(&arenas) {
            *span = Span {
                start: arena.base(),
                bytes: arena.pages() * PAGE_SIZE,
            };
        }
        Bases { spans, arenas }
    }

    /// The address of a frame.
    #[inline]
    pub(crate) fn ptr(&self, pfn: Pfn) -> NonNull<u8> {
        let (span, start) = self.find(pfn);
        debug_assert!(start < span.bytes, "A1: {pfn} of {} bytes", span.bytes);
        // Saturating keeps this safe for a frame that there is not; for others it is a plain add.
        span.start.map_addr(|addr| addr.saturating_add(start))
    }

    /// Copies bytes out from `offset` bytes into a frame, which somebody may be writing meanwhile: see
    /// [`racing`]. Fills `dst`.
    ///
    /// # Panics
    /// If the bytes are not all in the frame's arena.
    #[inline]
    pub(crate) fn copy_racing(&self, pfn: Pfn, offset: usize, dst: &mut [MaybeUninit<u8>]) {
        let (span, start) = self.find(pfn);
        let start = start.saturating_add(offset);
        if start > span.bytes || dst.len() > span.bytes - start {
            beyond(dst.len(), start, span.bytes);
        }
        // SAFETY: `start` is not beyond the end of the arena.
        let src = unsafe { span.start.add(start) };
        // SAFETY: the bytes lie in an arena that this keeps, which stays mapped and readable (A3), and
        // anonymous memory is initialised.
        unsafe { racing::copy(src, dst) }
    }

    /// The memory of a frame's node, and where the frame is in it.
    #[inline]
    fn find(&self, pfn: Pfn) -> (Span, usize) {
        (self.spans[pfn.node().get()], pfn.index() * PAGE_SIZE)
    }
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
