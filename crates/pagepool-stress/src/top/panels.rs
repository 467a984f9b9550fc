//! What is shown of a pool, as lines: the same on a terminal and in a pipe.
#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::PAGE_SIZE;

use super::{
    emptied::Blocks,
    map::{self, Kinds},
    rates::Flow,
    row::{Row, Tint, beside},
    wire::{Daemon, Group, PressureLine, Snapshot, Zone},
};
use crate::{
    gauge::{bar, gauge},
    units::{grouped, human_bytes, human_ns},
};

/// Groups that are shown, those with most memory.
const GROUPS: usize = 8;

/// From so many columns on, panels stand side by side.
const WIDE: usize = 150;

/// Where the second column of panels begins.
const SECOND: usize = 80;

/// Cells of a bar.
const CELLS: usize = 20;

/// Orders that are shown.
const NR_ORDERS: usize = 11;

/// What is to be shown.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub(super) now: &'a Snapshot,
    pub(super) flows: &'a [Flow],
    /// Of each zone, the pageblocks that something was moved out of just now.
    pub(super) emptied: &'a [Blocks],
    /// Which zone's pageblocks are shown; all, if none.
    pub(super) zone: Option<usize>,
    pub(super) kinds: Kinds,
}

/// Who it is, and how much it has.
pub(super) fn header(now: &Snapshot) -> Vec<Row> {
    let stats = &now.stats;
    let bytes = |pages: u64| pages * PAGE_SIZE as u64;
    let free = stats.free_pages + stats.cached_pages;
    let in_use = bytes(stats.managed_pages.saturating_sub(free));
    let who = Row::title(now.name.clone()).and(
        format!(
            "  pid {}  served for {}  pagepool {}",
            now.pid,
            clock(now.served_for),
            now.version
        ),
        Tint::Plain,
    );
    let memory = Row::new(format!(
        "memory [{}] {} of {} in use, {} free, {} cached, tables {}",
        bar(in_use, stats.budget_bytes, CELLS),
        human_bytes(in_use),
        human_bytes(stats.budget_bytes),
        human_bytes(bytes(stats.free_pages)),
        human_bytes(bytes(stats.cached_pages)),
        human_bytes(stats.metadata_bytes),
    ));
    let swapped = stats.swap_total_pages.saturating_sub(stats.swap_free_pages);
    let swap = match stats.swap_total_pages {
        0 => "swap   none".to_owned(),
        total => format!(
            "swap   [{}] {} of {} in use",
            bar(swapped, total, CELLS),
            human_bytes(bytes(swapped)),
            human_bytes(bytes(total))
        ),
    };
    let folios = format!("; {} folios", grouped(stats.folios));
    vec![who, memory, Row::new(swap + &folios)]
}

/// All the rest, in lines for so many columns.
pub(super) fn body(sight: &Sight<'_>, width: usize) -> Vec<Row> {
    let now = sight.now;
    let left = panels([
        zones(now),
        lists(now),
        daemons(now),
        areas(now),
        fragmentation(now),
    ]);
    let right = panels([flows(sight.flows), pressure(now), groups(now)]);
    let mut rows = match width >= WIDE {
        true => beside(left, right, SECOND),
        false => panels([left, right]),
    };
    rows.push(Row::default());
    rows.extend(maps(sight, width));
    rows
}

/// Puts panels below each other, with a line between; those without lines are left out.
fn panels<const N: usize>(all: [Vec<Row>; N]) -> Vec<Row> {
    let mut rows = Vec::new();
    for panel in all.into_iter().filter(|panel| !panel.is_empty()) {
        if !rows.is_empty() {
            rows.push(Row::default());
        }
        rows.extend(panel);
    }
    rows
}

fn name_of((node, zone): (u64, &Zone)) -> String {
    format!("node {node} {}", zone.name)
}

fn zones(now: &Snapshot) -> Vec<Row> {
    let title = format!(
        "{:14} {:22} {:>10} {:>10} {:>6} {:>6} {:>6}",
        "ZONES", "(m, l, h: marks)", "free", "managed", "min", "low", "high"
    );
    let line = |(node, zone): (u64, &Zone)| {
        let marks = [zone.min, zone.low, zone.high].map(|pages| pages as usize);
        let tint = match zone.free {
            free if free <= zone.min => Tint::Bad,
            free if free <= zone.low => Tint::Warn,
            _ => Tint::Good,
        };
        Row::new(format!("{:14} [", name_of((node, zone))))
            .and(gauge(zone.free as usize, marks, CELLS), tint)
            .and(
                format!(
                    "] {:>10} {:>10} {:>6} {:>6} {:>6}",
                    grouped(zone.free),
                    grouped(zone.managed),
                    zone.min,
                    zone.low,
                    zone.high
                ),
                Tint::Plain,
            )
    };
    let title = Row::title(title);
    std::iter::once(title)
        .chain(now.zones().map(line))
        .collect()
}

fn lists(now: &Snapshot) -> Vec<Row> {
    let title = format!(
        "{:14} {:>13} {:>11} {:>13} {:>11} {:>11}",
        "LISTS", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"
    );
    let lines = now.stats.nodes.iter().map(|node| {
        let lru = node.lru;
        Row::new(format!(
            "{:14} {:>13} {:>11} {:>13} {:>11} {:>11}",
            format!("node {}", node.id),
            grouped(lru.inactive_anon),
            grouped(lru.active_anon),
            grouped(lru.inactive_file),
            grouped(lru.active_file),
            grouped(lru.unevictable)
        ))
    });
    std::iter::once(Row::title(title)).chain(lines).collect()
}

fn daemons(now: &Snapshot) -> Vec<Row> {
    let line = |daemon: &Daemon| {
        let tint = match daemon.state.as_str() {
            "dead" | "failed" => Tint::Bad,
            "running" | "on_call" if daemon.failures == 0 => Tint::Good,
            _ => Tint::Warn,
        };
        let activity = match daemon.state.as_str() {
            "running" => format!(
                " {:8} for {}",
                daemon.activity,
                human_ns(daemon.activity_for.as_nanos() as u64)
            ),
            _ => String::new(),
        };
        let failures = match daemon.failures {
            0 => String::new(),
            nr => format!(", {nr} runs in a row in vain"),
        };
        Row::new(format!("{:14} ", daemon.name))
            .and(format!("{:8}", daemon.state), tint)
            .and(activity + &failures, Tint::Plain)
    };
    let title = Row::title("DAEMONS");
    std::iter::once(title)
        .chain(now.daemons.iter().map(line))
        .collect()
}

fn areas(now: &Snapshot) -> Vec<Row> {
    if now.swap_areas.is_empty() {
        return Vec::new();
    }
    let lines = now.swap_areas.iter().map(|area| {
        let faults = [
            (area.errors, "errors"),
            (area.corrupt, "corrupt"),
            (area.stalls, "stalls"),
        ];
        let faults = faults.iter().filter(|(nr, _)| *nr > 0);
        let faults: String = faults.map(|(nr, what)| format!(" {nr} {what}")).collect();
        Row::new(format!(
            "[{}] {:>10} of {:>10} pages, {}",
            bar(area.used_pages, area.total_pages, CELLS),
            grouped(area.used_pages),
            grouped(area.total_pages),
            area.name,
        ))
        .and(faults, Tint::Bad)
    });
    std::iter::once(Row::title("SWAP")).chain(lines).collect()
}

fn fragmentation(now: &Snapshot) -> Vec<Row> {
    let cells = |cells: [String; NR_ORDERS]| cells.map(|cell| format!("{cell:>5}")).concat();
    let orders = cells(std::array::from_fn(|order| order.to_string()));
    let title = Row::title(format!("{:24}{orders}", "FREE BLOCKS by order"));
    let lines = now.zones().flat_map(|(node, zone)| {
        let free = std::array::from_fn(|order| {
            let nr = zone.nr_free.get(order).copied().unwrap_or(0);
            short(nr)
        });
        let unusable = std::array::from_fn(|order| format!("{:.0}", zone.unusable_percent(order)));
        let tint = match zone.fragmentation_score {
            0..50 => Tint::Plain,
            _ => Tint::Warn,
        };
        [
            Row::new(format!("{:24}{}", name_of((node, zone)), cells(free))),
            Row::default().and(
                format!("{:24}{}", "  % too small for it", cells(unusable)),
                tint,
            ),
        ]
    });
    std::iter::once(title).chain(lines).collect()
}

fn flows(flows: &[Flow]) -> Vec<Row> {
    let title = Row::title(format!("{:24} {:>12} {:>16}", "WORK", "a second", "in all"));
    let lines = flows.iter().map(|flow| {
        let rate = match flow.rate {
            None => "-".to_owned(),
            Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
            Some(rate) => grouped(rate.round() as u64),
        };
        let is_bad = flow.name == "refusals" && flow.rate.is_some_and(|rate| rate > 0.0);
        let tint = if is_bad { Tint::Bad } else { Tint::Plain };
        let total = grouped(flow.total);
        Row::default().and(format!("{:24} {rate:>12} {total:>16}", flow.name), tint)
    });
    std::iter::once(title).chain(lines).collect()
}

fn pressure(now: &Snapshot) -> Vec<Row> {
    let pressure = now.stats.pressure;
    let line = |kind: &str, line: PressureLine| {
        let tint = match line.avg10 {
            avg if avg >= 10.0 => Tint::Bad,
            avg if avg >= 1.0 => Tint::Warn,
            _ => Tint::Plain,
        };
        Row::default().and(
            format!(
                "{kind:10} {:>7.2} {:>7.2} {:>7.2} {:>20}",
                line.avg10,
                line.avg60,
                line.avg300,
                human_ns(line.total.as_nanos() as u64)
            ),
            tint,
        )
    };
    let waiting = now.waiting;
    vec![
        Row::title(format!(
            "{:10} {:>7} {:>7} {:>7} {:>20}",
            "PRESSURE %", "10 s", "60 s", "300 s", "in all"
        )),
        line("some", pressure.some),
        line("full", pressure.full),
        Row::new(format!(
            "waiting    {} for memory, {} for kswapd, {} for a group, {} for a folio",
            waiting.for_memory, waiting.for_kswapd, waiting.for_group, waiting.for_folio
        )),
    ]
}

fn groups(now: &Snapshot) -> Vec<Row> {
    if now.groups.is_empty() {
        return Vec::new();
    }
    let mut groups: Vec<&Group> = now.groups.iter().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.current_bytes));
    let title = format!(
        "{:24} {:>10} {:>10} {:>7} {:>8}",
        "GROUPS", "has", "max", "some %", "refused"
    );
    let lines = groups.iter().take(GROUPS).map(|group| {
        let max = group.limits.max.map_or_else(|| "-".to_owned(), human_bytes);
        Row::new(format!(
            "{:24} {:>10} {max:>10} {:>7.2} {:>8}",
            group.path,
            human_bytes(group.current_bytes),
            group.pressure.some.avg10,
            grouped(group.refusals)
        ))
    });
    let others = groups.len().saturating_sub(GROUPS);
    let others = (others > 0).then(|| Row::default().and(format!("and {others} more"), Tint::Dim));
    let title = std::iter::once(Row::title(title));
    title.chain(lines).chain(others).collect()
}

fn maps(sight: &Sight<'_>, width: usize) -> Vec<Row> {
    let is_shown = |n: usize| sight.zone.is_none_or(|zone| zone == n);
    let zones = sight.now.zones().enumerate();
    let shown = zones.filter(|(n, _)| is_shown(*n));
    let none = Blocks::new();
    let mut rows = vec![Row::title("PAGEBLOCKS  ")];
    rows[0].0.extend(map::legend(sight.kinds).0);
    for (n, (node, zone)) in shown {
        let emptied = sight.emptied.get(n).unwrap_or(&none);
        let size = human_bytes((PAGE_SIZE as u64) << zone.pageblock_order.min(20));
        let title = format!(
            "{}: {} of {size}",
            name_of((node, zone)),
            grouped(zone.pageblocks.len() as u64)
        );
        let moves = match emptied.len() {
            0 => String::new(),
            nr => format!(
                "; pages moved out of {nr} just now ({})",
                sight.kinds.sign_of_moves()
            ),
        };
        rows.push(Row::new(title + &moves));
        rows.extend(map::rows(zone, emptied, sight.kinds, width));
    }
    rows
}

/// A count in four columns.
fn short(nr: u64) -> String {
    match nr {
        0..10_000 => nr.to_string(),
        10_000..1_000_000 => format!("{}k", nr / 1000),
        _ => format!("{}M", nr / 1_000_000),
    }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}

/// All of it as text, for pipes.
pub(super) fn text(sight: &Sight<'_>, width: usize) -> String {
    let rows = header(sight.now).into_iter().chain([Row::default()]);
    let rows = rows.chain(body(sight, width));
    rows.map(|row| row.text() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(9999), "9999");
        assert_eq!(short(123_456), "123k");
        assert_eq!(short(12_345_678), "12M");
        assert_eq!(clock(Duration::from_secs(3661)), "1:01:01");
    }
}
