//! What was measured while more folios were touched than there is memory.
#![forbid(unsafe_code)]

use serde::Serialize;

use crate::units::grouped;

/// The folios that are touched, and how.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct WorkingSetFacts {
    pub(crate) pattern: &'static str,
    /// Size as a multiple of the pool's memory.
    pub(crate) factor: f64,
    pub(crate) folios: u64,
    pub(crate) pages: u64,
    pub(crate) write_share: f64,
    pub(crate) churn_share: f64,
}

/// What happened while more folios were touched than there is memory; the fill is not included.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PagingReport {
    pub(crate) working_set: WorkingSetFacts,
    pub(crate) seconds: f64,
    pub(crate) touches: u64,
    pub(crate) touches_per_s: f64,
    /// Folios read back.
    pub(crate) majfaults: u64,
    /// Folios read back, per touch.
    pub(crate) miss_ratio: f64,
    /// Slow-path entries per folio that got memory.
    pub(crate) slowpath_per_allocation: f64,
    /// How far a zone's free memory stood above its high mark, at most.
    pub(crate) overreclaim_pages_max: u64,
    /// The same as a share of the zone, in percent.
    pub(crate) overreclaim_percent_max: f64,
    pub(crate) overreclaim_samples: u64,
    /// What the device did wrong on purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) injected: Vec<Injected>,
}

/// How often a fault was injected.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Injected {
    pub(crate) fault: &'static str,
    pub(crate) count: u64,
}

impl WorkingSetFacts {
    /// In one line.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} folios of {} pages, {} x the pool; {}, {:.0} % written, {:.0} % replaced",
            grouped(self.folios),
            grouped(self.pages),
            self.factor,
            self.pattern,
            self.write_share * 100.0,
            self.churn_share * 100.0
        )
    }
}

impl PagingReport {
    /// A report of nothing but the load.
    pub(crate) fn unmeasured(working_set: WorkingSetFacts) -> PagingReport {
        PagingReport {
            working_set,
            seconds: 0.0,
            touches: 0,
            touches_per_s: 0.0,
            majfaults: 0,
            miss_ratio: 0.0,
            slowpath_per_allocation: 0.0,
            overreclaim_pages_max: 0,
            overreclaim_percent_max: 0.0,
            overreclaim_samples: 0,
            injected: Vec::new(),
        }
    }
}
