//! Pages that one thread had too many of, for another that has none.
//!
//! *Kernel counterpart:* none; the depot of Bonwick and Adams (2001). A thread that only frees what others allocate
//! fills its [magazine](super::magazine) and never empties it. What it puts away by halves, whoever needs some
//! takes from here as it is: without the lists of a CPU, which want each page's links, and without the buddy.
//!
//! **Invariants**
//! - D1: a frame's state says that it is cached, at order 0, as in a magazine.
//! - D2: a half goes from a magazine to the depot, or back, under the depot's lock, with the magazine opened after
//!   that. Whoever drains empties the depot while he keeps the magazines revoked: so none of it moves that has not
//!   moved when he gets the lock, and what is in the depot afterwards went into a magazine after he had said what
//!   he drains for.
//!
//! **Locking:** after the keeper's lock, before that of a cache. A thread that finds it taken does not wait.

#![forbid(unsafe_code)]

use arrayvec::ArrayVec;

use super::magazine::Half;
use crate::types::Pfn;

/// Types that pages in magazines have: unmovable and movable.
const NR_TYPES: usize = 2;

/// Halves of a type that there is room for.
const MAX_HALVES: usize = if cfg!(loom) { 1 } else { 32 };

/// The halves of all types, the last put in first.
#[derive(Debug, Default)]
pub(crate) struct Depot {
    halves: [ArrayVec<Half, MAX_HALVES>; NR_TYPES],
    /// Room for so many of a type: fewer in front of a small zone.
    room: usize,
    /// Pages that came out for a thread.
    exchanged: u64,
}

impl Depot {
    /// One with room for `halves` of a type, or as many as there can be.
    pub(super) fn with_room(halves: usize) -> Depot {
        Depot {
            room: halves.min(MAX_HALVES),
            ..Depot::default()
        }
    }

    /// Whether there is room for another half of this type.
    pub(super) fn has_room(&self, column: usize) -> bool {
        let halves = self.halves.get(column);
        halves.is_some_and(|halves| halves.len() < self.room)
    }

    /// Puts a half in, for which there [is room](Self::has_room).
    pub(super) fn put(&mut self, column: usize, half: Half) {
        self.halves[column].push(half);
    }

    /// Takes out the half that was put in last.
    pub(super) fn take(&mut self, column: usize) -> Option<Half> {
        let half = self.halves.get_mut(column)?.pop()?;
        self.exchanged += half.len() as u64;
        Some(half)
    }

    /// Puts back what the magazine, for which it was taken out, did not take.
    pub(super) fn put_back(&mut self, column: usize, half: Half) {
        self.exchanged -= half.len() as u64;
        self.put(column, half);
    }

    /// Takes everything out.
    pub(super) fn take_all(&mut self, sink: &mut dyn FnMut(Pfn)) {
        for halves in &mut self.halves {
            halves.drain(..).flatten().for_each(&mut *sink);
        }
    }

    /// The frames in it.
    pub(super) fn frames(&self) -> impl Iterator<Item = Pfn> {
        self.halves.iter().flatten().flatten().copied()
    }

    /// Pages that came out for a thread so far.
    pub(super) fn exchanged(&self) -> u64 {
        self.exchanged
    }
}
