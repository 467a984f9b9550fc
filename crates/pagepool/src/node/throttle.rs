//! Threads that must not reclaim yet: when the reserve is half gone, they wait for the background
//! reclaimer instead of eating the rest.
//!
//! *Kernel counterpart:* `allow_direct_reclaim`, `throttle_direct_reclaim`, `pfmemalloc_wait` (v5.0).
//!
//! ```text
//! thread                                        background reclaimer, about to sleep
//! ──────                                        ────────────────────────────────────
//! enqueue on the node's `pfmemalloc`            enqueue on its own queue
//! barriers                                      barriers
//! may it reclaim? done                          anything asked? then do not sleep
//! post a request for its class                  wake everybody on `pfmemalloc`
//! the reclaimer sleeps? wake it                 balanced, or hopeless? sleep
//! ```
//!
//! Either the thread sees the reclaimer on its queue, or the reclaimer sees the thread on `pfmemalloc`.
//!
//! **Invariants**
//! - T1: whenever the reclaimer may sleep, threads may reclaim: what is balanced for a thread's class at
//!   order 0, hopeless, or without a reclaimer never throttles (spec 9.7). v5.0 judges the two by
//!   different zones and counts, and threads could wait for ever.
//! - T2: nobody waits longer than until its deadline, and without the right to call backings a second
//!   at most, since it may hold locks that the reclaimer needs.
//!
//! Differences from v5.0: exact counts; a zone without reclaimable pages is passed over only if it has
//! free pages; what a waiter asks of the reclaimer is recorded as a request of its own class and cannot
//! lower another's.

use std::time::Duration;

use super::{DaemonPost, DaemonState, Node, Nodes, StartBy, Walk};
use crate::gfp::Gfp;
use crate::node::identity;
use crate::sync::WaitQueue;
use crate::sync::clock::{self, Instant};
use crate::types::{Order, ZoneType};
use crate::zone::Zone;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::Mark;

/// How long a thread waits that may hold locks of a backing (kernel: `HZ`).
const WAIT_WITHOUT_FS: Duration = Duration::from_secs(1);

/// What reclaim may free of a zone, exactly.
pub(crate) type Reclaimable<'a> = &'a dyn Fn(&Zone) -> usize;

/// Whether a thread had to wait before it reclaims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Throttled {
    /// It did not.
    No,
    /// It did, and may reclaim now.
    Released,
    /// It did, until its time was up.
    TimedOut,
}

/// What the predicate needs to know of a zone.
#[derive(Clone, Copy, Debug)]
struct Reserve {
    min: usize,
    free: usize,
    reclaimable: usize,
}

/// Whether at least half of the reserves of these zones is free. A zone from which nothing can be
/// reclaimed says nothing about the reclaimer, unless it is empty.
fn is_half_full(zones: impl Iterator<Item = Reserve>) -> bool {
    let counted = zones.filter(|zone| zone.reclaimable > 0 || zone.free == 0);
    let (reserve, free) = counted.fold((0, 0), |(reserve, free), zone| {
        (reserve + zone.min, free + zone.free)
    });
    reserve == 0 || free > reserve / 2
}

impl Node {
    /// The queue of those who wait to reclaim.
    pub(crate) fn pfmemalloc(&self) -> &WaitQueue {
        &self.pfmemalloc
    }

    /// Whether a thread whose request is of `class` may reclaim (spec 3.12, 9.7).
    pub(crate) fn allow_direct_reclaim(
        &self,
        class: ZoneType,
        reclaimable: Reclaimable<'_>,
    ) -> bool {
        let reserve = |zone: &Zone| Reserve {
            min: zone.mark(Mark::Min),
            free: zone.free_pages(),
            reclaimable: reclaimable(zone),
        };
        self.kswapd.state() != DaemonState::Running
            || self.is_hopeless()
            || is_half_full(self.managed_up_to(ZoneType::Normal).map(reserve))
            || self.is_balanced(Order::ZERO, class)
    }

    /// Wakes those who wait to reclaim, if one of them may.
    pub(crate) fn release_throttled(&self, reclaimable: Reclaimable<'_>) {
        release(&self.pfmemalloc, || {
            [ZoneType::Dma, ZoneType::Normal]
                .into_iter()
                .any(|class| self.allow_direct_reclaim(class, reclaimable))
        });
    }
}

impl Nodes {
    /// Lets a thread wait, before it reclaims, until the node that it would take from first has half of
    /// its reserve free. Daemons never wait here: they may be the ones that free.
    pub(crate) fn throttle_direct_reclaim(
        &self,
        walk: &Walk,
        gfp: Gfp,
        deadline: Option<Instant>,
        reclaimable: Reclaimable<'_>,
    ) -> Throttled {
        let below_movable = |zone: &&Zone| zone.zone_type() <= ZoneType::Normal;
        let Some(zone) = self.eligible(walk).find(below_movable) else {
            return Throttled::No;
        };
        let node = self.node(zone.node());
        let class = walk.class.min(ZoneType::Normal);
        let may_reclaim = || node.allow_direct_reclaim(class, reclaimable);
        if identity::is_daemon() || may_reclaim() {
            return Throttled::No;
        }

        self.events.count(VmEvent::PgscanDirectThrottle);
        let deadline = wait_at_most(gfp, deadline);
        wait(&node.pfmemalloc, &node.kswapd, class, deadline, || {
            let may = may_reclaim();
            if !may {
                self.events.count(VmEvent::KswapdPosts);
            }
            may
        })
    }
}

/// Waits until the thread may reclaim; asks the reclaimer each time that it may not.
pub(crate) fn wait(
    pfmemalloc: &WaitQueue,
    kswapd: &DaemonPost,
    class: ZoneType,
    deadline: Option<Instant>,
    may_reclaim: impl Fn() -> bool,
) -> Throttled {
    let released = pfmemalloc.wait_until(deadline, || {
        may_reclaim() || {
            // Not balanced for this class, by T1: worth recording.
            // It runs, or nobody would be throttled.
            kswapd.post(class, Order::ZERO, StartBy::Another);
            false
        }
    });
    if released {
        Throttled::Released
    } else {
        Throttled::TimedOut
    }
}

/// Wakes those who wait to reclaim, if there are any and one of them may.
pub(crate) fn release(pfmemalloc: &WaitQueue, may_reclaim: impl FnOnce() -> bool) {
    if pfmemalloc.has_sleeper() && may_reclaim() {
        pfmemalloc.wake_published();
    }
}

/// Until when a thread waits (T2).
fn wait_at_most(gfp: Gfp, deadline: Option<Instant>) -> Option<Instant> {
    if gfp.contains(Gfp::FS) {
        return deadline;
    }
    let second = clock::deadline_after(WAIT_WITHOUT_FS);
    match (second, deadline) {
        (Some(second), Some(deadline)) => Some(second.min(deadline)),
        (one, other) => one.or(other),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::node::fixture::{nodes, walk_at};
    use crate::types::NodeId;
    use crate::zone::watermark::AllocFlags;

    fn reserve(min: usize, free: usize, reclaimable: usize) -> Reserve {
        Reserve {
            min,
            free,
            reclaimable,
        }
    }

    #[track_caller]
    fn assert_half_full(expected: bool, zones: &[Reserve]) {
        assert_eq!(is_half_full(zones.iter().copied()), expected, "{zones:?}");
    }

    #[test]
    fn more_than_half_of_the_minimum_must_be_free() {
        assert_half_full(false, &[reserve(100, 50, 1)]);
        assert_half_full(true, &[reserve(100, 51, 1)]);
        assert_half_full(true, &[reserve(100, 0, 1), reserve(100, 101, 1)]);
    }

    #[test]
    fn erratum_8_a_zone_without_reclaimable_pages_is_passed_over_if_it_has_free_ones() {
        assert_half_full(false, &[reserve(100, 10, 1), reserve(10, 1000, 0)]);
        assert_half_full(true, &[reserve(100, 90, 1), reserve(1000, 1, 0)]);
        assert_half_full(false, &[reserve(100, 90, 1), reserve(1000, 0, 0)]);
    }

    #[test]
    fn erratum_8_without_a_reserve_nobody_is_throttled() {
        assert_half_full(true, &[]);
        assert_half_full(true, &[reserve(0, 0, 1)]);
    }

    /// A node of 64 pages with a minimum of 16, all taken but `left`, and a reclaimer.
    fn short_of_memory(left: usize) -> Nodes {
        let nodes = nodes(&[[0, 64, 0]], 16);
        for _ in left..64 {
            let none = AllocFlags::NO_WATERMARKS;
            let _granted = nodes.walk(&walk_at(0, 0), none, Gfp::empty()).unwrap();
        }
        nodes.node(NodeId::at(0)).kswapd.control().begin();
        nodes
    }

    fn throttle(nodes: &Nodes, gfp: Gfp) -> (Throttled, u64) {
        let soon = clock::deadline_after(Duration::from_millis(5));
        let outcome = nodes.throttle_direct_reclaim(&walk_at(0, 0), gfp, soon, &|_| 1);
        (outcome, nodes.counted(VmEvent::PgscanDirectThrottle))
    }

    #[test]
    fn erratum_8_a_thread_waits_when_half_the_reserve_is_gone_and_asks_the_reclaimer() {
        let nodes = short_of_memory(8);
        assert_eq!(throttle(&nodes, Gfp::KERNEL), (Throttled::TimedOut, 1));
        assert_eq!(nodes.asked(0).0, [(ZoneType::Normal.idx(), 0)]);
        let nodes = short_of_memory(9);
        assert_eq!(throttle(&nodes, Gfp::KERNEL), (Throttled::No, 0));
    }

    #[test]
    fn erratum_8_nobody_waits_for_a_reclaimer_that_is_hopeless_or_gone() {
        let nodes = short_of_memory(0);
        let post = &nodes.node(NodeId::at(0)).kswapd;
        post.set_failures(16);
        assert_eq!(throttle(&nodes, Gfp::KERNEL).0, Throttled::No);
        post.set_failures(0);
        assert_eq!(throttle(&nodes, Gfp::KERNEL).0, Throttled::TimedOut);
        post.control()
            .end(crate::node::daemon_control::Ending::Dead);
        assert_eq!(throttle(&nodes, Gfp::KERNEL).0, Throttled::No);
    }

    #[test]
    fn daemons_are_never_throttled() {
        let nodes = short_of_memory(0);
        let _duty = identity::OnDuty::begin(&nodes);
        assert_eq!(throttle(&nodes, Gfp::KERNEL).0, Throttled::No);
    }

    /// 9.7: the reclaimer sleeps, content with the DMA zone; the thread waited for both zones' minimum.
    #[test]
    fn what_lets_the_reclaimer_sleep_lets_threads_reclaim() {
        let nodes = nodes(&[[64, 640, 0]], 176);
        let exhaust = |zone: ZoneType| {
            let request = crate::zone::ZoneRequest {
                order: Order::ZERO,
                want: crate::types::Migratetype::Unmovable,
                flags: AllocFlags::NO_WATERMARKS,
            };
            let zone = nodes.node(NodeId::at(0)).zone(zone);
            while zone.take(request).is_some() {}
        };
        exhaust(ZoneType::Normal);
        let node = nodes.node(NodeId::at(0));
        node.kswapd.control().begin();
        assert!(!is_half_full(node.managed_up_to(ZoneType::Normal).map(
            |zone| reserve(zone.mark(Mark::Min), zone.free_pages(), 1)
        )));
        assert!(node.is_balanced(Order::ZERO, ZoneType::Normal));
        assert!(node.allow_direct_reclaim(ZoneType::Normal, &|_| 1));
        exhaust(ZoneType::Dma);
        assert!(!node.allow_direct_reclaim(ZoneType::Normal, &|_| 1));
    }

    #[test]
    fn without_the_right_to_call_backings_the_wait_is_a_second() {
        let hour = clock::deadline_after(Duration::from_secs(3600));
        let soon = clock::deadline_after(Duration::from_millis(1));
        let second = clock::deadline_after(Duration::from_secs(2));
        assert_eq!(wait_at_most(Gfp::KERNEL, hour), hour);
        assert_eq!(wait_at_most(Gfp::KERNEL, None), None);
        assert!(wait_at_most(Gfp::NOFS, hour) < second);
        assert!(wait_at_most(Gfp::NOFS, None) < second);
        assert_eq!(wait_at_most(Gfp::NOFS, soon), soon);
    }

    #[test]
    fn a_throttled_thread_is_released_once_there_is_memory() {
        let nodes = short_of_memory(0);
        let node = nodes.node(NodeId::at(0));
        std::thread::scope(|scope| {
            let waiter = scope
                .spawn(|| nodes.throttle_direct_reclaim(&walk_at(0, 0), Gfp::KERNEL, None, &|_| 1));
            while !node.pfmemalloc().has_sleeper() {
                std::thread::yield_now();
            }
            for page in 0..9 {
                node.release_throttled(&|_| 1);
                assert!(!waiter.is_finished() || page > 8);
                nodes.give(crate::types::Pfn::new(node.id(), page), 0);
            }
            // As the reclaimer does after each pass; the thread may be off its queue for a moment.
            while !waiter.is_finished() {
                node.release_throttled(&|_| 1);
                std::thread::yield_now();
            }
            assert_eq!(waiter.join().unwrap(), Throttled::Released);
        });
    }
}
