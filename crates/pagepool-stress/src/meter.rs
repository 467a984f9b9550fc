//! Latencies of one kind that somebody else can look at while they are being recorded.
//!
//! Each player has its own [`Latencies`]: a histogram for the report, which nobody sees before the player stops, and
//! a [`Meter`] of coarser buckets, which the recorder reads meanwhile. Only the player writes the meter's counts, and
//! only the recorder takes its largest value; each word stands for itself.
#![forbid(unsafe_code)]

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use hdrhistogram::Histogram;

use crate::{
    record::buckets::{BUCKETS, bucket_of},
    tally::latencies,
};

/// Counts by bucket, and the largest value since it was last taken.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: Box<[AtomicU64]>,
    max: AtomicU64,
}

impl Meter {
    fn new() -> Arc<Meter> {
        let meter = Meter {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            max: AtomicU64::new(0),
        };
        // Resident from the beginning, as all that is not the pool's.
        for count in &meter.counts {
            count.store(0, Relaxed);
        }
        Arc::new(meter)
    }

    #[inline]
    fn note(&self, ns: u64) {
        // Only this thread writes the count.
        let count = &self.counts[bucket_of(ns)];
        count.store(count.load(Relaxed) + 1, Relaxed);
        // One that is not above what stands there is above nothing that the recorder takes.
        if ns > self.max.load(Relaxed) {
            self.max.fetch_max(ns, Relaxed);
        }
    }

    /// Calls `each` with the number of values in each bucket so far.
    pub(crate) fn each_count(&self, mut each: impl FnMut(usize, u64)) {
        for (bucket, count) in self.counts.iter().enumerate() {
            each(bucket, count.load(Relaxed));
        }
    }

    /// The largest value since the last call, or 0.
    pub(crate) fn take_max(&self) -> u64 {
        self.max.swap(0, Relaxed)
    }
}

/// Latencies in nanoseconds: exact to three digits for the report, and coarser for whoever looks meanwhile.
#[derive(Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    meter: Arc<Meter>,
}

impl Latencies {
    /// None yet; all memory is resident.
    pub(crate) fn new() -> Latencies {
        Latencies {
            histogram: latencies(),
            meter: Meter::new(),
        }
    }

    /// Writes one down.
    #[inline]
    pub(crate) fn saturating_record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.meter.note(ns);
    }

    /// Adds those of `other`; the meter has its own only.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.histogram
            .add(&other.histogram)
            .expect("both have the same bounds");
    }

    /// What can be looked at meanwhile.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

impl Clone for Latencies {
    /// The same latencies with a meter of their own, since each meter has one writer.
    fn clone(&self) -> Latencies {
        Latencies {
            histogram: self.histogram.clone(),
            meter: Meter::new(),
        }
    }
}

impl Deref for Latencies {
    type Target = Histogram<u64>;

    fn deref(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_has_what_the_histogram_has() {
        let mut latencies = Latencies::new();
        for ns in [5, 900, 900, 70_000] {
            latencies.saturating_record(ns);
        }
        let mut counts = Vec::new();
        latencies
            .meter()
            .each_count(|bucket, count| counts.extend([bucket].repeat(count as usize)));
        assert_eq!(counts, [5, 900, 900, 70_000].map(bucket_of));
        assert_eq!(latencies.len(), 4);
        assert_eq!(latencies.meter().take_max(), 70_000);
        assert_eq!(latencies.meter().take_max(), 0);
    }

    #[test]
    fn a_copy_writes_elsewhere() {
        let one = Latencies::new();
        let mut two = one.clone();
        two.saturating_record(7);
        assert_eq!((one.meter().take_max(), two.meter().take_max()), (0, 7));
    }
}
