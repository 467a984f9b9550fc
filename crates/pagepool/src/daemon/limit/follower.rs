//! When a limit is acted on, and when that is tried again (pure).
//!
//! | what came of it | the next attempt |
//! |---|---|
//! | met | when the limit changes |
//! | some of it | at once |
//! | nothing | after a quarter of a second, then half, and so on up to eight seconds; at once if the limit changes |
//! | somebody else was at it | with the next look |

use std::time::Duration;

use crate::sync::clock::Instant;

/// The time between two looks at the limit: a quarter of the second within which a cut is to be followed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The longest time between two attempts while something is missing.
const LONGEST: Duration = Duration::from_secs(8);

/// What came of an attempt to fit into a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fit {
    /// The pool has its share and no more.
    Met,
    /// It has come nearer.
    Nearer,
    /// It has not.
    Stuck,
    /// Somebody else was at it.
    Busy,
}

/// An attempt that is still to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Retry {
    at: Instant,
    /// The wait after it, should it be in vain.
    then: Duration,
}

/// What was acted on, and what is still to be done about it.
#[derive(Clone, Default, Debug)]
pub(super) struct Follower {
    limit: Option<u64>,
    retry: Option<Retry>,
}

impl Follower {
    /// Whether a limit is to be acted on now.
    pub(super) fn is_due(&self, limit: u64, now: Instant) -> bool {
        self.limit != Some(limit) || self.retry.is_some_and(|retry| retry.at <= now)
    }

    /// Notes what came of it.
    pub(super) fn note(&mut self, limit: u64, fit: Fit, now: Instant) {
        let same = self.retry.filter(|_| self.limit == Some(limit));
        let wait = same.map_or(LOOK_EVERY, |retry| retry.then);
        self.limit = Some(limit);
        let after = |wait: Duration, then| Retry {
            at: now.checked_add(wait).unwrap_or(now),
            then,
        };
        self.retry = match fit {
            Fit::Met => None,
            Fit::Nearer => Some(after(Duration::ZERO, LOOK_EVERY)),
            Fit::Stuck => Some(after(wait, (wait * 2).min(LONGEST))),
            Fit::Busy => Some(after(LOOK_EVERY, wait)),
        };
    }

    /// When to look next.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let look = now.checked_add(LOOK_EVERY);
        let retry = self.retry.map(|retry| retry.at);
        [look, retry].into_iter().flatten().min()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::clock;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn wait(follower: &Follower, now: Instant) -> Duration {
        let next = follower.next_look(now).unwrap();
        next.saturating_duration_since(now)
    }

    #[test]
    fn a_limit_that_is_met_is_acted_on_once() {
        let (now, mut follower) = (clock::now(), Follower::default());
        assert!(follower.is_due(5, now), "the first");
        follower.note(5, Fit::Met, now);
        let much_later = now.checked_add(ms(100_000)).unwrap();
        assert!(!follower.is_due(5, much_later));
        assert!(follower.is_due(4, now) && follower.is_due(6, now));
        assert_eq!(wait(&follower, now), LOOK_EVERY);
    }

    #[test]
    fn while_it_comes_nearer_it_goes_on_at_once() {
        let (now, mut follower) = (clock::now(), Follower::default());
        follower.note(5, Fit::Nearer, now);
        assert!(follower.is_due(5, now));
        assert_eq!(wait(&follower, now), Duration::ZERO);
    }

    #[test]
    fn what_is_in_vain_is_tried_ever_more_seldom_but_the_limit_is_looked_at() {
        let (now, mut follower) = (clock::now(), Follower::default());
        let mut waits = vec![];
        for _ in 0..7 {
            follower.note(5, Fit::Stuck, now);
            assert!(wait(&follower, now) <= LOOK_EVERY);
            waits.push(follower.retry.unwrap().at.saturating_duration_since(now));
        }
        let expected = [250, 500, 1000, 2000, 4000, 8000, 8000].map(ms);
        assert_eq!(waits, expected);
        assert!(!follower.is_due(5, now.checked_add(ms(7999)).unwrap()));
        assert!(follower.is_due(5, now.checked_add(ms(8000)).unwrap()));
        assert!(follower.is_due(4, now), "another limit is another matter");
        follower.note(4, Fit::Stuck, now);
        assert_eq!(follower.retry.unwrap().then, ms(500));
        follower.note(4, Fit::Nearer, now);
        follower.note(4, Fit::Stuck, now);
        assert_eq!(follower.retry.unwrap().then, ms(500), "it began anew");
    }

    #[test]
    fn who_was_not_let_in_comes_back_with_the_next_look() {
        let (now, mut follower) = (clock::now(), Follower::default());
        follower.note(5, Fit::Stuck, now);
        follower.note(5, Fit::Busy, now);
        let retry = follower.retry.unwrap();
        let waits = retry.at.saturating_duration_since(now);
        assert_eq!((waits, retry.then), (LOOK_EVERY, ms(500)));
    }
}
