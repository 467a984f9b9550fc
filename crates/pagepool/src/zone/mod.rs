//! A zone: a buddy system behind a lock, with marks, reserves and per-CPU caches.
//!
//! *Kernel counterpart:* `struct zone`, `rmqueue`, `free_unref_page`, `free_one_page`,
//! `drain_pages_zone`, `wakeup boost` of `rmqueue` (v5.0).
//!
//! ```text
//!   take ──► cache of this CPU ──(empty)──► refill a batch ─┐
//!     └────(not cached, taken)──────────────────────────────┴──► lock ─► buddy
//!   put  ──► cache of this CPU ──(full)───► return a batch ─┬──► lock ─► buddy
//!     └────(not cached, taken, isolated, somebody waits)────┘
//! ```
//!
//! **Invariants** (B: [`buddy`](crate::buddy), P: [`pcp`], W: [`watermark`])
//! - N1: pages free in the buddy + withheld + cached + handed out + withdrawn = managed pages.
//! - N2: the published free counts are those of the buddy whenever the lock is free.
//! - N3: a block's state is "allocated" from before it is handed out until after it was given back.
//!
//! **Locking and ordering:** the zone's lock guards the buddy, the boost and the reserve. Free counts
//! change only under it and are exact; they are published in atomics beside it, so that marks can be
//! checked without it. A check that was passed on an old count costs at most a vain attempt.
//! Nothing is woken here: a zone says what happened, and its caller wakes.
//!
//! **Nobody waits beside free memory.** A thread that waits for memory publishes itself on the queue
//! `freed`, and only then takes each cache's lock (to drain it) and the zone's. A thread that frees
//! looks at the queue while it holds the lock of the cache or zone that it frees into. Whoever holds
//! that lock first, the other sees: the waiter finds the memory, or the freeing thread the waiter.
//! The same goes for a thread that is about to move free blocks from the buddy into its cache: it
//! looks while it holds the cache's lock, and if somebody waits it takes the one block that it needs.

#![forbid(unsafe_code)]

pub(crate) mod fragmentation;
pub(crate) mod lowmem;
pub(crate) mod pcp;
pub(crate) mod sizing;
pub(crate) mod vmstat;
pub(crate) mod watermark;
pub(crate) mod zonelist;

#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

use crate::buddy::{
    Availability, BlockTable, Buddy, Demand, Fallback, FallbackEvent, Geometry, Grant, IdleBlock,
};
use crate::error::{BuildError, Violation, ensure};
use crate::memmap::{FrameState, Memmap, Special};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, Rank, WaitQueue, cpu};
use crate::types::{
    Migratetype, NR_ORDERS, NR_ZONES, NodeId, Order, PAGEBLOCK_ORDER, Pfn, ZoneType,
};

use fragmentation::{FreeCounts, Suitability, SuitabilityMarks};
use pcp::{Pcp, PcpEvents, PcpLists, Surplus};
use sizing::PcpSizes;
use watermark::{AllocFlags, BoostInputs, FreeView, Mark, Marks, Verdict};

/// What is asked of a zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneRequest {
    /// The size of the block.
    pub(crate) order: Order,
    /// Its type.
    pub(crate) want: Migratetype,
    /// How far to go.
    pub(crate) flags: AllocFlags,
}

impl ZoneRequest {
    fn demand(self) -> Demand {
        let strict = self.flags.contains(AllocFlags::NOFRAGMENT);
        Demand {
            order: self.order,
            want: self.want,
            fallback: if strict {
                Fallback::WholeBlocks
            } else {
                Fallback::Any
            },
            highatomic: self.flags.may_use_highatomic(),
        }
    }

    /// The state of a frame handed out for this request.
    fn state(self) -> FrameState {
        FrameState::allocated(self.order, self.want)
    }
}

/// A block taken from a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// Its first frame.
    pub(crate) pfn: Pfn,
    /// Whether it is known to read as zeros.
    pub(crate) vacant: bool,
}

/// What the caller of a zone has to see to, once no lock is held.
///
/// Nothing in it refers to the pool except what keeps the pool alive: an idle block is memory handed
/// out, and the queue is shared. Without either, the block that was put back may have been the last,
/// and the pool may be gone.
#[derive(Debug, Default)]
#[must_use = "somebody may be waiting"]
pub(crate) struct Freed {
    /// Somebody waits for memory on this queue.
    pub(crate) waiters: Option<Arc<WaitQueue>>,
    /// A block whose memory should go back to the system, and that then must be returned.
    pub(crate) idle: Option<IdleBlock>,
    /// Pages that left an owner although the pool is closing.
    pub(crate) closing_pages: usize,
}

impl Freed {
    /// Whether there is anything to see to.
    pub(crate) fn is_something(&self) -> bool {
        self.waiters.is_some() || self.idle.is_some() || self.closing_pages > 0
    }
}

/// Counts of what went past the caches.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZoneEvents {
    /// Pages handed out.
    pub(crate) pages_allocated: u64,
    /// Pages taken back.
    pub(crate) pages_freed: u64,
    /// Blocks handed out to a CPU of the zone's own node, without a walk.
    pub(crate) local_hits: u64,
    /// Pages that found their cache taken.
    pub(crate) contended: u64,
    /// Types mixed in a pageblock.
    pub(crate) extfrag: u64,
}

impl ZoneEvents {
    fn note(&mut self, Contended(contended): Contended, order: Order) {
        if contended {
            self.contended += order.pages() as u64;
        }
    }
}

/// Whether a block comes this way because its cache was taken.
#[derive(Clone, Copy, Debug)]
struct Contended(bool);

/// What the zone's lock guards.
#[derive(Debug)]
struct Core {
    buddy: Buddy,
    events: ZoneEvents,
    /// Pages withdrawn to be given back to the system.
    withdrawn: usize,
    closing: bool,
}

/// A zone of a node.
#[derive(Debug)]
pub(crate) struct Zone {
    node: NodeId,
    zone: ZoneType,
    start: Pfn,
    pages: usize,
    map: Arc<Memmap>,
    blocks: BlockTable,
    core: CoreMutex<Core>,
    /// Published under the lock (N2).
    free: AtomicUsize,
    free_highatomic: AtomicUsize,
    available: AtomicU64,
    resident_free: AtomicUsize,
    marks: AtomicU64,
    /// Pages added to every mark; written under the lock.
    boost: AtomicUsize,
    boost_factor: AtomicU32,
    /// A boost was added for a request that may wake the background reclaimer.
    boosted: AtomicBool,
    reserve: [AtomicUsize; NR_ZONES],
    /// Pages of whole free blocks that may keep their memory.
    keep_resident: AtomicUsize,
    pcp: Pcp,
    freed: Arc<WaitQueue>,
}

impl Zone {
    /// Builds a zone in which everything is free. Marks and cache sizes are zero until set.
    pub(crate) fn new(
        (node, zone): (NodeId, ZoneType),
        geometry: Geometry,
        map: Arc<Memmap>,
        nr_cpus: usize,
        freed: Arc<WaitQueue>,
    ) -> Result<Zone, BuildError> {
        let buddy = Buddy::new(geometry)?;
        let zone = Zone {
            node,
            zone,
            start: geometry.start,
            pages: geometry.pages,
            map,
            blocks: buddy.block_table(),
            free: AtomicUsize::new(buddy.free_pages()),
            free_highatomic: AtomicUsize::new(0),
            available: AtomicU64::new(buddy.availability().raw()),
            resident_free: AtomicUsize::new(0),
            core: CoreMutex::ranked(
                Rank::Zone,
                Core {
                    buddy,
                    events: ZoneEvents::default(),
                    withdrawn: 0,
                    closing: false,
                },
            ),
            marks: AtomicU64::new(Marks::default().raw()),
            boost: AtomicUsize::new(0),
            boost_factor: AtomicU32::new(0),
            boosted: AtomicBool::new(false),
            reserve: std::array::from_fn(|_| AtomicUsize::new(0)),
            keep_resident: AtomicUsize::new(usize::MAX),
            pcp: Pcp::new(nr_cpus),
            freed,
        };
        Ok(zone)
    }

    // ---- what the zone is ----

    /// The node it belongs to.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// What it is for.
    pub(crate) fn zone_type(&self) -> ZoneType {
        self.zone
    }

    /// Pages it manages.
    pub(crate) fn managed(&self) -> usize {
        self.pages
    }

    /// Whether it has any memory.
    pub(crate) fn is_managed(&self) -> bool {
        self.pages > 0
    }

    /// Its first frame.
    pub(crate) fn start(&self) -> Pfn {
        self.start
    }

    /// Whether `pfn` is one of its frames.
    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        pfn >= self.start && pfn.offset_from(self.start) < self.pages
    }

    // ---- marks ----

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

    /// Sets the marks and ends any boost.
    pub(crate) fn set_marks(&self, marks: Marks) {
        let _core = self.core.lock();
        // Relaxed: written under the lock; readers take them as they come.
        self.boost.store(0, Ordering::Relaxed);
        self.marks.store(marks.raw(), Ordering::Relaxed);
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

    /// Lowers the boost by what a reclaimer has answered (INV-8).
    pub(crate) fn lower_boost(&self, answered: usize) {
        let _core = self.core.lock();
        // Relaxed: written under the lock.
        let boost = self.boost.load(Ordering::Relaxed);
        self.boost
            .store(boost - boost.min(answered), Ordering::Relaxed);
    }

    /// Whether the background reclaimer is to be told about a boost; telling is then the caller's.
    /// Asked only by requests that may wake it, so that no other swallows the news.
    pub(crate) fn consume_boosted(&self) -> bool {
        // Relaxed: test, then clear: a bit lost or seen twice is harmless, since the boost itself
        // stands until a reclaimer has answered it. The test alone avoids a shared store.
        if !self.boosted.load(Ordering::Relaxed) {
            return false;
        }
        self.boosted.store(false, Ordering::Relaxed);
        true
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

    /// The mark that applies. A single page that is asked for with high priority at the minimum need
    /// not respect a boost (spec 9.3): the boost is against fragmentation, and a page cannot fragment.
    fn check_mark(&self, order: Order, flags: AllocFlags) -> usize {
        let urgent = order == Order::ZERO && flags.contains(AllocFlags::HIGH);
        match flags.mark() {
            Mark::Min if urgent => self.marks().get(Mark::Min),
            mark => self.mark(mark),
        }
    }

    fn free_view(&self) -> FreeView {
        // Relaxed: exact counts, each by itself (N2); a mixture costs a vain attempt.
        FreeView {
            free: self.free.load(Ordering::Relaxed),
            highatomic: self.free_highatomic.load(Ordering::Relaxed),
            available: Availability::from_raw(self.available.load(Ordering::Relaxed)),
        }
    }

    /// Pages free for requests, exactly, without what the caches hold.
    pub(crate) fn free_pages(&self) -> usize {
        // Relaxed: as in `free_view`.
        self.free.load(Ordering::Relaxed)
    }

    /// Whether compacting this zone for `order` on behalf of `class` makes sense.
    pub(crate) fn compaction_suitable(&self, order: Order, class: ZoneType) -> Suitability {
        let marks = SuitabilityMarks {
            min: self.mark(Mark::Min),
            low: self.mark(Mark::Low),
            reserve: self.reserve(class),
        };
        let counts = self.free_areas().by_order();
        fragmentation::compaction_suitable(self.free_view(), &counts, order, marks)
    }

    // ---- taking ----

    /// Takes a block from the cache of `cpu`, and from nowhere else: the shortest path. No mark is
    /// looked at: what a cache holds was taken above the marks, and refills look at them.
    pub(crate) fn take_cached(&self, cpu: usize, request: ZoneRequest) -> Option<Taken> {
        let mut lists = self.pcp.try_of(cpu)?;
        let pfn = lists.pop(&self.map, request.order, request.want)?;
        lists.count_local_hit();
        self.map.set_state(pfn, request.state());
        Some(Taken { pfn, vacant: false })
    }

    /// Takes a block, through the cache of this CPU where there is one.
    pub(crate) fn take(&self, request: ZoneRequest) -> Option<Taken> {
        if self.goes_through_cache(request) {
            if let Some(mut lists) = self.pcp.try_of(cpu::current()) {
                if !lists.is_stopped() {
                    return self.take_refilling(&mut lists, request);
                }
            } else {
                return self.take_direct(request, Contended(true));
            }
        }
        self.take_direct(request, Contended(false))
    }

    fn goes_through_cache(&self, request: ZoneRequest) -> bool {
        let reserved_first = request.order > Order::ZERO && request.flags.may_use_highatomic();
        self.caches(request.order, self.pcp.sizes()) && !reserved_first
    }

    /// Whether blocks of `order` are cached in this zone.
    fn caches(&self, order: Order, sizes: PcpSizes) -> bool {
        match order {
            PAGEBLOCK_ORDER => sizes.blocks > 0,
            order => sizes.is_on() && pcp::is_cached(order),
        }
    }

    fn take_refilling(&self, lists: &mut PcpLists, request: ZoneRequest) -> Option<Taken> {
        let ZoneRequest { order, want, .. } = request;
        let pfn = match lists.pop(&self.map, order, want) {
            Some(pfn) => pfn,
            // A waiter that has emptied this cache already would not find the batch: see the head.
            None if self.somebody_waits("freed.look_at_refill") => {
                return self.take_direct(request, Contended(false));
            }
            None => {
                self.refill(lists, request);
                lists.pop(&self.map, order, want)?
            }
        };
        self.map.set_state(pfn, request.state());
        Some(Taken { pfn, vacant: false })
    }

    /// Moves a batch of blocks into a cache that has none of the kind.
    fn refill(&self, lists: &mut PcpLists, request: ZoneRequest) {
        let ZoneRequest { order, want, .. } = request;
        let batch = usize::from(self.pcp.sizes().batch);
        let count = if order == PAGEBLOCK_ORDER {
            1
        } else {
            (batch >> order.get()).max(1)
        };
        let mut core = self.core.lock();
        let Core { buddy, events, .. } = &mut *core;
        let mut on_grant = |grant: Grant| {
            debug_assert!(self.map.state(grant.pfn).is_free(), "N3: {}", grant.pfn);
            self.note_fallback(events, grant.fallback, request.flags);
            lists.refill(&self.map, grant.pfn, order, want);
        };
        let census = |start, pages| self.map.movable_pages(start, pages);
        buddy.alloc_bulk(request.demand(), count, &census, &mut on_grant);
        self.publish(&core);
    }

    /// Takes a block from the buddy.
    fn take_direct(&self, request: ZoneRequest, contended: Contended) -> Option<Taken> {
        let mut core = self.core.lock();
        core.events.note(contended, request.order);
        let taken = self.take_locked(&mut core, request);
        self.publish(&core);
        taken
    }

    fn take_locked(&self, core: &mut Core, request: ZoneRequest) -> Option<Taken> {
        let census = |start, pages| self.map.movable_pages(start, pages);
        let grant = core.buddy.alloc(request.demand(), &census)?;
        debug_assert!(self.map.state(grant.pfn).is_free(), "N3: {}", grant.pfn);
        self.note_fallback(&mut core.events, grant.fallback, request.flags);
        core.events.pages_allocated += request.order.pages() as u64;
        self.map.set_state(grant.pfn, request.state());
        Some(Taken {
            pfn: grant.pfn,
            vacant: grant.vacant,
        })
    }

    /// Takes up to `count` blocks under one hold of the lock, while the marks allow it.
    pub(crate) fn take_bulk(
        &self,
        request: ZoneRequest,
        class: ZoneType,
        count: usize,
        sink: &mut dyn FnMut(Taken),
    ) -> usize {
        let mut core = self.core.lock();
        for taken in 0..count {
            if !self.check(request.order, class, request.flags).passes() {
                return taken;
            }
            let Some(block) = self.take_locked(&mut core, request) else {
                return taken;
            };
            self.publish(&core);
            sink(block);
        }
        count
    }

    /// Answers a fragmentation event: the marks are raised (spec 2.4).
    fn note_fallback(
        &self,
        events: &mut ZoneEvents,
        event: Option<FallbackEvent>,
        flags: AllocFlags,
    ) {
        let Some(FallbackEvent {
            fragmenting: true, ..
        }) = event
        else {
            return;
        };
        events.extfrag += 1;
        // Relaxed: the boost is written under the lock, which the caller holds.
        let boost = self.boost.load(Ordering::Relaxed);
        let raised = watermark::boost_after_event(
            boost,
            BoostInputs {
                high: self.marks().get(Mark::High),
                managed: self.pages,
                block_pages: self.block_order().pages(),
                factor: u64::from(self.boost_factor.load(Ordering::Relaxed)),
            },
        );
        if raised == boost {
            return;
        }
        self.boost.store(raised, Ordering::Relaxed);
        if flags.contains(AllocFlags::KSWAPD) {
            // Relaxed: see `consume_boosted`.
            self.boosted.store(true, Ordering::Relaxed);
        }
    }

    /// Publishes the free counts (N2).
    fn publish(&self, core: &Core) {
        // Relaxed: see the head; the lock orders everything that must be.
        self.free.store(core.buddy.free_pages(), Ordering::Relaxed);
        self.free_highatomic
            .store(core.buddy.free_highatomic_pages(), Ordering::Relaxed);
        self.available
            .store(core.buddy.availability().raw(), Ordering::Relaxed);
        self.resident_free
            .store(core.buddy.resident_free_pages(), Ordering::Relaxed);
    }

    // ---- giving back ----

    /// Takes back a block from its owner.
    pub(crate) fn put(&self, pfn: Pfn, order: Order) -> Freed {
        let sizes = self.pcp.sizes();
        let mut contended = Contended(false);
        if self.caches(order, sizes) && !self.blocks.is_isolated(pfn) {
            match self.pcp.try_of(cpu::current()) {
                // The queue is looked at under the cache's lock: see the head.
                Some(mut lists)
                    if !lists.is_stopped() && !self.somebody_waits("freed.look_at_cache") =>
                {
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

    fn put_cached(&self, lists: &mut PcpLists, pfn: Pfn, order: Order, sizes: PcpSizes) -> Freed {
        lists.push(&self.map, pfn, order, self.blocks.migratetype(pfn));
        let returned = match lists.surplus(sizes) {
            Surplus::None => return Freed::default(),
            Surplus::Pages(nr) => lists.take_pages(&self.map, nr),
            Surplus::Blocks(nr) => lists.take_blocks(&self.map, nr),
        };
        self.return_blocks(&returned)
    }

    /// Gives blocks from a cache to the buddy under one hold of the lock.
    fn return_blocks(&self, returned: &pcp::Returned) -> Freed {
        let mut core = self.core.lock();
        for (pfn, order) in returned {
            core.buddy.free(*pfn, *order);
        }
        self.settle(&mut core, 0)
    }

    /// Publishes the counts after a free and says what the caller has to see to. `pages` are those
    /// that came from an owner.
    fn settle(&self, core: &mut Core, pages: usize) -> Freed {
        // Relaxed: a limit by itself.
        let keep = self.keep_resident.load(Ordering::Relaxed);
        let too_much = core.buddy.resident_free_pages() > keep && !core.closing;
        let idle = if too_much {
            self.withdraw_locked(core)
        } else {
            None
        };
        self.publish(core);
        Freed {
            waiters: self.waiters("freed.look_at_zone"),
            idle,
            closing_pages: if core.closing { pages } else { 0 },
        }
    }

    /// Whether a thread waits for memory. To be asked with the lock held that guards what the answer
    /// decides on: see the head. `look` names the mutant without it.
    fn somebody_waits(&self, look: &'static str) -> bool {
        self.freed.sleeper_hint() && !mutated(look)
    }

    /// The queue of those who wait for memory, if somebody does. Asked under the zone's lock.
    fn waiters(&self, look: &'static str) -> Option<Arc<WaitQueue>> {
        self.somebody_waits(look).then(|| Arc::clone(&self.freed))
    }

    /// Empties the caches of all CPUs into the buddy; returns how many pages that were.
    ///
    /// Who drains is about to look for memory itself, or does so on behalf of somebody who waits.
    pub(crate) fn drain(&self) -> usize {
        self.pcp
            .each()
            .map(|mut lists| self.drain_lists(&mut lists))
            .sum()
    }

    fn drain_lists(&self, lists: &mut PcpLists) -> usize {
        let before = lists.cached_pages();
        while lists.cached_pages() > 0 {
            let mut returned = lists.take_pages(&self.map, usize::MAX);
            if returned.is_empty() {
                returned = lists.take_blocks(&self.map, usize::MAX);
            }
            let mut core = self.core.lock();
            for (pfn, order) in &returned {
                core.buddy.free(*pfn, *order);
            }
            self.publish(&core);
        }
        before
    }

    /// The same on behalf of a thread that has published that it waits for memory. Whatever was freed
    /// before is visible after; whoever frees later sees the waiter.
    pub(crate) fn drain_for_waiter(&self) -> usize {
        let drained = if mutated("freed.drain") {
            0
        } else {
            self.drain()
        };
        if !mutated("freed.synchronize") {
            self.synchronize();
        }
        drained
    }

    /// Waits until whoever holds the lock has let go of it. Without, a check of the marks may pass
    /// over a free block, and a free over the waiter: a zone's counts are read without its lock, and
    /// who finds them low does not take it.
    fn synchronize(&self) {
        drop(self.core.lock());
    }

    // ---- reserves for urgent requests ----

    /// Reserves the pageblock of an urgent request's block, if the reserve is short.
    pub(crate) fn reserve_highatomic(&self, pfn: Pfn) {
        let mut core = self.core.lock();
        core.buddy.reserve_highatomic(pfn, self.pages);
        self.publish(&core);
    }

    /// Opens a reserved pageblock to requests of type `want`; returns whether there was one.
    pub(crate) fn unreserve_highatomic(&self, want: Migratetype, force: bool) -> bool {
        // Relaxed: a zone without free reserved pages has nothing to open; checked again below.
        if self.free_highatomic.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut core = self.core.lock();
        let opened = core.buddy.unreserve_highatomic(want, force);
        self.publish(&core);
        opened
    }

    // ---- isolation ----

    /// Withholds the pageblock of `pfn` from requests, and empties the caches of what they hold of
    /// it. Returns whether it was not isolated before.
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
    pub(crate) fn unisolate(&self, pfn: Pfn) -> bool {
        let mut core = self.core.lock();
        let ended = core.buddy.unisolate(pfn);
        self.publish(&core);
        ended
    }

    // ---- memory for the system ----

    /// Pages of whole free blocks that have memory behind them.
    pub(crate) fn resident_free_pages(&self) -> usize {
        // Relaxed: as in `free_view`.
        self.resident_free.load(Ordering::Relaxed)
    }

    /// Sets how many pages of whole free blocks may keep their memory.
    pub(crate) fn set_keep_resident(&self, pages: usize) {
        // Relaxed: a limit by itself.
        self.keep_resident.store(pages, Ordering::Relaxed);
    }

    /// Withdraws a whole free block that has memory behind it.
    pub(crate) fn withdraw_idle(&self) -> Option<IdleBlock> {
        let mut core = self.core.lock();
        let idle = self.withdraw_locked(&mut core);
        self.publish(&core);
        idle
    }

    fn withdraw_locked(&self, core: &mut Core) -> Option<IdleBlock> {
        let idle = core.buddy.withdraw_idle()?;
        core.withdrawn += idle.order.pages();
        self.map
            .set_state(idle.pfn, FrameState::special(Special::Isolated));
        Some(idle)
    }

    /// Puts a withdrawn block back; `vacant` says whether its memory is gone.
    pub(crate) fn return_idle(&self, idle: IdleBlock, vacant: bool) -> Freed {
        let pages = idle.order.pages();
        let mut core = self.core.lock();
        self.map.set_state(idle.pfn, FrameState::FREE);
        core.withdrawn -= pages;
        core.buddy.return_idle(idle, vacant);
        self.publish(&core);
        Freed {
            waiters: self.waiters("freed.look_at_return"),
            idle: None,
            closing_pages: if core.closing { pages } else { 0 },
        }
    }

    // ---- closing ----

    /// Stops the caches and starts counting pages as they come back; returns how many are out,
    /// withdrawn ones included.
    pub(crate) fn begin_close(&self) -> usize {
        for mut lists in self.pcp.each() {
            self.drain_lists(&mut lists);
            Pcp::stop(&mut lists);
        }
        let mut core = self.core.lock();
        core.closing = true;
        self.pages - core.buddy.free_pages() - core.buddy.isolated_free_pages()
    }

    /// Whether every page is in the buddy: none is out, and none in a cache either. Exact, as the sum
    /// over caches and buddy in [`outstanding`](Self::outstanding) is not while a drain moves pages from
    /// the one to the other and they are counted twice.
    pub(crate) fn is_whole(&self) -> bool {
        let core = self.core.lock();
        core.buddy.free_pages() + core.buddy.isolated_free_pages() == self.pages
    }

    /// Pages that are out, withdrawn ones included; exact once the caches are empty.
    pub(crate) fn outstanding(&self) -> usize {
        let cached: usize = self.cached_by_cpu().iter().sum();
        let core = self.core.lock();
        let kept = core.buddy.free_pages() + core.buddy.isolated_free_pages() + cached;
        self.pages.saturating_sub(kept)
    }

    /// Some of the blocks that are out.
    pub(crate) fn blocks_out(&self, max: usize) -> Vec<(Pfn, Order)> {
        let frames = (0..self.pages).map(|offset| self.start.add(offset));
        let out = frames.filter_map(|pfn| {
            let state = self.map.state(pfn);
            state
                .block()
                .filter(|_| state.is_allocated())
                .map(|(order, _)| (pfn, order))
        });
        out.take(max).collect()
    }

    // ---- settings and reports ----

    /// Puts other cache sizes in force.
    pub(crate) fn set_pcp_sizes(&self, sizes: PcpSizes) {
        self.pcp.set_sizes(sizes);
    }

    /// The cache sizes in force.
    pub(crate) fn pcp_sizes(&self) -> PcpSizes {
        self.pcp.sizes()
    }

    /// Switches mobility grouping on or off.
    pub(crate) fn set_grouping(&self, grouping: bool) {
        self.core.lock().buddy.set_grouping(grouping);
    }

    /// The order of the zone's pageblocks.
    pub(crate) fn block_order(&self) -> Order {
        Geometry {
            start: self.start,
            pages: self.pages,
        }
        .block_order()
    }

    /// The largest order that can ever be free here.
    pub(crate) fn max_order(&self) -> Order {
        Geometry {
            start: self.start,
            pages: self.pages,
        }
        .max_order()
    }

    /// What passed through the caches and past them.
    pub(crate) fn events(&self) -> ZoneEvents {
        let mut sum = ZoneEvents::default();
        for lists in self.pcp.each() {
            let PcpEvents {
                pages_allocated,
                pages_freed,
                local_hits,
            } = lists.events();
            sum.pages_allocated += pages_allocated;
            sum.pages_freed += pages_freed;
            sum.local_hits += local_hits;
        }
        let direct = self.core.lock().events;
        ZoneEvents {
            pages_allocated: sum.pages_allocated + direct.pages_allocated,
            pages_freed: sum.pages_freed + direct.pages_freed,
            local_hits: sum.local_hits + direct.local_hits,
            ..direct
        }
    }

    /// Pages in each CPU's cache.
    pub(crate) fn cached_by_cpu(&self) -> Vec<usize> {
        self.pcp.each().map(|lists| lists.cached_pages()).collect()
    }

    /// Free blocks by type and order, and pageblocks by type.
    pub(crate) fn free_areas(&self) -> FreeAreas {
        let core = self.core.lock();
        let row = |mt| std::array::from_fn(|o| core.buddy.nr_free(mt, Order::at(o)) as u64);
        FreeAreas {
            nr_free: Migratetype::ALL.map(row),
            nr_blocks: Migratetype::ALL.map(|mt| core.buddy.nr_blocks_of(mt) as u64),
            reserved_highatomic: core.buddy.reserved_highatomic_pages(),
        }
    }

    /// Bytes of the zone's tables and caches.
    pub(crate) fn metadata_bytes(&self) -> usize {
        self.core.lock().buddy.bytes() + Pcp::bytes(self.pcp.nr_cpus()) + size_of::<Zone>()
    }

    /// An upper bound of [`metadata_bytes`](Self::metadata_bytes) for a zone of `pages`.
    pub(crate) fn estimate(pages: usize, nr_cpus: usize) -> usize {
        Buddy::estimate(pages) + Pcp::bytes(nr_cpus) + size_of::<Zone>()
    }

    /// Checks every invariant of the zone and what it is made of. Exact when nothing else runs; the
    /// locks are taken one after the other.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        let mut cached = 0;
        let mut slots = self.pcp.each();
        for lists in &mut slots {
            lists.verify(&self.map)?;
            cached += lists.cached_pages();
        }
        drop(slots);

        let core = self.core.lock();
        core.buddy.verify()?;
        let free = core.buddy.free_pages();
        ensure!(
            free == self.free_pages(),
            "N2",
            "{free} pages free, published {}",
            self.free_pages()
        );
        let available = Availability::from_raw(self.available.load(Ordering::Relaxed));
        ensure!(
            core.buddy.availability() == available,
            "N2",
            "the published availability is old"
        );
        let out = self.verify_frames(&core.buddy)?;
        let withheld = core.buddy.isolated_free_pages();
        ensure!(
            free + withheld + cached + out.allocated + core.withdrawn == self.pages,
            "N1",
            "{free} free + {withheld} withheld + {cached} cached + {} out + {} withdrawn is not {} in {} of {:?}",
            out.allocated,
            core.withdrawn,
            self.pages,
            self.zone,
            self.node
        );
        let marks = self.marks();
        ensure!(
            marks.get(Mark::Min) <= marks.get(Mark::High),
            "W1",
            "{marks:?}"
        );
        Ok(())
    }

    /// Walks the frames: those marked as heads are not free in the buddy, those inside no block are.
    fn verify_frames(&self, buddy: &Buddy) -> Result<Out, Violation> {
        let mut out = Out::default();
        let mut offset = 0;
        while offset < self.pages {
            let pfn = self.start.add(offset);
            let state = self.map.state(pfn);
            let free = buddy.free_order(pfn);
            match (state.block(), free) {
                (Some((order, _)), None) => {
                    if state.is_allocated() {
                        out.allocated += order.pages();
                    }
                    offset += order.pages();
                }
                (None, Some(order)) => offset += order.pages(),
                (Some(_), Some(order)) => {
                    return Err(Violation::new(
                        "N3",
                        format_args!("{pfn} is {state}, but free at {order:?}"),
                    ));
                }
                (None, None) if state.is_free() => {
                    return Err(Violation::new("N1", format_args!("{pfn} is nowhere")));
                }
                // Withdrawn: counted by the zone; its length is that of its pageblocks.
                (None, None) => {
                    offset += self.block_order().pages() - offset % self.block_order().pages()
                }
            }
        }
        Ok(out)
    }
}

#[derive(Default)]
struct Out {
    allocated: usize,
}

/// What a zone has free.
#[derive(Clone, Debug)]
pub(crate) struct FreeAreas {
    /// Free blocks by type and order.
    pub(crate) nr_free: [[u64; NR_ORDERS]; crate::types::NR_MIGRATETYPES],
    /// Pageblocks by type.
    pub(crate) nr_blocks: [u64; crate::types::NR_MIGRATETYPES],
    /// Pages in reserved pageblocks.
    pub(crate) reserved_highatomic: usize,
}

impl FreeAreas {
    /// Free blocks by order, all types together.
    pub(crate) fn by_order(&self) -> FreeCounts {
        std::array::from_fn(|order| self.nr_free.iter().map(|row| row[order]).sum())
    }
}
