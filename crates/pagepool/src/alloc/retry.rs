//! Whether to try again: the rules of the slow path, as values.
//!
//! *Kernel counterpart:* `should_reclaim_retry`, `should_compact_retry` (v5.0), with the later fixes
//! of spec 9.10: only a skipped compaction asks whether reclaim would help it, everything else
//! raises the priority, so that every loop is finite.

use std::time::Duration;

use crate::compact::{CompactPriority, CompactResult};
use crate::types::Order;

/// Rounds of reclaim without progress before giving up (kernel: `MAX_RECLAIM_RETRIES`).
pub(crate) const MAX_RECLAIM_RETRIES: u32 = 16;

/// Successful compactions after which the block was gone, before the priority is raised.
const MAX_COMPACT_RETRIES: u32 = 16;

/// The same for costly orders.
const MAX_COSTLY_COMPACT_RETRIES: u32 = 4;

/// The longest that somebody waits for having taken a group beyond its high limit.
const MAX_HIGH_PENALTY: Duration = Duration::from_secs(2);

/// How long somebody waits who takes a group of which nothing can be reclaimed `beyond` pages over its
/// `high` limit: the square of the excess, so that a little is hardly felt, and as much again as the limit
/// is prohibitive (kernel: `calculate_high_delay`, later than v5.0).
pub(crate) fn high_penalty(beyond: usize, high: usize) -> Duration {
    let excess = beyond as f64 / high.max(1) as f64;
    MAX_HIGH_PENALTY.mul_f64((excess * excess).min(1.0))
}

/// The slow path's memory of its rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rounds {
    /// Rounds of reclaim without progress.
    pub(crate) no_progress: u32,
    /// Successful compactions at this priority.
    pub(crate) compactions: u32,
    /// How hard compaction tries.
    pub(crate) priority: CompactPriority,
}

impl Rounds {
    /// The state at the start.
    pub(crate) const START: Rounds = Rounds {
        no_progress: 0,
        compactions: 0,
        priority: CompactPriority::SyncLight,
    };

    /// Counts a round of reclaim; returns whether another may be worth it. Progress counts for small
    /// orders only: freed pages say nothing about costly ones.
    pub(crate) fn after_reclaim(&mut self, order: Order, progress: bool) -> bool {
        if progress && !order.is_costly() {
            self.no_progress = 0;
        } else {
            self.no_progress += 1;
        }
        self.no_progress <= MAX_RECLAIM_RETRIES
    }

    /// Whether to compact again; `would_help` says whether more free memory would let a skipped
    /// compaction succeed.
    pub(crate) fn after_compaction(
        &mut self,
        order: Order,
        result: CompactResult,
        would_help: impl FnOnce() -> bool,
    ) -> bool {
        if order == Order::ZERO {
            return false;
        }
        match result {
            CompactResult::Skipped => return would_help(),
            CompactResult::Success => {
                self.compactions += 1;
                let max = if order.is_costly() {
                    MAX_COSTLY_COMPACT_RETRIES
                } else {
                    MAX_COMPACT_RETRIES
                };
                if self.compactions <= max {
                    return true;
                }
            }
            CompactResult::Deferred
            | CompactResult::Contended
            | CompactResult::PartialSkipped
            | CompactResult::Complete => {}
        }
        self.raise_priority(order)
    }

    fn raise_priority(&mut self, order: Order) -> bool {
        let strongest = if order.is_costly() {
            CompactPriority::SyncLight
        } else {
            CompactPriority::SyncFull
        };
        if self.priority >= strongest {
            return false;
        }
        self.priority = self.priority.stronger();
        self.compactions = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: usize) -> Order {
        Order::at(n)
    }

    #[test]
    fn sixteen_rounds_without_progress_are_enough() {
        let mut rounds = Rounds::START;
        for _ in 0..16 {
            assert!(rounds.after_reclaim(at(0), false));
        }
        assert!(!rounds.after_reclaim(at(0), false));
        assert!(rounds.after_reclaim(at(0), true), "progress starts anew");
        assert_eq!(rounds.no_progress, 0);
    }

    #[test]
    fn progress_does_not_count_for_costly_orders() {
        let mut rounds = Rounds::START;
        for _ in 0..16 {
            assert!(rounds.after_reclaim(at(4), true));
        }
        assert!(!rounds.after_reclaim(at(4), true));
    }

    #[test]
    fn the_penalty_for_going_beyond_high_grows_faster_than_the_excess() {
        let penalty = |beyond| high_penalty(beyond, 1000).as_millis();
        assert_eq!(
            [0, 10, 100, 500, 1000, 9000].map(penalty),
            [0, 0, 20, 500, 2000, 2000]
        );
        assert_eq!(high_penalty(1, 0), MAX_HIGH_PENALTY);
    }

    #[test]
    fn order_0_is_never_compacted_again() {
        let mut rounds = Rounds::START;
        assert!(!rounds.after_compaction(at(0), CompactResult::Success, || true));
    }

    #[test]
    fn failures_raise_the_priority_to_its_limit() {
        let mut rounds = Rounds::START;
        assert!(rounds.after_compaction(at(2), CompactResult::Complete, || false));
        assert_eq!(rounds.priority, CompactPriority::SyncFull);
        assert!(!rounds.after_compaction(at(2), CompactResult::Complete, || false));

        let mut costly = Rounds {
            priority: CompactPriority::Async,
            ..Rounds::START
        };
        assert!(costly.after_compaction(at(9), CompactResult::Deferred, || false));
        assert_eq!(costly.priority, CompactPriority::SyncLight);
        assert!(!costly.after_compaction(at(9), CompactResult::Contended, || false));
    }

    #[test]
    fn a_block_that_is_stolen_each_time_is_tried_for_a_bounded_number_of_times() {
        for (order, max) in [(2, 16), (9, 4)] {
            let mut rounds = Rounds {
                priority: CompactPriority::SyncFull,
                ..Rounds::START
            };
            for _ in 0..max {
                assert!(rounds.after_compaction(at(order), CompactResult::Success, || false));
            }
            assert!(!rounds.after_compaction(at(order), CompactResult::Success, || false));
        }
    }

    #[test]
    fn only_a_skipped_compaction_asks_for_more_memory() {
        let mut rounds = Rounds::START;
        assert!(rounds.after_compaction(at(2), CompactResult::Skipped, || true));
        assert!(!rounds.after_compaction(at(2), CompactResult::Skipped, || false));
        assert_eq!(rounds, Rounds::START);
    }
}
