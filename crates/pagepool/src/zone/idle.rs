//! Whole free blocks that leave a zone for a moment, while the system is told about their memory.
//!
//! No kernel counterpart, see [`buddy`](crate::buddy). Memory that use has left behind goes back to the system beyond
//! a limit; memory that was asked for ahead comes from it, and stays whatever the limit is, unless that is 0.
//!
//! **Locking and ordering:** a block is withdrawn and comes back under the zone's lock, and what is done with it in
//! between is done without. It is missing meanwhile: so none leaves while somebody waits, nor if the high mark would
//! not hold without it, and who brings it back looks for those who have come to wait since.

use super::watermark::Mark;
use super::{Core, Freed, Zone};
use crate::buddy::{IdleBlock, Residency};
use crate::memmap::{FrameState, Special};
use crate::sync::atomic::Ordering;
use crate::types::Order;

/// A block without memory that was asked for.
#[derive(Debug)]
pub(crate) enum Vacancy {
    /// Here it is.
    Block(IdleBlock),
    /// Everything that is free in whole pageblocks has memory.
    None,
    /// None can be spared: somebody waits for memory, or the high mark would not hold.
    Short,
}

impl Zone {
    /// Pages of whole free blocks that have memory behind them.
    pub(crate) fn resident_free_pages(&self) -> usize {
        // Relaxed: as in `free_view`.
        self.published.resident_free.load(Ordering::Relaxed)
    }

    /// Sets how many pages of whole free blocks may keep their memory once it was used.
    pub(crate) fn set_keep_resident(&self, pages: usize) {
        // Relaxed: a limit by itself.
        self.keep_resident.store(pages, Ordering::Relaxed);
    }

    /// Withdraws a whole free block behind which there is too much memory, if its absence hurts nobody.
    pub(super) fn withdraw_surplus(&self, core: &mut Core) -> Option<IdleBlock> {
        let residency = self.surplus(core)?;
        let order = core.buddy.idle_order(residency)?;
        let fits = self.order_to_spare(core).is_some_and(|most| order <= most);
        fits.then(|| self.withdraw_locked(core, residency))?
    }

    /// Whether the memory of so many free pages more would be kept.
    pub(super) fn keeps(&self, core: &Core, pages: usize) -> bool {
        // Relaxed: a limit by itself.
        let keep = self.keep_resident.load(Ordering::Relaxed);
        core.buddy
            .free_pages_with(Residency::Used)
            .saturating_add(pages)
            <= keep
    }

    /// Memory of which there is too much.
    fn surplus(&self, core: &Core) -> Option<Residency> {
        // Relaxed: a limit by itself.
        let keep = self.keep_resident.load(Ordering::Relaxed);
        if core.closing {
            return None;
        }
        let beyond = |residency, limit| core.buddy.free_pages_with(residency) > limit;
        if beyond(Residency::Used, keep) {
            return Some(Residency::Used);
        }
        (keep == 0 && beyond(Residency::Blank, 0)).then_some(Residency::Blank)
    }

    /// The order of the largest block that may be missing for a while, if any may: not when somebody waits, and only
    /// as far as the high mark stays met.
    fn order_to_spare(&self, core: &Core) -> Option<Order> {
        let pages = { core.buddy.free_pages() }.checked_sub(self.mark(Mark::High))?;
        let may_go = pages > 0 && !self.freed.sleeper_hint();
        may_go.then(|| Order::within(pages))
    }

    /// Withdraws a whole free block with exactly this behind it.
    pub(crate) fn withdraw_idle(&self, residency: Residency) -> Option<IdleBlock> {
        let mut core = self.lock_merged();
        let idle = self.withdraw_locked(&mut core, residency);
        self.publish(&core);
        idle
    }

    fn withdraw_locked(&self, core: &mut Core, residency: Residency) -> Option<IdleBlock> {
        let idle = core.buddy.withdraw_idle(residency)?;
        Some(self.note_withdrawn(core, idle))
    }

    /// Withdraws a whole free block behind which no memory stands, of `most` pages at most, or of a pageblock, if its
    /// absence hurts nobody.
    pub(crate) fn withdraw_vacant(&self, most: usize) -> Vacancy {
        let wanted = Order::within(most).max(self.block_order());
        let mut core = self.lock_merged();
        let to_spare = self.order_to_spare(&core);
        let Some(order) = to_spare.filter(|order| *order >= self.block_order()) else {
            return Vacancy::Short;
        };
        let Some(idle) = core.buddy.withdraw_vacant(order.min(wanted)) else {
            return Vacancy::None;
        };
        let idle = self.note_withdrawn(&mut core, idle);
        self.publish(&core);
        Vacancy::Block(idle)
    }

    fn note_withdrawn(&self, core: &mut Core, idle: IdleBlock) -> IdleBlock {
        core.withdrawn += idle.order().pages();
        self.mark_pageblocks(&idle, FrameState::special(Special::Isolated));
        idle
    }

    /// Sets the state of the first frame of each pageblock of a withdrawn block: such a state says no
    /// length.
    fn mark_pageblocks(&self, idle: &IdleBlock, state: FrameState) {
        for offset in (0..idle.order().pages()).step_by(self.block_order().pages()) {
            self.map.set_state(idle.pfn().add(offset), state);
        }
    }

    /// Puts a withdrawn block back, with this behind it.
    pub(crate) fn return_idle(&self, idle: IdleBlock, residency: Residency) -> Freed {
        let pages = idle.order().pages();
        let mut core = self.core.lock();
        self.mark_pageblocks(&idle, FrameState::FREE);
        core.withdrawn -= pages;
        core.buddy.return_idle(idle, residency);
        self.publish(&core);
        Freed {
            waiters: self.waiters("freed.look_at_return"),
            idle: None,
            closing_pages: if core.closing { pages } else { 0 },
        }
    }
}
