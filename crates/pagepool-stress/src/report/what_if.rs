//! A recorded load in the pool that it was recorded in, and in another one, side by side.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use pagepool::NR_ORDERS;
use serde::Serialize;

use super::{
    fragment::Compaction, nodes::unusable_index, phase::Latency, reclaim::Reclaim, table::Table,
};
use crate::{
    phase::Outcome,
    trace::recorded::Counts,
    units::{grouped, human_ns},
};

/// Orders whose unusable share of free memory is shown.
const ORDERS: [usize; 2] = [3, 9];

/// Both runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WhatIfReport {
    pub(crate) file: String,
    pub(crate) recorded: RecordedCounts,
    /// What is changed in the second run, as the user wrote it.
    pub(crate) changes: Vec<String>,
    pub(crate) as_recorded: RunFigures,
    /// None if nothing was to be changed.
    pub(crate) what_if: Option<RunFigures>,
}

/// What the recording consists of.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RecordedCounts {
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) seconds: f64,
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    pub(crate) refused: u64,
    pub(crate) folios: u64,
    pub(crate) accesses: u64,
    pub(crate) faults: u64,
}

impl RecordedCounts {
    pub(crate) fn new(counts: Counts, lost: u64, time_ns: u64) -> RecordedCounts {
        RecordedCounts {
            events: counts.events,
            lost,
            seconds: time_ns as f64 / 1e9,
            allocs: counts.allocs,
            frees: counts.frees,
            refused: counts.refused,
            folios: counts.folios,
            accesses: counts.accesses,
            faults: counts.faults,
        }
    }
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunFigures {
    /// The pool, in a line.
    pub(crate) pool: String,
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    pub(crate) ops_per_s: f64,
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    pub(crate) skipped: u64,
    /// Refused requests and accesses, of all causes and by cause.
    pub(crate) refused: u64,
    pub(crate) refused_by_cause: BTreeMap<&'static str, u64>,
    pub(crate) latency_alloc_ns: Latency,
    pub(crate) latency_free_ns: Latency,
    pub(crate) latency_fault_ns: Latency,
    pub(crate) touches: u64,
    /// Of these, those that found the folio away.
    pub(crate) touches_away: u64,
    pub(crate) slowpath_entries: u64,
    /// Time that some thread waited for memory, in microseconds.
    pub(crate) stalled_us: u64,
    pub(crate) reclaim: Reclaim,
    pub(crate) compaction: Compaction,
    /// Share of the memory that was free at the end, everything still held, that no block of the order could use.
    pub(crate) unusable_index: Vec<f64>,
}

impl RunFigures {
    pub(crate) fn of(pool: String, outcome: &Outcome) -> RunFigures {
        let Outcome { tally, held, .. } = outcome;
        let seconds = outcome.played.as_secs_f64();
        let mut by_cause = BTreeMap::new();
        for refusals in tally.refusals.iter().chain(&tally.access_errors) {
            *by_cause.entry(refusals.cause).or_insert(0) += refusals.count;
        }
        let mut nr_free = [0; NR_ORDERS];
        for zone in held.nodes.iter().flat_map(|node| &node.zones) {
            for (sum, of_zone) in nr_free.iter_mut().zip(zone.nr_free) {
                *sum += of_zone;
            }
        }
        RunFigures {
            pool,
            ops: tally.ops,
            seconds,
            ops_per_s: if seconds > 0.0 {
                tally.ops as f64 / seconds
            } else {
                0.0
            },
            allocs: tally.nr_allocs,
            frees: tally.nr_frees,
            skipped: tally.nr_skipped,
            refused: by_cause.values().sum(),
            refused_by_cause: by_cause,
            latency_alloc_ns: Latency::of(&tally.alloc_ns),
            latency_free_ns: Latency::of(&tally.free_ns),
            latency_fault_ns: Latency::of(&tally.fault_ns),
            touches: tally.nr_touches,
            touches_away: tally.nr_away,
            slowpath_entries: outcome.slowpath_entries,
            stalled_us: held.pressure.some.total.as_micros() as u64,
            reclaim: Reclaim::of(held),
            compaction: Compaction::of(held),
            unusable_index: unusable_index(&nr_free),
        }
    }

    /// Names and values of the rows that both runs have.
    fn rows(&self) -> Vec<(String, String)> {
        let count = |name: &str, count: u64| (name.to_owned(), grouped(count));
        let Latency {
            p50,
            p99,
            p999,
            max,
            ..
        } = self.latency_alloc_ns;
        let fault = self.latency_fault_ns;
        let time = |name: &str, ns: u64| (name.to_owned(), human_ns(ns));
        let share = |order: usize| {
            let name = format!("free, unusable at order {order}");
            (name, format!("{:.1} %", 100.0 * self.unusable_index[order]))
        };
        let mut rows = vec![
            count("ops/s", self.ops_per_s as u64),
            count("allocated", self.allocs),
            count("freed", self.frees),
            count("refused", self.refused),
        ];
        let mut others = vec![
            time("allocation p50", p50),
            time("allocation p99", p99),
            time("allocation p99.9", p999),
            time("allocation max", max),
            time("freeing p50", self.latency_free_ns.p50),
            count("accesses", self.touches),
            count("- folio was away", self.touches_away),
            time("fault p50", fault.p50),
            time("fault p99", fault.p99),
            count("slow path", self.slowpath_entries),
            count("allocstall", self.reclaim.allocstall),
            ("stalled".to_owned(), human_ns(self.stalled_us * 1000)),
            count("reclaimed by kswapd", self.reclaim.pgsteal_kswapd),
            count("reclaimed by requests", self.reclaim.pgsteal_direct),
            count("pswpout", self.reclaim.pswpout),
            count("pswpin", self.reclaim.pswpin),
        ];
        others.extend(ORDERS.map(share));
        rows.append(&mut others);
        rows
    }
}

/// Writes both runs in columns.
pub(super) fn write(report: &WhatIfReport, text: &mut String) {
    let recorded = &report.recorded;
    text.push_str(&format!(
        "\n{}: {} events in {:.2} s: {} blocks, {} folios, {} accesses, {} refusals; {} lost\n",
        report.file,
        grouped(recorded.events),
        recorded.seconds,
        grouped(recorded.allocs),
        grouped(recorded.folios),
        grouped(recorded.accesses),
        grouped(recorded.refused),
        grouped(recorded.lost)
    ));
    text.push_str(&format!("  as recorded  {}\n", report.as_recorded.pool));
    let runs: Vec<&RunFigures> = [Some(&report.as_recorded), report.what_if.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    if let Some(what_if) = &report.what_if {
        text.push_str(&format!("  what if      {}\n", what_if.pool));
    }
    text.push('\n');
    let heads = ["", "as recorded", "what if"];
    let mut table = Table::new(&heads[..=runs.len()]);
    let rows: Vec<_> = runs.iter().map(|run| run.rows()).collect();
    for n in 0..rows[0].len() {
        let cells = rows.iter().map(|rows| rows[n].1.clone());
        table.row([rows[0][n].0.clone()].into_iter().chain(cells));
        if rows[0][n].0 == "refused" {
            add_causes(&runs, &mut table);
        }
    }
    table.write("  ", text);
}

/// Adds a row for each cause that any of the runs has.
fn add_causes(runs: &[&RunFigures], table: &mut Table) {
    let mut causes: Vec<_> = { runs.iter() }
        .flat_map(|run| run.refused_by_cause.keys())
        .collect();
    causes.sort_unstable();
    causes.dedup();
    for cause in causes {
        let count = |run: &&RunFigures| run.refused_by_cause.get(cause).copied().unwrap_or(0);
        let cells = runs.iter().map(|run| grouped(count(run)));
        table.row([format!("- {cause}")].into_iter().chain(cells));
    }
}
