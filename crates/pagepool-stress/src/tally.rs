//! What a player counts: operations and their latency, bytes verified, refusals, violations.
#![forbid(unsafe_code)]

use std::{fmt, time::Instant};

use hdrhistogram::Histogram;
use pagepool::{AccessError, AllocError};

use crate::meter::Latencies;

/// Nanoseconds beyond which a latency is recorded as this one: a minute.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// Violations whose text is kept; all are counted.
const MAX_MESSAGES: usize = 16;

/// What was found wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Violations {
    pub(crate) count: u64,
    /// The first ones, as text.
    pub(crate) messages: Vec<String>,
}

impl Violations {
    pub(crate) fn add(&mut self, message: impl fmt::Display) {
        self.count += 1;
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message.to_string());
        }
    }

    /// Adds a line that says more about the last violation.
    pub(crate) fn note(&mut self, line: &str) {
        self.messages.push(line.to_owned());
    }

    pub(crate) fn merge(&mut self, other: &Violations) {
        self.count += other.count;
        let room = MAX_MESSAGES.saturating_sub(self.messages.len());
        self.messages
            .extend(other.messages.iter().take(room).cloned());
    }
}

/// Allocations that were refused for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) cause: &'static str,
    pub(crate) remedy: &'static str,
    pub(crate) count: u64,
}

/// The counts of one player, or of several together.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Operations: allocations, frees and splits; for a cache, references.
    pub(crate) ops: u64,
    pub(crate) nr_allocs: u64,
    pub(crate) nr_frees: u64,
    pub(crate) nr_splits: u64,
    /// Events on blocks that the pool had refused.
    pub(crate) nr_skipped: u64,
    pub(crate) nr_hits: u64,
    pub(crate) nr_misses: u64,
    pub(crate) nr_evictions: u64,
    /// Accesses to folios.
    pub(crate) nr_touches: u64,
    /// Of these, those that found the folio away.
    pub(crate) nr_away: u64,
    /// Folios whose contents were given up after a typed error, and made anew.
    pub(crate) nr_remade: u64,
    /// Bytes compared with what was written.
    pub(crate) verified_bytes: u64,
    pub(crate) refusals: Vec<Refusals>,
    /// Accesses that ended in an error, by cause.
    pub(crate) access_errors: Vec<Refusals>,
    pub(crate) violations: Violations,
    /// Latency of the pool's allocation call, zeroing not included.
    pub(crate) alloc_ns: Latencies,
    /// Latency of the pool's free call.
    pub(crate) free_ns: Latencies,
    /// Latency of accesses that found the folio away, the time until its bytes were there.
    pub(crate) fault_ns: Latencies,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            ops: 0,
            nr_allocs: 0,
            nr_frees: 0,
            nr_splits: 0,
            nr_skipped: 0,
            nr_hits: 0,
            nr_misses: 0,
            nr_evictions: 0,
            nr_touches: 0,
            nr_away: 0,
            nr_remade: 0,
            verified_bytes: 0,
            refusals: Vec::with_capacity(16),
            access_errors: Vec::with_capacity(16),
            violations: Violations::default(),
            alloc_ns: Latencies::new(),
            free_ns: Latencies::new(),
            fault_ns: Latencies::new(),
        }
    }

    /// Adds what `check` compared, or the violation that it found.
    pub(crate) fn verified(&mut self, check: Result<u64, impl fmt::Display>) {
        match check {
            Ok(bytes) => self.verified_bytes += bytes,
            Err(violation) => self.violations.add(violation),
        }
    }

    /// Counts a refused allocation.
    #[cold]
    pub(crate) fn refused(&mut self, error: AllocError) {
        add_refusals(&mut self.refusals, error.cause(), error.remedy(), 1);
    }

    /// Counts an access that ended in an error.
    #[cold]
    pub(crate) fn access_failed(&mut self, error: AccessError) {
        add_refusals(&mut self.access_errors, error.cause(), error.remedy(), 1);
    }

    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &Tally) {
        self.ops += other.ops;
        self.nr_allocs += other.nr_allocs;
        self.nr_frees += other.nr_frees;
        self.nr_splits += other.nr_splits;
        self.nr_skipped += other.nr_skipped;
        self.nr_hits += other.nr_hits;
        self.nr_misses += other.nr_misses;
        self.nr_evictions += other.nr_evictions;
        self.nr_touches += other.nr_touches;
        self.nr_away += other.nr_away;
        self.nr_remade += other.nr_remade;
        self.verified_bytes += other.verified_bytes;
        merge_refusals(&mut self.refusals, &other.refusals);
        merge_refusals(&mut self.access_errors, &other.access_errors);
        self.violations.merge(&other.violations);
        self.alloc_ns.add(&other.alloc_ns);
        self.free_ns.add(&other.free_ns);
        self.fault_ns.add(&other.fault_ns);
    }
}

/// Records the time since `begin`.
#[inline]
pub(crate) fn record(latencies: &mut Latencies, begin: Instant) {
    latencies.saturating_record(begin.elapsed().as_nanos() as u64);
}

fn merge_refusals(all: &mut Vec<Refusals>, others: &[Refusals]) {
    for other in others {
        add_refusals(all, other.cause, other.remedy, other.count);
    }
}

fn add_refusals(all: &mut Vec<Refusals>, cause: &'static str, remedy: &'static str, count: u64) {
    match all.iter_mut().find(|known| known.cause == cause) {
        Some(known) => known.count += count,
        None => all.push(Refusals {
            cause,
            remedy,
            count,
        }),
    }
}

/// An empty histogram whose memory is all resident.
pub(crate) fn latencies() -> Histogram<u64> {
    let mut latencies = Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3).expect("valid bounds");
    latencies.clear();
    latencies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_gather_by_cause() {
        let mut one = Tally::new();
        one.refused(AllocError::BelowMin);
        one.refused(AllocError::Fragmented);
        let mut sum = one.clone();
        sum.merge(&one);
        assert_eq!(sum.refusals.len(), 2);
        assert_eq!(
            sum.refusals
                .iter()
                .map(|refusals| refusals.count)
                .sum::<u64>(),
            4
        );
    }

    #[test]
    fn the_first_violations_are_kept_and_all_counted() {
        let mut violations = Violations::default();
        (0..100).for_each(|n| violations.add(n));
        let mut sum = violations.clone();
        sum.merge(&violations);
        assert_eq!((sum.count, sum.messages.len()), (200, MAX_MESSAGES));
    }
}
