//! The slow path: what a request does when every zone is below its low mark.
//!
//! *Kernel counterpart:* `__alloc_pages_slowpath`, `__alloc_pages_direct_reclaim`,
//! `__alloc_pages_direct_compact`, `__alloc_pages_may_oom`, `__alloc_pages_cpuset_fallback` (v5.0).
//! The steps are those of spec 3.8, S1 to S21. What differs:
//! - A process has no OOM killer. Where the kernel would kill, a request waits for somebody to free
//!   memory, until its deadline; where the kernel would give up, it is refused.
//! - A node mask is never dropped.
//! - Before any refusal every cache is emptied, reserved blocks are opened, and the attempt is
//!   repeated.

use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Duration;

use super::overseer::{Distress, End};
use super::retry::Rounds;
use super::{Allocator, Request, scope};
use crate::compact::{CompactPriority, CompactResult};
use crate::diagnosis::{Outcome, Tried};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::{Granted, Shortage, Walk};
use crate::psi::Stall;
use crate::sync::clock::{self, Instant};
use crate::sync::thread;
use crate::types::{GroupId, NodeMask, Order, ZoneType};
use crate::zone::Zone;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::{AllocFlags, Mark};

/// One request on the slow path.
pub(super) struct SlowPath<'a> {
    allocator: &'a Allocator<'a>,
    request: Request,
    deadline: Option<Instant>,
    flags: AllocFlags,
    rounds: Rounds,
    compact_result: CompactResult,
    begin: Instant,
    tried: Tried,
}

/// A request that must not fail waits at least so long before it looks around again and says that it
/// waits: in a pool whose default deadline is shorter it would do nothing else.
const MIN_NOFAIL_WAIT: Duration = Duration::from_millis(100);

/// How long a request waits for others before it reclaims anew.
const RECLAIM_AGAIN: Duration = Duration::from_millis(50);

/// What to do after a step that found nothing.
enum Next {
    /// Another round.
    Retry,
    /// No more rounds.
    GiveUp,
}

impl<'a> SlowPath<'a> {
    pub(super) fn new(allocator: &'a Allocator<'a>, request: Request) -> SlowPath<'a> {
        let begin = clock::now();
        SlowPath {
            allocator,
            request,
            begin,
            tried: Tried::default(),
            deadline: begin.checked_add(request.patience),
            flags: slow_flags(&request),
            rounds: Rounds::START,
            compact_result: CompactResult::Skipped,
        }
    }

    /// Goes on until there is a block, or nothing left to try.
    #[cold]
    pub(super) fn run(mut self) -> Result<Granted, AllocError> {
        self.count(VmEvent::SlowpathEntries);
        if self.is_in_vain() {
            return Err(self.refuse(AllocError::Thrashing));
        }
        let granted = match self.search() {
            Some(granted) => granted,
            None => {
                if !self.request.has(Gfp::DIRECT_RECLAIM) && self.request.has(Gfp::KSWAPD_RECLAIM) {
                    self.allocator.nodes.see_to_threads(&self.request.walk);
                }
                return Err(self.refuse(self.error()));
            }
        };
        // What it waited for in the end is known to nobody: the state of the zones now says most.
        self.report(Outcome::Late, || self.error());
        Ok(granted)
    }

    /// Whether what it got would be taken from what is needed at once. Not asked for what must come back:
    /// that is needed itself.
    fn is_in_vain(&self) -> bool {
        let may_fail = self.request.has(Gfp::DIRECT_RECLAIM)
            && !self.request.has(Gfp::NOFAIL)
            && !self.request.returns
            && !scope::is_memalloc();
        let overseer = self.allocator.overseer.filter(|_| may_fail);
        overseer.is_some_and(|overseer| overseer.is_thrashing(self.request.group))
    }

    fn search(&mut self) -> Option<Granted> {
        loop {
            let cookie = self.allocator.nodes.zonelist_sequence();
            if let Break(granted) = self.rounds() {
                return Some(granted);
            }
            // Zones may have come or gone while we looked: then the answer may be another.
            if self.allocator.nodes.zonelists_are_current(cookie) {
                break;
            }
            // Whoever writes the lists anew may have been stopped in the middle of it. Also for a request that must not
            // wait: it would go round and round instead.
            thread::yield_now();
            self.rounds = Rounds::START;
        }
        self.last_resort()
    }

    /// S4 to S17: rounds of walking, compacting and reclaiming.
    fn rounds(&mut self) -> ControlFlow<Granted> {
        self.wake_kswapds();
        found(self.walk())?;
        self.compact_early()?;
        if self.is_put_off() {
            return Continue(());
        }
        loop {
            self.tried.rounds += 1;
            self.wake_kswapds();
            self.take_reserve_rights();
            found(self.walk())?;
            if !self.request.has(Gfp::DIRECT_RECLAIM) || scope::is_memalloc() {
                return Continue(());
            }
            let progress = self.reclaim()?;
            self.compact(self.rounds.priority)?;
            match self.next_round(progress) {
                Next::Retry if !self.is_late() => thread::yield_now(),
                Next::Retry | Next::GiveUp => return Continue(()),
            }
        }
    }

    /// S4, S7: each round wakes the reclaimers again, which also repairs what an earlier one missed.
    fn wake_kswapds(&self) {
        if self.request.has(Gfp::KSWAPD_RECLAIM) {
            self.allocator
                .nodes
                .wake_all_kswapds(&self.request.walk, self.request.gfp);
        }
    }

    /// S8: rights to the reserves replace everything but the right to wake.
    fn take_reserve_rights(&mut self) {
        if may_ignore_marks(&self.request) {
            self.flags = AllocFlags::NO_WATERMARKS | self.flags & AllocFlags::KSWAPD;
        }
    }

    fn walk(&self) -> Option<Granted> {
        self.walk_with(self.flags)
    }

    fn walk_with(&self, flags: AllocFlags) -> Option<Granted> {
        self.allocator
            .nodes
            .walk(&self.request.walk, flags, self.request.gfp)
    }

    /// S6: a costly request, and any large one that cannot be moved, compacts before it reclaims:
    /// memory in pieces is the likelier trouble, and moving is cheaper than reclaiming.
    fn compact_early(&mut self) -> ControlFlow<Granted> {
        let order = self.request.order();
        let first = order.is_costly() || !self.request.has(Gfp::MOVABLE);
        let may = self.request.has(Gfp::DIRECT_RECLAIM)
            && !may_ignore_marks(&self.request)
            && !scope::is_memalloc();
        if order == Order::ZERO || !first || !may {
            return Continue(());
        }
        self.compact(CompactPriority::Async)?;
        if order.is_costly() && self.request.has(Gfp::NORETRY) {
            self.rounds.priority = CompactPriority::Async;
        }
        Continue(())
    }

    /// S6: compaction for costly orders has been failing lately, and the request does not want to
    /// reclaim much: nothing but luck would help it.
    fn is_put_off(&self) -> bool {
        self.request.order().is_costly()
            && self.request.has(Gfp::NORETRY)
            && self.allocator.compactor.is_some()
            && !self.compact_result.ran()
    }

    /// S12: reclaims, and looks again; what was freed may wait in caches or in reserved blocks.
    fn reclaim(&mut self) -> ControlFlow<Granted, bool> {
        let Some(reclaimer) = self.allocator.reclaimer.filter(|_| !scope::is_exempt()) else {
            return Continue(false);
        };
        self.count(match self.request.walk.class {
            ZoneType::Dma => VmEvent::AllocstallDma,
            ZoneType::Normal => VmEvent::AllocstallNormal,
            ZoneType::Movable => VmEvent::AllocstallMovable,
        });
        let freed = {
            let _stall = self.stall();
            let _memalloc = scope::enter(scope::ScopeKind::Memalloc);
            reclaimer.reclaim(&self.request, self.deadline)
        };
        self.tried.reclaims += 1;
        self.tried.reclaimed_pages += freed as u64;
        if freed == 0 {
            return Continue(false);
        }
        found(self.walk())?;
        self.unreserve_highatomic(false);
        self.tried.drains += 1;
        self.allocator.nodes.drain_all();
        found(self.walk())?;
        Continue(true)
    }

    /// S13: compacts, and looks again.
    fn compact(&mut self, priority: CompactPriority) -> ControlFlow<Granted> {
        let Some(compactor) = self.allocator.compactor else {
            return Continue(());
        };
        // Moving needs what I/O needs: a request that may not do I/O may not compact either.
        if self.request.order() == Order::ZERO || !self.request.has(Gfp::IO) {
            return Continue(());
        }
        let run = {
            let _stall = self.stall();
            let _memalloc = scope::enter(scope::ScopeKind::Memalloc);
            compactor.compact(&self.request, self.flags, priority, self.deadline)
        };
        self.compact_result = run.result;
        if !self.compact_result.ran() {
            return Continue(());
        }
        self.count(VmEvent::CompactStall);
        self.tried.compactions += 1;
        self.tried.last_compaction = Some(self.compact_result.name());
        let captured = run.captured.map(|taken| Granted {
            taken,
            from_reserve: false,
        });
        match captured.or_else(|| self.walk()) {
            Some(granted) => {
                self.count(VmEvent::CompactSuccess);
                let nodes = self.allocator.nodes;
                let pfn = granted.taken.pfn();
                if let Some(zone) = nodes.node(pfn.node()).zone_of(pfn) {
                    compactor.note_success(&self.request, zone);
                }
                Break(granted)
            }
            None => {
                self.count(VmEvent::CompactFail);
                Continue(())
            }
        }
    }

    /// S14 to S17: whether another round may help.
    fn next_round(&mut self, progress: bool) -> Next {
        let order = self.request.order();
        let costly_once =
            self.request.is_content_with_one_try() && !self.request.has(Gfp::RETRY_MAYFAIL);
        if self.request.has(Gfp::NORETRY) || costly_once {
            return Next::GiveUp;
        }
        if self.rounds.after_reclaim(order, progress) && self.would_pass_if_reclaimed() {
            return Next::Retry;
        }
        if progress && self.compaction_may_help() {
            return Next::Retry;
        }
        // One more round if that opens reserved blocks.
        if self.unreserve_highatomic(true) {
            Next::Retry
        } else {
            Next::GiveUp
        }
    }

    /// S17: whether to compact again, or, where nobody compacts, to reclaim until neighbours are free:
    /// worth it for small orders as long as single pages could be had (spec 3.14).
    fn compaction_may_help(&mut self) -> bool {
        let (request, order) = (self.request, self.request.order());
        match self.allocator.compactor.filter(|_| request.has(Gfp::IO)) {
            Some(compactor) => {
                let flags = self.flags;
                let would_help = || compactor.would_help(&request, flags);
                self.rounds
                    .after_compaction(order, self.compact_result, would_help)
            }
            None => {
                let Walk { class, .. } = request.walk;
                let has_pages = |zone: &Zone| zone.check(Order::ZERO, class, self.flags).passes();
                order > Order::ZERO
                    && !order.is_costly()
                    && self.allocator.nodes.eligible(&request.walk).any(has_pages)
            }
        }
    }

    /// Whether the minimum would hold in some zone if all that can be reclaimed were (spec 3.13).
    fn would_pass_if_reclaimed(&self) -> bool {
        let Some(reclaimer) = self.allocator.reclaimer else {
            return false;
        };
        self.allocator
            .nodes
            .eligible(&self.request.walk)
            .any(|zone| {
                let reclaimable = reclaimer.reclaimable_pages(zone);
                let Walk { order, class, .. } = self.request.walk;
                let passes = reclaimable > 0
                    && zone
                        .check_with(reclaimable, order, class, self.flags)
                        .passes();
                self.trace_retry(zone, reclaimable, passes);
                passes
            })
    }

    /// The kernel's `reclaim_retry_zone`.
    fn trace_retry(&self, zone: &Zone, reclaimable: usize, passes: bool) {
        tracing::event!(
            name: "reclaim_retry_zone",
            target: "pagepool::vmscan",
            tracing::Level::TRACE,
            node = zone.node().get(),
            zone_idx = zone.zone_type().idx(),
            order = self.request.order().get(),
            reclaimable,
            available = reclaimable + zone.free_pages(),
            min_wmark = zone.mark(Mark::Min),
            no_progress_loops = self.rounds.no_progress,
            wmark_check = passes,
        );
    }

    /// Opens a reserved pageblock of a zone that the request may use; returns whether there was one.
    fn unreserve_highatomic(&self, force: bool) -> bool {
        let Walk { want, order, .. } = self.request.walk;
        let nodes = self.allocator.nodes;
        let opened = nodes
            .eligible(&self.request.walk)
            .any(|zone| zone.unreserve_highatomic(want, order, force));
        if opened {
            // There may be more in it than we need.
            nodes.freed().wake_all();
        }
        opened
    }

    /// S18 to S21 and beyond: puts back everything that is kept aside, then waits for others if the
    /// request may.
    fn last_resort(&mut self) -> Option<Granted> {
        if let Some(granted) = self.gather_and_walk() {
            self.count(VmEvent::DrainRescues);
            return Some(granted);
        }
        if !self.request.has(Gfp::DIRECT_RECLAIM) || scope::is_memalloc() {
            return None;
        }
        if self.request.has(Gfp::NOFAIL) {
            return Some(self.wait_without_deadline());
        }
        let waited = if self.waits_for_others() {
            self.wait_for_others()
        } else {
            self.wait_for_withdrawn()
        };
        // What was set aside while we slept counts as well.
        waited.or_else(|| self.gather_and_walk())
    }

    /// A3: looks once more after everything that is kept aside was put back: the caches of all CPUs,
    /// boosts, which are wishes, and, for those who need it badly, the urgent reserve.
    fn gather_and_walk(&mut self) -> Option<Granted> {
        let nodes = self.allocator.nodes;
        self.tried.drains += 1;
        // After whoever drains already: at this point to be late is better than to miss a page.
        nodes.drain_all_and_synchronize();
        let zones = nodes.eligible(&self.request.walk);
        if zones.filter(|zone| zone.forgo_boost()).count() > 0 {
            nodes.freed().wake_all();
        }
        if let Some(granted) = self.walk() {
            return Some(granted);
        }
        // The urgent reserve is not for requests that would rather do without than wait.
        if self.request.gfp.intersects(Gfp::DIRECT_RECLAIM | Gfp::HIGH) {
            while self.unreserve_highatomic(true) {
                if let Some(granted) = self.walk() {
                    return Some(granted);
                }
            }
        }
        None
    }

    /// Whether this is a request for which the kernel would kill (spec 3.15): then it waits here.
    fn waits_for_others(&self) -> bool {
        let gives_up = Gfp::NORETRY | Gfp::RETRY_MAYFAIL | Gfp::THISNODE;
        !self.request.is_content_with_one_try()
            && !self.request.gfp.intersects(gives_up)
            && self.request.walk.class >= ZoneType::Normal
    }

    /// Waits for somebody to free memory. Now and then reclaims anew, since what could not leave memory may
    /// have become able to: nobody is told when a pin goes.
    fn wait_for_others(&mut self) -> Option<Granted> {
        if self.allocator.reclaimer.is_none() {
            return self.wait_until(self.deadline, || false);
        }
        loop {
            if let Some(granted) = self.call_for_help() {
                return Some(granted);
            }
            let soon = clock::deadline_after(RECLAIM_AGAIN);
            let soon = [soon, self.deadline].into_iter().flatten().min();
            if let Some(granted) = self.wait_until(soon, || false) {
                return Some(granted);
            }
            if self.is_late() {
                return None;
            }
            self.rounds = Rounds::START;
            if let Break(granted) = self.rounds() {
                return Some(granted);
            }
        }
    }

    /// Has others give memory up (kernel: `__alloc_pages_may_oom`).
    fn call_for_help(&mut self) -> Option<Granted> {
        let overseer = self.allocator.overseer.filter(|_| !scope::is_exempt())?;
        self.tried.last_resorts += 1;
        let distress = Distress {
            cause: self.error(),
            within: GroupId::ROOT,
            group: self.request.group,
            order: self.request.order(),
            gfp: self.request.gfp,
            deadline: self.deadline,
        };
        let helped = {
            let _stall = self.stall();
            overseer.relieve(&distress)
        };
        helped.then(|| self.gather_and_walk()).flatten()
    }

    /// Waits on the queue of freed memory, until there is a block, the deadline passes, or it is `vain`
    /// to wait on.
    fn wait_until(
        &mut self,
        deadline: Option<Instant>,
        vain: impl Fn() -> bool,
    ) -> Option<Granted> {
        self.count(VmEvent::FreedWaits);
        let _stall = self.stall();
        self.tried.waits += 1;
        let mut granted = None;
        let mut on_queue = false;
        self.allocator.nodes.freed().wait_until(deadline, || {
            // The first look comes before we are on the queue, and we have just looked.
            if !std::mem::replace(&mut on_queue, true) {
                return false;
            }
            // Whoever frees next will see us, and we see what was freed before.
            self.allocator.nodes.drain_all_and_synchronize();
            granted = self.walk();
            granted.is_some() || vain()
        });
        granted
    }

    /// Waits for blocks whose memory is just being given back to the system: they are free, and will
    /// be there again in a moment.
    fn wait_for_withdrawn(&mut self) -> Option<Granted> {
        let nodes = self.allocator.nodes;
        let walk = self.request.walk;
        let on_their_way = || nodes.eligible(&walk).any(Zone::has_withdrawn);
        if on_their_way() {
            self.wait_until(self.deadline, || !on_their_way())
        } else {
            None
        }
    }

    /// A request that must not fail: it may go deeper into the reserve, and says so when it is late.
    /// Each time it reclaims and compacts anew, since what could not be freed may have become so.
    fn wait_without_deadline(&mut self) -> Granted {
        self.flags |= AllocFlags::HARDER;
        let patience = self.allocator.patience.max(MIN_NOFAIL_WAIT);
        loop {
            if let Some(granted) = self.call_for_help() {
                return granted;
            }
            if let Some(granted) = self.wait_until(clock::deadline_after(patience), || false) {
                return granted;
            }
            tracing::warn!(
                target: "pagepool::alloc",
                order = self.request.order().get(),
                gfp = ?self.request.gfp,
                cause = self.error().cause(),
                "a request that must not fail is still waiting for memory to be freed"
            );
            self.rounds = Rounds::START;
            self.deadline = clock::deadline_after(patience);
            if let Break(granted) = self.rounds() {
                return granted;
            }
        }
    }

    /// From now until the result is dropped the request waits for memory, of the node that it prefers.
    fn stall(&self) -> Stall<'a> {
        self.allocator
            .stall(self.request.walk.preferred, self.request.group)
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| clock::now() >= deadline)
    }

    /// Says why, and counts it.
    fn refuse(&self, error: AllocError) -> AllocError {
        self.count(VmEvent::Refusals);
        self.report(Outcome::Refused, || error);
        if !self.request.has(Gfp::NOWARN) {
            tracing::debug!(
                target: "pagepool::alloc",
                order = self.request.order().get(),
                gfp = ?self.request.gfp,
                cause = error.cause(),
                remedy = error.remedy(),
                "allocation refused"
            );
        }
        error
    }

    fn report(&self, outcome: Outcome, cause: impl FnOnce() -> AllocError) {
        let Walk {
            order, class, mask, ..
        } = self.request.walk;
        let end = End {
            outcome,
            order,
            class,
            nodes: mask,
            gfp: self.request.gfp,
            group: self.request.group,
            begin: self.begin,
            tried: self.tried,
        };
        self.allocator.report_end(end, cause);
    }

    /// Why the request found nothing. If nodes outside its mask could serve it, that is the reason.
    fn error(&self) -> AllocError {
        let nodes = self.allocator.nodes;
        let anywhere = Walk {
            mask: NodeMask::ALL,
            ..self.request.walk
        };
        let masked = self.request.walk.mask != NodeMask::ALL
            && !self.request.has(Gfp::THISNODE)
            && nodes.shortage(&anywhere, self.flags).is_none();
        match nodes.shortage(&self.request.walk, self.flags) {
            _ if masked => AllocError::NodeMask,
            Some(Shortage::Fragmented) => AllocError::Fragmented,
            Some(Shortage::Reserved) => AllocError::LowmemReserve,
            Some(Shortage::NoZone) => AllocError::NeverFits,
            // Something was freed since: short all the same when it counted.
            Some(Shortage::BelowMark) | None => self.obstacle().unwrap_or(AllocError::BelowMin),
        }
    }

    /// What stood in the way of those who reclaimed for this request.
    fn obstacle(&self) -> Option<AllocError> {
        let may_reclaim = self.request.has(Gfp::DIRECT_RECLAIM) && !scope::is_memalloc();
        let reclaimer = self.allocator.reclaimer.filter(|_| may_reclaim)?;
        reclaimer.obstacle(&self.request)
    }

    fn count(&self, event: VmEvent) {
        self.allocator.nodes.events().count(event);
    }
}

/// S2: how far the request may go on the slow path.
fn slow_flags(request: &Request) -> AllocFlags {
    let mut flags = AllocFlags::empty();
    flags.set(AllocFlags::HIGH, request.has(Gfp::HIGH));
    flags.set(
        AllocFlags::HARDER,
        request.has(Gfp::HARDER) && !request.has(Gfp::NOMEMALLOC),
    );
    flags.set(AllocFlags::KSWAPD, request.has(Gfp::KSWAPD_RECLAIM));
    flags
}

/// Whether the marks may be ignored (spec 3.9).
fn may_ignore_marks(request: &Request) -> bool {
    !request.has(Gfp::NOMEMALLOC) && (request.has(Gfp::MEMALLOC) || scope::is_memalloc())
}

/// A block ends the search.
fn found(granted: Option<Granted>) -> ControlFlow<Granted> {
    granted.map_or(Continue(()), Break)
}
