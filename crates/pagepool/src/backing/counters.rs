//! What happened in a store since it was attached.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a store counts. All but the first four are zero on a good day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counter {
    /// Transfers in.
    Reads,
    /// Transfers out.
    Writes,
    /// Pages that came in whole.
    PagesRead,
    /// Pages that went out whole.
    PagesWritten,
    /// Pages that could not be read, damaged ones included.
    ReadErrors,
    /// Pages that could not be written.
    WriteErrors,
    /// Attempts repeated after a transient error.
    Retries,
    /// Waits that ended at their deadline.
    Stalls,
    /// Transfers that somebody stopped waiting for.
    Abandoned,
    /// Callbacks that panicked.
    Panics,
    /// Pages whose checksum did not match.
    Corrupt,
    /// Pages refused since the device is full.
    Full,
    /// Pages that the backing holds back.
    Held,
    /// Workers that were replaced because a callback did not return.
    Quarantined,
}

const NR: usize = Counter::Quarantined as usize + 1;

/// A store's counters. Each is exact; two are not read at the same moment.
#[derive(Debug)]
pub(super) struct Counters([AtomicU64; NR]);

impl Counters {
    pub(super) fn new() -> Counters {
        Counters(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn add(&self, counter: Counter, n: u64) {
        if n > 0 {
            // Relaxed: counts order nothing.
            self.0[counter as usize].fetch_add(n, Relaxed);
        }
    }

    pub(super) fn read(&self) -> Counts {
        // Relaxed: as above.
        Counts(std::array::from_fn(|n| self.0[n].load(Relaxed)))
    }
}

/// A reading of a store's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counts([u64; NR]);

impl Counts {
    /// One of them.
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        for (sum, n) in self.0.iter_mut().zip(other.0) {
            *sum += n;
        }
    }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; NR])
    }
}
