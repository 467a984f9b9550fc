//! Pages that one thread had too many of, for when it has none, or another; and a batch from the buddy, when no thread
//! has.
//!
//! *Kernel counterpart:* none; the depot of Bonwick and Adams (2001). A thread that only frees what others allocate
//! fills its [magazine](super::magazine) and never empties it. What it puts away by halves, whoever needs some
//! takes from here as it is, by way of [his own depot](super::depots): without the lists of a CPU, which want each
//! page's links, and without the buddy. Nor do pages that come from the buddy for a thread, or go there when there is
//! no room, pass through those lists.
//!
//! **Invariants**
//! - D1: a frame's state says that it is cached, at order 0, as in a magazine.
//! - D2: a half goes from a magazine to the depot, or back, under the depot's lock, with the magazine opened after
//!   that; a batch goes from the buddy to the depot, or back, under the same lock, the former not while somebody
//!   waits. Whoever drains empties the depot while he keeps the magazines revoked: so none of it moves that has not
//!   moved when he gets the lock, and what is in the depot afterwards went into a magazine, or came from the buddy,
//!   after he had said what he drains for.
//!
//! **Locking:** after the keeper's lock, before that of a cache. A thread that finds it taken does not wait.

#![forbid(unsafe_code)]

use arrayvec::ArrayVec;

use super::kind::NR_TYPES;
use super::magazine::{Half, MAX_DEPTH};
use super::sizing::PcpSizes;
use crate::types::Pfn;

/// Halves of a type that there is room for.
const MAX_HALVES: usize = if cfg!(loom) { 1 } else { 32 };

/// Pages in a half.
pub(super) const HALF: usize = MAX_DEPTH / 2;

/// Pages of a type that there is room for.
pub(super) const MOST_STOCKED: usize = MAX_HALVES * HALF;

/// A batch grows to this power of two, times what it is at first (kernel: `CONFIG_PCP_BATCH_SCALE_MAX`).
const MAX_SCALE: u8 = 5;

/// Halves that are given back at once, when there is no room for another.
const SPILLED: usize = if cfg!(loom) { 1 } else { MAX_HALVES / 2 };

/// Pages that are given back at once at the most.
pub(super) const MOST_SPILLED: usize = SPILLED * HALF;

/// Where one thread frees what another allocates, what the latter gets from the buddy has to go back there: little at
/// a time, until so often in a row nothing has come from the other.
const SMALL_BATCHES: u8 = 4;

/// Half a magazine of pages.
#[derive(Debug)]
pub(super) struct Kept {
    /// The pages; the last one is the first to be handed out.
    pub(super) pages: Half,
    /// A thread had too many of them; else they come from the buddy.
    is_left: bool,
}

/// The halves of all types, the last put in first.
#[derive(Debug, Default)]
pub(crate) struct Depot {
    halves: [ArrayVec<Kept, MAX_HALVES>; NR_TYPES],
    /// Room for so many of a type: fewer in front of a small zone.
    room: usize,
    /// Pages that one thread had left, and that came out for a thread.
    exchanged: u64,
    /// By type, how often in a row the buddy was asked for pages and had them: a batch is doubled as often.
    scale: [u8; NR_TYPES],
    /// By type, how many more batches are to be small ones: others leave pages here, and more are on their way.
    small_batches: [u8; NR_TYPES],
    /// By type, whether it was said that there is plenty.
    is_plenty_said: [bool; NR_TYPES],
}

impl Depot {
    /// One with room for `halves` of a type, or as many as there can be.
    pub(super) fn with_room(halves: usize) -> Depot {
        Depot {
            room: halves.min(MAX_HALVES),
            ..Depot::default()
        }
    }

    /// How many more halves of this type there is room for.
    pub(super) fn room_left(&self, column: usize) -> usize {
        let halves = self.halves.get(column);
        halves.map_or(0, |halves| self.room.saturating_sub(halves.len()))
    }

    /// Whether it has nothing of this type.
    pub(super) fn is_empty(&self, column: usize) -> bool {
        self.halves.get(column).is_none_or(ArrayVec::is_empty)
    }

    /// How many pages of this type the buddy is asked for next: one half, if [others leave some](Self::take_over);
    /// else several, but whole ones, so that those of two threads begin a multiple of that apart, and what is known of
    /// their pages is on cache lines apart.
    pub(super) fn batch(&self, column: usize, sizes: PcpSizes) -> usize {
        if self.small_batches.get(column).is_some_and(|nr| *nr > 0) {
            return HALF;
        }
        let scale = self.scale.get(column).copied().unwrap_or(0);
        (usize::from(sizes.batch) << scale).next_multiple_of(HALF)
    }

    /// The buddy had as many as it was asked for.
    pub(super) fn note_stocked(&mut self, column: usize) {
        match self.small_batches[column] {
            0 => self.scale[column] = (self.scale[column] + 1).min(MAX_SCALE),
            nr => self.small_batches[column] = nr - 1,
        }
    }

    /// Puts a half in that a thread leaves, for which there [is room](Self::room_left).
    pub(super) fn put(&mut self, column: usize, pages: Half) {
        // Pages come back: what is taken from the buddy beyond what is needed may have to go there again.
        self.scale[column] /= 2;
        self.halves[column].push(Kept {
            pages,
            is_left: true,
        });
    }

    /// The same with one that comes from the buddy.
    pub(super) fn stock(&mut self, column: usize, pages: Half) {
        self.halves[column].push(Kept {
            pages,
            is_left: false,
        });
    }

    /// Takes out the half that was put in last, for a thread.
    pub(super) fn take(&mut self, column: usize) -> Option<Kept> {
        let half = self.halves.get_mut(column)?.pop()?;
        if half.is_left {
            self.exchanged += half.pages.len() as u64;
        }
        Some(half)
    }

    /// Takes over what another has of a type, as far as there is room; says whether there was any.
    pub(super) fn take_over(&mut self, column: usize, other: &mut Depot) -> bool {
        let nr = other.halves[column].len().min(self.room_left(column));
        self.halves[column].extend(other.halves[column].drain(..nr));
        other.is_plenty_said[column] = false;
        // As with what a thread puts in.
        self.scale[column] /= 2;
        if nr > 0 {
            self.small_batches[column] = SMALL_BATCHES;
        }
        nr > 0
    }

    /// Whether it has become a quarter full with a type, and that was not said yet.
    pub(super) fn has_news_of_plenty(&mut self, column: usize) -> bool {
        let is_plenty = self.halves[column].len() >= self.room.div_ceil(4);
        is_plenty && !std::mem::replace(&mut self.is_plenty_said[column], true)
    }

    /// Puts back what the magazine, for which it was taken out, did not take.
    pub(super) fn put_back(&mut self, column: usize, half: Kept) {
        if half.is_left {
            self.exchanged -= half.pages.len() as u64;
        }
        self.halves[column].push(half);
    }

    /// Takes out what was put in first, as much as is given back at once, and says how many pages that are; none, if
    /// there is nothing.
    pub(super) fn take_oldest(
        &mut self,
        column: usize,
    ) -> Option<(usize, impl Iterator<Item = Pfn>)> {
        let halves = self
            .halves
            .get_mut(column)
            .filter(|halves| !halves.is_empty())?;
        let nr = SPILLED.min(halves.len());
        let pages = halves[..nr].iter().map(|half| half.pages.len()).sum();
        Some((pages, halves.drain(..nr).flat_map(|half| half.pages)))
    }

    /// Takes everything out.
    pub(super) fn take_all(&mut self, sink: &mut dyn FnMut(Pfn)) {
        for halves in &mut self.halves {
            let pages = halves.drain(..).flat_map(|half| half.pages);
            pages.for_each(&mut *sink);
        }
    }

    /// The frames in it.
    pub(super) fn frames(&self) -> impl Iterator<Item = Pfn> {
        let halves = self.halves.iter().flatten();
        halves.flat_map(|half| half.pages.iter().copied())
    }

    /// Pages that one thread left and another, or the same, got so far.
    pub(super) fn exchanged(&self) -> u64 {
        self.exchanged
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn half(first: u32) -> Half {
        (first..first + HALF as u32).map(Pfn::from_raw).collect()
    }

    #[test]
    fn what_threads_leave_is_told_from_what_the_buddy_gave() {
        let mut depot = Depot::with_room(4);
        depot.stock(0, half(0));
        depot.take(0).unwrap();
        assert_eq!(depot.exchanged(), 0);
        depot.put(0, half(8));
        depot.take(0).unwrap();
        assert_eq!(depot.exchanged(), HALF as u64);
    }

    #[test]
    fn a_batch_doubles_until_pages_come_back() {
        let mut depot = Depot::with_room(4);
        let sizes = PcpSizes::from_raw(3);
        let grown = |depot: &mut Depot| {
            depot.note_stocked(0);
            depot.batch(0, sizes)
        };
        assert_eq!(Depot::default().batch(0, sizes), HALF);
        assert_eq!(
            [(); 7].map(|()| grown(&mut depot)),
            [8, 16, 24, 48, 96, 96, 96]
        );
        assert_eq!(depot.batch(1, sizes), HALF, "types do not meet");
        for batch in [16, 8, 8, 8] {
            depot.put(0, half(0));
            depot.take(0).unwrap();
            assert_eq!(depot.batch(0, sizes), batch);
        }
    }

    #[test]
    fn batches_are_small_while_others_leave_pages() {
        let (mut depot, mut other) = (Depot::with_room(4), Depot::with_room(4));
        let sizes = PcpSizes::from_raw(63);
        depot.note_stocked(0);
        assert_eq!(depot.batch(0, sizes), 128);
        assert!(!depot.take_over(0, &mut other), "there is nothing");
        assert_eq!(depot.batch(0, sizes), 64);
        other.put(0, half(0));
        assert!(depot.take_over(0, &mut other) && other.is_empty(0));
        for _ in 0..SMALL_BATCHES {
            assert_eq!(depot.batch(0, sizes), HALF);
            depot.note_stocked(0);
        }
        assert_eq!(depot.batch(0, sizes), 64);
    }

    #[test]
    fn what_was_put_in_first_is_given_up_first() {
        let mut depot = Depot::with_room(MAX_HALVES);
        for n in 0..MAX_HALVES as u32 {
            depot.put(1, half(n * HALF as u32));
        }
        assert_eq!(depot.room_left(1), 0);
        let (nr, oldest) = depot.take_oldest(1).unwrap();
        assert!(oldest.map(Pfn::get).eq(0..nr as u32));
        assert_eq!(nr, MOST_SPILLED);
        assert_eq!(depot.room_left(1), SPILLED);
        assert!(depot.take_oldest(0).is_none());
    }
}
