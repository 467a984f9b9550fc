//! Single pages by way of a thread's [magazine](super::magazine).
//!
//! Somebody who waits for memory, or isolates a pageblock, says so and then drains. A page goes into a magazine
//! only while that is open, and after a look whether anybody has said so: so either whoever drains finds the page
//! there or its owner emptying it, or the look finds what he said.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::magazine::{Half, MAX_DEPTH, Magazine, Magazines, Open, Opens};
use super::pcp::{RETURN_BATCH, Returned};
use super::{Freed, Taken, Zone};
use crate::memmap::{Entry, FrameState};
use crate::sync::cpu;
use crate::sync::fence::mutated;
use crate::types::{Migratetype, Order, Pfn};

/// What came of using a magazine, once it is closed.
#[derive(Debug)]
#[must_use = "it may have to be emptied"]
pub(crate) struct Used<T> {
    /// What came of it.
    pub(crate) outcome: T,
    /// It was revoked meanwhile: its owner has to empty it.
    pub(crate) is_revoked: bool,
}

impl<T> Used<T> {
    /// It could not be opened.
    #[inline(always)]
    fn unopened(outcome: T) -> Used<T> {
        Used {
            outcome,
            // Whoever drains may have taken the look for a use, and passed over what is in it.
            is_revoked: !mutated("magazine.empty_unopened"),
        }
    }
}

/// Whether a page was put into a magazine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// It was.
    Yes,
    /// There is no room for one of this type.
    Full(Migratetype),
    /// It is wanted elsewhere, or is not what it is said to be.
    No,
}

/// What is to be seen to after pages were put back, page by page.
pub(crate) type FreedOfHalf = ArrayVec<Freed, { MAX_DEPTH / 2 }>;

impl Zone {
    /// Has so many magazines from now on, instead of those that it was built with.
    #[cfg(loom)]
    pub(crate) fn give_magazines(&mut self, slots: usize) {
        let magazines = Magazines::of(slots).expect("models have memory");
        self.magazines = Arc::new(magazines);
        self.magazines.set_depth(MAX_DEPTH);
    }

    /// The magazines in front of this zone.
    pub(crate) fn magazines(&self) -> &Arc<Magazines> {
        &self.magazines
    }

    /// Takes a page from the calling thread's magazine.
    #[inline(always)]
    pub(crate) fn take_at_hand(
        &self,
        magazine: &Magazine,
        want: Migratetype,
        opens: Opens,
    ) -> Used<Option<Taken>> {
        let Some(open) = magazine.open(opens) else {
            return Used::unopened(None);
        };
        let taken = self.take_from(&open, want);
        Used {
            outcome: taken,
            is_revoked: open.close(),
        }
    }

    #[inline(always)]
    fn take_from(&self, open: &Open<'_>, want: Migratetype) -> Option<Taken> {
        let pfn = open.pop(want.idx())?;
        open.count_allocated();
        let entry = self.map.entry(pfn);
        debug_assert!(entry.state().is_cached(), "G4: {pfn}");
        entry.set_state(FrameState::allocated(Order::ZERO, want));
        Some(Taken {
            pfn,
            order: Order::ZERO,
            vacant: false,
        })
    }

    /// Puts a page of this zone into the calling thread's magazine, which its owner gave back. Once it was put
    /// there, the zone is not touched any more: see [`Freed`]. Before, `note` is called.
    #[inline(always)]
    pub(crate) fn put_at_hand(
        &self,
        magazine: &Magazine,
        pfn: Pfn,
        opens: Opens,
        note: impl FnOnce(),
    ) -> Used<Kept> {
        let entry = self.map.entry(pfn);
        let Some(mobility) = entry.state().plain_page() else {
            return Used {
                outcome: Kept::No,
                is_revoked: false,
            };
        };
        let Some(open) = magazine.open(opens) else {
            return Used::unopened(Kept::No);
        };
        let kept = self.keep_at_hand(&open, pfn, entry, mobility);
        if kept == Kept::Yes {
            note();
            open.count_freed();
        }
        Used {
            outcome: kept,
            is_revoked: open.close(),
        }
    }

    /// Has `work` done with the calling thread's magazine, if it is not revoked; returns `otherwise` if it is.
    fn use_at_hand<T>(
        magazine: &Magazine,
        otherwise: T,
        work: impl FnOnce(&Open<'_>) -> T,
    ) -> Used<T> {
        let Some(open) = magazine.open(Opens::Any) else {
            return Used::unopened(otherwise);
        };
        Used {
            outcome: work(&open),
            is_revoked: open.close(),
        }
    }

    #[inline(always)]
    fn keep_at_hand(
        &self,
        open: &Open<'_>,
        pfn: Pfn,
        entry: Entry<'_>,
        mobility: Migratetype,
    ) -> Kept {
        let is_wanted = self.somebody_waits("magazine.look_at_waiters")
            || (self.blocks.is_isolated(pfn) && !mutated("magazine.look_at_block"));
        if is_wanted {
            return Kept::No;
        }
        let depth = self.magazines.depth();
        if !open.push(mobility.idx(), pfn, depth) {
            return if depth == 0 {
                Kept::No
            } else {
                Kept::Full(mobility)
            };
        }
        entry.set_state(FrameState::cached(Order::ZERO, mobility));
        Kept::Yes
    }

    /// Fills half of the calling thread's magazine with pages for requests of type `want`: with what other threads
    /// have left, or from the cache of this CPU.
    pub(crate) fn restock(&self, magazine: &Magazine, want: Migratetype) -> Used<()> {
        let from_depot = self.restock_from_depot(magazine, want);
        from_depot.unwrap_or_else(|| self.restock_from_cache(magazine, want))
    }

    /// The same, if other threads have left something and nobody is at it.
    fn restock_from_depot(&self, magazine: &Magazine, want: Migratetype) -> Option<Used<()>> {
        // Under this lock whatever does not find its place is where it was (D2).
        let mut depot = self.magazines.try_depot()?;
        let mut left = depot.take(want.idx())?;
        let used = self.restock_with(magazine, want, &mut left);
        if !left.is_empty() {
            depot.put_back(want.idx(), left);
        }
        Some(used)
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

    /// Moves pages into the calling thread's magazine, the first ones first; `left` are those that it does not
    /// take.
    fn restock_with(&self, magazine: &Magazine, want: Migratetype, left: &mut Half) -> Used<()> {
        Zone::use_at_hand(magazine, (), |open| {
            let keep = |pfn: &Pfn| {
                let entry = self.map.entry(*pfn);
                self.keep_at_hand(open, *pfn, entry, want) == Kept::Yes
            };
            let nr = left.iter().take_while(|pfn| keep(pfn)).count();
            left.drain(..nr);
        })
    }

    /// Moves half of what the calling thread's magazine has of a type to where other threads find it, to the cache
    /// of this CPU, or into the buddy.
    pub(crate) fn make_room(
        &self,
        magazine: &Magazine,
        mobility: Migratetype,
    ) -> Used<FreedOfHalf> {
        let to_depot = self.make_room_by_depot(magazine, mobility);
        to_depot.unwrap_or_else(|| self.make_room_by_cache(magazine, mobility))
    }

    /// The same, if there is room for other threads to find it, and nobody is at it.
    fn make_room_by_depot(
        &self,
        magazine: &Magazine,
        mobility: Migratetype,
    ) -> Option<Used<FreedOfHalf>> {
        let column = mobility.idx();
        // Who waits or isolates need not be looked for: see D2.
        let mut depot = self.magazines.try_depot()?;
        if !depot.has_room(column) {
            return None;
        }
        let used = Zone::use_at_hand(magazine, Half::new(), |open| open.take_half(column));
        if !used.outcome.is_empty() {
            depot.put(column, used.outcome);
        }
        Some(Used {
            outcome: FreedOfHalf::new(),
            is_revoked: used.is_revoked,
        })
    }

    fn make_room_by_cache(&self, magazine: &Magazine, mobility: Migratetype) -> Used<FreedOfHalf> {
        let sizes = self.pcp.sizes();
        let mut lists = self.pcp.try_of(cpu::current());
        let Used {
            outcome: half,
            is_revoked,
        } = Zone::use_at_hand(magazine, Half::new(), |open| open.take_half(mobility.idx()));
        let mut all = FreedOfHalf::new();
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
            outcome: all,
            is_revoked,
        }
    }

    /// Gives cached pages that are in nobody's lists any more to the buddy.
    pub(crate) fn give_to_buddy(&self, pages: &mut Returned) -> Freed {
        for (pfn, _) in &*pages {
            self.map.set_state(*pfn, FrameState::FREE);
        }
        let mut core = self.core.lock();
        core.buddy.free_bulk(pages);
        self.settle(&mut core, pages.len())
    }

    /// Empties all magazines into the buddy, then the caches by `caches`; returns how many pages that were, without
    /// those. `ends` says whether anything goes into magazines afterwards.
    pub(super) fn drain_magazines(&self, ends: bool, caches: impl FnOnce()) -> usize {
        let mut nr = 0;
        let batch = RefCell::new(Returned::new());
        let flush = |batch: &mut Returned| {
            for (pfn, _) in batch.iter() {
                self.map.set_state(*pfn, FrameState::FREE);
            }
            let mut core = self.core.lock();
            core.buddy.free_bulk(batch);
            self.publish(&core);
            batch.clear();
        };
        let mut sink = |pfn: Pfn| {
            nr += 1;
            let mut batch = batch.borrow_mut();
            batch.push((pfn, Order::ZERO));
            if batch.len() == RETURN_BATCH {
                flush(&mut batch);
            }
        };
        let rest = || {
            let mut batch = batch.borrow_mut();
            if !batch.is_empty() {
                flush(&mut batch);
            }
            caches();
        };
        if ends {
            self.magazines.end(&mut sink, rest);
        } else {
            self.magazines.collect(&mut sink, rest);
        }
        nr
    }
}
