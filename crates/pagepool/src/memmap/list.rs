//! A doubly linked list of frames, threaded through the frame table.
//!
//! *Kernel counterpart:* `struct list_head` in `struct page` (v5.0). Links are frame indexes and not
//! pointers: half the size, and no unsafe code.
//!
//! ```text
//!  PfnList { head: 7, tail: 2, len: 3 }     links[7]     links[4]     links[2]
//!                                     nil <- prev   <---- prev   <---- prev
//!                                            next   ----> next   ----> next -> nil
//! ```
//!
//! A list holds frames of one node, and is used with that node's [`Memmap`] only.
//!
//! **Invariants**
//! - L1: following `next` from `head` visits `len` frames and ends at `tail`.
//! - L2: the `prev` of each frame is the frame visited before; the head's is nil.
//! - L3: an empty list has neither head nor tail, and length 0.
//! - L4: a frame is on at most one list. The caller sees to it; a frame's links mean nothing while
//!   it is on none.
//!
//! **Locking and ordering:** whoever has `&mut` to a list holds the lock around it, and that lock
//! also guards the links of the frames on it. So links are loaded and stored `Relaxed`: the lock
//! orders them, and the atomics are there only because the table is shared.

use std::mem;

use super::{Memmap, NEXT, PREV};
use crate::{
    error::{Violation, ensure},
    sync::atomic::Ordering::Relaxed,
    types::Pfn,
};

/// No frame. A node's indexes end well below it.
const NIL: u32 = u32::MAX;

const _: () = assert!(Pfn::MAX_NODE_PAGES <= NIL as usize);

/// A list of frames of one node. Dropping it leaves the frames where they are, on no list.
#[derive(Debug)]
pub(crate) struct PfnList {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for PfnList {
    fn default() -> PfnList {
        PfnList::new()
    }
}

impl PfnList {
    /// Returns an empty list (L3).
    #[must_use]
    pub(crate) const fn new() -> PfnList {
        PfnList {
            head: NIL,
            tail: NIL,
            len: 0,
        }
    }

    /// Number of frames on the list.
    #[inline]
    #[must_use]
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the list is empty.
    #[inline]
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a frame that is on no list before the first.
    #[inline]
    pub(crate) fn push_front(&mut self, map: &Memmap, pfn: Pfn) {
        let index = map.link_of(pfn);
        let first = mem::replace(&mut self.head, index);
        set(map, index, PREV, NIL);
        set(map, index, NEXT, first);
        self.link_before(map, first, index);
        self.len += 1;
    }

    /// Puts a frame that is on no list after the last.
    #[inline]
    pub(crate) fn push_back(&mut self, map: &Memmap, pfn: Pfn) {
        let index = map.link_of(pfn);
        let last = mem::replace(&mut self.tail, index);
        set(map, index, PREV, last);
        set(map, index, NEXT, NIL);
        self.link_after(map, last, index);
        self.len += 1;
    }

    /// The first frame.
    #[inline]
    #[must_use]
    pub(crate) fn front(&self, map: &Memmap) -> Option<Pfn> {
        map.pfn_of(self.head)
    }

    /// The last frame.
    #[inline]
    #[must_use]
    pub(crate) fn back(&self, map: &Memmap) -> Option<Pfn> {
        map.pfn_of(self.tail)
    }

    /// Takes the first frame off the list.
    #[inline]
    pub(crate) fn pop_front(&mut self, map: &Memmap) -> Option<Pfn> {
        let pfn = self.front(map)?;
        self.remove(map, pfn);
        Some(pfn)
    }

    /// Takes the last frame off the list.
    #[inline]
    pub(crate) fn pop_back(&mut self, map: &Memmap) -> Option<Pfn> {
        let pfn = self.back(map)?;
        self.remove(map, pfn);
        Some(pfn)
    }

    /// Takes a frame that is on this list off it.
    #[inline]
    pub(crate) fn remove(&mut self, map: &Memmap, pfn: Pfn) {
        let index = map.link_of(pfn);
        let next = get(map, index, NEXT);
        let prev = get(map, index, PREV);
        debug_assert!(!self.is_empty(), "L4: {pfn} removed from an empty list");
        debug_assert_eq!(
            self.after(map, prev),
            index,
            "L4: {pfn} is not on this list"
        );
        debug_assert_eq!(
            self.before(map, next),
            index,
            "L4: {pfn} is not on this list"
        );

        self.link_after(map, prev, next);
        self.link_before(map, next, prev);
        self.len -= 1;
    }

    /// Moves all frames of `other`, a list of the same node, after the last, in constant time.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "compaction puts its free frames together with it")
    )]
    pub(crate) fn splice_back(&mut self, map: &Memmap, other: &mut PfnList) {
        let other = mem::take(other);
        if other.is_empty() {
            return;
        }
        let last = mem::replace(&mut self.tail, other.tail);
        set(map, other.head, PREV, last);
        self.link_after(map, last, other.head);
        self.len += other.len;
    }

    /// The frames from first to last.
    pub(crate) fn iter<'a>(&self, map: &'a Memmap) -> Iter<'a> {
        Iter {
            map,
            next: self.head,
            nr_left: self.len,
        }
    }

    /// Checks the list against its invariants.
    pub(crate) fn verify(&self, map: &Memmap) -> Result<(), Violation> {
        let is_empty = self.head == NIL && self.tail == NIL;
        ensure!(
            is_empty == (self.len == 0),
            "L3",
            "length {} with head {:x}",
            self.len,
            self.head
        );

        let (mut index, mut prev, mut nr_seen) = (self.head, NIL, 0);
        while let Some(pfn) = map.pfn_of(index) {
            ensure!(
                map.contains(pfn),
                "L1",
                "{pfn} is linked but not in the table"
            );
            ensure!(
                nr_seen < self.len,
                "L1",
                "{pfn} follows the last of {} frames",
                self.len
            );
            let back = get(map, index, PREV);
            ensure!(
                back == prev,
                "L2",
                "{pfn} points back to {back:x}, not to {prev:x}"
            );
            prev = index;
            index = get(map, index, NEXT);
            nr_seen += 1;
        }
        ensure!(
            nr_seen == self.len,
            "L1",
            "{nr_seen} frames of {} are linked",
            self.len
        );
        ensure!(
            prev == self.tail,
            "L1",
            "the list ends at {prev:x}, not at {:x}",
            self.tail
        );
        Ok(())
    }

    /// What follows `prev`, or begins the list.
    fn after(&self, map: &Memmap, prev: u32) -> u32 {
        if prev == NIL {
            self.head
        } else {
            get(map, prev, NEXT)
        }
    }

    /// What precedes `next`, or ends the list.
    fn before(&self, map: &Memmap, next: u32) -> u32 {
        if next == NIL {
            self.tail
        } else {
            get(map, next, PREV)
        }
    }

    /// Makes `index` follow `prev`, or begin the list.
    #[inline]
    fn link_after(&mut self, map: &Memmap, prev: u32, index: u32) {
        if prev == NIL {
            self.head = index;
        } else {
            set(map, prev, NEXT, index);
        }
    }

    /// Makes `index` precede `next`, or end the list.
    #[inline]
    fn link_before(&mut self, map: &Memmap, next: u32, index: u32) {
        if next == NIL {
            self.tail = index;
        } else {
            set(map, next, PREV, index);
        }
    }
}

/// The frames of a list, from first to last.
#[derive(Debug)]
pub(crate) struct Iter<'a> {
    map: &'a Memmap,
    next: u32,
    nr_left: u32,
}

impl Iterator for Iter<'_> {
    type Item = Pfn;

    fn next(&mut self) -> Option<Pfn> {
        // The count ends a walk that a broken list would never end.
        self.nr_left = self.nr_left.checked_sub(1)?;
        let pfn = self.map.pfn_of(self.next)?;
        self.next = get(self.map, self.next, NEXT);
        Some(pfn)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.nr_left as usize, Some(self.nr_left as usize))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Memmap {
    /// The links' index of a frame.
    fn link_of(&self, pfn: Pfn) -> u32 {
        debug_assert!(
            self.contains(pfn),
            "{pfn} is not in the table of {:?}",
            self.node()
        );
        pfn.index() as u32
    }

    /// The frame of a links' index.
    fn pfn_of(&self, index: u32) -> Option<Pfn> {
        (index != NIL).then(|| Pfn::new(self.node(), index as usize))
    }
}

/// One link of a frame.
fn get(map: &Memmap, index: u32, way: usize) -> u32 {
    // Relaxed: the list's lock orders the links of the frames on it.
    map.link(index)[way].load(Relaxed)
}

/// Sets one link of a frame.
fn set(map: &Memmap, index: u32, way: usize, to: u32) {
    // Relaxed: the list's lock orders the links of the frames on it.
    map.link(index)[way].store(to, Relaxed);
}
