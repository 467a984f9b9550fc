//! Single pages, and blocks of a few [kinds](super::kind), by way of a thread's [magazine](super::magazine).
//!
//! Somebody who waits for memory, or isolates a pageblock, says so and then drains. A page goes into a magazine
//! only while that is open, and after a look whether anybody has said so: so either whoever drains finds the page
//! there or its owner emptying it, or the look finds what he said.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use super::kind::Kind;
use super::magazine::{Magazine, Magazines, Open, Opens};
use super::pcp::{RETURN_BATCH, Returned};
use super::{Core, Freed, Taken, Zone};
use crate::buddy::Residency;
use crate::memmap::{Entry, FrameState};
use crate::sync::CoreGuard;
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

impl Zone {
    /// Has so many magazines from now on, and depots, instead of those that it was built with.
    #[cfg(loom)]
    pub(crate) fn give_magazines(&mut self, slots: usize, depots: usize) {
        let magazines = Magazines::of(slots, depots).expect("models have memory");
        self.magazines = Arc::new(magazines);
        self.magazines.set_depth(super::magazine::MAX_DEPTH);
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

    /// Takes a block from the calling thread's magazine.
    #[inline(always)]
    pub(crate) fn take_block_at_hand(
        &self,
        magazine: &Magazine,
        kind: Kind,
    ) -> Used<Option<Taken>> {
        let Some(open) = magazine.open(Opens::Unwatched) else {
            return Used::unopened(None);
        };
        let taken = open.pop_block(kind).map(|pfn| {
            let order = kind.order();
            open.count_block_allocated(order);
            let entry = self.map.entry(pfn);
            debug_assert!(entry.state().is_cached(), "G4: {pfn}");
            entry.set_state(FrameState::allocated(order, kind.mobility()));
            Taken {
                pfn,
                order,
                residency: Residency::Used,
            }
        });
        Used {
            outcome: taken,
            is_revoked: open.close(),
        }
    }

    /// Notes that a block of a kind, for want of one in the calling thread's magazine, was taken from the zone.
    pub(crate) fn note_source(&self, magazine: &Magazine, kind: Kind, pfn: Pfn) {
        magazine.set_level(kind, self.blocks.fullness(pfn));
    }

    /// Puts a block of this zone, which its owner gave back, into the calling thread's magazine, which is that in
    /// `slot`, if its state says that it is of this order and of a kind that is kept; says whether it did. As with
    /// [`put_at_hand`](Self::put_at_hand), the zone is not touched any more once it is there.
    #[inline(always)]
    pub(crate) fn put_block_at_hand(
        &self,
        (magazine, slot): (&Magazine, usize),
        pfn: Pfn,
        order: Order,
    ) -> Used<bool> {
        let entry = self.map.entry(pfn);
        let mobility = entry.state().plain_block(order);
        let Some(kind) = mobility.and_then(|mobility| Kind::of(order, mobility)) else {
            return Used {
                outcome: false,
                is_revoked: false,
            };
        };
        let Some(open) = magazine.open(Opens::Unwatched) else {
            return Used::unopened(false);
        };
        let is_kept = self.magazines.keeps(slot, kind)
            && !self.is_wanted_elsewhere(pfn)
            && (kind.is_whole() || self.blocks.fullness(pfn) >= open.level(kind))
            && open.push_block(kind, pfn);
        if is_kept {
            entry.set_state(FrameState::cached(order, kind.mobility()));
            open.count_block_freed(order);
        }
        Used {
            outcome: is_kept,
            is_revoked: open.close(),
        }
    }

    /// Whether a page must not go into a magazine: somebody waits, or its pageblock is isolated.
    #[inline(always)]
    pub(super) fn is_wanted_elsewhere(&self, pfn: Pfn) -> bool {
        self.somebody_waits("magazine.look_at_waiters")
            || (self.blocks.is_isolated(pfn) && !mutated("magazine.look_at_block"))
    }

    /// How many of the first of these pages may go into a magazine. As above: asked while that is open.
    pub(super) fn nr_wanted_nowhere_else(&self, pages: &[Pfn]) -> usize {
        // Most of the time nothing is isolated, and nobody waits: then each need not be looked at.
        if !self.blocks.has_isolated() && !self.somebody_waits("magazine.look_at_waiters") {
            return pages.len();
        }
        let wanted = pages.iter().position(|pfn| self.is_wanted_elsewhere(*pfn));
        wanted.unwrap_or(pages.len())
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
            residency: Residency::Used,
        })
    }

    /// Puts a page of this zone into the calling thread's magazine, which its owner gave back; says whether it did.
    /// Once it was put there, the zone is not touched any more: see [`Freed`]. Before, `note` is called.
    #[inline(always)]
    pub(crate) fn put_at_hand(
        &self,
        magazine: &Magazine,
        pfn: Pfn,
        opens: Opens,
        note: impl FnOnce(),
    ) -> Used<bool> {
        let entry = self.map.entry(pfn);
        let Some(mobility) = entry.state().plain_block(Order::ZERO) else {
            return Used {
                outcome: false,
                is_revoked: false,
            };
        };
        let Some(open) = magazine.open(opens) else {
            return Used::unopened(false);
        };
        let is_kept = self.keep_at_hand(&open, pfn, entry, mobility);
        if is_kept {
            note();
            open.count_freed();
        }
        Used {
            outcome: is_kept,
            is_revoked: open.close(),
        }
    }

    /// The type of page that there is no room for in the calling thread's magazine, if that is why it did not take
    /// this one.
    pub(crate) fn lacks_room(&self, magazine: &Magazine, pfn: Pfn) -> Option<Migratetype> {
        let mobility = self.map.entry(pfn).state().plain_block(Order::ZERO)?;
        let depth = self.magazines.depth();
        let is_full = depth > 0 && magazine.holds(mobility.idx()) >= depth;
        (is_full && !self.is_wanted_elsewhere(pfn)).then_some(mobility)
    }

    /// Has `work` done with the calling thread's magazine, if it is not revoked; returns `otherwise` if it is.
    pub(super) fn use_at_hand<T>(
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
    pub(super) fn keep_at_hand(
        &self,
        open: &Open<'_>,
        pfn: Pfn,
        entry: Entry<'_>,
        mobility: Migratetype,
    ) -> bool {
        let is_kept = !self.is_wanted_elsewhere(pfn)
            && open.push(mobility.idx(), pfn, self.magazines.depth());
        if is_kept {
            entry.set_state(FrameState::cached(Order::ZERO, mobility));
        }
        is_kept
    }

    /// Gives cached pages that are in nobody's lists any more to the buddy.
    pub(crate) fn give_to_buddy(&self, pages: &mut Returned) -> Freed {
        self.give_to_core(self.core.lock(), pages)
    }

    /// The same with the lock in hand.
    pub(super) fn give_to_core(
        &self,
        mut core: CoreGuard<'_, Core>,
        pages: &mut Returned,
    ) -> Freed {
        for (pfn, _) in &*pages {
            self.map.set_state(*pfn, FrameState::FREE);
        }
        let nr = pages.iter().map(|(_, order)| order.pages()).sum();
        core.buddy.free_bulk(pages);
        self.settle(&mut core, nr)
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
        let mut sink = |pfn: Pfn, order: Order| {
            nr += order.pages();
            let mut batch = batch.borrow_mut();
            batch.push((pfn, order));
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
