//! When a thread must wait before, or while, it reclaims for itself (spec 3.12, 5.3, 9.7, 9.8).
//!
//! *Kernel counterpart:* `allow_direct_reclaim`, `too_many_isolated` (v5.0); `reclaim_throttle` (later).
//!
//! **Invariants**
//! - T1: if the background reclaimer may sleep, nobody waits for it: where a node is balanced for a class
//!   of zones, without zones up to it, or hopeless, [`allow_direct_reclaim`] says yes. In v5.0 a node can
//!   be balanced through one small zone while the others together are below half of their minimum; who is
//!   throttled then waits for a thread that sleeps. One zone above its high mark therefore suffices, as
//!   it does for the reclaimer.
//! - T2: both predicates are given exact counts and the class of the one who waits.
//!
//! Where we differ further: a waiter's own class bounds the zones (v5.0: always Normal), and that the
//! reclaimer is asked when somebody must wait is left to the caller, who posts a request.
//!
//! A zone without reclaimable pages counts as long as it has free pages: it may be the one through which
//! the node is balanced. Without either it is left out, since its minimum is missing for ever.

use std::time::Duration;

use crate::reclaim::Who;
use crate::reclaim::control::SWAP_CLUSTER_MAX;

/// What is known of a zone, exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ZoneFacts {
    /// Pages in service.
    pub(crate) managed: usize,
    /// Pages that reclaim might free.
    pub(crate) reclaimable: usize,
    /// Free pages.
    pub(crate) free: usize,
    /// The minimum.
    pub(crate) min: usize,
    /// The high mark, without what is kept back for lower classes.
    pub(crate) high: usize,
}

impl ZoneFacts {
    fn counts(&self) -> bool {
        self.managed > 0 && (self.reclaimable > 0 || self.free > 0)
    }
}

/// What the node's background reclaimer is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kswapd {
    /// It works, or will when it is asked.
    Helps,
    /// It gave up, or is not there.
    IsHopeless,
}

/// Whether a thread may reclaim for itself now, given the zones up to its class. If not, the background
/// reclaimer must be asked, and the thread waits for it: else many of them together would use up the
/// reserve that lets anyone reclaim at all.
pub(crate) fn allow_direct_reclaim(zones: &[ZoneFacts], kswapd: Kswapd) -> bool {
    if kswapd == Kswapd::IsHopeless {
        return true;
    }
    let counted = || zones.iter().filter(|zone| zone.counts());
    if counted().any(|zone| zone.free > zone.high) {
        return true;
    }
    let reserve: usize = counted().map(|zone| zone.min).sum();
    let free: usize = counted().map(|zone| zone.free).sum();
    reserve == 0 || free > reserve / 2
}

/// Longest wait of a throttled thread that may hold what the background reclaimer needs.
pub(crate) const THROTTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a thread's request allows it to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Powers {
    /// For any I/O, a user's backing included.
    Full,
    /// Not for all of it: others may wait for what this thread holds.
    Restricted,
}

/// Whether so many folios of a kind are isolated that a thread should wait before it isolates more.
/// Those of full powers stop at an eighth, so that they are not in the way of restricted ones that they
/// may come to need.
pub(crate) fn too_many_isolated(
    who: Who,
    powers: Powers,
    inactive: usize,
    isolated: usize,
) -> bool {
    match (who, powers) {
        (Who::Kswapd, _) => false,
        (Who::Direct | Who::Controller, Powers::Full) => isolated > inactive / 8,
        (Who::Direct | Who::Controller, Powers::Restricted) => isolated > inactive,
    }
}

/// What a reclaiming thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Reason {
    /// Pages being written: it has met so many that it goes round faster than the store.
    Writeback,
    /// Isolated folios that come back.
    Isolated,
    /// Others' progress, having had none.
    NoProgress,
    /// A store that is behind.
    Congested,
}

/// The kernel's unit of time, at 250 of them a second.
const TICK: Duration = Duration::from_millis(4);

impl Reason {
    /// All reasons.
    pub(crate) const ALL: [Reason; 4] = [
        Reason::Writeback,
        Reason::Isolated,
        Reason::NoProgress,
        Reason::Congested,
    ];

    /// The longest wait.
    pub(crate) const fn timeout(self) -> Duration {
        match self {
            Reason::Writeback => Duration::from_millis(100),
            Reason::Isolated => Duration::from_millis(20),
            Reason::NoProgress | Reason::Congested => TICK,
        }
    }
}

/// Whether enough was written since throttling began to let those go on that wait for it.
pub(crate) fn wrote_enough(written: usize, throttled: usize) -> bool {
    written > SWAP_CLUSTER_MAX * throttled
}

/// Whether a pass reclaimed so well that those go on that wait for progress.
pub(crate) fn is_efficient(scanned: usize, reclaimed: usize) -> bool {
    reclaimed > scanned / 8
}

/// What one knows who had no progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fruitless {
    /// The priority of the pass.
    pub(crate) priority: u8,
    /// Pages reclaimed in it.
    pub(crate) reclaimed: usize,
    /// What the background reclaimer is good for.
    pub(crate) kswapd: Kswapd,
    /// Pages of the node being written out.
    pub(crate) writeback: usize,
    /// Pages of the node that reclaim might free.
    pub(crate) reclaimable: usize,
}

impl Fruitless {
    /// Whether to wait for others' progress: only at the end of the rope, and only where it is to be
    /// expected. At the last priority of all there is nothing to wait for.
    pub(crate) fn should_wait(&self) -> bool {
        let is_written = 2 * self.writeback > self.reclaimable;
        self.priority == 1 && self.reclaimed == 0 && self.kswapd == Kswapd::Helps && is_written
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn zone(free: usize) -> ZoneFacts {
        ZoneFacts {
            managed: 10_000,
            reclaimable: 500,
            free,
            min: 100,
            high: 300,
        }
    }

    fn is_allowed(zones: &[ZoneFacts]) -> bool {
        allow_direct_reclaim(zones, Kswapd::Helps)
    }

    #[test]
    fn a_thread_waits_while_half_the_reserves_are_gone() {
        assert!(is_allowed(&[zone(51)]));
        assert!(!is_allowed(&[zone(50)]));
        assert!(!is_allowed(&[zone(0), zone(100)]));
        assert!(is_allowed(&[zone(0), zone(101)]), "zones count together");
    }

    #[test]
    fn nobody_waits_for_a_reclaimer_that_gave_up() {
        assert!(allow_direct_reclaim(&[zone(0)], Kswapd::IsHopeless));
    }

    #[test]
    fn nobody_waits_where_there_is_no_reserve() {
        assert!(is_allowed(&[]));
        let no_min = ZoneFacts { min: 0, ..zone(0) };
        assert!(is_allowed(&[no_min]));
        let unmanaged = ZoneFacts {
            managed: 0,
            ..zone(0)
        };
        assert!(is_allowed(&[unmanaged]));
    }

    #[test]
    fn a_zone_with_nothing_free_and_nothing_to_reclaim_is_left_out() {
        let spent = ZoneFacts {
            reclaimable: 0,
            min: 1000,
            ..zone(0)
        };
        assert!(is_allowed(&[spent]));
        assert!(is_allowed(&[zone(60), spent]));
    }

    /// A zone that had only raw blocks, hence nothing to reclaim, was above its high mark: the node was
    /// balanced through it and kswapd slept, while the test left it out, found the other zone empty, and
    /// made threads wait for that sleeper. Free pages count now whatever else is in the zone.
    #[test]
    fn free_pages_count_in_a_zone_with_nothing_to_reclaim() {
        let raw_only = ZoneFacts {
            reclaimable: 0,
            ..zone(301)
        };
        assert!(is_allowed(&[raw_only, zone(0)]));
    }

    #[test]
    fn one_small_balanced_zone_lets_everyone_pass() {
        let small = ZoneFacts {
            min: 10,
            high: 30,
            ..zone(31)
        };
        let large = ZoneFacts {
            min: 10_000,
            high: 30_000,
            ..zone(0)
        };
        assert!(is_allowed(&[small, large]), "kswapd would sleep");
    }

    #[test]
    fn the_background_reclaimer_is_never_held_up_by_isolated_folios() {
        assert!(!too_many_isolated(Who::Kswapd, Powers::Full, 0, 1000));
        for who in [Who::Direct, Who::Controller] {
            assert!(too_many_isolated(who, Powers::Full, 800, 101));
            assert!(!too_many_isolated(who, Powers::Full, 800, 100));
        }
    }

    #[test]
    fn restricted_threads_may_isolate_more_than_those_of_full_powers() {
        let is_stopped = |powers, isolated| too_many_isolated(Who::Direct, powers, 800, isolated);
        assert!(is_stopped(Powers::Full, 500) && !is_stopped(Powers::Restricted, 500));
        assert!(is_stopped(Powers::Restricted, 801));
    }

    #[test]
    fn every_wait_ends() {
        let timeouts = Reason::ALL.map(|reason| reason.timeout().as_millis());
        assert_eq!(timeouts, [100, 20, 4, 4]);
    }

    #[test]
    fn those_who_wait_for_writes_go_on_after_a_batch_for_each() {
        assert!(!wrote_enough(96, 3));
        assert!(wrote_enough(97, 3));
        assert!(!is_efficient(80, 10));
        assert!(is_efficient(80, 11));
        assert!(!is_efficient(0, 0));
    }

    #[test]
    fn waiting_for_progress_is_the_last_resort() {
        let last = Fruitless {
            priority: 1,
            reclaimed: 0,
            kswapd: Kswapd::Helps,
            writeback: 60,
            reclaimable: 100,
        };
        assert!(last.should_wait());
        let others = [
            Fruitless {
                priority: 2,
                ..last
            },
            Fruitless {
                priority: 0,
                ..last
            },
            Fruitless {
                reclaimed: 1,
                ..last
            },
            Fruitless {
                kswapd: Kswapd::IsHopeless,
                ..last
            },
            Fruitless {
                writeback: 50,
                ..last
            },
        ];
        for other in others {
            assert!(!other.should_wait(), "{other:?}");
        }
    }

    // ---- T1 ----

    /// A zone, and the pages that it keeps back from the class.
    fn any_zone() -> impl Strategy<Value = (ZoneFacts, usize)> {
        let pages = || prop_oneof![Just(0), 0..8_usize, 0..5000_usize];
        (pages(), pages(), pages(), pages(), pages(), pages()).prop_map(
            |(managed, reclaimable, free, min, gap, reserve)| {
                let facts = ZoneFacts {
                    managed: managed.max(free),
                    reclaimable,
                    free,
                    min,
                    high: min + 2 * gap,
                };
                (facts, reserve)
            },
        )
    }

    /// The background reclaimer's own test (spec 4.10), at order 0.
    fn is_balanced(zones: &[(ZoneFacts, usize)]) -> bool {
        let mut managed = zones.iter().filter(|(zone, _)| zone.managed > 0).peekable();
        managed.peek().is_none() || managed.any(|(zone, kept)| zone.free > zone.high + kept)
    }

    proptest! {
        #[test]
        fn whoever_waits_waits_for_a_reclaimer_that_must_not_sleep(
            zones in vec(any_zone(), 0..4),
            gave_up in any::<bool>(),
        ) {
            let kswapd = if gave_up { Kswapd::IsHopeless } else { Kswapd::Helps };
            let facts: Vec<_> = zones.iter().map(|(zone, _)| *zone).collect();
            let may_sleep = gave_up || is_balanced(&zones);
            prop_assert!(!may_sleep || allow_direct_reclaim(&facts, kswapd));
        }
    }
}
