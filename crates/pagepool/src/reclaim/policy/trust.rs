//! When a shrinker is left alone for a while, and for how long: one that blocks, panics or frees nothing
//! costs those who ask it time.
//!
//! *Kernel counterpart:* none: there a shrinker that blocks, blocks whoever reclaims.
//!
//! **Invariants**
//! - Q1: a shrinker is left alone only after [`MAX_FAILURES`] failures in a row, and is asked again after
//!   at most [`LONGEST`].
//! - Q2: freeing something is forgiveness: the count begins anew.

use std::time::Duration;

/// So many failures in a row are borne.
pub(crate) const MAX_FAILURES: u32 = 3;

/// For how long a shrinker is left alone at first; it doubles with each failure.
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);

/// For how long at most.
pub(crate) const LONGEST: Duration = Duration::from_secs(64);

/// How often a shrinker may look at everything that it counted, and free nothing, before that is a failure.
/// Once is what a cache needs that gives what is used a second chance.
const ROUNDS_IN_VAIN: usize = 2;

/// What a shrinker did when it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conduct {
    /// It freed something.
    Freed,
    /// It looked at so many objects, of as many as could be freed, and freed nothing.
    InVain {
        /// Objects looked at, or that it was to look at and did not.
        scanned: usize,
        /// Objects that it said could be freed.
        freeable: usize,
    },
    /// It had nothing to do, or could not just then and said so.
    Idle,
    /// It panicked.
    Panicked,
    /// It did not return in time.
    Overdue,
    /// There was no thread to call it on.
    NoThread,
}

/// What is thought of a shrinker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trust {
    failures: u32,
    in_vain: usize,
}

impl Trust {
    /// What is thought of it after this.
    #[must_use]
    pub(crate) fn after(self, conduct: Conduct) -> Trust {
        match conduct {
            Conduct::Freed => Trust::default(),
            Conduct::Idle => self,
            Conduct::Panicked | Conduct::Overdue | Conduct::NoThread => self.failed(),
            Conduct::InVain { scanned, freeable } => {
                let in_vain = self.in_vain.saturating_add(scanned);
                if in_vain >= freeable.saturating_mul(ROUNDS_IN_VAIN) {
                    self.failed()
                } else {
                    Trust { in_vain, ..self }
                }
            }
        }
    }

    fn failed(self) -> Trust {
        Trust {
            failures: self.failures.saturating_add(1),
            in_vain: 0,
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(self) -> u32 {
        self.failures
    }

    /// For how long it is left alone after its last failure, if it is.
    pub(crate) fn quarantine(self) -> Option<Duration> {
        let doublings = self.failures.checked_sub(MAX_FAILURES)?;
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Some(SHORTEST.saturating_mul(factor).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(conducts: &[Conduct]) -> Trust {
        let after = |trust: Trust, conduct: &Conduct| trust.after(*conduct);
        conducts.iter().fold(Trust::default(), after)
    }

    #[test]
    fn some_failures_are_borne_and_freeing_is_forgiveness() {
        use Conduct::{Freed, NoThread, Overdue, Panicked};
        assert_eq!(after(&[Panicked, Overdue]).quarantine(), None);
        let third = after(&[Panicked, Overdue, NoThread]);
        assert_eq!(third.quarantine(), Some(SHORTEST));
        assert_eq!(
            third.after(Conduct::Idle),
            third,
            "nothing to do proves nothing"
        );
        assert_eq!(third.after(Freed), Trust::default());
    }

    #[test]
    fn a_quarantine_doubles_up_to_the_longest() {
        let seconds = |failures| {
            let quarantine = after(&vec![Conduct::Overdue; failures]).quarantine();
            quarantine.map(|quarantine| quarantine.as_secs())
        };
        let lengths: Vec<_> = (2..=10).map(seconds).collect();
        let expected = [None].into_iter();
        let expected = expected.chain([1, 2, 4, 8, 16, 32, 64, 64].map(Some));
        assert_eq!(lengths, expected.collect::<Vec<_>>());
        assert_eq!(seconds(100), Some(64));
    }

    #[test]
    fn a_second_chance_for_everything_is_no_failure() {
        let look = |scanned| Conduct::InVain {
            scanned,
            freeable: 1000,
        };
        assert_eq!(after(&[look(1000)]).failures(), 0);
        assert_eq!(after(&[look(1000), look(999)]).failures(), 0);
        assert_eq!(after(&[look(1000), look(1000)]).failures(), 1);
        assert_eq!(
            after(&[look(1999), Conduct::Freed, look(1000)]).failures(),
            0
        );
        assert_eq!(after(&[look(2000); 3]).quarantine(), Some(SHORTEST));
    }
}
