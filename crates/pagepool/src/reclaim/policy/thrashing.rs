//! What tells thrashing from hard work (pure).
//!
//! *Kernel counterpart:* none in v5.0; it goes on, or kills. The measures are the kernel's: refaults of what
//! was in use (`workingset_refault`), and the time that all who work have stood still for memory (spec 4.16).
//!
//! Memory thrashes while nearly all of the time is spent waiting for it, and half of what is evicted, or
//! more, is needed again: then whatever somebody is given is taken from what is in use.

use std::time::Duration;

use crate::sync::clock::Instant;

/// How long it is looked at before it is judged.
const WINDOW: Duration = Duration::from_secs(1);

/// A judgement that is older than this is worth nothing.
const STALE: Duration = Duration::from_secs(4);

/// Totals at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Time that all who work have waited for memory.
    pub(crate) stalled: Duration,
    /// Pages that came back although they were evicted.
    pub(crate) refaulted: u64,
    /// Pages evicted.
    pub(crate) evicted: u64,
}

/// The judgement of the last window, and the beginning of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Gauge {
    begin: Option<Sample>,
    thrashes: bool,
}

impl Gauge {
    /// Looks again; returns whether memory thrashes: all have waited for `percent` of the time or more.
    pub(crate) fn look(&mut self, now: Sample, percent: u8) -> bool {
        let Some(begin) = self.begin else {
            return self.begin_anew(now, false);
        };
        let elapsed = now.at.saturating_duration_since(begin.at);
        if elapsed < WINDOW {
            return self.thrashes;
        }
        let verdict = elapsed <= STALE && is_thrashing(begin, now, elapsed, percent);
        self.begin_anew(now, verdict)
    }

    fn begin_anew(&mut self, now: Sample, thrashes: bool) -> bool {
        *self = Gauge {
            begin: Some(now),
            thrashes,
        };
        thrashes
    }
}

fn is_thrashing(begin: Sample, now: Sample, elapsed: Duration, percent: u8) -> bool {
    let stalled = now.stalled.saturating_sub(begin.stalled);
    let evicted = now.evicted.saturating_sub(begin.evicted);
    let refaulted = now.refaulted.saturating_sub(begin.refaulted);
    let waits = stalled.as_nanos() * 100 >= elapsed.as_nanos() * u128::from(percent);
    waits && evicted > 0 && refaulted * 2 >= evicted
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::clock;

    const MS: Duration = Duration::from_millis(1);

    /// After so many milliseconds: stalled for so many, so many refaults and evictions.
    fn looks(samples: &[(u32, u32, u64, u64)]) -> Vec<bool> {
        let start = clock::now();
        let mut gauge = Gauge::default();
        let look = |&(at, stalled, refaulted, evicted): &(u32, u32, u64, u64)| {
            let sample = Sample {
                at: start.checked_add(MS * at).unwrap(),
                stalled: MS * stalled,
                refaulted,
                evicted,
            };
            gauge.look(sample, 90)
        };
        samples.iter().map(look).collect()
    }

    #[test]
    fn who_waits_all_the_time_for_what_was_just_evicted_thrashes() {
        let samples = [
            (0, 0, 0, 0),
            (500, 500, 100, 100),
            (1000, 950, 200, 200),
            (1500, 960, 200, 900),
            (2000, 1900, 400, 400),
        ];
        assert_eq!(looks(&samples), [false, false, true, true, true]);
    }

    #[test]
    fn hard_work_is_none() {
        // Half of the time is enough for work; what does not come back was rightly evicted; and without
        // evictions there is nothing to thrash.
        assert_eq!(looks(&[(0, 0, 0, 0), (1000, 500, 100, 100)]), [false; 2]);
        assert_eq!(looks(&[(0, 0, 0, 0), (1000, 1000, 49, 100)]), [false; 2]);
        assert_eq!(looks(&[(0, 0, 0, 0), (1000, 1000, 0, 0)]), [false; 2]);
    }

    #[test]
    fn an_old_judgement_is_worth_nothing() {
        let samples = [
            (0, 0, 0, 0),
            (1000, 1000, 9, 9),
            (9000, 9000, 99, 99),
            (10_000, 10_000, 199, 199),
        ];
        assert_eq!(looks(&samples), [false, true, false, true]);
    }
}
