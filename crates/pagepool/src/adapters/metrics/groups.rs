//! What is told of memory groups (pure).

use super::families::pressure;
use super::family::{BaseUnit, Family, Labels};
use super::snapshot::Snapshot;
use crate::group::GroupLimits;
use crate::pool::groups::GroupStats;

pub(super) fn all(pools: &[Snapshot]) -> Vec<Family> {
    let mut families: Vec<_> = pressure("group_", pools, |pool| {
        let groups = pool.groups.iter();
        let samples = groups.map(|(group, pressure)| (labels(pool, group), *pressure));
        samples.collect()
    })
    .into();
    families.extend(sizes(pools));
    families.push(limits(pools));
    families.extend(events(pools));
    families
}

fn labels(pool: &Snapshot, group: &GroupStats) -> Labels {
    pool.labels([("group", group.path.clone())])
}

fn groups(pools: &[Snapshot]) -> impl Iterator<Item = (&Snapshot, &GroupStats)> {
    { pools.iter() }.flat_map(|pool| pool.groups.iter().map(move |(group, _)| (pool, group)))
}

fn sizes(pools: &[Snapshot]) -> Vec<Family> {
    let family = |name, help, bytes: fn(&GroupStats) -> usize| {
        let samples = groups(pools).map(|(pool, group)| (labels(pool, group), bytes(group)));
        Family::gauge(name, help)
            .of_unit(BaseUnit::Bytes)
            .with(samples)
    };
    vec![
        family(
            "pagepool_group_current",
            "What the group and those below it have.",
            |group| group.current_bytes,
        ),
        family(
            "pagepool_group_peak",
            "The most that the group and those below it ever had.",
            |group| group.peak_bytes,
        ),
        family(
            "pagepool_group_anon",
            "The group's own anonymous folios in memory.",
            |group| group.anon_bytes,
        ),
        family(
            "pagepool_group_file",
            "The group's own folios of mappings in memory.",
            |group| group.file_bytes,
        ),
        family(
            "pagepool_group_raw",
            "The group's own raw blocks.",
            |group| group.raw_bytes,
        ),
    ]
}

/// Limits that are set: a group without `max` has none.
fn limits(pools: &[Snapshot]) -> Family {
    let set = |limits: &GroupLimits| {
        let least = [("min", limits.min_bytes()), ("low", limits.low_bytes())];
        let most = [
            ("soft", limits.soft_limit_bytes()),
            ("high", limits.high_bytes()),
            ("max", limits.max_bytes()),
        ];
        let most = most.into_iter().filter(|(_, bytes)| *bytes != usize::MAX);
        least.into_iter().chain(most)
    };
    let samples = groups(pools).flat_map(|(pool, group)| {
        set(&group.limits).map(move |(limit, bytes)| {
            let names = [("group", group.path.clone()), ("limit", limit.to_owned())];
            (pool.labels(names), bytes)
        })
    });
    Family::gauge(
        "pagepool_group_limit",
        "The group's limits, those that are set.",
    )
    .of_unit(BaseUnit::Bytes)
    .with(samples)
}

fn events(pools: &[Snapshot]) -> Vec<Family> {
    let family = |name, help, count: fn(&GroupStats) -> u64| {
        let samples = groups(pools).map(|(pool, group)| (labels(pool, group), count(group)));
        Family::counter(name, help).with(samples)
    };
    vec![
        family(
            "pagepool_group_low_events",
            "Times that something was taken of the group although it had no more than its low limit.",
            |group| group.low_events,
        ),
        family(
            "pagepool_group_high_events",
            "Times that somebody who took the group beyond its high limit had to reclaim from it.",
            |group| group.high_events,
        ),
        family(
            "pagepool_group_max_events",
            "Times that the group was at its limit when somebody wanted more.",
            |group| group.max_events,
        ),
        family(
            "pagepool_group_refusals",
            "Requests that were refused since the group was at its limit.",
            |group| group.refusals,
        ),
        family(
            "pagepool_group_scanned_pages",
            "Pages of the group looked at by reclaim.",
            |group| group.pgscan,
        ),
        family(
            "pagepool_group_reclaimed_pages",
            "Pages of the group reclaimed.",
            |group| group.pgsteal,
        ),
        family(
            "pagepool_group_refaulted_pages",
            "Pages of the group that came back although they had been evicted.",
            |group| group.workingset_refault,
        ),
    ]
}
