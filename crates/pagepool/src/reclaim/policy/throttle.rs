//! When a thread that reclaims should not isolate more, since others have so much in hand (spec 5.3, 9.8).
//!
//! *Kernel counterpart:* `too_many_isolated` (v5.0); of `reclaim_throttle` (later) the time, for the one
//! reason that there is here: whoever reclaims waits for its own writes, and no store reports congestion.
//!
//! When a thread must wait before it reclaims at all is in [`node::throttle`](crate::node::throttle).

use std::time::Duration;

use crate::reclaim::Who;

/// How long one waits for isolated folios that come back (kernel: `VMSCAN_THROTTLE_ISOLATED`).
pub(crate) const ISOLATED_WAIT: Duration = Duration::from_millis(20);

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
