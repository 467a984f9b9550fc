//! Taking blocks from a zone.
//!
//! *Kernel counterpart:* `rmqueue`, `rmqueue_pcplist`, `rmqueue_bulk`, `reserve_highatomic_pageblock`
//! (v5.0).

use super::pcp::{self, PcpLists};
use super::watermark::{self, AllocFlags, BoostInputs, Mark};
use super::{Contended, Core, Taken, TakenRun, Zone, ZoneEvents, ZoneRequest};
use crate::buddy::{FallbackEvent, Grant, Residency};
use crate::sync::atomic::Ordering;
use crate::sync::cpu;
use crate::types::{GroupId, Migratetype, Order, PAGEBLOCK_ORDER, Pfn, ZoneType};

impl Zone {
    /// Takes a block from the cache of `cpu`, and from nowhere else: the shortest path. No mark is
    /// looked at: walks do that before they refill, and what escapes them is bounded by the cache's size.
    pub(crate) fn take_cached(&self, cpu: usize, request: ZoneRequest) -> Option<Taken> {
        let mut lists = self.pcp.try_of(cpu)?;
        self.take_hit(&mut lists, request)
    }

    /// The same of a single page for a group, if there is a charge as well.
    pub(crate) fn take_charged(
        &self,
        cpu: usize,
        request: ZoneRequest,
        group: GroupId,
    ) -> Option<Taken> {
        let mut lists = self.pcp.try_of(cpu)?;
        if !lists.charges.take(group) {
            return None;
        }
        let taken = self.take_hit(&mut lists, request);
        if taken.is_none() {
            let _ = lists.charges.put(group);
        }
        taken
    }

    /// Takes a block of one type alone, if there is one: from the cache of `cpu`, which is refilled if the low mark is
    /// met, or else from the buddy, if that leaves it met. None, if it takes more than that.
    pub(crate) fn take_shortly(
        &self,
        cpu: usize,
        order: Order,
        want: Migratetype,
    ) -> Option<Taken> {
        let request = ZoneRequest {
            order,
            want,
            flags: AllocFlags::WMARK_LOW.union(AllocFlags::UNMIXED),
        };
        let mut lists = pcp::is_cached(order)
            .then(|| self.pcp.try_of(cpu))
            .flatten();
        let hit = { lists.as_mut() }.and_then(|lists| self.take_hit(lists, request));
        if hit.is_some() {
            return hit;
        }
        if !self.check(order, self.zone, request.flags).passes() {
            return None;
        }
        let is_refilled = self.caches(order, self.pcp.sizes());
        if let Some(lists) = lists
            .as_mut()
            .filter(|lists| is_refilled && !lists.is_stopped())
        {
            let taken = self.take_refilling(lists, request)?;
            lists.count_local_hit();
            return Some(taken);
        }
        let mut core = self.core.lock();
        let taken = self.take_locked(&mut core, request);
        core.events.local_hits += u64::from(taken.is_some());
        // Also if there was none: something may have been merged.
        self.publish(&core);
        taken
    }

    #[inline]
    fn take_hit(&self, lists: &mut PcpLists, request: ZoneRequest) -> Option<Taken> {
        let pfn = lists.pop(&self.map, request.order, request.want)?;
        lists.count_local_hit();
        self.map.set_state(pfn, request.state());
        Some(Taken {
            pfn,
            order: request.order,
            residency: Residency::Used,
        })
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

    fn take_refilling(&self, lists: &mut PcpLists, request: ZoneRequest) -> Option<Taken> {
        let ZoneRequest { order, want, .. } = request;
        let pfn = match lists.pop(&self.map, order, want) {
            Some(pfn) => pfn,
            // Who goes below the marks takes no more than it needs: others would be served the rest.
            None if request.flags.is_privileged() => {
                return self.take_direct(request, Contended(false));
            }
            // A waiter that has emptied this cache already would not find the batch: see the head.
            None if self.somebody_waits("freed.look_at_refill") => {
                return self.take_direct(request, Contended(false));
            }
            // A batch of one has no need of the cache, where nobody knows what stood behind it.
            None if order == PAGEBLOCK_ORDER => {
                return self.take_direct(request, Contended(false));
            }
            None => {
                self.refill(lists, request);
                lists.pop(&self.map, order, want)?
            }
        };
        self.map.set_state(pfn, request.state());
        Some(Taken {
            pfn,
            order: request.order,
            residency: Residency::Used,
        })
    }

    /// Moves a batch of blocks, smaller than a pageblock, into a cache that has none of the kind.
    fn refill(&self, lists: &mut PcpLists, request: ZoneRequest) {
        let ZoneRequest { order, want, .. } = request;
        let batch = usize::from(self.pcp.sizes().batch);
        let count = (batch >> order.get()).max(1);
        let mut level = u8::MAX;
        let mut core = self.core.lock();
        let Core { buddy, events, .. } = &mut *core;
        let mut on_grant = |grant: Grant, nr: usize| {
            debug_assert!(self.map.state(grant.pfn).is_free(), "N3: {}", grant.pfn);
            self.note_fallback(events, grant.fallback, request.flags);
            let fullness = self.blocks.fullness(grant.pfn);
            level = level.min(fullness);
            for block in 0..nr {
                let pfn = grant.pfn.add(block << order.get());
                lists.refill(&self.map, pfn, order, want);
            }
        };
        let census = |start, pages| self.map.kinds(start, pages).movable;
        if buddy.alloc_bulk(request.demand(), count, &census, &mut on_grant) > 0 {
            lists.set_fill_level(order, want, level);
        }
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

    pub(super) fn take_locked(&self, core: &mut Core, request: ZoneRequest) -> Option<Taken> {
        let census = |start, pages| self.map.kinds(start, pages).movable;
        let grant = core.buddy.alloc(request.demand(), &census)?;
        debug_assert!(self.map.state(grant.pfn).is_free(), "N3: {}", grant.pfn);
        self.note_fallback(&mut core.events, grant.fallback, request.flags);
        core.events.pages_allocated += request.order.pages() as u64;
        self.map.set_state(grant.pfn, request.state());
        Some(Taken {
            pfn: grant.pfn,
            order: request.order,
            residency: grant.residency,
        })
    }

    /// Takes up to `count` blocks under one hold of the lock, while the marks allow it; returns how many.
    pub(crate) fn take_bulk(
        &self,
        request: ZoneRequest,
        class: ZoneType,
        count: usize,
        sink: &mut dyn FnMut(TakenRun),
    ) -> usize {
        // Of several pages there may be blocks only once what is unmerged is merged.
        let mut core = match request.order {
            Order::ZERO => self.core.lock(),
            _ => self.lock_merged(),
        };
        let mut taken = 0;
        while taken < count {
            let batch = self.nr_allowed(request, class, count - taken);
            let more = self.take_run_locked(&mut core, request, batch, sink);
            self.publish(&core);
            if more == 0 {
                break;
            }
            taken += more;
        }
        taken
    }

    /// How many of `wanted` blocks the marks allow to be taken at once: of single pages many, of others one, since
    /// that changes of which order there are any.
    fn nr_allowed(&self, request: ZoneRequest, class: ZoneType, wanted: usize) -> usize {
        const MOST: usize = 64;
        let ZoneRequest { order, flags, .. } = request;
        let many = wanted.min(MOST);
        if order == Order::ZERO && self.check_without(many - 1, order, class, flags).passes() {
            return many;
        }
        usize::from(self.check(order, class, flags).passes())
    }

    /// Takes blocks from one pageblock, up to `count`; a single one, if that mixes types, since it may raise the marks.
    fn take_run_locked(
        &self,
        core: &mut Core,
        request: ZoneRequest,
        count: usize,
        sink: &mut dyn FnMut(TakenRun),
    ) -> usize {
        let Core { buddy, events, .. } = core;
        let order = request.order;
        let mut on_grant = |grant: Grant, nr: usize| {
            debug_assert!(self.map.state(grant.pfn).is_free(), "N3: {}", grant.pfn);
            self.note_fallback(events, grant.fallback, request.flags);
            events.pages_allocated += (nr << order.get()) as u64;
            self.map.set_states(grant.pfn, nr, order, request.state());
            sink(TakenRun {
                first: grant.pfn,
                nr,
                order,
                residency: grant.residency,
            });
        };
        let census = |start, pages| self.map.kinds(start, pages).movable;
        buddy.alloc_run(request.demand(), count, &census, &mut on_grant)
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
                managed: self.managed(),
                block_pages: self.block_order().pages(),
                factor: u64::from(self.boost_factor.load(Ordering::Relaxed)),
            },
        );
        if raised == boost {
            return;
        }
        self.boost.store(raised, Ordering::Relaxed);
        if flags.contains(AllocFlags::KSWAPD) {
            self.note_boosted();
        }
    }

    /// Reserves the pageblock of an urgent request's block, if the reserve is short.
    pub(crate) fn reserve_highatomic(&self, pfn: Pfn) {
        let mut core = self.core.lock();
        core.buddy.reserve_highatomic(pfn, self.managed());
        self.publish(&core);
    }

    /// Opens a reserved pageblock to requests of type `want`, one that holds a block of `order` if
    /// there is any; returns whether there was one.
    pub(crate) fn unreserve_highatomic(
        &self,
        want: Migratetype,
        order: Order,
        force: bool,
    ) -> bool {
        // Relaxed: a zone without free reserved pages has nothing to open; checked again below. They may be unmerged.
        let free = self.published.free_highatomic.load(Ordering::Relaxed);
        if free == 0 && self.unmerged.nr_pages() == 0 {
            return false;
        }
        let mut core = self.lock_merged();
        let opened = core.buddy.unreserve_highatomic(want, order, force);
        self.publish(&core);
        opened
    }
}
