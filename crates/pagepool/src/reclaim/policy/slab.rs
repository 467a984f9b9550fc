//! How much of its objects a shrinker is asked to look at, and what is put off.
//!
//! *Kernel counterpart:* `do_shrink_slab`, `vfs_pressure_ratio` (v5.0), with the later rule for what was
//! put off (spec 9.23): a call pays back a part of it, the smaller the less hard it looks, and no more than
//! twice what could be freed is owed at any time. In v5.0 the first caller that may call a shrinker pays for
//! all that could not.
//!
//! **Invariants**
//! - E1: what is owed is scanned, put off, or forgiven as beyond twice what could be freed; nothing else
//!   becomes of it.
//!
//! Counts are in the shrinker's own unit, its objects.

/// Objects that a shrinker looks at in one go, if it does not say otherwise (kernel: `SHRINK_BATCH`).
pub(crate) const SHRINK_BATCH: usize = 128;

/// What it costs to make an object anew, against a page that must be read, if the shrinker does not say
/// otherwise (kernel: `DEFAULT_SEEKS`).
pub(crate) const DEFAULT_SEEKS: u32 = 2;

/// `vfs_cache_pressure` at which a count counts as it is, in percent.
pub(crate) const DEFAULT_PRESSURE: u32 = 100;

/// What a count counts for, under a pressure of so many percent.
pub(crate) fn under_pressure(count: usize, percent: u32) -> usize {
    let percent = percent as usize;
    let (hundreds, rest) = (count / 100, count % 100);
    let scaled_rest = rest.saturating_mul(percent) / 100;
    hundreds.saturating_mul(percent).saturating_add(scaled_rest)
}

/// What is known before a shrinker is asked to free something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    /// Objects that could be freed.
    pub(crate) freeable: usize,
    /// How hard to look: at 1/2^priority of them.
    pub(crate) priority: u8,
    /// What it costs to make one anew; 0 for next to nothing.
    pub(crate) seeks: u32,
    /// Objects that earlier calls put off.
    pub(crate) deferred: usize,
}

/// How much to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    freeable: usize,
    deferred: usize,
    /// Objects that this call adds.
    pub(crate) delta: usize,
    /// Objects to look at.
    pub(crate) total: usize,
}

/// What is put off until the next call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Carried {
    /// Objects that were scanned of those owed.
    pub(crate) paid: usize,
    /// Objects put off.
    pub(crate) deferred: usize,
    /// Objects that are nobody's concern any more (E1).
    pub(crate) forgiven: usize,
}

impl Load {
    /// How much to look at.
    pub(crate) fn plan(self) -> Plan {
        let Load {
            freeable,
            priority,
            seeks,
            deferred,
        } = self;
        let share = (freeable >> priority).saturating_mul(4);
        let delta = share.checked_div(seeks as usize).unwrap_or(freeable / 2);
        let total = (deferred >> priority).saturating_add(delta);
        Plan {
            freeable,
            deferred,
            delta,
            total: total.min(most_owed(freeable)),
        }
    }
}

impl Plan {
    /// How many objects to look at next, of `left`; none if the rest is not worth a call. Less than a batch
    /// is, if that is all there is: small caches must give way, too, when memory is really short.
    pub(crate) fn next_batch(&self, left: usize, batch: usize) -> Option<usize> {
        let is_worth_it = left > 0 && (left >= batch || left >= self.freeable);
        is_worth_it.then(|| left.min(batch))
    }

    /// What becomes of the rest, after so many objects were scanned.
    pub(crate) fn carry(&self, scanned: usize) -> Carried {
        let owed = self.deferred.saturating_add(self.delta);
        let paid = scanned.min(owed);
        let deferred = (owed - paid).min(most_owed(self.freeable));
        Carried {
            paid,
            deferred,
            forgiven: owed - paid - deferred,
        }
    }
}

/// The most that a shrinker may owe which could free so much.
fn most_owed(freeable: usize) -> usize {
    freeable.saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(freeable: usize, priority: u8, seeks: u32, deferred: usize) -> Plan {
        let load = Load {
            freeable,
            priority,
            seeks,
            deferred,
        };
        load.plan()
    }

    /// Scans as much as the plan says; returns how many scans that were, and what was carried on.
    fn scan(plan: Plan, batch: usize) -> (usize, Carried) {
        let (mut left, mut scans) = (plan.total, 0);
        while let Some(nr) = plan.next_batch(left, batch) {
            left -= nr;
            scans += 1;
        }
        (scans, plan.carry(plan.total - left))
    }

    /// The numeric examples of the specification.
    mod tv {
        use super::*;

        fn delta_and_total(freeable: usize, priority: u8, seeks: u32) -> (usize, usize) {
            let plan = plan(freeable, priority, seeks, 0);
            (plan.delta, plan.total)
        }

        #[test]
        fn s5_10_a_light_look_is_less_than_a_batch_and_is_put_off() {
            assert_eq!(delta_and_total(10_000, 12, 2), (4, 4));
            let (scans, carried) = scan(plan(10_000, 12, 2, 0), SHRINK_BATCH);
            assert_eq!((scans, carried.deferred), (0, 4));
        }

        #[test]
        fn s5_10_nine_scans_and_98_deferred() {
            assert_eq!(delta_and_total(10_000, 4, 2), (1250, 1250));
            let (scans, carried) = scan(plan(10_000, 4, 2, 0), SHRINK_BATCH);
            assert_eq!((scans, carried.deferred), (9, 98));
        }

        #[test]
        fn s5_10_the_hardest_look_is_at_everything_twice() {
            assert_eq!(delta_and_total(10_000, 0, 2), (20_000, 20_000));
        }

        #[test]
        fn s5_10_a_small_cache_is_scanned_once_and_72_deferred() {
            assert_eq!(delta_and_total(100, 0, 2), (200, 200));
            let (scans, carried) = scan(plan(100, 0, 2, 0), SHRINK_BATCH);
            assert_eq!((scans, carried.deferred), (1, 72));
        }

        #[test]
        fn s5_10_what_costs_nothing_to_make_anew_goes_by_halves() {
            assert_eq!(delta_and_total(10_000, 12, 0), (5000, 5000));
        }

        /// The example is (4, 5000) for v5.0, which has the first caller pay half of what could be freed,
        /// however light its look. By the later rule it pays 50000 / 2^12 beside its own share, and what is
        /// beyond twice the freeable is forgiven.
        #[test]
        fn s5_10_and_s9_23_a_light_look_pays_back_a_little() {
            let plan = plan(10_000, 12, 2, 50_000);
            assert_eq!((plan.delta, plan.total), (4, 12 + 4));
            let carried = plan.carry(0);
            assert_eq!((carried.deferred, carried.forgiven), (20_000, 30_004));
        }

        #[test]
        fn s5_10_a_large_cache_owes_batches_at_the_lightest_look() {
            assert_eq!(delta_and_total(1_000_000, 12, 2), (488, 488));
        }
    }

    #[test]
    fn the_hardest_look_pays_back_everything() {
        assert_eq!(plan(10_000, 0, 8, 1000).total, 5000 + 1000);
        assert_eq!(plan(10_000, 0, 8, 90_000).total, 20_000, "but no more");
    }

    #[test]
    fn pressure_is_in_percent_and_never_overflows() {
        assert_eq!(under_pressure(1234, DEFAULT_PRESSURE), 1234);
        assert_eq!(under_pressure(199, 50), 99);
        assert_eq!(under_pressure(199, 0), 0);
        assert_eq!(under_pressure(10, 250), 25);
        assert_eq!(under_pressure(usize::MAX, 1000), usize::MAX);
    }

    #[test]
    fn counts_at_the_end_of_the_range_do_not_overflow() {
        for seeks in [0, 1, 2, u32::MAX] {
            let plan = plan(usize::MAX, 0, seeks, usize::MAX);
            assert_eq!(plan.total, usize::MAX);
            assert_eq!(plan.next_batch(plan.total, 128), Some(128));
        }
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            /// E1, over any number of calls: what was asked for is scanned, owed or forgiven.
            #[test]
            fn deferred_work_is_conserved(
                seeks in 0_u32..16,
                calls in prop::collection::vec((0_usize..100_000, 0_u8..=12, 1_usize..300, 0_usize..200), 1..40),
            ) {
                let (mut deferred, mut asked, mut paid, mut forgiven) = (0, 0, 0, 0);
                for (freeable, priority, batch, stop_after) in calls {
                    let plan = plan(freeable, priority, seeks, deferred);
                    let (mut left, mut scanned) = (plan.total, 0);
                    for _ in 0..stop_after {
                        let Some(nr) = plan.next_batch(left, batch) else { break };
                        prop_assert!(nr <= left && nr <= batch);
                        left -= nr;
                        scanned += nr;
                    }
                    let carried = plan.carry(scanned);
                    asked += plan.delta;
                    paid += carried.paid;
                    forgiven += carried.forgiven;
                    deferred = carried.deferred;
                    prop_assert!(plan.total <= 2 * freeable && deferred <= 2 * freeable);
                    prop_assert_eq!(asked, paid + deferred + forgiven);
                }
            }

            /// While a shrinker cannot be called, nothing is forgiven until twice its objects are owed.
            #[test]
            fn what_is_put_off_is_asked_for_later(freeable in 1_usize..10_000, calls in 1_usize..30) {
                let deferred = (0..calls).fold(0, |deferred, _| {
                    plan(freeable, 3, 2, deferred).carry(0).deferred
                });
                let delta = plan(freeable, 3, 2, 0).delta;
                prop_assert_eq!(deferred, (calls * delta).min(2 * freeable));
                prop_assert!(plan(freeable, 0, 2, deferred).total >= deferred);
            }
        }
    }
}
