//! Allocation: from a request to a block, or to a refusal that names its cause.
//!
//! *Kernel counterpart:* `__alloc_pages_nodemask`, `__alloc_pages_slowpath` (v5.0).
//!
//! ```text
//!   request ─► fast   the cache of this CPU ──────────────────────────► block
//!                │ empty, or the request is particular
//!                ▼
//!              walk   zones in order, at the low mark ────────────────► block
//!                │ all below
//!                ▼
//!              slow   wake kswapd, min mark, reserves, compact, ──────► block
//!                     reclaim, retry, wait, drain everything ─────────► refusal
//! ```
//!
//! The reclaimer and the compactor are parameters from above; without them a request that may wait
//! waits for somebody to free memory.
//!
//! **Invariants**
//! - A1: a request that may wait ends by its deadline, unless it must not fail.
//! - A2: a request that may not wait takes no lock that is held while somebody sleeps.
//! - A3: nothing is refused before every cache was emptied and the attempt repeated; but for what is refused
//!   since memory thrashes, which is not to be tried.

#![forbid(unsafe_code)]

pub(crate) mod at_hand;
mod charge;
mod context;
mod overseer;
mod retry;
mod slow;

pub mod scope;

#[cfg(all(test, not(loom)))]
mod tests;

use std::time::Duration;

use crate::backing::{PoolTag, callback};
use crate::compact::{CompactPriority, DirectRun};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::group::Groups;
use crate::node::{Granted, Nodes};
use crate::psi::Stall;
use crate::sync::clock::Instant;
use crate::sync::cpu;
use crate::types::{GroupId, Migratetype, NodeId, Order, ZoneType};
use crate::zone::watermark::AllocFlags;
use crate::zone::{Taken, TakenRun, Zone, ZoneRequest, pcp};

pub(crate) use charge::Charge;
pub(crate) use context::{Placement, Purpose, Request};
pub(crate) use overseer::{Distress, Overseer};

/// Frees memory on behalf of a request, in the requesting thread.
pub(crate) trait Reclaim: Sync {
    /// Tries to free enough for the request, until the deadline; returns how many pages were freed, or 1
    /// if something else makes it worth to look again.
    fn reclaim(&self, request: &Request, deadline: Option<Instant>) -> usize;

    /// Why the request cannot be helped, if that is known better than by the state of the zones.
    fn obstacle(&self, _request: &Request) -> Option<AllocError> {
        None
    }

    /// Tries to free so many pages of a group and those below it, until the deadline; returns how many were
    /// freed.
    fn reclaim_from(
        &self,
        _group: GroupId,
        _pages: usize,
        _gfp: Gfp,
        _deadline: Option<Instant>,
    ) -> usize {
        0
    }

    /// Pages of a zone that might be reclaimed.
    fn reclaimable_pages(&self, zone: &Zone) -> usize;
}

/// Makes large blocks on behalf of a request, in the requesting thread.
pub(crate) trait Compact: Sync {
    /// Tries to make a block of the request's order until the deadline, and takes it if `flags` permit.
    fn compact(
        &self,
        request: &Request,
        flags: AllocFlags,
        priority: CompactPriority,
        deadline: Option<Instant>,
    ) -> DirectRun;

    /// A block of the request's order was had after compaction, in a zone.
    fn note_success(&self, request: &Request, zone: &Zone);

    /// Whether reclaiming more would let compaction succeed.
    fn would_help(&self, request: &Request, flags: AllocFlags) -> bool;
}

/// Allocates from the nodes of a pool.
#[derive(Clone, Copy)]
pub(crate) struct Allocator<'a> {
    /// Where memory comes from.
    pub(crate) nodes: &'a Nodes,
    /// Who is charged for it.
    pub(crate) groups: &'a Groups,
    /// Who frees memory when it runs short.
    pub(crate) reclaimer: Option<&'a dyn Reclaim>,
    /// Who makes large blocks.
    pub(crate) compactor: Option<&'a dyn Compact>,
    /// Who sees to requests in trouble.
    pub(crate) overseer: Option<&'a dyn Overseer>,
    /// How long a request waits that does not say.
    pub(crate) patience: Duration,
    /// What tells the pool's own callbacks.
    pub(crate) pool: Option<PoolTag>,
}

impl<'a> Allocator<'a> {
    /// Whether the request comes from inside a callback of this pool: it might wait for itself.
    #[inline]
    fn is_reentrant(&self) -> bool {
        self.pool.is_some_and(callback::is_inside)
    }

    /// From now until the result is dropped, this thread waits for memory of a node, for a group.
    pub(crate) fn stall(&self, node: NodeId, group: GroupId) -> Stall<'a> {
        if group.is_root() {
            return self.nodes.stall(node);
        }
        self.nodes.stall_in(node, self.groups, group)
    }

    /// Takes a block of the given order.
    pub(crate) fn alloc(&self, order: Order, gfp: Gfp) -> Result<Granted, AllocError> {
        self.alloc_placed(order, gfp, Placement::default())
    }

    /// The shortest path: the cache of this CPU, in the zone that the request prefers.
    fn alloc_fast(&self, order: Order, gfp: Gfp, purpose: Purpose) -> Option<Taken> {
        if !pcp::is_cached(order) {
            return None;
        }
        self.on_fast_path(order, gfp, purpose, Zone::take_cached)
    }

    /// The same for a single raw page of a group whose charge waits there.
    pub(crate) fn alloc_charged(
        &self,
        order: Order,
        gfp: Gfp,
        placement: Placement,
    ) -> Option<Granted> {
        if order != Order::ZERO || !placement.is_anywhere() || self.is_reentrant() {
            return None;
        }
        let group = placement.group;
        let take = |zone: &Zone, cpu, request| zone.take_charged(cpu, request, group);
        let taken = self.on_fast_path(order, gfp, placement.purpose, take)?;
        Some(Granted {
            taken,
            from_reserve: false,
        })
    }

    #[inline]
    fn on_fast_path(
        &self,
        order: Order,
        gfp: Gfp,
        purpose: Purpose,
        take: impl FnOnce(&Zone, usize, ZoneRequest) -> Option<Taken>,
    ) -> Option<Taken> {
        if gfp.is_contradictory() {
            return None;
        }
        let cpu = cpu::current();
        let node = self.nodes.node(self.nodes.of_cpu(cpu));
        let zone = node.preferred(purpose.class(order, gfp))?;
        let request = ZoneRequest {
            order,
            want: gfp.migratetype(),
            flags: AllocFlags::empty(),
        };
        take(zone, cpu, request)
    }

    /// Takes a block of the given order from where the caller wants it.
    pub(crate) fn alloc_placed(
        &self,
        order: Order,
        gfp: Gfp,
        placement: Placement,
    ) -> Result<Granted, AllocError> {
        if self.is_reentrant() {
            return Err(self.report_early(order, gfp, placement, AllocError::Reentrant));
        }
        if placement.is_anywhere()
            && let Some(taken) = self.alloc_fast(order, gfp, placement.purpose)
        {
            return Ok(Granted {
                taken,
                from_reserve: false,
            });
        }
        let request = match Request::new(order, gfp, placement, self) {
            Ok(request) => request,
            Err(error) => return Err(self.report_early(order, gfp, placement, error)),
        };
        if let Some(granted) = self.walk_low(&request) {
            return Ok(granted);
        }
        slow::SlowPath::new(self, request).run()
    }

    /// Takes up to `count` blocks, without waiting, at the low mark; returns how many.
    pub(crate) fn alloc_bulk(
        &self,
        order: Order,
        gfp: Gfp,
        count: usize,
        sink: &mut dyn FnMut(TakenRun),
    ) -> Result<usize, AllocError> {
        if self.is_reentrant() {
            return Err(AllocError::Reentrant);
        }
        let request = Request::new(order, gfp, Placement::default(), self)?;
        let mut flags = AllocFlags::WMARK_LOW;
        flags.set(AllocFlags::KSWAPD, gfp.contains(Gfp::KSWAPD_RECLAIM));
        let demand = ZoneRequest {
            order,
            want: request.walk.want,
            flags,
        };
        let mut taken = 0;
        for zone in self.nodes.eligible(&request.walk) {
            let nr = zone.take_bulk(demand, request.walk.class, count - taken, sink);
            self.nodes.tell_of_boost(zone, flags, gfp);
            self.nodes.count_origin(zone, &request.walk, nr as u64);
            taken += nr;
            if taken == count {
                break;
            }
        }
        Ok(taken)
    }

    /// The first walk: above the low mark, types kept apart where that costs nothing (spec 3.2).
    fn walk_low(&self, request: &Request) -> Option<Granted> {
        let mut flags = AllocFlags::WMARK_LOW | self.nodes.nofragment(&request.walk);
        flags.set(
            AllocFlags::KSWAPD,
            request.gfp.contains(Gfp::KSWAPD_RECLAIM),
        );
        self.nodes.walk(&request.walk, flags, request.gfp)
    }
}

/// The highest zone that a raw block may come from. The Movable zone is for memory that can be
/// moved, and for whole pageblocks, which do not fragment it.
pub(crate) fn class_of_raw(order: Order, gfp: Gfp) -> ZoneType {
    match gfp.highest_zone() {
        ZoneType::Movable if order < crate::types::PAGEBLOCK_ORDER => ZoneType::Normal,
        zone => zone,
    }
}

/// The migratetype under which a request's blocks are grouped.
pub(crate) fn grouping_of(gfp: Gfp) -> Migratetype {
    gfp.migratetype()
}
