//! How much a thread reclaims for itself, and for how many rounds (spec 5.8, 5.9).
//!
//! *Kernel counterpart:* `do_try_to_free_pages` (v5.0). There every thread tries for 32 pages and looks
//! at everything on its first round, however little is missing. Here the share grows by degrees with
//! the shortfall, so that the first threads below the mark have short scans and the background reclaimer
//! has time to come; threads that reclaim at once divide what is missing.
//!
//! ```text
//!   free ≥ low             4 pages
//!   upper half, low – min  8
//!   lower half             16
//!   below min              32; below a half and a quarter of it one priority harder each
//! ```
//!
//! How many threads may reclaim at once is not decided here (the mechanism lets one a CPU and node).

use crate::reclaim::control::{DEF_PRIORITY, SWAP_CLUSTER_MAX};

/// The least that a thread takes on, so that rounds are worth their while.
const LEAST: usize = SWAP_CLUSTER_MAX / 8;

/// The state of the best zone that a request may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shortfall {
    /// Free pages.
    pub(crate) free: usize,
    /// The minimum.
    pub(crate) min: usize,
    /// The low mark.
    pub(crate) low: usize,
    /// The high mark.
    pub(crate) high: usize,
    /// Threads that reclaim from the node at present, this one included.
    pub(crate) reclaimers: usize,
}

/// What one thread takes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stint {
    /// Pages to reclaim, 4 to 32.
    pub(crate) nr_to_reclaim: usize,
    /// The priority of the first round.
    pub(crate) priority: u8,
}

impl Shortfall {
    /// What this thread takes on.
    pub(crate) fn stint(&self) -> Stint {
        // What is missing up to the high mark, divided. Who is alone stops at its degree as well.
        let missing = self.high.saturating_sub(self.free);
        let share = missing.div_ceil(self.reclaimers.max(1));
        Stint {
            nr_to_reclaim: share.clamp(LEAST, self.degree()),
            priority: self.first_priority(),
        }
    }

    fn degree(&self) -> usize {
        if self.free >= self.low {
            LEAST
        } else if self.free >= self.min + (self.low - self.min) / 2 {
            SWAP_CLUSTER_MAX / 4
        } else if self.free >= self.min {
            SWAP_CLUSTER_MAX / 2
        } else {
            SWAP_CLUSTER_MAX
        }
    }

    /// At least 10, so that a first round never writes on its own account.
    fn first_priority(&self) -> u8 {
        if self.free >= self.min / 2 {
            DEF_PRIORITY
        } else if self.free >= self.min / 4 {
            DEF_PRIORITY - 1
        } else {
            DEF_PRIORITY - 2
        }
    }
}

/// The rounds of one thread's reclaim, each harder than the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectRounds {
    nr_to_reclaim: usize,
    priority: u8,
    may_writepage: bool,
    reclaimed: usize,
}

/// What a round brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RoundEnd {
    /// Pages reclaimed in it.
    pub(crate) reclaimed: usize,
    /// Whether compaction would find enough in some zone now.
    pub(crate) compaction_ready: bool,
}

/// Whether there is another round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// There is.
    Again(DirectRounds),
    /// There is not, and this is the progress to report: pages, or 1 if compaction may go on. 0 means
    /// that reclaim failed.
    Done(usize),
}

impl DirectRounds {
    /// The first round.
    pub(crate) fn start(stint: Stint, may_writepage: bool) -> DirectRounds {
        DirectRounds {
            nr_to_reclaim: stint.nr_to_reclaim,
            priority: stint.priority,
            may_writepage,
            reclaimed: 0,
        }
    }

    /// How hard this round tries.
    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    /// Whether it may write folios out.
    pub(crate) fn may_writepage(&self) -> bool {
        self.may_writepage
    }

    /// What follows a round.
    #[must_use]
    pub(crate) fn after(self, end: RoundEnd) -> After {
        let reclaimed = self.reclaimed + end.reclaimed;
        let is_enough = reclaimed >= self.nr_to_reclaim || end.compaction_ready;
        if is_enough || self.priority == 0 {
            return After::Done(reclaimed.max(usize::from(end.compaction_ready)));
        }
        After::Again(DirectRounds {
            priority: self.priority - 1,
            // In trouble: writing is allowed even where it was to be spared.
            may_writepage: self.may_writepage || self.priority < DEF_PRIORITY - 2,
            reclaimed,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone with marks at 100, 200 and 300.
    fn at(free: usize) -> Shortfall {
        Shortfall {
            free,
            min: 100,
            low: 200,
            high: 300,
            reclaimers: 1,
        }
    }

    fn stint(shortfall: Shortfall) -> (usize, u8) {
        let stint = shortfall.stint();
        (stint.nr_to_reclaim, stint.priority)
    }

    #[test]
    fn scans_grow_by_degrees_as_memory_runs_short() {
        let degrees = [
            (250, (4, 12)),
            (200, (4, 12)),
            (199, (8, 12)),
            (150, (8, 12)),
            (149, (16, 12)),
            (100, (16, 12)),
            (99, (32, 12)),
            (50, (32, 12)),
            (49, (32, 11)),
            (25, (32, 11)),
            (24, (32, 10)),
            (0, (32, 10)),
        ];
        for (free, expected) in degrees {
            assert_eq!(stint(at(free)), expected, "{free} free");
        }
    }

    #[test]
    fn a_stint_never_shrinks_as_memory_runs_shorter() {
        for free in 1..400 {
            let (more, less) = (at(free).stint(), at(free - 1).stint());
            assert!(less.nr_to_reclaim >= more.nr_to_reclaim, "{free}");
            assert!(less.priority <= more.priority, "{free}");
        }
    }

    #[test]
    fn threads_that_reclaim_at_once_divide_what_is_missing() {
        let crowd = |reclaimers| {
            let shortfall = Shortfall {
                reclaimers,
                ..at(60)
            };
            shortfall.stint().nr_to_reclaim
        };
        assert_eq!(crowd(1), 32, "no more than its degree");
        assert_eq!(crowd(10), 24);
        assert_eq!(crowd(1000), 4, "but enough to be worth a round");
        assert_eq!(crowd(0), crowd(1));
    }

    #[test]
    fn a_zone_without_marks_asks_for_little() {
        let none = Shortfall {
            free: 0,
            min: 0,
            low: 0,
            high: 0,
            reclaimers: 1,
        };
        assert_eq!(stint(none), (4, 12));
    }

    const VAIN: RoundEnd = RoundEnd {
        reclaimed: 0,
        compaction_ready: false,
    };

    fn start() -> DirectRounds {
        let stint = Stint {
            nr_to_reclaim: 32,
            priority: 12,
        };
        DirectRounds::start(stint, false)
    }

    /// The priority of each round in which writing was allowed or not, if each brings `end`.
    fn rounds(end: RoundEnd) -> (Vec<(u8, bool)>, usize) {
        let mut seen = vec![];
        let mut round = start();
        loop {
            seen.push((round.priority(), round.may_writepage()));
            match round.after(end) {
                After::Again(next) => round = next,
                After::Done(progress) => return (seen, progress),
            }
        }
    }

    #[test]
    fn rounds_in_vain_go_down_to_a_look_at_everything_and_fail() {
        let (seen, progress) = rounds(VAIN);
        let priorities: Vec<_> = seen.iter().map(|(priority, _)| *priority).collect();
        assert_eq!(priorities, (0..=12).rev().collect::<Vec<_>>());
        assert_eq!(progress, 0);
    }

    #[test]
    fn writing_is_allowed_after_a_round_below_priority_10() {
        let (seen, _) = rounds(VAIN);
        for (priority, may_write) in seen {
            assert_eq!(may_write, priority < 9, "priority {priority}");
        }
    }

    #[test]
    fn rounds_end_once_enough_was_reclaimed_in_all() {
        let some = RoundEnd {
            reclaimed: 10,
            ..VAIN
        };
        let (seen, progress) = rounds(some);
        assert_eq!((seen.len(), progress), (4, 40));
    }

    #[test]
    fn rounds_end_when_compaction_can_go_on_and_that_is_progress() {
        let ready = RoundEnd {
            compaction_ready: true,
            ..VAIN
        };
        assert_eq!(start().after(ready), After::Done(1));
        let both = RoundEnd {
            reclaimed: 7,
            ..ready
        };
        assert_eq!(start().after(both), After::Done(7));
    }
}
