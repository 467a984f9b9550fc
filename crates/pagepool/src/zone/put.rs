//! Giving blocks back to a zone, and withholding them: drains, isolation, closing.
//!
//! *Kernel counterpart:* `free_unref_page`, `free_one_page`, `free_pcppages_bulk`,
//! `drain_pages_zone` (v5.0). Closing has none.

use std::sync::Arc;

use super::charges::Kept;
use super::pcp::{self, Home, Pcp, PcpLists, Surplus};
use super::sizing::PcpSizes;
use super::watermark::Mark;
use super::{Contended, Core, Freed, Zone};
use crate::memmap::FrameState;
use crate::sync::atomic::Ordering;
use crate::sync::fence::mutated;
use crate::sync::{CoreGuard, WaitQueue, cpu};
use crate::types::{GroupId, Migratetype, Order, Pfn};

impl Zone {
    /// The mobility of a block of this order that begins at a frame of this zone and that somebody has, by its state;
    /// none if that says something else, or if the block is reclaimable or urgent.
    #[inline]
    pub(crate) fn mobility_out(&self, pfn: Pfn, order: Order) -> Option<Migratetype> {
        self.map.entry(pfn).state().plain_block(order)
    }

    /// Takes back a block from its owner.
    pub(crate) fn put(&self, pfn: Pfn, order: Order) -> Freed {
        let sizes = self.pcp.sizes();
        let mut contended = Contended(false);
        if self.caches(order, sizes) {
            match self.pcp.try_of(cpu::current()) {
                Some(mut lists) if self.may_cache(&lists, pfn) => {
                    return self.put_cached(&mut lists, pfn, order, sizes);
                }
                Some(_) => {}
                None => contended = Contended(true),
            }
        }
        self.map.set_state(pfn, FrameState::FREE);
        let mut core = self.core.lock();
        core.events.pages_freed += order.pages() as u64;
        core.events.note(contended, order);
        core.buddy.free(pfn, order);
        self.settle(&mut core, order.pages())
    }

    /// Takes back a single page of a group, and keeps its charge for the next one.
    ///
    /// # Errors
    /// That cannot be, and the page is still its owner's; charges of a group that the caller has to give back
    /// first.
    pub(crate) fn put_charged(
        &self,
        pfn: Pfn,
        group: GroupId,
        may_keep: impl FnOnce() -> bool,
    ) -> Result<Freed, (GroupId, usize)> {
        let nothing = (GroupId::ROOT, 0);
        let sizes = self.pcp.sizes();
        if !self.caches(Order::ZERO, sizes) {
            return Err(nothing);
        }
        let mut lists = self.pcp.try_of(cpu::current()).ok_or(nothing)?;
        if !self.may_cache(&lists, pfn) {
            return Err(nothing);
        }
        match lists.charges.keep(group, may_keep) {
            Kept::Yes => Ok(self.put_cached(&mut lists, pfn, Order::ZERO, sizes)),
            Kept::No { group, pages } => Err((group, pages)),
        }
    }

    /// Hands out the charges that wait at the caches.
    pub(crate) fn take_charges(&self, mut sink: impl FnMut(GroupId, usize)) {
        for slot in 0..self.pcp.nr_cpus() {
            let (group, pages) = self.pcp.of(slot).charges.take_all();
            if pages > 0 {
                sink(group, pages);
            }
        }
    }

    /// Whether a freed block may go into a cache. Asked under the cache's lock: whoever isolates a
    /// pageblock, or goes to sleep for want of memory, first says so and then empties each cache, so
    /// either it finds the block there, or this look finds what it said.
    pub(super) fn may_cache(&self, lists: &PcpLists, pfn: Pfn) -> bool {
        !lists.is_stopped()
            && !self.blocks.is_isolated(pfn)
            && !self.somebody_waits("freed.look_at_cache")
    }

    fn put_cached(&self, lists: &mut PcpLists, pfn: Pfn, order: Order, sizes: PcpSizes) -> Freed {
        lists.push(&self.map, pfn, order, self.home(pfn));
        self.return_surplus(lists, sizes)
    }

    /// Where a block belongs in a cache.
    pub(super) fn home(&self, pfn: Pfn) -> Home {
        Home {
            mt: self.blocks.migratetype(pfn),
            fullness: self.blocks.fullness(pfn),
        }
    }

    /// Returns what a cache has too much of.
    pub(super) fn return_surplus(&self, lists: &mut PcpLists, sizes: PcpSizes) -> Freed {
        let mut returned = match lists.surplus(sizes) {
            Surplus::None => return Freed::default(),
            Surplus::Outgoing => lists.take_outgoing(&self.map),
            Surplus::Pages(nr) => lists.take_pages(&self.map, nr),
            Surplus::Blocks(nr) => lists.take_blocks(&self.map, nr),
        };
        self.return_blocks(&mut returned)
    }

    /// Gives blocks from a cache to the buddy under one hold of the lock.
    fn return_blocks(&self, returned: &mut pcp::Returned) -> Freed {
        let mut core = self.core.lock();
        core.buddy.free_bulk(returned);
        self.settle(&mut core, 0)
    }

    /// Publishes the counts after a free and says what the caller has to see to. `pages` are those
    /// that came from an owner.
    pub(super) fn settle(&self, core: &mut Core, pages: usize) -> Freed {
        let idle = self.withdraw_surplus(core);
        self.lapse_boost(core);
        self.publish(core);
        Freed {
            waiters: self.waiters("freed.look_at_zone"),
            idle,
            closing_pages: if core.closing { pages } else { 0 },
        }
    }

    /// Ends a boost that has got what it asked for: the marks that it raised are met. Only where there
    /// is no background reclaimer to lower it by what it frees: there nobody else would ever end it.
    pub(super) fn lapse_boost(&self, core: &Core) {
        // Relaxed: the boost is written under the lock, which the caller holds.
        let boost = self.boost.load(Ordering::Relaxed);
        // Relaxed: a setting.
        let lapses = boost > 0 && self.boost_lapses.load(Ordering::Relaxed);
        if lapses && self.free_locked(core) > self.marks().get(Mark::High) + boost {
            self.boost.store(0, Ordering::Relaxed);
        }
    }

    /// Pages free for requests, whether they are merged already or not. Exact under the lock.
    pub(super) fn free_locked(&self, core: &Core) -> usize {
        core.buddy.free_pages() + self.unmerged.nr_pages()
    }

    /// Whether a thread waits for memory. To be asked with the lock held that guards what the answer
    /// decides on: see the head. `look` names the mutant without it.
    pub(super) fn somebody_waits(&self, look: &'static str) -> bool {
        self.freed.sleeper_hint() && !mutated(look)
    }

    /// The queue of those who wait for memory, if somebody does. Asked under the zone's lock.
    pub(super) fn waiters(&self, look: &'static str) -> Option<Arc<WaitQueue>> {
        self.somebody_waits(look).then(|| Arc::clone(&self.freed))
    }

    /// Empties the caches of all CPUs into the buddy, and merges what is unmerged; returns how many pages were in caches.
    ///
    /// Who drains is about to look for memory itself, or does so on behalf of somebody who waits.
    pub(crate) fn drain(&self) -> usize {
        let cached = self.drain_caches();
        self.synchronize();
        cached
    }

    /// The same on behalf of a thread that has published that it waits for memory. Whatever was freed
    /// before is visible after; whoever frees later sees the waiter.
    pub(crate) fn drain_for_waiter(&self) -> usize {
        let drained = if mutated("freed.drain") {
            0
        } else {
            self.drain_caches()
        };
        if !mutated("freed.synchronize") {
            self.synchronize();
        }
        drained
    }

    /// Merges what is unmerged, and waits until whoever holds the lock has let go of it. Without, a check of the marks
    /// may pass over a free block, and a free over the waiter: a zone's counts are read without its lock, and who
    /// finds them low does not take it.
    fn synchronize(&self) {
        drop(self.lock_merged());
    }

    /// What a depot has no room for was freed unmerged before the depot is emptied, or is found there.
    fn drain_caches(&self) -> usize {
        let mut cached = 0;
        let at_hand = self.drain_magazines(false, || {
            let slots = self.pcp.each();
            cached = slots.map(|mut lists| self.drain_lists(&mut lists)).sum();
        });
        at_hand + cached
    }

    /// The zone's lock, once what was freed unmerged before is merged: for who looks at the buddy as a whole. Between
    /// groups of pageblocks the lock is let go.
    pub(super) fn lock_merged(&self) -> CoreGuard<'_, Core> {
        for _ in 0..self.unmerged.nr_groups() {
            let mut core = self.core.lock();
            if mutated("unmerged.merge") || core.buddy.merge_group() == 0 {
                return core;
            }
            self.publish(&core);
        }
        self.core.lock()
    }

    fn drain_lists(&self, lists: &mut PcpLists) -> usize {
        let before = lists.cached_pages();
        while lists.cached_pages() > 0 {
            let mut returned = lists.take_outgoing(&self.map);
            if returned.is_empty() {
                returned = lists.take_pages(&self.map, usize::MAX);
            }
            if returned.is_empty() {
                returned = lists.take_blocks(&self.map, usize::MAX);
            }
            let mut core = self.core.lock();
            core.buddy.free_bulk(&mut returned);
            self.publish(&core);
        }
        before
    }

    /// Withholds the pageblock of `pfn` from requests, and empties the caches of what they hold of
    /// it. Returns whether it was not isolated before.
    #[cfg_attr(
        not(any(test, loom)),
        expect(dead_code, reason = "compaction empties pageblocks with it")
    )]
    pub(crate) fn isolate(&self, pfn: Pfn) -> bool {
        let isolated = {
            let mut core = self.core.lock();
            let isolated = core.buddy.isolate(pfn);
            self.publish(&core);
            isolated
        };
        if isolated {
            self.drain();
        }
        isolated
    }

    /// Ends an isolation; returns whether there was one.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "compaction empties pageblocks with it")
    )]
    pub(crate) fn unisolate(&self, pfn: Pfn) -> bool {
        let mut core = self.lock_merged();
        let ended = core.buddy.unisolate(pfn);
        self.publish(&core);
        ended
    }

    /// Stops the caches and starts counting pages as they come back; returns how many are out,
    /// withdrawn ones included.
    pub(crate) fn begin_close(&self) -> usize {
        self.drain_magazines(true, || {
            for mut lists in self.pcp.each() {
                self.drain_lists(&mut lists);
                Pcp::stop(&mut lists);
            }
        });
        let mut core = self.lock_merged();
        core.closing = true;
        self.pages - core.buddy.free_pages() - core.buddy.isolated_free_pages()
    }

    /// Whether every page is in the buddy: none is out, and none in a cache either. Exact, as the sum
    /// over caches and buddy in [`outstanding`](Self::outstanding) is not while a drain moves pages from
    /// the one to the other and they are counted twice.
    pub(crate) fn is_whole(&self) -> bool {
        let core = self.lock_merged();
        core.buddy.free_pages() + core.buddy.isolated_free_pages() == self.pages
    }

    /// Pages that are out, withdrawn ones included; exact once the caches are empty.
    pub(crate) fn outstanding(&self) -> usize {
        let cached = self.cached_pages();
        let core = self.lock_merged();
        let kept = core.buddy.free_pages() + core.buddy.isolated_free_pages() + cached;
        self.pages.saturating_sub(kept)
    }

    /// The blocks that are out, lowest first. Walks the frame table without the lock: exact when nothing else runs.
    pub(crate) fn blocks_out(&self) -> impl Iterator<Item = (Pfn, Order)> {
        let frames = (0..self.pages).map(|offset| self.start.add(offset));
        frames.filter_map(|pfn| {
            let state = self.map.state(pfn);
            state
                .block()
                .filter(|_| state.is_allocated())
                .map(|(order, _)| (pfn, order))
        })
    }
}
