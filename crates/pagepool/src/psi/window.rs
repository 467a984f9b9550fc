//! When a trigger fires: once a stall has lasted long enough within a window that slides along.
//!
//! *Kernel counterpart:* `struct psi_window`, `window_update`, `update_triggers`, and the ranges of
//! `psi_trigger_create` (5.2; v5.0 has no triggers, spec 4.16). The kernel looks ten times a window, for as
//! long as anything stalls, and estimates what lies before by the growth of the last window. Here the window
//! keeps *marks*, how long stalls had lasted at some moments, and a look says when the next one can first
//! be of use:
//!
//! ```text
//!  total ▲                       ╭── now          stalled within the window ≥ total − most
//!        │             ╭────────╯
//!        │      ╭─────╯   ▲ mark                  most: what the total can have been at the
//!        │ ─────╯ ▲ mark                                window's begin, between two marks, given
//!        └──────┬──────────────────► time               that it grows no faster than the clock
//!               └ begin of the window
//! ```
//!
//! **Invariants**
//! - X1: it fires only if stalls have in truth lasted for the threshold within the last window.
//! - X2: if they have by more than a stride, an eighth of the window, it has fired within that window or
//!   fires at the next look. A stall after a calm is told to the grain, a sixty-fourth of the window.
//! - X3: it fires at most once in the length of a window.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::account::Reading;
use crate::error::RangeError;
use crate::sync::clock::Instant;

/// The accepted lengths of a window (kernel: `WINDOW_MIN_US`, `WINDOW_MAX_US`).
const MIN_WINDOW: Duration = Duration::from_millis(500);
const MAX_WINDOW: Duration = Duration::from_secs(10);

/// A window in grains. More would be nearer to the truth, and would wake who waits more often.
const NR_GRAINS: u32 = 64;

/// The same in strides: how far apart looks are at most while it is not calm, so that marks are not farther
/// apart than that.
const NR_STRIDES: u32 = 8;

/// Marks that are a grain apart within a window, and one on each side.
const NR_MARKS: usize = NR_GRAINS as usize + 2;

/// For how long a stall must last, within what time. Checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    threshold: Duration,
    window: Duration,
}

impl Terms {
    /// Checks the ranges: a window of 500 ms to 10 s, a threshold of more than nothing and at most the window.
    pub(crate) fn new(threshold: Duration, window: Duration) -> Result<Terms, RangeError> {
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
            return Err(RangeError::new(
                "window",
                format_args!("{window:?}"),
                format_args!("{MIN_WINDOW:?} to {MAX_WINDOW:?}"),
            ));
        }
        if threshold.is_zero() || threshold > window {
            return Err(RangeError::new(
                "threshold",
                format_args!("{threshold:?}"),
                format_args!("more than 0 ns, at most the window of {window:?}"),
            ));
        }
        Ok(Terms { threshold, window })
    }

    fn grain(self) -> Duration {
        self.window / NR_GRAINS
    }

    fn stride(self) -> Duration {
        self.window / NR_STRIDES
    }
}

/// How long stalls had lasted at a moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    total: Duration,
}

/// What a look says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The threshold is reached.
    Fire,
    /// There is nothing to see before this.
    NotBefore(Instant),
    /// There is nothing to see before another stall begins.
    Idle,
}

/// What was seen in the last length of a window.
#[derive(Debug)]
pub(crate) struct Window {
    terms: Terms,
    /// Oldest first. What was before the first does not count; there is always one.
    marks: ArrayVec<Mark, NR_MARKS>,
    fired: Option<Instant>,
}

impl Window {
    /// Begins to look: what was before does not count.
    pub(crate) fn begin(terms: Terms, start: Reading) -> Window {
        let mut marks = ArrayVec::new();
        marks.push(Mark {
            at: start.now,
            total: start.total,
        });
        Window {
            terms,
            marks,
            fired: None,
        }
    }

    /// Looks: has it come to the threshold, and if not, when can it?
    pub(crate) fn look(&mut self, reading: Reading) -> Verdict {
        let Reading { now, total, since } = reading;
        if let Some(since) = since {
            // At this moment the total was what it is now, less the time since.
            let lasted = now.saturating_duration_since(since);
            self.note(since, total.saturating_sub(lasted));
        }
        self.forget_before(now);
        let stalled = self.stalled(now, total);
        self.note(now, total);

        let Terms { threshold, window } = self.terms;
        let again = self.fired.and_then(|fired| fired.checked_add(window));
        let must_wait = again.is_some_and(|again| now < again);
        if stalled >= threshold && !must_wait {
            self.fired = Some(now);
            return Verdict::Fire;
        }
        if stalled < threshold && since.is_none() {
            return Verdict::Idle;
        }
        let rest = again.map_or(Duration::ZERO, |again| again.saturating_duration_since(now));
        // If the stall goes on; but looks are not to follow each other too soon.
        let missing = threshold.saturating_sub(stalled).max(self.terms.grain());
        let pause = missing.max(rest).min(self.terms.stride());
        now.checked_add(pause)
            .map_or(Verdict::Idle, Verdict::NotBefore)
    }

    /// The least that stalls can have lasted within the window that ends now.
    fn stalled(&self, now: Instant, total: Duration) -> Duration {
        let age = |mark: &Mark| now.saturating_duration_since(mark.at);
        let window = self.terms.window;
        let first_inside = self.marks.iter().position(|mark| age(mark) < window);
        let (outside, inside) = self
            .marks
            .split_at(first_inside.unwrap_or(self.marks.len()));
        let next = inside.first().map_or(total, |mark| mark.total);
        // The most that the total can have been when the window began.
        let most = outside.last().map_or(next, |mark| {
            let until_begin = age(mark).saturating_sub(window);
            next.min(mark.total + until_begin)
        });
        total.saturating_sub(most)
    }

    /// Notes a moment, unless it is within a grain of the last.
    fn note(&mut self, at: Instant, total: Duration) {
        let is_near = |last: &Mark| at.saturating_duration_since(last.at) < self.terms.grain();
        if self.marks.last().is_some_and(is_near) {
            return;
        }
        if self.marks.is_full() {
            self.marks.remove(0);
        }
        self.marks.push(Mark { at, total });
    }

    /// Forgets what lies outside of the window, but for the last of it.
    fn forget_before(&mut self, now: Instant) {
        let window = self.terms.window;
        let is_outside = |mark: &Mark| now.saturating_duration_since(mark.at) >= window;
        let nr_outside = self
            .marks
            .iter()
            .take_while(|mark| is_outside(mark))
            .count();
        self.marks.drain(..nr_outside.saturating_sub(1));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::clock;
    use proptest::prelude::*;

    const WINDOW: u64 = 1000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Stalls from one millisecond to another, and a window that looks at them.
    struct Rig {
        start: Instant,
        stalls: Vec<(u64, u64)>,
        window: Window,
    }

    impl Rig {
        fn new(threshold: u64, stalls: &[(u64, u64)]) -> Rig {
            let start = clock::now();
            let first = reading_of(start, stalls, 0);
            let terms = Terms::new(ms(threshold), ms(WINDOW)).unwrap();
            Rig {
                start,
                stalls: stalls.to_vec(),
                window: Window::begin(terms, first),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start.checked_add(ms(millis)).unwrap()
        }

        fn look(&mut self, millis: u64) -> Verdict {
            let reading = reading_of(self.start, &self.stalls, millis);
            self.window.look(reading)
        }

        /// Looks as a waiting thread does, until the end; returns when it fired.
        fn wait_until(&mut self, end: u64) -> Vec<u64> {
            let mut fired = vec![];
            let mut now = 0;
            while now < end {
                now = match self.look(now) {
                    Verdict::Fire => {
                        fired.push(now);
                        now
                    }
                    Verdict::Idle => {
                        let next = self.stalls.iter().find(|(from, _)| *from > now);
                        next.map_or(end, |(from, _)| *from)
                    }
                    Verdict::NotBefore(at) => {
                        let after = at.saturating_duration_since(self.start);
                        // Rounded up to the millisecond, as a thread that wakes late.
                        after.as_nanos().div_ceil(1_000_000) as u64
                    }
                };
            }
            fired
        }
    }

    fn reading_of(start: Instant, stalls: &[(u64, u64)], now: u64) -> Reading {
        let at = |millis| start.checked_add(ms(millis)).unwrap();
        let present = stalls.iter().find(|(from, to)| (*from..*to).contains(&now));
        Reading {
            now: at(now),
            total: ms(stalled_between(stalls, 0, now)),
            since: present.map(|(from, _)| at(*from)),
        }
    }

    fn stalled_between(stalls: &[(u64, u64)], from: u64, to: u64) -> u64 {
        let part = |stall: &(u64, u64)| stall.1.min(to).saturating_sub(stall.0.max(from));
        stalls.iter().map(part).sum()
    }

    #[test]
    fn ranges_are_those_of_the_kernel() {
        assert!(Terms::new(ms(1), ms(500)).is_ok());
        assert!(Terms::new(ms(10_000), ms(10_000)).is_ok());
        for (threshold, window, field) in [
            (1, 499, "window"),
            (1, 10_001, "window"),
            (0, 1000, "threshold"),
            (1001, 1000, "threshold"),
        ] {
            let error = Terms::new(ms(threshold), ms(window)).unwrap_err();
            assert_eq!(error.field(), field, "{error}");
        }
        let error = Terms::new(ms(2000), ms(1000)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "threshold = 2s is out of range: accepted is more than 0 ns, at most the window of 1s"
        );
    }

    #[test]
    fn nothing_stalls_and_there_is_nothing_to_look_for() {
        let mut rig = Rig::new(100, &[]);
        assert_eq!(rig.look(0), Verdict::Idle);
        assert_eq!(rig.look(5000), Verdict::Idle);
    }

    #[test]
    fn a_stall_is_looked_at_when_it_can_first_have_lasted_long_enough() {
        let mut rig = Rig::new(100, &[(50, 400)]);
        assert_eq!(rig.look(50), Verdict::NotBefore(rig.at(150)));
        assert_eq!(rig.look(150), Verdict::Fire);
        // But for the stride.
        let mut rig = Rig::new(200, &[(50, 400)]);
        assert_eq!(rig.look(50), Verdict::NotBefore(rig.at(175)));
        assert_eq!(rig.look(175), Verdict::NotBefore(rig.at(250)));
        assert_eq!(rig.look(250), Verdict::Fire);
    }

    #[test]
    fn a_short_stall_does_not_fire_and_several_do() {
        assert_eq!(Rig::new(100, &[(50, 140)]).wait_until(5000), [0_u64; 0]);
        let mut rig = Rig::new(100, &[(50, 100), (200, 240), (600, 700)]);
        let fired = rig.wait_until(5000);
        assert_eq!(fired.len(), 1);
        assert!((610..=626).contains(&fired[0]), "{fired:?}");
    }

    #[test]
    fn stalls_that_are_too_far_apart_do_not_fire() {
        let stalls: Vec<_> = (0..20).map(|n| (n * 1100, n * 1100 + 90)).collect();
        assert_eq!(Rig::new(100, &stalls).wait_until(22_000), [0_u64; 0]);
    }

    #[test]
    fn it_fires_once_a_window_for_as_long_as_the_stall_lasts() {
        let fired = Rig::new(200, &[(100, 3000)]).wait_until(4000);
        assert_eq!(fired, [300, 1300, 2300, 3300]);
        let fired = Rig::new(1000, &[(100, 3000)]).wait_until(4000);
        assert_eq!(fired, [1100, 2100], "a threshold of the whole window");
    }

    #[test]
    fn what_was_before_the_first_look_does_not_count() {
        let mut rig = Rig::new(100, &[(0, 90)]);
        let start = reading_of(rig.start, &rig.stalls, 90);
        rig.window = Window::begin(rig.window.terms, start);
        assert_eq!(rig.look(90), Verdict::Idle);
    }

    #[test]
    fn who_looks_late_counts_what_is_certain() {
        // Nobody looked for ten windows; whether the stall was within the last, nobody knows.
        let mut rig = Rig::new(100, &[(100, 300)]);
        assert_eq!(rig.look(10_000), Verdict::Idle);
        // Of a stall that lasts, it is known when it began.
        let mut rig = Rig::new(100, &[(9_850, 20_000)]);
        assert_eq!(rig.look(10_000), Verdict::Fire);
        // In the last window, it is known exactly.
        let mut rig = Rig::new(100, &[(100, 300)]);
        assert_eq!(rig.look(900), Verdict::Fire);
    }

    proptest! {
        #[test]
        fn it_fires_when_it_must_and_only_then(
            gaps in prop::collection::vec((1_u64..400, 1_u64..400), 1..40),
            threshold in 1_u64..=WINDOW,
        ) {
            let mut at = 0;
            let stalls: Vec<_> = gaps
                .iter()
                .map(|(calm, stall)| {
                    let from = at + calm;
                    at = from + stall;
                    (from, at)
                })
                .collect();
            let end = at + 2 * WINDOW;
            let fired = Rig::new(threshold, &stalls).wait_until(end);
            for now in &fired {
                let stalled = stalled_between(&stalls, now.saturating_sub(WINDOW), *now);
                prop_assert!(stalled >= threshold, "X1: {stalled} at {now}");
            }
            for pair in fired.windows(2) {
                prop_assert!(pair[1] - pair[0] >= WINDOW, "X3: {fired:?}");
            }
            // X2, with the grain by which a look may be late.
            let hidden = WINDOW / u64::from(NR_STRIDES) + WINDOW / u64::from(NR_GRAINS) + 4;
            for now in WINDOW..end {
                let stalled = stalled_between(&stalls, now - WINDOW, now);
                if stalled >= threshold + hidden {
                    let is_known = fired.iter().any(|at| at.abs_diff(now) <= WINDOW);
                    prop_assert!(is_known, "X2: {stalled} at {now}, {fired:?}");
                }
            }
        }
    }
}
