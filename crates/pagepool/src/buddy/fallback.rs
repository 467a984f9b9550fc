//! Taking from pageblocks of another type when one's own has nothing free.
//!
//! *Kernel counterpart:* `__rmqueue_fallback`, `steal_suitable_fallback` (v5.0), split as later
//! kernels do (spec 9.15) into two modes that keep every free block in a pageblock of its type:
//! - **claim**: the whole pageblock changes type, if at least half of it is free or compatible;
//! - **steal**: one block is taken and the pageblock keeps its type.
//!
//! Whatever mixes types inside a pageblock is a *fragmentation event*, which the zone answers by
//! raising its watermarks.

use super::block::State;
use super::{Buddy, Fallback, Grant};
use crate::types::{Migratetype, Order, Pfn};

/// What was done to another type's pageblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FallbackEvent {
    /// The order of the free block that was found.
    pub(crate) found: Order,
    /// The type that its pageblock had.
    pub(crate) from: Migratetype,
    /// Whether the pageblock changed its type.
    pub(crate) claimed: bool,
    /// Whether types are now mixed in a pageblock.
    pub(crate) fragmenting: bool,
}

/// Counts what can be moved among the allocated pages of a pageblock.
pub(crate) trait MovableCensus {
    /// Pages of movable blocks among the `pages` frames from `start` on.
    fn movable_pages(&self, start: Pfn, pages: usize) -> usize;
}

impl<F: Fn(Pfn, usize) -> usize> MovableCensus for F {
    fn movable_pages(&self, start: Pfn, pages: usize) -> usize {
        self(start, pages)
    }
}

/// The types to try, in order, when `want` has nothing free (spec 1.15).
const fn fallbacks(want: Migratetype) -> &'static [Migratetype] {
    use Migratetype::{HighAtomic, Movable, Reclaimable, Unmovable};
    match want {
        Unmovable => &[Reclaimable, Movable],
        Reclaimable => &[Unmovable, Movable],
        Movable => &[Reclaimable, Unmovable],
        HighAtomic => &[],
    }
}

impl Buddy {
    /// Serves a request of type `want` from a pageblock of another type.
    pub(super) fn fall_back(
        &mut self,
        order: Order,
        want: Migratetype,
        fallback: Fallback,
        census: &dyn MovableCensus,
    ) -> Option<Grant> {
        if fallback == Fallback::Never {
            return None;
        }
        if let Some(event) = self.claim_whole(order, want) {
            return Some(self.take_claimed(order, want, event));
        }
        if fallback == Fallback::WholeBlocks {
            return None;
        }
        // Before types are mixed, all that is unmerged is merged: there may be some of this type, or a whole block.
        if let Some(grant) = self.merge_all_until(|buddy| buddy.smallest_shelved(order, want)) {
            return Some(grant);
        }
        let claimed = self.claim_whole(order, want);
        match claimed.or_else(|| self.claim_part(order, want, census)) {
            Some(event) => Some(self.take_claimed(order, want, event)),
            None => self.steal(order, want),
        }
    }

    /// Takes what was just claimed. Nothing is merged between: with what others put there meanwhile, the block might
    /// become one of another type.
    fn take_claimed(&mut self, order: Order, want: Migratetype, event: FallbackEvent) -> Grant {
        let grant = self.smallest_shelved(order, want);
        Grant {
            fallback: Some(event),
            ..grant.expect("a block was just claimed")
        }
    }

    /// Claims a wholly free block: nothing is mixed by that. All of them are equally empty, so the
    /// smallest that serves is split, and only what is needed changes its type: larger blocks stay
    /// whole (the kernel takes the largest and retypes all of it).
    pub(super) fn claim_whole(&mut self, order: Order, want: Migratetype) -> Option<FallbackEvent> {
        let least = order.max(self.block_order);
        let (block, found, from) = least.up_to(self.max_order).find_map(|found| {
            fallbacks(want)
                .iter()
                .find_map(|from| Some((self.whole_of(*from, found)?, found, *from)))
        })?;
        self.split_whole(block, found, least);
        self.retype(block, want);
        Some(FallbackEvent {
            found,
            from,
            claimed: true,
            fragmenting: false,
        })
    }

    /// A wholly free block of type `mt` and exactly `order`, a fresh one if no other.
    fn whole_of(&mut self, mt: Migratetype, order: Order) -> Option<usize> {
        let shelved = self.shelves.whole(mt, order);
        if shelved.is_none() && mt == Migratetype::Movable && order == self.max_order {
            return self.enter_fresh().map(|(block, _)| block);
        }
        shelved
    }

    /// Claims the pageblock with the largest free block of another type, if at least half of it is
    /// free or compatible with `want`.
    fn claim_part(
        &mut self,
        order: Order,
        want: Migratetype,
        census: &dyn MovableCensus,
    ) -> Option<FallbackEvent> {
        for found in (order.idx()..self.block_order.idx()).rev().map(Order::at) {
            if !self.is_worth_claiming(found, want) {
                return None;
            }
            for from in fallbacks(want) {
                let Some(block) = self.shelves.emptiest(*from, found) else {
                    continue;
                };
                if self.is_half_compatible(block, want, census) {
                    // The pageblock that the zone ends in is in parts even when all of it is free.
                    let all = self.block_order.pages().min(self.pages_from(block));
                    let fragmenting = self.word(block).free() < all;
                    self.retype(block, want);
                    return Some(FallbackEvent {
                        found,
                        from: *from,
                        claimed: true,
                        fragmenting,
                    });
                }
            }
        }
        None
    }

    /// Whether a free block of order `found` justifies taking over its pageblock (kernel:
    /// `can_steal_fallback`). What cannot be moved does lasting damage wherever it is put, so it
    /// had better own the pageblock; what can be moved will leave again.
    fn is_worth_claiming(&self, found: Order, want: Migratetype) -> bool {
        found.idx() >= self.block_order.idx() / 2 || want != Migratetype::Movable || !self.grouping
    }

    /// Whether at least half of a pageblock is free or of a kind with `want` (spec 1.15, 5 to 7).
    fn is_half_compatible(
        &self,
        block: usize,
        want: Migratetype,
        census: &dyn MovableCensus,
    ) -> bool {
        let word = self.word(block);
        debug_assert_eq!(word.state(), State::Parts);
        let size = self.block_order.pages();
        let movable = || census.movable_pages(self.pfn(block), self.present_pages(block));
        let alike = match (want, word.migratetype()) {
            (Migratetype::Movable, _) => movable(),
            (_, Migratetype::Movable) => size.saturating_sub(word.free() + movable()),
            _ => 0,
        };
        !self.grouping || word.free() + alike >= size / 2
    }

    /// Pages from the start of `block` to the zone's end.
    pub(super) fn pages_from(&self, block: usize) -> usize {
        self.pages - (block << self.block_order.get())
    }

    /// Takes a block from the fullest pageblock of another type and leaves that its type.
    fn steal(&mut self, order: Order, want: Migratetype) -> Option<Grant> {
        if order >= self.block_order {
            return None;
        }
        for from in fallbacks(want) {
            let Some(block) = self.shelves.fullest(*from, order) else {
                continue;
            };
            let found = self
                .word(block)
                .best_fit(order)
                .expect("B4: the shelf says so");
            let grant = self.take_part(block, order);
            let event = FallbackEvent {
                found,
                from: *from,
                claimed: false,
                fragmenting: true,
            };
            return Some(Grant {
                fallback: Some(event),
                ..grant
            });
        }
        None
    }
}
