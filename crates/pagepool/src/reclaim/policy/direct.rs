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
    /// Pages to reclaim, 1 to 32.
    pub(crate) nr_to_reclaim: usize,
    /// The priority of the first round.
    pub(crate) priority: u8,
}

impl Shortfall {
    /// What this thread takes on.
    pub(crate) fn stint(&self) -> Stint {
        // What is missing up to the high mark, divided; the thread that is alone takes no more than
        // its degree.
        let missing = self.high.saturating_sub(self.free);
        let share = missing.div_ceil(self.reclaimers.max(1));
        Stint {
            nr_to_reclaim: share.clamp(1, self.degree()),
            priority: self.first_priority(),
        }
    }

    fn degree(&self) -> usize {
        if self.free >= self.low {
            SWAP_CLUSTER_MAX / 8
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
