//! Whether to compact a zone again after it failed (spec 6.4).
//!
//! *Kernel counterpart:* `defer_compaction`, `compaction_deferred`, `compaction_defer_reset`,
//! `compaction_restarting` (v5.0).
//!
//! After a failure 2^shift − 1 attempts are put off, where shift grows with each failure up to 6; after
//! these every attempt is made, until the next failure. Orders below the smallest that failed are
//! attempted always.

use crate::types::Order;

/// The largest shift: 63 attempts are put off (kernel: `COMPACT_MAX_DEFER_SHIFT`).
pub(crate) const MAX_DEFER_SHIFT: u32 = 6;

/// What is known of a zone's failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Deferral {
    /// Attempts considered since the last failure, at most 2^shift.
    considered: u8,
    /// Failures in a row, at most [`MAX_DEFER_SHIFT`].
    shift: u8,
    /// The smallest order that failed. Before the first failure 0, which the first failure keeps: it
    /// holds for every order until one succeeds.
    order_failed: u8,
}

/// How sure a success is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evidence {
    /// A block was free when compaction ended.
    Compacted,
    /// Somebody was served from it.
    Allocated,
}

impl Deferral {
    /// Returns what is stored as `raw`.
    pub(crate) const fn from_raw(raw: u32) -> Deferral {
        let [considered, shift, order_failed, _] = raw.to_le_bytes();
        Deferral {
            considered,
            shift,
            order_failed,
        }
    }

    /// As one word, 0 if nothing has failed.
    pub(crate) const fn raw(self) -> u32 {
        u32::from_le_bytes([self.considered, self.shift, self.order_failed, 0])
    }

    /// An attempt at `order` failed.
    #[must_use]
    pub(crate) fn failed(self, order: Order) -> Deferral {
        Deferral {
            considered: 0,
            shift: (self.shift + 1).min(MAX_DEFER_SHIFT as u8),
            order_failed: self.order_failed.min(order.get()),
        }
    }

    /// An attempt at `order` is considered: what is known after that, and whether it is put off.
    pub(crate) fn consider(self, order: Order) -> (Deferral, bool) {
        if order.get() < self.order_failed {
            return (self, false);
        }
        let limit = 1 << self.shift;
        let considered = (self.considered + 1).min(limit);
        (Deferral { considered, ..self }, considered < limit)
    }

    /// An attempt at `order` succeeded.
    #[must_use]
    pub(crate) fn reset(self, order: Order, evidence: Evidence) -> Deferral {
        let kept = match evidence {
            Evidence::Compacted => self,
            Evidence::Allocated => Deferral {
                considered: 0,
                shift: 0,
                ..self
            },
        };
        Deferral {
            order_failed: kept.order_failed.max(order.get() + 1),
            ..kept
        }
    }

    /// Whether as much was put off as ever is, so that an attempt at `order` is to forget every hint.
    pub(crate) fn is_restarting(self, order: Order) -> bool {
        order.get() >= self.order_failed
            && u32::from(self.shift) == MAX_DEFER_SHIFT
            && self.considered >= 1 << MAX_DEFER_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NONE: Deferral = Deferral {
        considered: 0,
        shift: 0,
        order_failed: 0,
    };

    fn at(n: usize) -> Order {
        Order::at(n)
    }

    /// Attempts at `order` that are put off, and what is known after one is not.
    fn put_off(mut deferral: Deferral, order: Order) -> (u32, Deferral) {
        let mut nr = 0;
        loop {
            let (after, is_deferred) = deferral.consider(order);
            deferral = after;
            if !is_deferred {
                return (nr, deferral);
            }
            nr += 1;
        }
    }

    fn failed_times(order: Order, nr: usize) -> Deferral {
        (0..nr).fold(NONE, |deferral, _| deferral.failed(order))
    }

    mod tv {
        use super::*;

        #[test]
        fn s6_4_the_initial_state_is_never_deferred() {
            assert_eq!(Deferral::default(), NONE);
            for order in Order::all() {
                let (after, is_deferred) = NONE.consider(order);
                assert!(!is_deferred);
                assert!(!after.consider(order).1);
                assert!(!after.is_restarting(order));
            }
        }

        #[test]
        fn s6_4_a_failure_with_shift_s_puts_off_two_to_the_s_less_one_attempts() {
            for (failures, expected) in [(1, 1), (2, 3), (3, 7), (4, 15), (5, 31), (6, 63)] {
                let (nr, after) = put_off(failed_times(at(9), failures), at(9));
                assert_eq!(nr, expected);
                assert_eq!(put_off(after, at(9)).0, 0, "then every attempt is made");
                assert_eq!(put_off(after, at(9)).1, after, "the count is capped");
            }
        }

        #[test]
        fn s6_4_no_more_than_63_attempts_are_put_off() {
            assert_eq!(put_off(failed_times(at(9), 7), at(9)).0, 63);
            assert_eq!(put_off(failed_times(at(9), 100), at(9)).0, 63);
        }

        #[test]
        fn s6_4_orders_below_the_one_that_failed_are_not_deferred() {
            let known = NONE.reset(at(8), Evidence::Compacted).failed(at(9));
            assert_eq!(known.consider(at(8)), (known, false));
            assert!(known.consider(at(9)).1 && known.consider(at(10)).1);
            assert!(known.failed(at(3)).consider(at(3)).1);
        }

        #[test]
        fn s6_4_the_first_failure_holds_for_every_order() {
            assert!(NONE.failed(at(9)).consider(at(1)).1);
        }

        #[test]
        fn s6_4_a_reset_raises_the_order_and_if_confirmed_clears_the_counts() {
            let failed = failed_times(at(4), 3);
            let compacted = failed.reset(at(4), Evidence::Compacted);
            assert!(!compacted.consider(at(4)).1);
            assert_eq!(put_off(compacted, at(5)).0, 7, "larger orders stay put off");
            let allocated = failed.reset(at(4), Evidence::Allocated);
            assert_eq!(put_off(allocated, at(5)).0, 0);
            let lower = allocated.reset(at(2), Evidence::Compacted);
            assert_eq!(lower, allocated, "a smaller order proves nothing new");
            let largest = NONE.reset(Order::MAX, Evidence::Compacted);
            assert_eq!(largest.order_failed, 11);
        }

        #[test]
        fn s6_4_restarting_once_all_63_were_put_off() {
            let failed = failed_times(at(9), 6);
            assert!(!failed.is_restarting(at(9)));
            let (_, waited) = put_off(failed, at(9));
            assert!(waited.is_restarting(at(9)));
            let (_, waited) = put_off(failed_times(at(9), 5), at(9));
            assert!(!waited.is_restarting(at(9)), "31 are not enough");
            let known = NONE.reset(at(8), Evidence::Compacted);
            let failed = (0..6).fold(known, |deferral, _| deferral.failed(at(9)));
            let (_, waited) = put_off(failed, at(9));
            assert!(!waited.is_restarting(at(8)) && waited.is_restarting(at(9)));
        }
    }

    proptest! {
        #[test]
        fn counts_stay_in_range_and_survive_storing(steps in vec((0..4, 0..11_usize), 0..300)) {
            let mut deferral = NONE;
            for (step, order) in steps {
                deferral = match step {
                    0 => deferral.failed(at(order)),
                    1 => deferral.reset(at(order), Evidence::Compacted),
                    2 => deferral.reset(at(order), Evidence::Allocated),
                    _ => deferral.consider(at(order)).0,
                };
                prop_assert!(u32::from(deferral.shift) <= MAX_DEFER_SHIFT);
                prop_assert!(deferral.considered <= 1 << deferral.shift);
                prop_assert!(deferral.order_failed <= 11);
                prop_assert_eq!(Deferral::from_raw(deferral.raw()), deferral);
            }
        }
    }
}
