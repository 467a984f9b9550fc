//! Whether memory thrashes, for requests that would rather fail than wait.

use super::policy::thrashing::{Gauge, Sample};
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU8, Ordering};

/// A gauge that is looked at when requests are in trouble, and by nobody else.
#[derive(Debug, Default)]
pub(crate) struct ThrashingGauge {
    /// The share of time, in percent, from which on it is thrashing; 0 is off.
    percent: AtomicU8,
    gauge: CoreMutex<Gauge>,
}

impl ThrashingGauge {
    /// The share of time, in percent, from which on it is thrashing; 0 is off.
    pub(crate) fn percent(&self) -> u8 {
        // Relaxed: a setting.
        self.percent.load(Ordering::Relaxed)
    }

    /// Sets it.
    pub(crate) fn set_percent(&self, percent: u8) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    /// Whether anybody wants to know.
    pub(crate) fn is_on(&self) -> bool {
        self.percent() > 0
    }

    /// Looks at the totals as they are now; returns whether memory thrashes.
    pub(crate) fn look(&self, now: Sample) -> bool {
        self.gauge.lock().look(now, self.percent())
    }
}
