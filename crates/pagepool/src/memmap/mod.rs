//! The frame table: what the pool knows of each frame of a node, and lists of frames.
//!
//! *Kernel counterpart:* `struct page` and `mem_map` (v5.0). Here it is columns and not a struct of
//! 64 bytes: each user touches only what it reads. The column of states is dense, so the check
//! for a double free costs one byte; 64 frames share a cache line of it, but never neighbours, which
//! tend to have different owners. Links are touched by lists only, and of the frames that are on
//! one; the last three columns only of frames that hold a folio. 18 bytes a frame, of which a column
//! that is never written costs no memory.
//!
//! Key types: [`Memmap`], the table of one node; [`FrameState`], a frame's byte; [`PfnList`], an
//! intrusive list.
//!
//! ```text
//!  frame          0     1     2     3     4     5     6     7     8
//!  states       [A o2]  -     -     -   [C o0] free  free  free [A o0]     a byte each
//!  links          .     .     .     .     .    n p    .     .     .        next and prev
//!  owners        f12    .     .     .     .     .     .     .    f3        the folio in the block, or the
//!                                                                           group of a raw one
//!  copies        s7     .     .     .     .     .     .     .     .        where it has a copy
//!  lru          [lists] .     .     .     .     .     .     .  [lists]      which list it is on
//! ```
//!
//! **Invariants**
//! - M1: only the head of a block that is not free has a state other than free; the frames inside
//!   an allocated or cached block are free to look at.
//! - M2: the head of a block of order n is aligned to n, and the block ends within the table.
//! - M3: a table of zeros says that every frame is free, so that opening a pool touches nothing.
//!
//! **Locking and ordering:** the state of a frame belongs to whoever owns the frame: the zone's lock
//! for free ones, the cache's slot for cached ones, the holder for allocated ones. A frame goes from
//! one owner to the next by their locks or by the application's own synchronisation, and that orders
//! the state, too; so states are plain (`Relaxed`) loads and stores, and nothing is published by
//! them. The one exception, [`transition`](Memmap::transition), needs to be atomic but orders
//! nothing either. Links are guarded by the lock of the list (see `list.rs`), the byte of the LRU
//! lists by theirs. Owner and copy of a frame are written by whoever owns the folio's transition; to
//! others the owner is a hint, which they check against the folio itself.
//!
//! Not here: which free blocks there are (`buddy`), the type of a pageblock (`buddy`), bytes
//! (`arena`).

#![forbid(unsafe_code)]

mod frame;
mod list;

#[cfg(all(test, not(loom)))]
mod tests;

use crate::{
    arena::ZeroedTable,
    error::{BuildError, Violation, ensure},
    sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed},
    sync::fence::mutated,
    types::{GroupId, Migratetype, NodeId, Order, PAGEBLOCK_ORDER, Pfn},
};

pub(crate) use self::{
    frame::{FrameKind, FrameState, Special},
    list::PfnList,
};

/// A frame's place on a list: the indexes of the next frame and of the one before.
type Link = [AtomicU32; 2];

/// The link to the next frame.
const NEXT: usize = 0;
/// The link to the frame before.
const PREV: usize = 1;

/// Marks a number in the column of owners as that of a raw block's group.
const RAW: u32 = 1 << 31;

fn group_in(owner: u32) -> GroupId {
    match owner & RAW {
        0 => GroupId::ROOT,
        _ => GroupId::at((owner & !RAW) as usize),
    }
}

/// The frame table of one node.
#[derive(Debug)]
pub(crate) struct Memmap {
    node: NodeId,
    pages: usize,
    states: ZeroedTable<AtomicU8>,
    links: ZeroedTable<Link>,
    /// Of a block that holds a folio: the folio's number and 1. Of a raw block of a group: [`RAW`] and the
    /// group.
    owners: ZeroedTable<AtomicU32>,
    /// Of a block that holds a folio: where a copy of its contents is kept, 0 if nowhere.
    copies: ZeroedTable<AtomicU32>,
    /// What the LRU lists know of a block.
    lru: ZeroedTable<AtomicU8>,
}

impl Memmap {
    /// Returns the table of `pages` frames of `node`, all free (M3).
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for it.
    ///
    /// # Panics
    /// If `pages` is more than a node can have.
    pub(crate) fn new(node: NodeId, pages: usize) -> Result<Memmap, BuildError> {
        assert!(
            pages <= Pfn::MAX_NODE_PAGES,
            "T2: {pages} pages in {node:?}"
        );
        Ok(Memmap {
            node,
            pages,
            states: ZeroedTable::new(cells(pages), "the frame table")?,
            links: ZeroedTable::new(cells(pages), "the frame table")?,
            owners: ZeroedTable::new(cells(pages), "the frame table")?,
            copies: ZeroedTable::new(cells(pages), "the frame table")?,
            lru: ZeroedTable::new(cells(pages), "the frame table")?,
        })
    }

    /// The node whose frames these are.
    #[inline]
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Number of frames.
    #[inline]
    pub(crate) fn frames(&self) -> usize {
        self.pages
    }

    /// Whether the frame is in this table.
    #[inline]
    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        pfn.node() == self.node && pfn.index() < self.frames()
    }

    /// Bytes that the table of `pages` frames may come to take.
    pub(crate) fn estimate(pages: usize) -> usize {
        2 * ZeroedTable::<AtomicU8>::bytes_for(cells(pages))
            + ZeroedTable::<Link>::bytes_for(cells(pages))
            + 2 * ZeroedTable::<AtomicU32>::bytes_for(cells(pages))
    }

    /// Bytes that the table may come to take.
    pub(crate) fn bytes(&self) -> usize {
        let numbers = self.owners.bytes() + self.copies.bytes();
        self.states.bytes() + self.links.bytes() + numbers + self.lru.bytes()
    }

    /// The state of a frame. Of a frame that the caller does not own, what it was a moment ago.
    #[inline]
    pub(crate) fn state(&self, pfn: Pfn) -> FrameState {
        self.entry(pfn).state()
    }

    /// Sets the state of a frame that the caller owns.
    #[inline]
    pub(crate) fn set_state(&self, pfn: Pfn, state: FrameState) {
        debug_assert!(self.has_room(pfn, state), "M2: {pfn} cannot be {state}");
        self.entry(pfn).set_state(state);
    }

    /// Sets the states of the first frames of so many free blocks of `order` that follow each other, which the caller
    /// owns, to that of such a block.
    #[inline]
    pub(crate) fn set_states(&self, first: Pfn, nr: usize, order: Order, state: FrameState) {
        debug_assert!(
            (0..nr).all(|block| self.has_room(first.add(block << order.get()), state)),
            "M2"
        );
        for block in 0..nr {
            let index = first.index() + (block << order.get());
            let cell = &self.states[scattered(index)];
            // A model would look at more orders of events for it.
            debug_assert!(
                cfg!(loom) || FrameState::from_bits(cell.load(Relaxed)).is_free(),
                "N3: {first} and {nr}"
            );
            // Relaxed: as in `set_state`.
            cell.store(state.bits(), Relaxed);
        }
    }

    /// Where the state of a frame is, for who looks at it and then sets it.
    #[inline]
    pub(crate) fn entry(&self, pfn: Pfn) -> Entry<'_> {
        Entry(self.cell(pfn))
    }

    /// Changes the state of a frame from `from` to `to` in one step, for entries that cannot trust
    /// their caller to own it: of two threads that free the same block, one succeeds.
    ///
    /// A block that was freed and allocated again meanwhile, alike, is not told from the first.
    ///
    /// # Errors
    /// The state that the frame is in instead of `from`.
    #[inline]
    pub(crate) fn transition(
        &self,
        pfn: Pfn,
        from: FrameState,
        to: FrameState,
    ) -> Result<(), FrameState> {
        debug_assert!(self.has_room(pfn, to), "M2: {pfn} cannot become {to}");
        // Relaxed, both: being one step is all that is needed. Whoever wins owned the frame before
        // the call, so its bytes were handed to this thread already; whoever gets it next takes it
        // under a lock that this thread releases later.
        if mutated("frame.one_step") {
            let found = self.cell(pfn).load(Relaxed);
            let is_right = found == from.bits();
            if is_right {
                self.cell(pfn).store(to.bits(), Relaxed);
            }
            return is_right.then_some(()).ok_or(FrameState::from_bits(found));
        }
        match self
            .cell(pfn)
            .compare_exchange(from.bits(), to.bits(), Relaxed, Relaxed)
        {
            Ok(_) => Ok(()),
            Err(found) => Err(FrameState::from_bits(found)),
        }
    }

    /// Counts the pages of allocated blocks from `start` on by whether they can be moved, for the fallback
    /// rule's "alike" and for the count of mixed pageblocks.
    ///
    /// Steps from head to head. A block that begins before `start` is not seen, and one that ends
    /// after the range counts up to there. The caller holds the zone's lock, or wants a guess; blocks may
    /// be allocated from caches and freed into them meanwhile, so the count is a good guess in any case.
    pub(crate) fn kinds(&self, start: Pfn, pages: usize) -> Kinds {
        let mut kinds = Kinds::default();
        let mut offset = 0;
        while offset < pages {
            let state = self.state(start.add(offset));
            let len = state
                .block()
                .map_or(1, |(order, _)| order.pages())
                .min(pages - offset);
            if let FrameKind::Allocated { mobility, .. } = state.kind() {
                match mobility {
                    Migratetype::Movable => kinds.movable += len,
                    _ => kinds.others += len,
                }
            }
            offset += len;
        }
        kinds
    }

    /// Checks the table against its invariants. Exact while nobody allocates or frees.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        let mut head_ends_at = 0;
        for index in 0..self.frames() {
            let pfn = Pfn::new(self.node, index);
            let state = self.state(pfn);
            ensure!(
                state.is_free() || index >= head_ends_at,
                "M1",
                "{pfn} is {state}, inside the block that ends at {head_ends_at:x}"
            );
            ensure!(self.has_room(pfn, state), "M2", "{pfn} is {state}");
            if let Some((order, _)) = state.block() {
                head_ends_at = index + order.pages();
            }
        }
        Ok(())
    }

    /// Whether a block in `state` may begin at `pfn` (M2).
    fn has_room(&self, pfn: Pfn, state: FrameState) -> bool {
        state.block().is_none_or(|(order, _)| {
            pfn.is_aligned(order) && pfn.index() + order.pages() <= self.frames()
        })
    }

    #[inline]
    fn cell(&self, pfn: Pfn) -> &AtomicU8 {
        debug_assert!(
            self.contains(pfn),
            "{pfn} is not in the table of {:?}",
            self.node
        );
        &self.states[scattered(pfn.index())]
    }

    /// The highest number of a folio in a block, and 1.
    pub(crate) const MAX_OWNERS: usize = RAW as usize - 1;

    /// The number of the folio in a block, if it holds one. A hint to all but the folio's owner.
    #[inline]
    pub(crate) fn owner(&self, pfn: Pfn) -> Option<u32> {
        // Relaxed: a hint; whoever acts on it checks the folio's own word.
        let owner = self.number(&self.owners, pfn).load(Relaxed);
        owner.checked_sub(1).filter(|_| owner & RAW == 0)
    }

    /// The group of a raw block; the root, if it was not allocated for another.
    pub(crate) fn group_of_raw(&self, pfn: Pfn) -> GroupId {
        // Relaxed: a hint to all but the block's owner.
        group_in(self.number(&self.owners, pfn).load(Relaxed))
    }

    /// Notes the group of a raw block, which is not the root, for its owner.
    pub(crate) fn set_group_of_raw(&self, pfn: Pfn, group: GroupId) {
        // Relaxed: ordered by what hands the block over.
        self.number(&self.owners, pfn)
            .store(RAW | group.get() as u32, Relaxed);
    }

    /// Takes the group of a raw block off, for who frees it.
    pub(crate) fn take_group_of_raw(&self, pfn: Pfn) -> GroupId {
        // Relaxed: as in `group_of_raw`.
        let owner = self.number(&self.owners, pfn);
        let group = group_in(owner.load(Relaxed));
        owner.store(0, Relaxed);
        group
    }

    /// Sets the folio in a block, or that it holds none any more.
    #[inline]
    pub(crate) fn set_owner(&self, pfn: Pfn, owner: Option<u32>) {
        let number = owner.map_or(0, |owner| owner + 1);
        // Relaxed: as in `owner`.
        self.number(&self.owners, pfn).store(number, Relaxed);
    }

    /// Where a copy of a folio's contents is kept, as a number that whoever keeps it understands; 0 is
    /// nowhere. For whoever owns the folio's transition.
    #[inline]
    pub(crate) fn copy(&self, pfn: Pfn) -> u32 {
        // Relaxed: ordered by the folio's word, whose transitions are exclusive.
        self.number(&self.copies, pfn).load(Relaxed)
    }

    /// Sets where a copy is kept.
    #[inline]
    pub(crate) fn set_copy(&self, pfn: Pfn, copy: u32) {
        // Relaxed: as in `copy`.
        self.number(&self.copies, pfn).store(copy, Relaxed);
    }

    /// What the LRU lists know of a block, as a cell that they interpret.
    #[inline]
    pub(crate) fn lru_cell(&self, pfn: Pfn) -> &AtomicU8 {
        debug_assert!(self.contains(pfn), "{pfn} is not in the table");
        &self.lru[scattered(pfn.index())]
    }

    #[inline]
    fn number<'a>(&self, column: &'a ZeroedTable<AtomicU32>, pfn: Pfn) -> &'a AtomicU32 {
        debug_assert!(self.contains(pfn), "{pfn} is not in the table");
        &column[scattered(pfn.index())]
    }

    /// The links of a frame, by their index.
    #[inline]
    fn link(&self, index: u32) -> &Link {
        &self.links[scattered(index as usize)]
    }
}

/// Where the state of one frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a>(&'a AtomicU8);

impl Entry<'_> {
    /// As [`Memmap::state`].
    #[inline]
    pub(crate) fn state(self) -> FrameState {
        // Relaxed: a frame's owner wrote its state, or took the frame over under a lock since.
        FrameState::from_bits(self.0.load(Relaxed))
    }

    /// As [`Memmap::set_state`].
    #[inline]
    pub(crate) fn set_state(self, state: FrameState) {
        // Relaxed: what hands the frame over orders its state as well; nothing rides on this store.
        self.0.store(state.bits(), Relaxed);
    }
}

/// Allocated pages of a range of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Kinds {
    /// Of blocks that were asked for as movable.
    pub(crate) movable: usize,
    /// Of all other blocks.
    pub(crate) others: usize,
}

impl Kinds {
    /// Whether both are there.
    pub(crate) const fn are_mixed(self) -> bool {
        self.movable > 0 && self.others > 0
    }
}

/// Frames whose entries lie among each other: those of four pageblocks. In one the states would be on eight lines, too
/// few for the threads that take from it where a zone is small: with 16 that each allocate and free a page, 16 CPUs
/// got a third done. In eight, more lines are those of two threads that have nothing to do with each other.
const GROUP: usize = 4 * PAGEBLOCK_ORDER.pages();

/// How far the entries of neighbours are from each other, in entries, around their group.
///
/// Odd, so that each has a place of its own. Of all odd ones it is one of those for which the states of up to 24 frames
/// in a row are on as many lines; as are those of 24 frames of which each is eight after the other, and of the first
/// eight such of each pageblock of a group. At multiples of eight begins what threads get at once.
const STRIDE: usize = 1065;

/// Where the entry of the frame `index` is in a column.
///
/// Frames near each other, and frames a power of two apart, are lines apart: threads that take from the same
/// pageblock have such ones, and would wait for each other at every allocation and free. Frames of most pageblocks
/// are lines apart as well: [those who take many](crate::buddy::Buddy::fill) have pageblocks of their own. A model's
/// memory has no lines.
#[inline]
fn scattered(index: usize) -> usize {
    if cfg!(loom) {
        return index;
    }
    index / GROUP * GROUP + index.wrapping_mul(STRIDE) % GROUP
}

/// Entries in a column for `pages` frames: whole groups, which [`scattered`] maps to themselves.
fn cells(pages: usize) -> usize {
    if cfg!(loom) {
        pages
    } else {
        pages.next_multiple_of(GROUP)
    }
}
