//! A zone's marks, boost and lowmem reserves, and the check against them.
//!
//! *Kernel counterpart:* `zone_watermark_ok`, `zone_watermark_fast`, `boost_watermark` (v5.0). The
//! arithmetic is in [`watermark`] and [`fragmentation`].

use super::fragmentation::{self, Prospect, Suitability, SuitabilityMarks};
use super::score::{FreeShape, ProactiveMarks};
use super::watermark::{self, AllocFlags, FreeView, Mark, Marks, Verdict};
use super::{Core, Zone};
use crate::buddy::Availability;
use crate::sync::atomic::Ordering;
use crate::sync::fence::{mutated, ordering_at};
use crate::types::{NR_ZONES, Order, ZoneType};

impl Zone {
    /// A mark in pages, boost included.
    pub(crate) fn mark(&self, mark: Mark) -> usize {
        // Relaxed: a boost that was added or taken a moment ago may or may not be seen.
        self.marks().get(mark) + self.boost.load(Ordering::Relaxed)
    }

    /// All marks, without boost, as they were set together.
    pub(crate) fn marks(&self) -> Marks {
        // Relaxed: one word, nothing else goes with it (W1).
        Marks::from_raw(self.marks.load(Ordering::Relaxed))
    }

    /// Sets the marks. Other marks than before end any boost; a setting that leaves them as they are
    /// does not.
    pub(crate) fn set_marks(&self, marks: Marks) {
        let core = self.core.lock();
        if marks == self.marks() {
            return;
        }
        // Relaxed: written under the lock; readers take them as they come.
        self.boost.store(0, Ordering::Relaxed);
        self.marks.store(marks.raw(), Ordering::Relaxed);
        self.note_recovery(&core);
    }

    /// Pages by which the marks are raised.
    pub(crate) fn boost(&self) -> usize {
        // Relaxed: as in `mark`.
        self.boost.load(Ordering::Relaxed)
    }

    /// Sets how far fragmentation events may raise the marks, in ten-thousandths of the high mark.
    pub(crate) fn set_boost_factor(&self, factor: u32) {
        // Relaxed: read at the next event.
        self.boost_factor.store(factor, Ordering::Relaxed);
    }

    /// Sets whether a boost ends by itself once the marks that it raised are met.
    pub(crate) fn set_boost_lapses(&self, lapses: bool) {
        // Relaxed: a setting.
        self.boost_lapses.store(lapses, Ordering::Relaxed);
    }

    /// Ends a boost, for a request that would be refused because of it; returns whether there was one. Whoever
    /// was to answer it has not, and may never: a reclaimer that is hopeless, stopped or frozen does not.
    /// The marks fall with it: the caller wakes those who wait for memory.
    pub(crate) fn forgo_boost(&self) -> bool {
        if self.boost() == 0 {
            return false;
        }
        let _core = self.core.lock();
        // Relaxed: written under the lock.
        self.boost.store(0, Ordering::Relaxed);
        true
    }

    /// Lowers the boost by what a reclaimer has answered (INV-8).
    /// The marks fall with it: the caller wakes those who wait for memory.
    pub(crate) fn lower_boost(&self, answered: usize) {
        // Relaxed, all: written under the lock; what was read before it may be out of date.
        let early = mutated("boost.under_lock").then(|| self.boost.load(Ordering::Relaxed));
        let core = self.core.lock();
        let boost = early.unwrap_or_else(|| self.boost.load(Ordering::Relaxed));
        let answered = if mutated("boost.what_was_seen") {
            boost
        } else {
            answered
        };
        let left = if mutated("boost.not_below_zero") {
            boost.wrapping_sub(answered)
        } else {
            boost.saturating_sub(answered)
        };
        self.boost.store(left, Ordering::Relaxed);
        self.note_recovery(&core);
    }

    /// Pretends that fragmentation has raised the marks.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn set_boost(&self, boost: usize) {
        let _core = self.core.lock();
        // Relaxed: written under the lock.
        self.boost.store(boost, Ordering::Relaxed);
    }

    /// Whether the background reclaimer is to be told about a boost; telling is then the caller's.
    /// Asked only by requests that may wake it, so that no other swallows the news.
    pub(crate) fn consume_boosted(&self) -> bool {
        // Relaxed: the test alone avoids a shared store; who misses the note leaves it to the next.
        if !self.boosted.load(Ordering::Relaxed) {
            return false;
        }
        if mutated("boosted.one_step") {
            self.boosted.store(false, Ordering::Relaxed);
            return true;
        }
        // One step, so that who takes a note sees the boost that it is about, and has the reclaimer see it:
        // a store could wipe out a note that it knows nothing of. AcqRel: takes over the boost from
        // `note_boosted`, and is one chain with it.
        self.boosted
            .swap(false, ordering_at("boosted.observe", Ordering::AcqRel))
    }

    /// Notes that the background reclaimer is to be told about a boost, which stands already.
    pub(super) fn note_boosted(&self) {
        // AcqRel: publishes the boost to who takes the note. Pairs with the swap in `consume_boosted`; a
        // swap as well, so that the two have one order, which loom does not give a store and a swap.
        self.boosted
            .swap(true, ordering_at("boosted.publish", Ordering::AcqRel));
    }

    /// Pages kept back from requests of `class`.
    pub(crate) fn reserve(&self, class: ZoneType) -> usize {
        // Relaxed: a number by itself.
        self.reserve[class.idx()].load(Ordering::Relaxed)
    }

    /// Sets what is kept back, by class.
    pub(crate) fn set_reserves(&self, reserves: [usize; NR_ZONES]) {
        for (reserve, pages) in self.reserve.iter().zip(reserves) {
            // Relaxed: as in `reserve`.
            reserve.store(pages, Ordering::Relaxed);
        }
    }

    /// Whether a request of `class` may take a block of `order` here (spec 2.5).
    pub(crate) fn check(&self, order: Order, class: ZoneType, flags: AllocFlags) -> Verdict {
        self.check_against(self.check_mark(order, flags), order, class, flags)
    }

    /// As [`check`](Self::check), if `more` pages were free besides.
    pub(crate) fn check_with(
        &self,
        more: usize,
        order: Order,
        class: ZoneType,
        flags: AllocFlags,
    ) -> Verdict {
        let free = self.free_pages().saturating_add(more);
        self.check_if(free, order, class, flags)
    }

    /// As [`check`](Self::check), if `less` pages were free.
    pub(crate) fn check_without(
        &self,
        less: usize,
        order: Order,
        class: ZoneType,
        flags: AllocFlags,
    ) -> Verdict {
        let free = self.free_pages().saturating_sub(less);
        self.check_if(free, order, class, flags)
    }

    /// As [`check`](Self::check), if so many pages were free.
    fn check_if(&self, free: usize, order: Order, class: ZoneType, flags: AllocFlags) -> Verdict {
        let view = FreeView {
            free,
            ..self.free_view()
        };
        let mark = self.check_mark(order, flags);
        watermark::check(view, order, mark, self.reserve(class), flags)
    }

    /// As [`check`](Self::check), against a mark of the caller's choice.
    pub(crate) fn check_against(
        &self,
        mark: usize,
        order: Order,
        class: ZoneType,
        flags: AllocFlags,
    ) -> Verdict {
        watermark::check(self.free_view(), order, mark, self.reserve(class), flags)
    }

    /// Whether a request that ignores the marks would find a block of `order`.
    pub(crate) fn check_unmarked(&self, order: Order) -> Verdict {
        watermark::check(self.free_view(), order, 0, 0, AllocFlags::empty())
    }

    /// The mark that applies. A single page that is asked for with high priority at the minimum need
    /// not respect a boost (spec 9.3): the boost is against fragmentation, and a page cannot fragment.
    fn check_mark(&self, order: Order, flags: AllocFlags) -> usize {
        let urgent = order == Order::ZERO && flags.contains(AllocFlags::HIGH);
        match flags.mark() {
            Mark::Min if urgent => self.marks().get(Mark::Min),
            mark => self.mark(mark),
        }
    }

    /// How much of what is free is to be in whole pageblocks, in percent.
    pub(crate) fn proactiveness(&self) -> u8 {
        // Relaxed: a setting.
        self.proactiveness.load(Ordering::Relaxed)
    }

    /// What is free, as checks of the marks see it.
    pub(crate) fn free_view(&self) -> FreeView {
        // Relaxed: exact counts, each by itself (N2); a mixture costs a vain attempt.
        FreeView {
            free: self.free_pages(),
            highatomic: self.published.free_highatomic.load(Ordering::Relaxed),
            available: Availability::from_raw(self.published.available.load(Ordering::Relaxed)),
        }
    }

    /// Pages free for requests, exactly, those included that were not merged yet, without what the caches hold.
    pub(crate) fn free_pages(&self) -> usize {
        // Relaxed: as in `free_view`. Looked at in this order: what is counted between is too much, and not too little.
        let free = self.published.free.load(Ordering::Relaxed);
        let free = free.wrapping_add(self.unmerged.nr_put());
        (free as isize).max(0) as usize
    }

    /// Whether a request of `class` may take a block of `order` here, once what is unmerged is merged if need be.
    pub(crate) fn may_take(&self, order: Order, class: ZoneType, flags: AllocFlags) -> bool {
        self.passes_merged(order, || self.check(order, class, flags))
    }

    /// Whether the zone stands above its high mark, and has a block of `order` for `class`; as above.
    pub(crate) fn is_balanced(&self, order: Order, class: ZoneType) -> bool {
        let (mark, none) = (self.mark(Mark::High), AllocFlags::empty());
        self.passes_merged(order, || self.check_against(mark, order, class, none))
    }

    /// Whether a check for a block of `order` passes. A block of several pages may be there only once what is unmerged
    /// is merged: before the answer is no, it is.
    fn passes_merged(&self, order: Order, check: impl Fn() -> Verdict) -> bool {
        check().passes()
            || order > Order::ZERO && self.unmerged.nr_pages() > 0 && {
                drop(self.lock_merged());
                check().passes()
            }
    }

    /// How much of what is free is in whole pageblocks, exactly.
    pub(crate) fn free_shape(&self) -> FreeShape {
        self.shape_locked(&self.lock_merged())
    }

    fn shape_locked(&self, core: &Core) -> FreeShape {
        FreeShape {
            free: core.buddy.free_pages(),
            whole: core.buddy.whole_free_pages(),
            block_pages: self.block_order().pages(),
            // Relaxed: written under the lock.
            sparse: { core.buddy.nr_sparse_blocks() }
                .saturating_sub(self.stuck.load(Ordering::Relaxed) as usize),
        }
    }

    /// Notes whether the zone needs compaction although nobody asks. Under the lock. While somebody empties
    /// pageblocks nothing is judged: what is withheld comes and goes with that.
    pub(super) fn note_fragmentation(&self, core: &Core) {
        // Relaxed: a setting.
        let proactiveness = self.proactiveness.load(Ordering::Relaxed);
        if proactiveness == 0 || core.aside() > 0 {
            return;
        }
        // Relaxed, all: written under the lock.
        let sparse = core.buddy.nr_sparse_blocks();
        if sparse < self.stuck.load(Ordering::Relaxed) as usize {
            // Some that were stuck are no more: others that become sparse are others.
            self.stuck.store(sparse as u32, Ordering::Relaxed);
        }
        let marks = ProactiveMarks::of(proactiveness);
        let is = marks.is_fragmented(self.shape_locked(core));
        if is != self.fragmented.load(Ordering::Relaxed) {
            self.fragmented.store(is, Ordering::Relaxed);
            self.fragmented_news.store(is, Ordering::Relaxed);
        }
    }

    /// Whether the background compactor is to be told that the zone has become fragmented; telling is then
    /// the caller's.
    pub(crate) fn consume_fragmented(&self) -> bool {
        // Relaxed: test, then clear. News that this wipes out are seen by whoever is told, since he looks
        // under the lock.
        if !self.fragmented_news.load(Ordering::Relaxed) {
            return false;
        }
        self.fragmented_news.store(false, Ordering::Relaxed);
        true
    }

    /// A look begins: whatever was known to be in the way of sparse pageblocks is looked at anew.
    pub(crate) fn begin_look(&self) {
        let _core = self.core.lock();
        // Relaxed: written under the lock.
        self.stuck.store(0, Ordering::Relaxed);
    }

    /// A look has ended, and found something in the way of so many sparse pageblocks: if there are more after
    /// a change to come, that is news.
    pub(crate) fn end_look(&self, stuck: usize) {
        let _core = self.core.lock();
        // Relaxed, all: written under the lock.
        self.stuck.store(stuck as u32, Ordering::Relaxed);
        self.fragmented.store(false, Ordering::Relaxed);
        self.fragmented_news.store(false, Ordering::Relaxed);
    }

    /// Between which scores the zone is to be kept; none if that is nobody's business.
    pub(crate) fn proactive_marks(&self) -> Option<ProactiveMarks> {
        // Relaxed: a setting.
        match self.proactiveness.load(Ordering::Relaxed) {
            0 => None,
            proactiveness => Some(ProactiveMarks::of(proactiveness)),
        }
    }

    /// Sets how much of what is free is to be kept in whole pageblocks, 0 to 100; judged anew at once.
    pub(crate) fn set_proactiveness(&self, proactiveness: u8) {
        let core = self.core.lock();
        // Relaxed: a setting. The state is written under the lock.
        self.proactiveness.store(proactiveness, Ordering::Relaxed);
        self.fragmented.store(false, Ordering::Relaxed);
        self.fragmented_news.store(false, Ordering::Relaxed);
        self.note_fragmentation(&core);
    }

    /// Sets the fragmentation index up to which memory is short rather than in pieces, 0 to 1000.
    pub(crate) fn set_extfrag_threshold(&self, threshold: u32) {
        // Relaxed: a setting.
        self.extfrag_threshold.store(threshold, Ordering::Relaxed);
    }

    /// Whether compacting this zone for `order` on behalf of `class` makes sense, for who does so in the
    /// background or asks beforehand: at the minimum, without privileges.
    pub(crate) fn compaction_suitable(&self, order: Order, class: ZoneType) -> Suitability {
        self.compaction_suitable_for(order, class, AllocFlags::empty())
    }

    /// As [`compaction_suitable`](Self::compaction_suitable), for a request of these `flags`.
    pub(crate) fn compaction_suitable_for(
        &self,
        order: Order,
        class: ZoneType,
        flags: AllocFlags,
    ) -> Suitability {
        let marks = self.suitability_marks(class, flags);
        let counts = self.free_areas().by_order();
        fragmentation::compaction_suitable(self.free_view(), &counts, order, marks, flags)
    }

    /// The zone as a request of `class` and `flags` sees it that wonders whether to reclaim from it for
    /// the sake of compaction.
    pub(crate) fn prospect(
        &self,
        reclaimable: usize,
        class: ZoneType,
        flags: AllocFlags,
    ) -> Prospect {
        Prospect {
            view: self.free_view(),
            reclaimable,
            marks: self.suitability_marks(class, flags),
        }
    }

    fn suitability_marks(&self, class: ZoneType, flags: AllocFlags) -> SuitabilityMarks {
        let marks = self.marks();
        SuitabilityMarks {
            mark: self.mark(flags.mark()),
            gap: marks.get(Mark::Low) - marks.get(Mark::Min),
            reserve: self.reserve(class),
            // Relaxed: a setting.
            extfrag_threshold: self.extfrag_threshold.load(Ordering::Relaxed),
        }
    }
}
