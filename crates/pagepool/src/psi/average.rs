//! Running averages of a state that is either on or off: exact, however rarely they are looked at.
//!
//! *Kernel counterpart:* `calc_avgs` (v5.0, spec 4.16), which samples every two seconds. Over an interval in
//! which the state does not change, an exponential average has a closed form:
//!
//! ```text
//! avg' = avg · e^(−dt/T) + s · (1 − e^(−dt/T))        s = 1 while on, 0 while off
//! ```
//!
//! so that it is enough to apply it at each change and at each look.

use std::time::Duration;

/// Over how long the averages are taken: kernel `avg10`, `avg60`, `avg300`.
const SPANS: [f64; NR_SPANS] = [10.0, 60.0, 300.0];

/// How many averages there are.
pub(crate) const NR_SPANS: usize = 3;

/// How far each average goes towards the present state within an interval: 0 not at all, 1 all the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gain([f64; NR_SPANS]);

impl Gain {
    /// That of an interval.
    pub(crate) fn over(interval: Duration) -> Gain {
        let seconds = interval.as_secs_f64();
        // `exp_m1`: most intervals are microseconds, and 1 − e^(−x) would lose them.
        Gain(SPANS.map(|span| -(-seconds / span).exp_m1()))
    }
}

/// Which part of the time the state was on, from 0 to 1, the recent past counting most.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Averages([f64; NR_SPANS]);

impl Averages {
    /// The averages after an interval in which the state was `on`, or was not.
    #[must_use]
    pub(crate) fn after(self, gain: Gain, on: bool) -> Averages {
        let present = if on { 1.0 } else { 0.0 };
        let next = |span: usize| {
            let average = self.0[span];
            // Rounding must not carry it out of its range.
            (average + (present - average) * gain.0[span]).clamp(0.0, 1.0)
        };
        Averages(std::array::from_fn(next))
    }

    /// The shares of the last 10, 60 and 300 seconds.
    pub(crate) fn shares(self) -> [f64; NR_SPANS] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(averages: Averages, millis: u64, on: bool) -> Averages {
        averages.after(Gain::over(Duration::from_millis(millis)), on)
    }

    #[track_caller]
    fn assert_near(averages: Averages, expected: [f64; NR_SPANS], tolerance: f64) {
        for (is, should) in averages.shares().into_iter().zip(expected) {
            assert!((is - should).abs() <= tolerance, "{is} for {should}");
        }
    }

    #[test]
    fn s4_16_averages_of_a_constant_stall() {
        // 1 − e^(−t/T) for T = 10, 60, 300 s.
        let one = after(Averages::default(), 1_000, true);
        assert_near(one, [0.095_162_6, 0.016_528_5, 0.003_327_8], 1e-7);
        let ten = after(Averages::default(), 10_000, true);
        assert_near(ten, [0.632_120_6, 0.153_518_3, 0.032_783_9], 1e-7);
        let day = after(Averages::default(), 86_400_000, true);
        assert_near(day, [1.0; 3], 1e-12);
    }

    #[test]
    fn averages_fall_when_the_stall_is_over() {
        let stalled = after(Averages::default(), 10_000, true);
        let calm = after(stalled, 10_000, false);
        assert_near(calm, [0.232_544_2, 0.129_950_4, 0.031_709_1], 1e-7);
        assert_near(after(calm, 86_400_000, false), [0.0; 3], 1e-12);
    }

    #[test]
    fn an_interval_of_nothing_changes_nothing() {
        let some = after(Averages::default(), 3_000, true);
        assert_eq!(after(some, 0, true), some);
        assert_eq!(after(some, 0, false), some);
    }

    #[test]
    fn a_million_intervals_of_a_microsecond_are_a_second() {
        let gain = Gain::over(Duration::from_micros(1));
        let piecemeal = (0..1_000_000).fold(Averages::default(), |sum, _| sum.after(gain, true));
        let at_once = after(Averages::default(), 1_000, true);
        assert_near(piecemeal, at_once.shares(), 1e-9);
    }

    /// The average by its definition: the weighted sum of every slice of a millisecond.
    fn by_brute_force(intervals: &[(u64, bool)], span: f64) -> f64 {
        let end: u64 = intervals.iter().map(|(millis, _)| millis).sum();
        let mut at = 0;
        let mut sum = 0.0;
        for (millis, on) in intervals {
            for slice in at..at + millis {
                let age = (end - slice) as f64 / 1000.0 - 0.000_5;
                sum += f64::from(u8::from(*on)) * (-age / span).exp() * 0.001 / span;
            }
            at += millis;
        }
        sum
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn averages_are_those_of_a_brute_force_sum(
            intervals in prop::collection::vec((1_u64..4_000, any::<bool>()), 1..20),
        ) {
            let averages = intervals
                .iter()
                .fold(Averages::default(), |sum, (millis, on)| after(sum, *millis, *on));
            for (share, span) in averages.shares().into_iter().zip(SPANS) {
                let expected = by_brute_force(&intervals, span);
                prop_assert!((share - expected).abs() <= 0.02 * expected.max(1e-9), "{share} for {expected}");
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }

        #[test]
        fn an_interval_may_be_cut_anywhere(millis in 2_u64..100_000, part in 0.0..1.0_f64, on in any::<bool>()) {
            let start = after(Averages::default(), 5_000, true);
            let first = (millis as f64 * part) as u64;
            let cut = after(after(start, first, on), millis - first, on);
            let whole = after(start, millis, on);
            for (a, b) in cut.shares().into_iter().zip(whole.shares()) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
