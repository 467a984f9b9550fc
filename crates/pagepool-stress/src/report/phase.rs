//! A phase of a run: one pool and its load.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use pagepool::Prefaulted;
use serde::Serialize;

use super::{
    fragment::Compaction,
    nodes::{Kernel, Node, nodes},
    pressure::Pressure,
    reclaim::Reclaim,
};
use crate::{
    phase::{Outcome, SwapFigures},
    tally::{Refusals, Tally},
    units::wide,
};

/// One pool and its load.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) facts: Facts,
    pub(crate) players: usize,
    pub(crate) rounds: u64,
    pub(crate) epochs: u64,
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    pub(crate) ops_per_s: f64,
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    pub(crate) splits: u64,
    pub(crate) skipped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<Cache>,
    pub(crate) verified_bytes: u64,
    pub(crate) violations: u64,
    pub(crate) budget_bytes: u64,
    pub(crate) metadata_bytes: u64,
    pub(crate) managed_pages: u64,
    pub(crate) held_pages: u64,
    pub(crate) trimmed_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefault: Option<PrefaultCost>,
    pub(crate) rss_start: Option<u64>,
    pub(crate) rss_max: Option<u64>,
    pub(crate) rss_end: Option<u64>,
    pub(crate) latency_ns: Latency,
    pub(crate) latency_free_ns: Latency,
    pub(crate) latency_fault_ns: Latency,
    pub(crate) slowpath_entries: u64,
    /// Accesses to folios, those that found the folio away, and contents given up after an error.
    pub(crate) touches: u64,
    pub(crate) touches_away: u64,
    pub(crate) remade: u64,
    pub(crate) reclaim: Reclaim,
    pub(crate) compaction: Compaction,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<SwapFigures>,
    pub(crate) pressure: Pressure,
    pub(crate) vmstat: BTreeMap<&'static str, u64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) failures: Vec<Failure>,
    /// Accesses to folios that ended in an error, by cause.
    pub(crate) access_failures: Vec<Failure>,
}

/// What is known about a phase before it is played.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Facts {
    /// The load in one line.
    pub(crate) load: String,
    /// Further lines for the reader.
    pub(crate) notes: Vec<String>,
    /// For a cache: the trace's distinct pages and how many may be held.
    #[serde(skip)]
    pub(crate) cache: Option<(u64, u64)>,
    /// How the kernel ended that the load was recorded on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<Kernel>,
}

/// What it cost to make memory resident before the load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PrefaultCost {
    pub(crate) bytes: u64,
    /// Of these, in huge pages that the pool asked for.
    pub(crate) huge_bytes: u64,
    pub(crate) seconds: f64,
    /// For a GiB, at this pace; null if nothing was done.
    pub(crate) ms_per_gib: Option<f64>,
    /// Why it ended.
    pub(crate) end: String,
}

impl From<Prefaulted> for PrefaultCost {
    fn from(cost: Prefaulted) -> PrefaultCost {
        let seconds = cost.elapsed.as_secs_f64();
        let gib = cost.bytes as f64 / (1_u64 << 30) as f64;
        PrefaultCost {
            bytes: wide(cost.bytes),
            huge_bytes: wide(cost.huge_bytes),
            seconds,
            ms_per_gib: (gib > 0.0).then(|| seconds * 1e3 / gib),
            end: cost.end.to_string(),
        }
    }
}

/// How a page cache fared.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cache {
    pub(crate) footprint_pages: u64,
    pub(crate) limit_pages: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Blocks that the owner of the cache gave up, or pages that the pool reclaimed.
    pub(crate) evictions: u64,
    pub(crate) miss_ratio: f64,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) p9999: u64,
    pub(crate) max: u64,
    pub(crate) count: u64,
}

/// Refused allocations of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) cause: &'static str,
    pub(crate) remedy: &'static str,
    pub(crate) count: u64,
}

impl Phase {
    /// What came of a phase of which these facts were known.
    pub(super) fn new(facts: Facts, outcome: &Outcome) -> Phase {
        let Outcome { tally, held, .. } = outcome;
        let seconds = outcome.played.as_secs_f64();
        Phase {
            name: outcome.name.clone(),
            players: outcome.players,
            rounds: outcome.rounds,
            epochs: outcome.epochs,
            ops: tally.ops,
            seconds,
            ops_per_s: rate(tally.ops, seconds),
            allocs: tally.nr_allocs,
            frees: tally.nr_frees,
            splits: tally.nr_splits,
            skipped: tally.nr_skipped,
            cache: facts
                .cache
                .map(|limits| Cache::new(limits, tally, Reclaim::of(held))),
            facts,
            verified_bytes: tally.verified_bytes,
            violations: tally.violations.count,
            budget_bytes: wide(held.budget.built_bytes),
            metadata_bytes: wide(held.metadata_bytes),
            managed_pages: wide(held.managed_pages),
            held_pages: wide(held.managed_pages) - wide(held.free_pages),
            trimmed_bytes: outcome.trimmed_bytes,
            prefault: outcome.prefaulted.map(PrefaultCost::from),
            rss_start: outcome.rss.map(|rss| rss.start),
            rss_max: outcome.rss.map(|rss| rss.max),
            rss_end: outcome.rss.map(|rss| rss.end),
            latency_ns: Latency::of(&tally.alloc_ns),
            latency_free_ns: Latency::of(&tally.free_ns),
            latency_fault_ns: Latency::of(&tally.fault_ns),
            touches: tally.nr_touches,
            touches_away: tally.nr_away,
            remade: tally.nr_remade,
            reclaim: Reclaim::of(held),
            compaction: Compaction::of(held),
            swap: outcome.swap,
            pressure: held.pressure.into(),
            slowpath_entries: outcome.slowpath_entries,
            vmstat: held.vmstat.iter().collect(),
            nodes: nodes(held),
            failures: tally.refusals.iter().map(Failure::from).collect(),
            access_failures: tally.access_errors.iter().map(Failure::from).collect(),
        }
    }
}

impl Cache {
    fn new((footprint_pages, limit_pages): (u64, u64), tally: &Tally, reclaim: Reclaim) -> Cache {
        let references = tally.nr_hits + tally.nr_misses;
        Cache {
            footprint_pages,
            limit_pages,
            hits: tally.nr_hits,
            misses: tally.nr_misses,
            evictions: tally.nr_evictions + reclaim.pgsteal_kswapd + reclaim.pgsteal_direct,
            miss_ratio: tally.nr_misses as f64 / references.max(1) as f64,
        }
    }
}

impl Latency {
    pub(super) fn of(latencies: &Histogram<u64>) -> Latency {
        Latency {
            p50: latencies.value_at_quantile(0.5),
            p99: latencies.value_at_quantile(0.99),
            p999: latencies.value_at_quantile(0.999),
            p9999: latencies.value_at_quantile(0.9999),
            max: latencies.max(),
            count: latencies.len(),
        }
    }
}

impl From<&Refusals> for Failure {
    fn from(refusals: &Refusals) -> Failure {
        let Refusals {
            cause,
            remedy,
            count,
        } = *refusals;
        Failure {
            cause,
            remedy,
            count,
        }
    }
}

/// Operations a second.
pub(super) fn rate(ops: u64, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => ops as f64 / seconds,
        false => 0.0,
    }
}
