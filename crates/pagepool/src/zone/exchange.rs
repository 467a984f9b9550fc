//! What threads' [magazines](super::magazine) exchange with the rest of the zone: with a [depot](super::depot) in
//! the first place, which gets what it lacks from [others](super::depots) or from the buddy and gives back what it has
//! too much of, many pages at a time; and with the caches of CPUs, where somebody else is at the depot.
//!
//! Whatever is on its way stays within reach: it moves under the lock of the depot or of a cache, from before it is
//! taken from where it was, and who waits or isolates says so before he empties that.

#![forbid(unsafe_code)]

use arrayvec::ArrayVec;

use super::at_hand::Used;
use super::depot::{Depot, HALF, MOST_SPILLED, MOST_STOCKED};
use super::magazine::{Half, MAX_DEPTH, Magazine};
use super::pcp::{RETURN_BATCH, Returned};
use super::watermark::AllocFlags;
use super::{Freed, Zone};
use crate::memmap::FrameState;
use crate::sync::atomic::Ordering;
use crate::sync::cpu;
use crate::sync::fence::mutated;
use crate::types::{Migratetype, Order, Pfn};

/// Pages that come from the buddy at once: as many as the depot has room for.
type Batch = ArrayVec<Pfn, MOST_STOCKED>;

/// Pages that a depot gives back at once.
type Spilled = ArrayVec<Pfn, MOST_SPILLED>;

/// What is to be seen to after pages were put back, page by page.
pub(crate) type FreedOfHalf = ArrayVec<Freed, { MAX_DEPTH / 2 }>;

// What a depot gives back is seen to batch by batch, and once more. A model's is one page.
const _: () = assert!(cfg!(loom) || MOST_SPILLED.div_ceil(RETURN_BATCH) < MAX_DEPTH / 2);

/// How many pages a zone of so many has unmerged before somebody merges some: the more, the more of them are
/// neighbours. A group of pageblocks is merged at once, so that a thirty-second of the zone is a few pages for each
/// word of bits.
fn most_unmerged(pages: usize) -> usize {
    let (least, most) = if cfg!(loom) { (2, 2) } else { (64, 1 << 18) };
    (pages / 32).clamp(least, most)
}

impl Zone {
    /// Fills half of the magazine in a slot, the calling thread's, with pages for requests of type `want`: with what
    /// threads have left, or from the cache of this CPU.
    pub(crate) fn restock(&self, slot: usize, want: Migratetype) -> Used<()> {
        let from_depot = self.restock_from_depot(slot, want, |_| ());
        from_depot.unwrap_or_else(|| self.restock_from_cache(self.magazines.at(slot), want))
    }

    /// The same, or if need be with what the buddy has of that type above the low mark, for this thread and, by the
    /// depot, for the next ones. None, if that takes more, or somebody is at the depot.
    pub(crate) fn restock_by_depot(&self, slot: usize, want: Migratetype) -> Option<Used<()>> {
        let filler = self.magazines.depots().of(slot);
        self.restock_from_depot(slot, want, |depot| self.stock_depot(depot, filler, want))
    }

    /// Fills half of a magazine from its depot, for which `stock` gets something if no depot has any to spare.
    fn restock_from_depot(
        &self,
        slot: usize,
        want: Migratetype,
        stock: impl FnOnce(&mut Depot),
    ) -> Option<Used<()>> {
        let (magazine, depots) = (self.magazines.at(slot), self.magazines.depots());
        let at = depots.of(slot);
        // Under this lock whatever does not find its place is where it was (D2).
        let mut depot = depots.try_at(at)?;
        if depot.is_empty(want.idx()) {
            // D3.
            let is_revoked = magazine.is_known_to_be_revoked() && !mutated("depot.fetch_revoked");
            if is_revoked || !depots.fetch(at, want.idx(), &mut depot) {
                stock(&mut depot);
            }
        }
        self.restock_from(&mut depot, magazine, want)
    }

    fn restock_from(
        &self,
        depot: &mut Depot,
        magazine: &Magazine,
        want: Migratetype,
    ) -> Option<Used<()>> {
        let mut half = depot.take(want.idx())?;
        let used = self.restock_with(magazine, want, &mut half.pages);
        if !half.pages.is_empty() {
            depot.put_back(want.idx(), half);
        }
        Some(used)
    }

    /// Moves a batch of pages of a type from the buddy to the depot, if that leaves the low mark met.
    fn stock_depot(&self, depot: &mut Depot, filler: usize, want: Migratetype) {
        let nr = self.batch_above_low(depot, want);
        // Who waits has emptied the depot, or is about to. Looked at under its lock: see the head of the zone.
        if nr == 0 || self.somebody_waits("freed.look_at_stock") {
            return;
        }
        let batch = self.take_batch(want, nr, filler);
        if batch.len() == nr {
            depot.note_stocked(want.idx());
        }
        // The first ones are to be taken first; of each half, that is the last.
        for pages in batch.chunks(HALF).rev() {
            depot.stock(want.idx(), pages.iter().rev().copied().collect());
        }
    }

    /// How many pages the depot is to have from the buddy: as many as the caches' sizes say, and twice as many each time
    /// that it wants more before anything comes back; less, down to what the sizes say, or none, where the low mark is
    /// near.
    fn batch_above_low(&self, depot: &Depot, want: Migratetype) -> usize {
        let (sizes, most) = (self.pcp.sizes(), depot.room_left(want.idx()) * HALF);
        let least = usize::from(sizes.batch).min(most);
        let mut nr = depot.batch(want.idx(), sizes).min(most);
        let passes = |nr: usize| {
            let others = nr.saturating_sub(1);
            self.check_without(others, Order::ZERO, self.zone, AllocFlags::WMARK_LOW)
                .passes()
        };
        while !passes(nr) {
            if nr <= least {
                return 0;
            }
            nr = (nr / 2).max(least);
        }
        nr
    }

    /// Takes up to `nr` single pages of a type and no other out of the buddy, as cached ones, for a depot, each of
    /// which goes on with a pageblock of its own.
    fn take_batch(&self, want: Migratetype, nr: usize, filler: usize) -> Batch {
        let mut batch = Batch::new();
        let mut on_run = |first: Pfn, pages: usize| {
            batch.extend((0..pages).map(|offset| first.add(offset)));
        };
        let mut core = self.core.lock();
        core.buddy.fill(want, filler, nr, &mut on_run);
        self.publish(&core);
        drop(core);
        // They are nobody else's: for what is on other CPUs' cache lines others need not wait as well.
        let state = FrameState::cached(Order::ZERO, want);
        for run in batch.chunk_by(|pfn, next| pfn.add(1) == *next) {
            self.map.set_states(run[0], run.len(), Order::ZERO, state);
        }
        batch
    }

    fn restock_from_cache(&self, magazine: &Magazine, want: Migratetype) -> Used<()> {
        let most = self.magazines.depth().div_ceil(2);
        // Under this lock whatever does not find its place is where it was.
        let Some(mut lists) = self.pcp.try_of(cpu::current()) else {
            return Used {
                outcome: (),
                is_revoked: false,
            };
        };
        let pop = || lists.withdraw(&self.map, Order::ZERO, want);
        let mut left: Half = std::iter::from_fn(pop).take(most).collect();
        // The coldest go in first, and come out last.
        left.reverse();
        let used = self.restock_with(magazine, want, &mut left);
        for pfn in left {
            lists.put_back(&self.map, pfn, Order::ZERO, want);
        }
        used
    }

    /// Moves pages, which are cached ones already, into the calling thread's magazine, the first ones first; `left` are
    /// those that it does not take.
    fn restock_with(&self, magazine: &Magazine, want: Migratetype, left: &mut Half) -> Used<()> {
        Zone::use_at_hand(magazine, (), |open| {
            let may_be_kept = &left[..self.nr_wanted_nowhere_else(left)];
            let nr = open.push_some(want.idx(), may_be_kept, self.magazines.depth());
            left.drain(..nr);
        })
    }

    /// Moves half of what the magazine in a slot, the calling thread's, has of a type to where other threads find it, or
    /// to the cache of this CPU. What is to be seen to then is added to `freed`.
    pub(crate) fn make_room(
        &self,
        slot: usize,
        mobility: Migratetype,
        freed: &mut FreedOfHalf,
    ) -> Used<()> {
        let to_depot = self.make_room_by_depot(slot, mobility, freed);
        to_depot
            .unwrap_or_else(|| self.make_room_by_cache(self.magazines.at(slot), mobility, freed))
    }

    /// The same by the depot, if nobody is at it; what was there longest is given back, if there is no room.
    fn make_room_by_depot(
        &self,
        slot: usize,
        mobility: Migratetype,
        freed: &mut FreedOfHalf,
    ) -> Option<Used<()>> {
        let (magazine, depots) = (self.magazines.at(slot), self.magazines.depots());
        let (at, column) = (depots.of(slot), mobility.idx());
        // Who waits or isolates need not be looked for: see D2.
        let mut depot = depots.try_at(at)?;
        if depot.room_left(column) == 0 {
            // Still under its lock: who drains finds these pages in the depot, or unmerged.
            let (nr, oldest) = depot.take_oldest(column)?;
            self.put_unmerged(nr, oldest, freed);
        }
        let used = Zone::use_at_hand(magazine, Half::new(), |open| open.take_half(column));
        if !used.outcome.is_empty() {
            depot.put(column, used.outcome);
            depots.tell(at, column, &mut depot);
        }
        Some(Used {
            outcome: (),
            is_revoked: used.is_revoked,
        })
    }

    /// Gives so many cached pages that are in nobody's lists any more back, without the zone's lock.
    ///
    /// What is in a pageblock that is isolated or reserved goes to the buddy at once: what is unmerged counts as free
    /// for everybody.
    pub(super) fn put_unmerged(
        &self,
        nr: usize,
        pages: impl Iterator<Item = Pfn>,
        freed: &mut FreedOfHalf,
    ) {
        // Relaxed: a hint, as is the other: what becomes isolated meanwhile is merged by who isolates, since that drains;
        // of a pageblock that is reserved meanwhile a few pages may count for everybody until they are merged.
        let reserved = self.published.reserved.load(Ordering::Relaxed);
        if reserved == 0 && !self.blocks.has_isolated() {
            return freed.extend(self.put_free(nr, pages));
        }
        // Each is looked at once.
        let (pages, others): (Spilled, Spilled) =
            pages.partition(|pfn| self.blocks.is_for_all(*pfn));
        for others in others.chunks(RETURN_BATCH) {
            let mut others = others.iter().map(|pfn| (*pfn, Order::ZERO)).collect();
            freed.push(self.give_to_buddy(&mut others));
        }
        if !pages.is_empty() {
            freed.extend(self.put_free(pages.len(), pages.into_iter()));
        }
    }

    /// The same with pages that are free for everybody then; who finds that they are many by now merges some.
    fn put_free(&self, nr: usize, pages: impl Iterator<Item = Pfn>) -> Option<Freed> {
        let offsets = pages.map(|pfn| {
            self.map.set_state(pfn, FrameState::FREE);
            self.offset_of(pfn)
        });
        let nr = self.unmerged.put(nr, offsets);
        let enough = most_unmerged(self.pages);
        let mut core = match nr {
            _ if nr < enough => None,
            _ if nr < 2 * enough => self.core.try_lock(),
            _ => Some(self.core.lock()),
        }?;
        core.buddy.merge_group();
        Some(self.settle(&mut core, 0))
    }

    fn make_room_by_cache(
        &self,
        magazine: &Magazine,
        mobility: Migratetype,
        all: &mut FreedOfHalf,
    ) -> Used<()> {
        let sizes = self.pcp.sizes();
        let mut lists = self.pcp.try_of(cpu::current());
        let Used {
            outcome: half,
            is_revoked,
        } = Zone::use_at_hand(magazine, Half::new(), |open| open.take_half(mobility.idx()));
        let mut rest = Returned::new();
        for pfn in half {
            let lists = lists
                .as_mut()
                .filter(|lists| sizes.is_on() && self.may_cache(lists, pfn));
            let Some(lists) = lists else {
                rest.push((pfn, Order::ZERO));
                continue;
            };
            lists.keep(&self.map, pfn, Order::ZERO, self.home(pfn));
            let freed = self.return_surplus(lists, sizes);
            if freed.is_something() {
                all.push(freed);
            }
        }
        drop(lists);
        if !rest.is_empty() {
            all.push(self.give_to_buddy(&mut rest));
        }
        Used {
            outcome: (),
            is_revoked,
        }
    }
}
