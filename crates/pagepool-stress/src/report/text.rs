//! The report as a person reads it.
#![forbid(unsafe_code)]

use super::{
    model::{ChurnReport, Failure, Latency, Phase, Report, Verdict},
    table::Table,
    zones::{write_free_lists, write_pageblocks, write_zones},
};
use crate::units::{grouped, human_bytes, human_ns};

/// Counters worth showing when they are not zero, by the beginnings of their names.
const EVENTS: [&str; 12] = [
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
    write_failures(&phase.failures, text);
    write_rss(
        [phase.rss_start, phase.rss_max, phase.rss_end],
        phase.budget_bytes,
        "  ",
        text,
    );
    write_latency(
        [("alloc", phase.latency_ns), ("free", phase.latency_free_ns)],
        text,
    );
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

fn write_failures(failures: &[Failure], text: &mut String) {
    if failures.is_empty() {
        line(text, "  ", "refused", "nothing");
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
            "refused",
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

fn write_latency(rows: [(&str, Latency); 2], text: &mut String) {
    let mut table = Table::new(["latency", "p50", "p99", "p99.9", "p99.99", "max", "calls"]);
    for (name, latency) in rows {
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
    write_rss(
        [report.rss_start, report.rss_max, report.rss_end],
        report.budget_bytes,
        "",
        text,
    );
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

fn line(text: &mut String, indent: &str, name: &str, what: &str) {
    const WIDTH: usize = 10;
    let width = WIDTH - indent.len().min(2);
    text.push_str(format!("{indent}{name:<width$}  {what}").trim_end());
    text.push('\n');
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
