//! Groups that share a pool, as a person reads it.
#![forbid(unsafe_code)]

use pagepool::PAGE_SIZE;

use super::{
    super::{
        pressure::Line,
        table::Table,
        text::{line, percent},
    },
    GroupFigures, GroupPhase, GroupsReport, Isolation, PressureCheck,
};
use crate::units::{grouped, human_bytes, human_ns};

/// Writes all of it.
pub(in super::super) fn write(report: &GroupsReport, text: &mut String) {
    for phase in &report.phases {
        text.push('\n');
        write_phase(phase, text);
    }
    if let Some(isolation) = report.isolation {
        text.push('\n');
        write_isolation(isolation, report.protected, text);
    }
    if let Some(check) = report.pressure_check {
        write_pressure_check(check, text);
    }
}

fn write_phase(phase: &GroupPhase, text: &mut String) {
    let looks = format!(
        "{:.2} s after the fill, {} looks at what groups have",
        phase.seconds,
        grouped(phase.samples)
    );
    line(text, "", &phase.name, &looks);
    write_use(phase, text);
    write_reclaim(phase, text);
    phase
        .groups
        .iter()
        .for_each(|group| write_limits(group, text));
}

fn write_use(phase: &GroupPhase, text: &mut String) {
    let mut table = Table::new([
        "group",
        "threads",
        "set",
        "touches/s",
        "hit rate",
        "current",
        "peak",
        "low",
        "high",
        "max",
    ]);
    for group in &phase.groups {
        let limit = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), human_bytes);
        table.row([
            group.path.clone(),
            group.threads.to_string(),
            human_bytes(group.set_pages * PAGE_SIZE as u64),
            grouped(group.touches_per_s as u64),
            format!("{:.3} %", group.hit_rate * 100.0),
            human_bytes(group.current_bytes),
            human_bytes(group.peak_bytes),
            limit(Some(group.limits.low).filter(|low| *low > 0)),
            limit(group.limits.high),
            limit(group.limits.max),
        ]);
    }
    table.write("  ", text);
}

fn write_reclaim(phase: &GroupPhase, text: &mut String) {
    let mut table = Table::new([
        "group",
        "scanned",
        "reclaimed",
        "refaults",
        "low events",
        "high",
        "max",
        "refused",
        "some",
        "full",
    ]);
    for group in &phase.groups {
        let counts = [
            group.pgscan,
            group.pgsteal,
            group.workingset_refault,
            group.low_events,
            group.high_events,
            group.max_events,
            group.refusals,
        ];
        let stalls = [group.pressure.some, group.pressure.full];
        let stalls = stalls.map(|Line { total, .. }| human_ns(total * 1000));
        let cells = counts.map(grouped).into_iter().chain(stalls);
        table.row([group.path.clone()].into_iter().chain(cells));
    }
    table.write("  ", text);
}

/// Whether its limits were kept; nothing if it has none.
fn write_limits(group: &GroupFigures, text: &mut String) {
    if let Some(pages) = group.over_max_pages_max {
        let kept = match pages {
            0 => "never exceeded".to_owned(),
            pages => format!("EXCEEDED by {} pages", grouped(pages)),
        };
        line(text, "  ", "max", &format!("{}: {kept}", group.path));
    }
    if let Some(pages) = group.over_high_pages_max {
        let goal = group.over_high_goal_pages;
        let beyond = format!(
            "{}: exceeded by {} pages at most; the goal of {} is {}",
            group.path,
            grouped(pages),
            grouped(goal),
            verdict(pages <= goal)
        );
        line(text, "  ", "high", &beyond);
    }
}

fn write_isolation(isolation: Isolation, is_protected: bool, text: &mut String) {
    let lost = format!(
        "hit rate of the {} group: {} alone, {} beside its neighbours; {:.3} points lost, the goal of {} is {}",
        if is_protected {
            "protected"
        } else {
            "UNPROTECTED"
        },
        percent(isolation.hit_rate_alone),
        percent(isolation.hit_rate_beside),
        isolation.lost_points,
        isolation.goal_points,
        verdict(isolation.reached)
    );
    line(text, "", "isolation", &lost);
}

fn write_pressure_check(check: PressureCheck, text: &mut String) {
    let compared = format!(
        "{} waits of one thread for its group took {}, its group's pressure counted {}; {:.3} % apart, the goal of {} is {}",
        check.waits,
        human_ns(check.waited_us * 1000),
        human_ns(check.counted_us * 1000),
        check.error_percent,
        check.goal_percent,
        verdict(check.reached)
    );
    line(text, "", "pressure", &compared);
}

fn verdict(is_reached: bool) -> &'static str {
    match is_reached {
        true => "reached",
        false => "MISSED",
    }
}
