//! A zone whose pageblocks are being emptied: units set aside, targets for what is in them, frames that
//! come back.
//!
//! *Kernel counterpart:* `isolate_freepages_block`, `release_freepages`, `compaction_capture` (v5.0,
//! spec 9.11). What differs: the pageblocks that are emptied are isolated, so that nothing is put into
//! them meanwhile; and the block that was made is taken under the same hold of the lock under which it is
//! released, so that nobody can come between.

use super::watermark::Mark;
use super::{Core, Freed, Taken, Zone, ZoneRequest};
use crate::memmap::FrameState;
use crate::types::{Migratetype, Order, Pfn, ZoneType};

/// Pageblocks that are to become one free block: `2^order` pages, a pageblock at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unit {
    /// The first frame.
    pub(crate) pfn: Pfn,
    /// Its size.
    pub(crate) order: Order,
}

/// A unit that is set aside and of which every page is free: who has the value owns the frames, until the unit is
/// released.
#[derive(Debug)]
pub(crate) struct EmptyUnit(Unit);

impl EmptyUnit {
    /// The first frame, and how many there are.
    pub(crate) fn frames(&self) -> (Pfn, usize) {
        (self.0.pfn, self.0.order.pages())
    }
}

/// A block that comes back from whoever moves things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vacant {
    /// Its first frame.
    pub(crate) pfn: Pfn,
    /// Its size.
    pub(crate) order: Order,
    /// Where what was in it is now; nowhere, if it is a target that was not needed.
    pub(crate) moved_to: Option<Pfn>,
}

/// How a unit was released.
#[derive(Debug)]
#[must_use = "somebody may be waiting, and the block is lost unless it is put back"]
pub(crate) struct Release {
    /// The block that was wanted, if there was one.
    pub(crate) captured: Option<Taken>,
    /// What the caller has to see to.
    pub(crate) freed: Freed,
}

impl Zone {
    /// Sets a unit aside: what is free of it is withheld, and so is what is freed into it from now on.
    /// Returns whether it did: not if somebody else has, if it is reserved, or if what remains could not
    /// take what is in it without going below `floor`. That is the minimum for who was asked (INV-13), and the
    /// high mark for who was not, so that nobody reclaims because of it.
    pub(crate) fn set_aside(&self, unit: Unit, floor: Mark) -> bool {
        let Unit { pfn, order } = unit;
        let mut core = self.lock_merged();
        let withheld = core.buddy.free_pages_of(pfn, order);
        let moved = order.pages().saturating_sub(withheld);
        let left = core.buddy.free_pages().saturating_sub(withheld);
        let is_set = left >= self.mark(floor) + moved && core.buddy.set_aside(pfn, order);
        self.publish(&core);
        is_set
    }

    /// Free pages of a unit, withheld or not.
    pub(crate) fn free_pages_of(&self, unit: Unit) -> usize {
        let core = self.lock_merged();
        core.buddy.free_pages_of(unit.pfn, unit.order)
    }

    /// Takes hold of a unit that the caller has set aside, if nothing is left in it and its memory is to be kept.
    pub(crate) fn hold_empty(&self, unit: Unit) -> Option<EmptyUnit> {
        let pages = unit.order.pages();
        let core = self.lock_merged();
        let is_empty = core.buddy.free_pages_of(unit.pfn, unit.order) == pages;
        (is_empty && self.keeps(&core, pages)).then_some(EmptyUnit(unit))
    }

    /// Free pages that the contents of a unit of order `unit` could be moved to without breaking a block as
    /// large as that.
    pub(crate) fn target_pages(&self, unit: Order) -> usize {
        self.lock_merged().buddy.target_pages(unit)
    }

    /// Takes up to `count` blocks for contents that are about to be moved out of a unit of order `unit`, as
    /// long as the minimum holds. Returns how many.
    pub(crate) fn take_targets(
        &self,
        order: Order,
        unit: Order,
        count: usize,
        sink: &mut dyn FnMut(Taken),
    ) -> usize {
        let mut core = self.lock_merged();
        let floor = self.mark(Mark::Min) + order.pages() + core.buddy.free_highatomic_pages();
        for taken in 0..count {
            let may_take = core.buddy.free_pages() >= floor;
            let Some(grant) = may_take
                .then(|| core.buddy.take_target(order, unit))
                .flatten()
            else {
                self.publish(&core);
                return taken;
            };
            debug_assert!(self.map.state(grant.pfn).is_free(), "N3: {}", grant.pfn);
            let state = FrameState::allocated(order, Migratetype::Movable);
            self.map.set_state(grant.pfn, state);
            sink(Taken {
                pfn: grant.pfn,
                order,
                residency: grant.residency,
            });
        }
        self.publish(&core);
        count
    }

    /// Takes back blocks whose contents were moved elsewhere, and targets that were not needed, under one
    /// hold of the lock and past the caches. What was moved is counted (N4).
    pub(crate) fn put_vacated(&self, blocks: impl Iterator<Item = Vacant>) -> Freed {
        let mut core = self.core.lock();
        for block in blocks {
            let Vacant { pfn, order, .. } = block;
            if let Some(to) = block.moved_to {
                self.moves.note(pfn, to, order);
            }
            self.map.set_state(pfn, FrameState::FREE);
            core.buddy.free(pfn, order);
        }
        self.settle_kept(&core)
    }

    /// Publishes the counts after blocks were made. Their memory is kept, whatever there is of it already:
    /// somebody is about to use them.
    pub(super) fn settle_kept(&self, core: &Core) -> Freed {
        self.lapse_boost(core);
        self.publish(core);
        Freed {
            waiters: self.waiters("freed.look_at_zone"),
            ..Freed::default()
        }
    }

    /// Releases a unit. What is free of it merges, and can be had again.
    pub(crate) fn release(&self, unit: Unit) -> Freed {
        let mut core = self.lock_merged();
        core.buddy.release(unit.pfn, unit.order);
        self.settle_kept(&core)
    }

    /// Releases a unit, and takes a block for `request` before anybody else can, if the marks permit it.
    pub(crate) fn release_and_take(
        &self,
        unit: Unit,
        request: ZoneRequest,
        class: ZoneType,
    ) -> Release {
        let mut core = self.lock_merged();
        core.buddy.release(unit.pfn, unit.order);
        self.publish(&core);
        let may_take = self.check(request.order, class, request.flags).passes();
        let captured = may_take
            .then(|| self.take_locked(&mut core, request))
            .flatten();
        Release {
            captured,
            freed: self.settle_kept(&core),
        }
    }
}
