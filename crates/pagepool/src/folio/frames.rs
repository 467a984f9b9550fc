//! A block of frames on its way to become a folio's memory.

use std::ptr::NonNull;

use crate::arena::Arena;
use crate::buddy::Residency;
use crate::sync::fence::release_fence_at;
use crate::types::{Order, PAGE_SIZE, PAGEBLOCK_ORDER, Pfn};
use crate::zone::Taken;

/// What a thread does that has taken frames over, before it stores anything there.
#[inline]
pub fn follow_last_owner() {
    // Orders whatever the last owner's folio said when it lost these frames before the bytes that are
    // stored here from now on. Pairs with the fence in `FolioSlot::read_optimistic`: a reader that copies
    // one of those bytes then sees that the folio it believes to read has moved. The zone's lock, an
    // acquire, does not order that.
    release_fence_at("frame.next_owner");
}

/// A block that was taken from a zone, known to nobody else, whose bytes may be written.
///
/// A [`Taken`] is made by a zone alone, for each block that leaves it, and cannot be copied: who has it
/// owns the frames.
#[derive(Debug)]
#[must_use = "the block is lost unless it is put back"]
pub(crate) struct Frames<'a> {
    arena: &'a Arena,
    taken: Taken,
}

impl<'a> Frames<'a> {
    /// Takes the block over; `arena` is that of its node. To be called with no lock held: the system may be asked for
    /// huge pages.
    pub(crate) fn new(arena: &'a Arena, taken: Taken) -> Frames<'a> {
        arena.asan_unpoison(taken.pfn().index(), taken.order().pages());
        follow_last_owner();
        let frames = Frames { arena, taken };
        frames.back_hugely();
        frames
    }

    /// Has whole pageblocks that have no memory yet backed by huge pages, if the pool wants that.
    fn back_hugely(&self) {
        if self.taken.residency() == Residency::Vacant && self.order() >= PAGEBLOCK_ORDER {
            // SAFETY: the frames are ours.
            unsafe {
                self.arena
                    .back_hugely(self.pfn().index(), self.order().pages())
            };
        }
    }

    /// The first frame.
    pub(crate) fn pfn(&self) -> Pfn {
        self.taken.pfn()
    }

    /// The size.
    pub(crate) fn order(&self) -> Order {
        self.taken.order()
    }

    /// The offset of the first byte that was written while the block was free, if any was, for pools
    /// that fill freed memory with a pattern.
    fn check_poison(&self) -> Result<(), usize> {
        // SAFETY: the frames are ours.
        unsafe {
            self.arena
                .check_poison(self.pfn().index(), self.order().pages())
        }
    }

    /// Sees to it that nobody has written to the block while it was free.
    ///
    /// # Panics
    /// If somebody has.
    pub(crate) fn assert_poison(&self) {
        if let Err(offset) = self.check_poison() {
            let (frame, order) = (self.pfn().add(offset / PAGE_SIZE), self.order());
            panic!("{frame} was written while it was free: byte {offset} of a block at {order:?}");
        }
    }

    /// Fills the block with zeros.
    pub(crate) fn zero(&mut self) {
        if !self.taken.residency().reads_as_zeros() {
            // SAFETY: the frames are ours.
            unsafe { self.arena.zero(self.pfn().index(), self.order().pages()) }
        }
    }

    /// Copies bytes in, from `offset` bytes into the block on.
    ///
    /// # Panics
    /// If they do not fit.
    pub(crate) fn copy_in(&mut self, offset: usize, bytes: &[u8]) {
        assert!(
            offset <= self.order().bytes() && bytes.len() <= self.order().bytes() - offset,
            "{} bytes at {offset} of a block at {:?}",
            bytes.len(),
            self.order()
        );
        // SAFETY: the frames are ours.
        unsafe { self.arena.copy_in(self.pfn().index(), offset, bytes) }
    }

    /// All bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let first = self.arena.ptr(self.pfn().index());
        let mut bytes = NonNull::slice_from_raw_parts(first, self.order().bytes());
        // SAFETY: the frames are ours, and are borrowed as long as `self`; anonymous memory is initialised.
        unsafe { bytes.as_mut() }
    }

    /// Copies `len` bytes in, from `offset` bytes on, out of the same place of the frames from `source` on,
    /// whose owner may be writing to them. They mean something only if the folio that is there says
    /// afterwards that nobody did.
    ///
    /// # Panics
    /// If they do not fit.
    pub(crate) fn copy_racing(&mut self, source: Pfn, offset: usize, len: usize) {
        let bytes = self.order().bytes();
        assert!(
            offset <= bytes && len <= bytes - offset,
            "{len} at {offset}"
        );
        debug_assert_eq!(source.node(), self.pfn().node(), "one arena");
        // SAFETY: the frames are ours, so that the source lies elsewhere.
        unsafe {
            self.arena
                .copy_racing_to(source.index(), self.pfn().index(), offset, len);
        }
    }

    /// Gives the block on: to a folio, or back to its zone.
    pub(crate) fn into_taken(self) -> Taken {
        self.taken
    }
}

/// Frames that a folio has left, or ended in, and that are on no list: who has the value owns them.
///
/// Made by who has evicted or ended a folio, from the place that its word gave up, and consumed when
/// the frames are freed.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the frames are lost unless they are freed"]
pub(crate) struct Vacated {
    pfn: Pfn,
    order: Order,
    moved_to: Option<Pfn>,
}

impl Vacated {
    /// For who has evicted or ended the folio in these frames.
    pub(crate) fn new(pfn: Pfn, order: Order) -> Vacated {
        Vacated {
            pfn,
            order,
            moved_to: None,
        }
    }

    /// For who has moved the folio in these frames to those from `to` on.
    pub(crate) fn by_move(pfn: Pfn, order: Order, to: Pfn) -> Vacated {
        Vacated {
            moved_to: Some(to),
            ..Vacated::new(pfn, order)
        }
    }

    /// The first frame.
    pub(crate) fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// The size.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Where the folio is now that was in them, if it was moved within its zone.
    pub(crate) fn moved_to(&self) -> Option<Pfn> {
        self.moved_to
    }

    /// Fills the frames with the pattern of freed memory.
    pub(crate) fn poison(&self, arena: &Arena) {
        follow_last_owner();
        // SAFETY: the frames are ours.
        unsafe { arena.poison(self.pfn.index(), self.order.pages()) }
    }
}
