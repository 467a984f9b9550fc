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
use super::{Freed, Taken, Zone};
use crate::buddy::Residency;
use crate::memmap::{Entry, FrameState};
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

impl Zone {
    /// Has so many magazines from now on, instead of those that it was built with.
    #[cfg(loom)]
    pub(crate) fn give_magazines(&mut self, slots: usize) {
        let magazines = Magazines::of(slots).expect("models have memory");
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
    #[inline]
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

    /// Puts a block of this zone, which its owner gave back and whose state says that it is of this kind, into the
    /// calling thread's magazine, which is that in `slot`; says whether it did. As with
    /// [`put_at_hand`](Self::put_at_hand), the zone is not touched any more once it is there.
    #[inline]
    pub(crate) fn put_block_at_hand(
        &self,
        (magazine, slot): (&Magazine, usize),
        pfn: Pfn,
        kind: Kind,
    ) -> Used<bool> {
        let Some(open) = magazine.open(Opens::Unwatched) else {
            return Used::unopened(false);
        };
        let is_kept = self.magazines.keeps(slot, kind)
            && !self.is_wanted_elsewhere(pfn)
            && (kind.is_whole() || self.blocks.fullness(pfn) >= open.level(kind))
            && open.push_block(kind, pfn);
        if is_kept {
            let state = FrameState::cached(kind.order(), kind.mobility());
            self.map.entry(pfn).set_state(state);
            open.count_block_freed(kind.order());
        }
        Used {
            outcome: is_kept,
            is_revoked: open.close(),
        }
    }

    /// Whether a page must not go into a magazine: somebody waits, or its pageblock is isolated.
    #[inline(always)]
    fn is_wanted_elsewhere(&self, pfn: Pfn) -> bool {
        self.somebody_waits("magazine.look_at_waiters")
            || (self.blocks.is_isolated(pfn) && !mutated("magazine.look_at_block"))
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
    ) -> Kept {
        if self.is_wanted_elsewhere(pfn) {
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

    /// Gives cached pages that are in nobody's lists any more to the buddy.
    pub(crate) fn give_to_buddy(&self, pages: &mut Returned) -> Freed {
        for (pfn, _) in &*pages {
            self.map.set_state(*pfn, FrameState::FREE);
        }
        let nr = pages.iter().map(|(_, order)| order.pages()).sum();
        let mut core = self.core.lock();
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
