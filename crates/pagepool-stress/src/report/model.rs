//! The report's fields. Their names are fixed: people script against them.
//!
//! Top-level figures cover the whole run: `ops`, `seconds`, `verified_bytes`, latencies and
//! failures are those of all phases together; `budget_bytes` and `metadata_bytes` are those of the
//! largest pool; `rss_start` is before the first pool was built, `rss_max` over all phases,
//! `rss_end` after the last pool was trimmed. After `latency`, `latency_ns` is that from when requests were due. `nodes`, `vmstat` and `pressure` show the first phase's pool at
//! the end of its load, with everything still held.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use pagepool::{NR_ORDERS, Order, Stats};
use serde::Serialize;

use super::{
    cut::CutReport,
    fragment::{Compaction, FragmentReport},
    groups::GroupsReport,
    latency::LatencyReport,
    misses::MissReport,
    pressure::Pressure,
    soak::SoakReport,
    two_kinds::MixedReport,
    what_if::WhatIfReport,
};
use crate::{
    phase::{Outcome, SwapFigures},
    tally::{Refusals, Tally, Violations},
    threads::Account,
    trace::kernel::KernelState,
    units::{grouped, wide},
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

/// What the pool's threads did while nothing happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IdleReport {
    pub(crate) scene: &'static str,
    pub(crate) settle_s: f64,
    pub(crate) seconds: f64,
    pub(crate) wakeups: u64,
    pub(crate) cpu_ms: f64,
    /// CPU time of all of them, as a share of one CPU.
    pub(crate) cpu_share: f64,
    pub(crate) threads: Vec<Account>,
}

/// Who made memory free, and what had to be read back.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Reclaim {
    pub(crate) pgsteal_kswapd: u64,
    pub(crate) pgsteal_direct: u64,
    pub(crate) pgscan_kswapd: u64,
    pub(crate) pgscan_direct: u64,
    /// kswapd's part of what was reclaimed; none if nothing was.
    pub(crate) kswapd_share: Option<f64>,
    /// Times that kswapd set out to balance its node.
    pub(crate) kswapd_runs: u64,
    /// Times that a thread that allocates reclaimed for itself.
    pub(crate) allocstall: u64,
    pub(crate) pgfault: u64,
    pub(crate) pgmajfault: u64,
    pub(crate) pswpin: u64,
    pub(crate) pswpout: u64,
}

impl Reclaim {
    pub(super) fn of(stats: &Stats) -> Reclaim {
        let event = |name| stats.vmstat.get(name).unwrap_or(0);
        let [kswapd, direct] = ["pgsteal_kswapd", "pgsteal_direct"].map(event);
        let stalls = ["allocstall_dma", "allocstall_normal", "allocstall_movable"];
        Reclaim {
            pgsteal_kswapd: kswapd,
            pgsteal_direct: direct,
            pgscan_kswapd: event("pgscan_kswapd"),
            pgscan_direct: event("pgscan_direct"),
            kswapd_share: (kswapd + direct > 0).then(|| kswapd as f64 / (kswapd + direct) as f64),
            kswapd_runs: event("pageoutrun"),
            allocstall: stalls.map(event).iter().sum(),
            pgfault: event("pgfault"),
            pgmajfault: event("pgmajfault"),
            pswpin: event("pswpin"),
            pswpout: event("pswpout"),
        }
    }
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

/// Whether everything held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Verified,
    Violation,
}

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

/// A node of the pool.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) kswapd: String,
    pub(crate) kcompactd: String,
    pub(crate) zones: Vec<Zone>,
}

/// A zone of a node; figures in pages unless they say otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    pub(crate) spanned: u64,
    pub(crate) present: u64,
    pub(crate) managed: u64,
    pub(crate) free: u64,
    pub(crate) cached: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) boost: u64,
    pub(crate) protection: Vec<u64>,
    /// Free blocks by order.
    pub(crate) nr_free: Vec<u64>,
    /// Share of the free memory that no block of the order could use, by order.
    pub(crate) unusable_index: Vec<f64>,
    pub(crate) pageblock_order: u8,
    /// Unmovable, movable, reclaimable, high-atomic.
    pub(crate) pageblocks_by_type: Vec<u64>,
    /// Pages in use of each pageblock.
    pub(crate) pageblocks: Vec<u16>,
}

/// A real kernel at the end of the same load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kernel {
    pub(crate) zones: Vec<KernelZone>,
}

/// A zone of a real kernel, in pages.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KernelZone {
    pub(crate) name: String,
    pub(crate) managed: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) nr_free: Vec<u64>,
    pub(crate) unusable_index: Vec<f64>,
}

/// How many large blocks survived churn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChurnReport {
    /// Order of the large blocks.
    pub(crate) large_order: u8,
    pub(crate) generations: Vec<Generation>,
    /// Large blocks that could be allocated at the end, with everything held.
    pub(crate) got: u64,
    /// As many as the free pages at that time make.
    pub(crate) ideal: u64,
    pub(crate) share: f64,
    pub(crate) goal: f64,
}

/// What stood free after a generation.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Generation {
    /// 0 is the scattered start.
    pub(crate) generation: u64,
    pub(crate) free_pages: u64,
    /// Free large blocks in the zones' lists; pages in per-CPU caches may hide some.
    pub(crate) large_blocks: u64,
    pub(crate) ideal: u64,
    pub(crate) share: f64,
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

impl Phase {
    fn new(facts: Facts, outcome: &Outcome) -> Phase {
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

impl From<&KernelState> for Kernel {
    fn from(state: &KernelState) -> Kernel {
        let zones = state.zones.iter().map(|zone| KernelZone {
            name: zone.name.clone(),
            managed: zone.managed,
            min: zone.min,
            low: zone.low,
            high: zone.high,
            nr_free: zone.nr_free.to_vec(),
            unusable_index: unusable_index(&zone.nr_free),
        });
        Kernel {
            zones: zones.collect(),
        }
    }
}

fn nodes(stats: &Stats) -> Vec<Node> {
    let nodes = stats.nodes.iter().map(|node| Node {
        id: node.id.get(),
        kswapd: node.kswapd.to_string(),
        kcompactd: node.kcompactd.to_string(),
        zones: node.zones.iter().map(zone).collect(),
    });
    nodes.collect()
}

fn zone(zone: &pagepool::ZoneStats) -> Zone {
    Zone {
        name: zone.name,
        spanned: wide(zone.spanned),
        present: wide(zone.present),
        managed: wide(zone.managed),
        free: wide(zone.free),
        cached: wide(zone.cached),
        min: wide(zone.min),
        low: wide(zone.low),
        high: wide(zone.high),
        boost: wide(zone.boost),
        protection: zone.protection.map(wide).to_vec(),
        nr_free: zone.nr_free.to_vec(),
        unusable_index: Order::all()
            .map(|order| zone.unusable_index(order))
            .collect(),
        pageblock_order: zone.pageblock_order.get(),
        pageblocks_by_type: zone.pageblocks_by_type.to_vec(),
        pageblocks: zone.pageblocks.clone(),
    }
}

/// Share of free memory that blocks of each order cannot use, from free blocks by order.
pub(super) fn unusable_index(nr_free: &[u64]) -> Vec<f64> {
    let pages = |order: usize| nr_free[order] << order;
    let free: u64 = (0..NR_ORDERS).map(pages).sum();
    let index = |order: usize| {
        let too_small: u64 = (0..order).map(pages).sum();
        too_small as f64 / free.max(1) as f64
    };
    (0..NR_ORDERS).map(index).collect()
}

fn rate(ops: u64, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => ops as f64 / seconds,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unusable_index_counts_what_is_too_small() {
        let mut nr_free = [0; NR_ORDERS];
        (nr_free[0], nr_free[3]) = (8, 1);
        let index = unusable_index(&nr_free);
        assert_eq!(index[0], 0.0);
        assert_eq!(index[1..=3], [0.5; 3]);
        assert_eq!(index[4..], [1.0; 7]);
        assert_eq!(unusable_index(&[0; NR_ORDERS]), [0.0; NR_ORDERS]);
    }
}
