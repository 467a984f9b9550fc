//! Where the lanes of a work meet, so that their clocks start together.
//!
//! A lane that slept in a futex would start tens of microseconds late; these lanes spin.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::utils::{Backoff, CachePadded};

/// A reusable meeting point of a fixed number of lanes.
#[derive(Debug)]
pub(crate) struct Meet {
    lanes: usize,
    arrivals: CachePadded<AtomicUsize>,
}

impl Meet {
    /// Returns a meeting point for `lanes` threads.
    pub(crate) fn new(lanes: usize) -> Meet {
        Meet {
            lanes,
            arrivals: CachePadded::default(),
        }
    }

    /// Waits until every lane has called this as often as the caller.
    pub(crate) fn wait(&self) {
        // AcqRel: publishes what this lane did before the meeting; pairs with the load below.
        let arrived = self.arrivals.fetch_add(1, Ordering::AcqRel);
        let everyone = (arrived / self.lanes + 1) * self.lanes;
        let backoff = Backoff::new();
        // Acquire: observes what the other lanes did before they arrived.
        while self.arrivals.load(Ordering::Acquire) < everyone {
            backoff.snooze();
        }
    }
}
