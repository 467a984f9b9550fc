//! The report as a person reads it.
#![forbid(unsafe_code)]

use super::{
    churn::ChurnReport,
    cut,
    fragment::{self, Compaction},
    groups,
    idle::IdleReport,
    latency, misses,
    model::{Fragmentation, Report, Verdict},
    paging::PagingReport,
    phase::{Failure, Latency, Phase, PrefaultCost},
    pressure, soak,
    table::Table,
    two_kinds, what_if,
    zones::{write_free_lists, write_pageblocks, write_zones},
};
use crate::units::{grouped, human_bytes, human_ns};

/// Counters worth showing when they are not zero, by the beginnings of their names.
const EVENTS: [&str; 15] = [
    "pgalloc",
    "pgfree",
    "pgsteal",
    "pgscan",
    "allocstall",
    "pswp",
    "kswapd",
    "compact",
    "pgmigrate",
    "thp",
    "drop",
    "pcp",
    "pageoutrun",
    "workingset",
    "unevictable",
];

/// Writes the whole report.
pub(super) fn write(report: &Report) -> String {
    let mut text = String::new();
    for phase in &report.phases {
        text.push('\n');
        let kernel = phase.facts.kernel.as_ref();
        write_phase(phase, &mut text);
        text.push_str("\n  at the end of the load, everything still held:\n");
        write_zones(&phase.nodes, kernel, &mut text);
        text.push('\n');
        write_free_lists(&phase.nodes, kernel, &mut text);
        text.push('\n');
        write_pageblocks(&phase.nodes, &mut text);
        write_vmstat(phase, &mut text);
    }
    if let Some(churn) = &report.churn {
        write_churn(churn, &mut text);
    }
    if let Some(paging) = &report.paging {
        write_paging(paging, &mut text);
    }
    if let Some(found) = &report.latency {
        latency::write(found, &mut text);
    }
    if let Some(found) = &report.groups {
        groups::write(found, &mut text);
    }
    if let Some(followed) = &report.container_cut {
        cut::write(followed, &mut text);
    }
    if let Some(found) = &report.soak {
        soak::write(found, &mut text);
    }
    if let Some(idle) = &report.idle {
        write_idle(idle, &mut text);
    }
    match &report.fragment {
        Some(Fragmentation::InPieces(pieces)) => fragment::write(pieces, &mut text),
        Some(Fragmentation::Mixed(mixed)) => two_kinds::write(mixed, &mut text),
        None => {}
    }
    misses::write(&report.miss_ratios, &mut text);
    if let Some(found) = &report.what_if {
        what_if::write(found, &mut text);
    }
    write_summary(report, &mut text);
    text
}

fn write_phase(phase: &Phase, text: &mut String) {
    line(text, "", &phase.name, &phase.facts.load);
    for note in &phase.facts.notes {
        line(text, "  ", "", note);
    }
    line(
        text,
        "  ",
        "pool",
        &format!(
            "{} managed, budget {} with {} of metadata",
            human_bytes(phase.managed_pages * pagepool::PAGE_SIZE as u64),
            human_bytes(phase.budget_bytes),
            human_bytes(phase.metadata_bytes)
        ),
    );
    if let Some(cost) = &phase.prefault {
        line(text, "  ", "prefault", &prefault(cost));
    }
    line(
        text,
        "  ",
        "played",
        &format!(
            "{} ops in {:.2} s = {} ops/s; {} player(s), {} round(s)",
            grouped(phase.ops),
            phase.seconds,
            grouped(phase.ops_per_s as u64),
            phase.players,
            phase.rounds
        ),
    );
    line(
        text,
        "  ",
        "calls",
        &format!(
            "{} allocated, {} freed, {} split, {} passed over",
            grouped(phase.allocs),
            grouped(phase.frees),
            grouped(phase.splits),
            grouped(phase.skipped)
        ),
    );
    write_cache(phase, text);
    line(
        text,
        "  ",
        "verified",
        &format!(
            "{} compared, {} violation(s), pool verified at {} epoch(s)",
            human_bytes(phase.verified_bytes),
            phase.violations,
            phase.epochs
        ),
    );
    line(
        text,
        "  ",
        "slow path",
        &format!("{} entries", grouped(phase.slowpath_entries)),
    );
    write_failures("refused", &phase.failures, text);
    write_reclaim(phase, text);
    write_compaction(phase, text);
    pressure::write(phase.pressure, text);
    write_rss(
        [phase.rss_start, phase.rss_max, phase.rss_end],
        phase.budget_bytes,
        "  ",
        text,
    );
    write_latency(
        [
            ("alloc", phase.latency_ns),
            ("free", phase.latency_free_ns),
            ("fault", phase.latency_fault_ns),
        ],
        text,
    );
}

fn prefault(cost: &PrefaultCost) -> String {
    let per_gib = { cost.ms_per_gib }.map_or_else(String::new, |ms| format!(", {ms:.0} ms a GiB"));
    format!(
        "{} resident, {} in huge pages, in {:.1} ms{per_gib}: {}",
        human_bytes(cost.bytes),
        human_bytes(cost.huge_bytes),
        cost.seconds * 1e3,
        cost.end
    )
}

fn write_cache(phase: &Phase, text: &mut String) {
    let Some(cache) = phase.cache else { return };
    line(
        text,
        "  ",
        "cache",
        &format!(
            "{} of {} pages: {} hits, {} misses, {} evictions, miss ratio {:.3}",
            grouped(cache.limit_pages),
            grouped(cache.footprint_pages),
            grouped(cache.hits),
            grouped(cache.misses),
            grouped(cache.evictions),
            cache.miss_ratio
        ),
    );
}

/// Who reclaimed, what was swapped, and what came back; nothing where there is no swap.
fn write_reclaim(phase: &Phase, text: &mut String) {
    let Some(swap) = phase.swap else { return };
    let reclaim = phase.reclaim;
    let share = reclaim
        .kswapd_share
        .map_or_else(|| "nothing".to_owned(), percent);
    line(
        text,
        "  ",
        "reclaim",
        &format!(
            "kswapd {} pages in {} runs, allocating threads {} pages in {} stalls; kswapd's share {share}",
            grouped(reclaim.pgsteal_kswapd),
            grouped(reclaim.kswapd_runs),
            grouped(reclaim.pgsteal_direct),
            grouped(reclaim.allocstall)
        ),
    );
    line(
        text,
        "  ",
        "swap",
        &format!(
            "{} pages out, {} in; {} of {} in use at the end of the load; {} errors, {} corrupt, {} stalls",
            grouped(reclaim.pswpout),
            grouped(reclaim.pswpin),
            grouped(swap.used_pages),
            grouped(swap.total_pages),
            grouped(swap.errors),
            grouped(swap.corrupt),
            grouped(swap.stalls)
        ),
    );
    line(
        text,
        "  ",
        "faults",
        &format!(
            "{} accesses, {} found the folio away; {} faults, {} of them read; {} made anew",
            grouped(phase.touches),
            grouped(phase.touches_away),
            grouped(reclaim.pgfault),
            grouped(reclaim.pgmajfault),
            grouped(phase.remade)
        ),
    );
    write_failures("errors", &phase.access_failures, text);
}

/// Who compacted, and what came of it; nothing where nobody had reason to.
fn write_compaction(phase: &Phase, text: &mut String) {
    let compaction = phase.compaction;
    if compaction == Compaction::default() {
        return;
    }
    let states: Vec<&str> = phase.nodes.iter().map(|node| &node.kcompactd[..]).collect();
    line(
        text,
        "  ",
        "compact",
        &format!(
            "kcompactd ({}) was asked {} times, allocating threads stalled {} times, {} of them in vain; {} folios moved, {} not",
            states.join(", "),
            grouped(compaction.compact_daemon_wake),
            grouped(compaction.compact_stall),
            grouped(compaction.compact_fail),
            grouped(compaction.pgmigrate_success),
            grouped(compaction.pgmigrate_fail)
        ),
    );
}

fn write_paging(paging: &PagingReport, text: &mut String) {
    text.push('\n');
    line(
        text,
        "",
        "touches",
        &format!(
            "{} in {:.2} s = {} per second, {} read back = miss ratio {:.4}",
            grouped(paging.touches),
            paging.seconds,
            grouped(paging.touches_per_s as u64),
            grouped(paging.majfaults),
            paging.miss_ratio
        ),
    );
    line(
        text,
        "",
        "slow path",
        &format!(
            "{:.4} entries per allocation",
            paging.slowpath_per_allocation
        ),
    );
    line(
        text,
        "",
        "free",
        &format!(
            "at most {} pages above the high mark, {:.2} % of the zone, in {} looks",
            grouped(paging.overreclaim_pages_max),
            paging.overreclaim_percent_max,
            grouped(paging.overreclaim_samples)
        ),
    );
    for injected in &paging.injected {
        line(
            text,
            "",
            "injected",
            &format!("{} x {}", grouped(injected.count), injected.fault),
        );
    }
}

fn write_idle(idle: &IdleReport, text: &mut String) {
    text.push('\n');
    let mut table = Table::new(["thread", "woke up", "CPU"]);
    for thread in &idle.threads {
        table.row([
            thread.name.clone(),
            grouped(thread.wakeups),
            human_ns(thread.cpu_ns),
        ]);
    }
    table.write("  ", text);
    line(
        text,
        "",
        idle.scene,
        &format!(
            "after {:.1} s to settle, in {:.1} s: {} wake-ups, {:.3} ms of CPU = {:.4} %",
            idle.settle_s,
            idle.seconds,
            grouped(idle.wakeups),
            idle.cpu_ms,
            idle.cpu_share * 100.0
        ),
    );
}

fn write_failures(name: &str, failures: &[Failure], text: &mut String) {
    if failures.is_empty() {
        line(text, "  ", name, "none");
    }
    for Failure {
        cause,
        remedy,
        count,
    } in failures
    {
        line(
            text,
            "  ",
            name,
            &format!("{} x {cause}: {remedy}", grouped(*count)),
        );
    }
}

fn write_rss(figures: [Option<u64>; 3], budget: u64, indent: &str, text: &mut String) {
    let figures = match figures {
        [Some(start), Some(max), Some(end)] => format!(
            "{} before, at most {} (+{} of a budget of {}), {} after trim",
            human_bytes(start),
            human_bytes(max),
            human_bytes(max.saturating_sub(start)),
            human_bytes(budget),
            human_bytes(end)
        ),
        _ => "not to be had on this system".to_owned(),
    };
    line(text, indent, "rss", &figures);
}

pub(super) fn write_latency<const N: usize>(rows: [(&str, Latency); N], text: &mut String) {
    let mut table = Table::new(["latency", "p50", "p99", "p99.9", "p99.99", "max", "calls"]);
    for (name, latency) in rows.into_iter().filter(|(_, latency)| latency.count > 0) {
        let Latency {
            p50,
            p99,
            p999,
            p9999,
            max,
            count,
        } = latency;
        let cells = [p50, p99, p999, p9999, max].map(human_ns);
        table.row(
            [name.to_owned()]
                .into_iter()
                .chain(cells)
                .chain([grouped(count)]),
        );
    }
    table.write("  ", text);
}

fn write_vmstat(phase: &Phase, text: &mut String) {
    let is_of_interest = |name: &str| EVENTS.iter().any(|event| name.starts_with(event));
    let events = phase
        .vmstat
        .iter()
        .filter(|(name, count)| **count > 0 && is_of_interest(name));
    let events: Vec<String> = events
        .map(|(name, count)| format!("{name} {}", grouped(*count)))
        .collect();
    if events.is_empty() {
        return;
    }
    text.push('\n');
    const PER_LINE: usize = 4;
    for (n, group) in events.chunks(PER_LINE).enumerate() {
        let name = if n == 0 { "vmstat" } else { "" };
        line(text, "  ", name, &group.join(", "));
    }
}

fn write_churn(churn: &ChurnReport, text: &mut String) {
    let large = format!("order-{} blocks", churn.large_order);
    text.push('\n');
    let mut table = Table::new(["generation", "free pages", &large, "ideal", "share"]);
    for generation in &churn.generations {
        table.row([
            generation.generation.to_string(),
            grouped(generation.free_pages),
            grouped(generation.large_blocks),
            grouped(generation.ideal),
            percent(generation.share),
        ]);
    }
    table.write("  ", text);
    let verdict = if churn.share >= churn.goal {
        "reached"
    } else {
        "MISSED"
    };
    line(
        text,
        "  ",
        "got",
        &format!(
            "{} of {} {large} allocated at the end = {}; the goal of {} is {verdict}",
            grouped(churn.got),
            grouped(churn.ideal),
            percent(churn.share),
            percent(churn.goal)
        ),
    );
    line(
        text,
        "  ",
        "",
        "ideal: the free pages at that time, in whole blocks; nothing was moved",
    );
}

fn write_summary(report: &Report, text: &mut String) {
    text.push('\n');
    line(
        text,
        "",
        "in all",
        &format!(
            "{} ops in {:.2} s, {} compared, {} refused",
            grouped(report.ops),
            report.seconds,
            human_bytes(report.verified_bytes),
            grouped(report.failures.iter().map(|failure| failure.count).sum())
        ),
    );
    if !report.phases.is_empty() {
        write_rss(
            [report.rss_start, report.rss_max, report.rss_end],
            report.budget_bytes,
            "",
            text,
        );
    }
    for message in &report.violation_messages {
        line(text, "", "violation", message);
    }
    if report.interrupted {
        line(
            text,
            "",
            "note",
            "interrupted; the figures are those so far",
        );
    }
    line(
        text,
        "",
        "verdict",
        &match report.verdict {
            Verdict::Verified => "all verified".to_owned(),
            Verdict::Violation => format!("{} VIOLATION(S)", grouped(report.violations)),
        },
    );
}

pub(super) fn line(text: &mut String, indent: &str, name: &str, what: &str) {
    const WIDTH: usize = 10;
    let width = WIDTH - indent.len().min(2);
    text.push_str(format!("{indent}{name:<width$}  {what}").trim_end());
    text.push('\n');
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
