//! The [depots](super::depot) of a zone: one for each thread, as far as there are CPUs and the zone is large enough, so
//! that threads that have nothing to do with each other do not meet; and how pages come from one to another.
//!
//! A depot that is a quarter full says so, by a bit in a word for all of them. Who finds nothing in his own looks
//! there, and takes over what is in such a one, many pages at a time. So where one thread frees what another allocates,
//! each of them has a lock that hardly anybody else takes.
//!
//! **Invariants**
//! - D3: what goes from a depot to another goes under the locks of both, by a thread that has looked, with the lock of
//!   the one that it goes to, that its magazine is not revoked. Whoever drains revokes all magazines first: if he has
//!   been at that depot already, the lock that he gave back says so, and nothing moves; else he finds it there.
//!
//! **Locking:** one of them is waited for, or tried, with none held; a second one is only tried.

#![forbid(unsafe_code)]

use std::iter;

use crossbeam::utils::CachePadded;

use super::depot::Depot;
use super::kind::NR_TYPES;
use crate::buddy::MAX_FILLERS;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{CoreGuard, CoreMutex, Rank};
use crate::types::Pfn;

/// Depots at most. Each fills a pageblock of its own.
const MAX_DEPOTS: usize = if cfg!(loom) { 2 } else { MAX_FILLERS };

/// There is one for so many magazines, each of which there is for 4 MiB of the zone or more: a depot has 32 pageblocks.
const SLOTS_PER_DEPOT: usize = 16;

/// The depots of one zone.
#[derive(Debug)]
pub(super) struct Depots {
    depots: Box<[CachePadded<CoreMutex<Depot>>]>,
    /// A bit for each type and depot that has plenty, and maybe for one that had. Written under that depot's lock.
    plenty: CachePadded<AtomicU32>,
}

const _: () = assert!(MAX_DEPOTS * NR_TYPES <= u32::BITS as usize);

/// The bit of a depot and a type.
const fn bit(at: usize, column: usize) -> u32 {
    1 << (column * MAX_DEPOTS + at)
}

impl Depots {
    /// How many there are behind so many magazines, whose threads have so many CPUs.
    pub(super) fn planned(slots: usize, cpus: usize) -> usize {
        let nr = slots / SLOTS_PER_DEPOT;
        nr.min(cpus).clamp(1, MAX_DEPOTS)
    }

    /// Bytes that so many take.
    pub(super) const fn bytes_of(depots: usize) -> usize {
        depots * size_of::<CachePadded<CoreMutex<Depot>>>()
    }

    /// Makes so many, behind so many magazines.
    pub(super) fn new(depots: usize, slots: usize) -> Depots {
        let depot = || CoreMutex::ranked(Rank::Depot, Depot::with_room(slots.div_ceil(depots)));
        let depots = iter::repeat_with(|| CachePadded::new(depot())).take(depots);
        Depots {
            depots: depots.collect(),
            plenty: CachePadded::default(),
        }
    }

    /// How many there are.
    pub(super) fn nr(&self) -> usize {
        self.depots.len()
    }

    /// Which one the magazine in a slot exchanges pages with.
    pub(super) fn of(&self, slot: usize) -> usize {
        slot % self.depots.len()
    }

    /// One of them, unless somebody is at it.
    pub(super) fn try_at(&self, at: usize) -> Option<CoreGuard<'_, Depot>> {
        self.depots[at].try_lock()
    }

    /// Says of a depot that it has plenty of a type, if it has, so that others come for it.
    pub(super) fn tell(&self, at: usize, column: usize, depot: &mut Depot) {
        if depot.has_news_of_plenty(column) {
            // Relaxed: a hint; what is there is looked at under the lock.
            self.plenty.fetch_or(bit(at, column), Ordering::Relaxed);
        }
    }

    /// Takes over what another depot has plenty of, into `mine`, that at `at`, which has nothing of that type; says
    /// whether there was any. The caller's magazine is not revoked (D3).
    pub(super) fn fetch(&self, at: usize, column: usize, mine: &mut Depot) -> bool {
        self.with_plenty(at, column).any(|other| {
            self.try_at(other).is_some_and(|mut depot| {
                // Relaxed: as in `tell`, and under the same lock.
                self.plenty
                    .fetch_and(!bit(other, column), Ordering::Relaxed);
                mine.take_over(column, &mut depot)
            })
        })
    }

    /// The other depots that say that they have plenty of a type, the next one first.
    fn with_plenty(&self, at: usize, column: usize) -> impl Iterator<Item = usize> {
        // Relaxed: as in `tell`.
        let said = self.plenty.load(Ordering::Relaxed);
        let nr = self.depots.len();
        let others = (1..nr).map(move |ahead| (at + ahead) % nr);
        others.filter(move |other| said & bit(*other, column) != 0)
    }

    /// Takes everything out of all of them.
    pub(super) fn empty(&self, sink: &mut dyn FnMut(Pfn)) {
        for depot in &self.depots {
            depot.lock().take_all(sink);
        }
    }

    /// Pages that threads left in one of them, and that came out for a thread.
    pub(super) fn exchanged(&self) -> u64 {
        let depots = self.depots.iter();
        depots.map(|depot| depot.lock().exchanged()).sum()
    }

    /// Calls `look` with each frame in them.
    pub(super) fn each_frame(&self, look: &mut dyn FnMut(Pfn)) {
        for depot in &self.depots {
            depot.lock().frames().for_each(&mut *look);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::depot::HALF;
    use super::*;

    fn put(depots: &Depots, at: usize, nr: usize) {
        let mut depot = depots.try_at(at).unwrap();
        for _ in 0..nr {
            depot.put(1, [Pfn::from_raw(7); HALF].into());
            depots.tell(at, 1, &mut depot);
        }
    }

    fn fetch(depots: &Depots, at: usize) -> (bool, usize) {
        let mut mine = depots.try_at(at).unwrap();
        let found = depots.fetch(at, 1, &mut mine);
        (found, mine.frames().count())
    }

    #[test]
    fn there_are_as_many_as_there_are_cpus_and_the_zone_has_room_for() {
        let planned = [0, 1, 31, 32, 255, 256].map(|slots| Depots::planned(slots, 64));
        assert_eq!(planned, [1, 1, 1, 2, 15, 16]);
        let planned = [0, 1, 2, 64].map(|cpus| Depots::planned(256, cpus));
        assert_eq!(planned, [1, 1, 2, 16]);
    }

    #[test]
    fn what_one_has_plenty_of_goes_to_another() {
        let depots = Depots::new(3, 24);
        assert_eq!(fetch(&depots, 0), (false, 0), "nobody has anything");
        put(&depots, 1, 1);
        assert_eq!(fetch(&depots, 0), (false, 0), "one of eight is not plenty");
        put(&depots, 1, 2);
        assert_eq!(fetch(&depots, 1), (false, 3 * HALF), "its own it has");
        assert_eq!(fetch(&depots, 0), (true, 3 * HALF));
        assert_eq!(fetch(&depots, 2), (false, 0), "somebody was there before");
        put(&depots, 1, 2);
        assert_eq!(fetch(&depots, 2), (true, 2 * HALF), "it says so anew");
    }

    #[test]
    fn what_somebody_is_at_is_passed_by() {
        let depots = Depots::new(3, 24);
        put(&depots, 1, 8);
        put(&depots, 2, 4);
        let guard = depots.try_at(1).unwrap();
        assert_eq!(fetch(&depots, 0), (true, 4 * HALF));
        drop(guard);
        depots.try_at(0).unwrap().take_all(&mut |_| ());
        assert_eq!(fetch(&depots, 0), (true, 8 * HALF), "it still says so");
    }
}
