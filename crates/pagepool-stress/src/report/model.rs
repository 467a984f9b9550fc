//! The report's fields. Their names are fixed: people script against them.
//!
//! Top-level figures cover the whole run: `ops`, `seconds`, `verified_bytes`, latencies and
//! failures are those of all phases together; `budget_bytes` and `metadata_bytes` are those of the
//! largest pool; `rss_start` is before the first pool was built, `rss_max` over all phases,
//! `rss_end` after the last pool was trimmed. After `latency`, `latency_ns` is that from when requests were due. `nodes`, `vmstat` and `pressure` show the first phase's pool at
//! the end of its load, with everything still held.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    churn::ChurnReport,
    cut::CutReport,
    fragment::FragmentReport,
    groups::GroupsReport,
    idle::IdleReport,
    latency::LatencyReport,
    misses::MissReport,
    nodes::Node,
    paging::PagingReport,
    phase::{Facts, Failure, Latency, Phase, rate},
    pressure::Pressure,
    soak::SoakReport,
    two_kinds::MixedReport,
    what_if::WhatIfReport,
};
use crate::{
    phase::Outcome,
    tally::{Tally, Violations},
};

/// The layout of the JSON object; rises when a field changes its meaning.
const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    pub(crate) command: &'static str,
    pub(crate) seed: u64,
    pub(crate) verdict: Verdict,
    pub(crate) interrupted: bool,
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    pub(crate) ops_per_s: f64,
    pub(crate) verified_bytes: u64,
    pub(crate) violations: u64,
    pub(crate) violation_messages: Vec<String>,
    pub(crate) budget_bytes: u64,
    pub(crate) metadata_bytes: u64,
    pub(crate) rss_start: Option<u64>,
    pub(crate) rss_max: Option<u64>,
    pub(crate) rss_end: Option<u64>,
    pub(crate) rss_samples: Option<u64>,
    pub(crate) latency_ns: Latency,
    pub(crate) latency_free_ns: Latency,
    pub(crate) latency_fault_ns: Latency,
    pub(crate) slowpath_entries: u64,
    pub(crate) overreclaim_pages_max: u64,
    pub(crate) pressure: Pressure,
    pub(crate) vmstat: BTreeMap<&'static str, u64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) access_failures: Vec<Failure>,
    pub(crate) phases: Vec<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) churn: Option<ChurnReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paging: Option<PagingReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<GroupsReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) container_cut: Option<CutReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<IdleReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fragment: Option<Fragmentation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<LatencyReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soak: Option<SoakReport>,
    /// What was missed of each trace of references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) miss_ratios: Vec<MissReport>,
    /// A recorded load in the pool that it was recorded in, and in another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) what_if: Option<WhatIfReport>,
}

/// What `fragment` found, by its pattern.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Fragmentation {
    InPieces(FragmentReport),
    Mixed(MixedReport),
}

/// Whether everything held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Verified,
    Violation,
}

impl Report {
    /// Gathers the phases of a run.
    pub(crate) fn new(command: &'static str, seed: u64, interrupted: bool) -> Report {
        Report {
            schema: SCHEMA,
            command,
            seed,
            verdict: Verdict::Verified,
            interrupted,
            ops: 0,
            seconds: 0.0,
            ops_per_s: 0.0,
            verified_bytes: 0,
            violations: 0,
            violation_messages: Vec::new(),
            budget_bytes: 0,
            metadata_bytes: 0,
            rss_start: None,
            rss_max: None,
            rss_end: None,
            rss_samples: None,
            latency_ns: Latency::of(&Tally::new().alloc_ns),
            latency_free_ns: Latency::of(&Tally::new().free_ns),
            latency_fault_ns: Latency::of(&Tally::new().fault_ns),
            slowpath_entries: 0,
            overreclaim_pages_max: 0,
            pressure: Pressure::default(),
            vmstat: BTreeMap::new(),
            nodes: Vec::new(),
            failures: Vec::new(),
            access_failures: Vec::new(),
            phases: Vec::new(),
            churn: None,
            paging: None,
            groups: None,
            container_cut: None,
            idle: None,
            fragment: None,
            latency: None,
            soak: None,
            miss_ratios: Vec::new(),
            what_if: None,
        }
    }

    /// Adds phases, in the order in which they were played.
    pub(crate) fn add_phases(&mut self, played: &[(Facts, Outcome)]) {
        let mut all = Tally::new();
        for (facts, outcome) in played {
            all.merge(&outcome.tally);
            self.add_phase(Phase::new(facts.clone(), outcome));
            self.add_rss(outcome);
        }
        self.add_tally(&all);
        if let Some(first) = self.phases.first() {
            (self.nodes, self.vmstat) = (first.nodes.clone(), first.vmstat.clone());
            self.pressure = first.pressure;
        }
    }

    fn add_phase(&mut self, phase: Phase) {
        self.seconds += phase.seconds;
        self.slowpath_entries += phase.slowpath_entries;
        if phase.budget_bytes > self.budget_bytes {
            self.budget_bytes = phase.budget_bytes;
            self.metadata_bytes = phase.metadata_bytes;
        }
        self.phases.push(phase);
    }

    fn add_rss(&mut self, outcome: &Outcome) {
        let Some(rss) = outcome.rss else { return };
        self.rss_start = self.rss_start.or(Some(rss.start));
        self.rss_max = self.rss_max.max(Some(rss.max));
        self.rss_end = Some(rss.end);
        self.rss_samples = Some(self.rss_samples.unwrap_or(0) + rss.samples);
    }

    fn add_tally(&mut self, all: &Tally) {
        self.ops = all.ops;
        self.ops_per_s = rate(all.ops, self.seconds);
        self.verified_bytes = all.verified_bytes;
        self.latency_ns = Latency::of(&all.alloc_ns);
        self.latency_free_ns = Latency::of(&all.free_ns);
        self.latency_fault_ns = Latency::of(&all.fault_ns);
        self.failures = all.refusals.iter().map(Failure::from).collect();
        self.access_failures = all.access_errors.iter().map(Failure::from).collect();
        self.add_violations(&all.violations);
    }

    /// Adds what was measured while more folios were touched than there is memory.
    pub(crate) fn add_paging(&mut self, paging: PagingReport) {
        self.overreclaim_pages_max = paging.overreclaim_pages_max;
        self.paging = Some(paging);
    }

    /// Adds what was measured of requests that were due; their latency is the run's.
    pub(crate) fn add_latency(&mut self, latency: LatencyReport) {
        self.latency_ns = latency.latency_ns;
        self.latency = Some(latency);
    }

    /// What should have been written to a file and was not.
    pub(crate) fn unwritten(&self) -> Option<String> {
        let log = self.latency.as_ref()?.log.as_ref()?;
        let error = log.error.as_ref()?;
        Some(format!("--log {}: {error}", log.file))
    }

    /// Adds what was found wrong.
    pub(crate) fn add_violations(&mut self, violations: &Violations) {
        self.violations += violations.count;
        self.violation_messages
            .extend(violations.messages.iter().cloned());
        if self.violations > 0 {
            self.verdict = Verdict::Violation;
        }
    }
}
