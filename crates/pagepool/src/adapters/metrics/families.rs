//! What is told of pools: the pool at large, its daemons, swap areas and shrinkers (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use super::family::{BaseUnit, Family, Labels};
use super::snapshot::Snapshot;
use super::{groups, vmstat, zones};
use crate::node::DaemonState;
use crate::psi::Pressure;
use crate::reclaim::shrinkers::ShrinkerStats;
use crate::types::PAGE_SIZE;

/// Every family, each with the samples of all pools (E1).
pub(super) fn all(pools: &[Snapshot]) -> Vec<Family> {
    let mut families = of_pools(pools);
    families.extend(pressure("", pools, |pool| {
        vec![(pool.labels([]), pool.stats.pressure)]
    }));
    families.extend(of_daemons(pools));
    families.extend(zones::all(pools));
    families.extend(groups::all(pools));
    families.extend(of_swap_areas(pools));
    families.extend(of_shrinkers(pools));
    families.extend(vmstat::all(pools));
    families
}

/// A family with a sample a pool.
fn each<V: Into<super::Value>>(
    family: Family,
    pools: &[Snapshot],
    value: impl Fn(&Snapshot) -> V,
) -> Family {
    family.with(pools.iter().map(|pool| (pool.labels([]), value(pool))))
}

fn of_pools(pools: &[Snapshot]) -> Vec<Family> {
    let bytes = |name, help| Family::gauge(name, help).of_unit(BaseUnit::Bytes);
    let container = || {
        { pools.iter() }.filter_map(|pool| {
            let container = pool.stats.budget.container.as_ref()?;
            Some((pool.labels([]), container))
        })
    };
    vec![
        each(
            bytes("pagepool_budget", "The budget in force."),
            pools,
            |pool| pool.stats.budget_bytes,
        ),
        each(
            bytes("pagepool_budget_target", "What the budget should be."),
            pools,
            |pool| pool.stats.budget.target_bytes,
        ),
        each(
            bytes(
                "pagepool_metadata",
                "What the pool's tables take of the budget.",
            ),
            pools,
            |pool| pool.stats.metadata_bytes,
        ),
        each(
            Family::counter("pagepool_resizes", "Changes of the budget that were begun."),
            pools,
            |pool| pool.stats.budget.resizes,
        ),
        bytes(
            "pagepool_container_limit",
            "The container's memory limit, as it was read last.",
        )
        .with(container().map(|(labels, container)| (labels, container.limit_bytes))),
        Family::counter(
            "pagepool_container_read_errors",
            "Looks at the container's memory limit that failed.",
        )
        .with(container().map(|(labels, container)| (labels, container.errors))),
        each(
            Family::gauge("pagepool_folios", "Folios, in memory or away."),
            pools,
            |pool| pool.stats.folios,
        ),
        each(
            Family::gauge("pagepool_movable_blocks", "Blocks that their owners move."),
            pools,
            |pool| pool.stats.movable_blocks,
        ),
        each(
            Family::counter(
                "pagepool_failure_reports",
                "Reports of requests that failed or came late.",
            ),
            pools,
            |pool| pool.stats.failure_reports,
        ),
        each(
            Family::counter(
                "pagepool_oom_calls",
                "Times that the owner was asked to give memory up.",
            ),
            pools,
            |pool| pool.oom.calls,
        ),
        each(
            Family::counter(
                "pagepool_oom_releases",
                "Times that the owner was asked and gave memory up.",
            ),
            pools,
            |pool| pool.oom.released,
        ),
        each(
            Family::counter(
                "pagepool_oom_panics",
                "Times that the owner was asked and panicked.",
            ),
            pools,
            |pool| pool.oom.panics,
        ),
    ]
}

/// The two families of pressure; `what` stands before it in their names.
pub(super) fn pressure(
    what: &str,
    pools: &[Snapshot],
    samples: impl Fn(&Snapshot) -> Vec<(Labels, Pressure)>,
) -> [Family; 2] {
    let family = |which: &str, help, time: fn(&Pressure) -> Duration| {
        let samples = pools.iter().flat_map(&samples);
        Family::counter(format!("pagepool_{what}pressure_{which}"), help)
            .of_unit(BaseUnit::Seconds)
            .with(samples.map(|(labels, pressure)| (labels, time(&pressure).as_secs_f64())))
    };
    [
        family(
            "waiting",
            "Time in which at least one thread waited for memory.",
            |pressure| pressure.some.total,
        ),
        family(
            "stalled",
            "Time in which a thread waited for memory and no worker did anything else.",
            |pressure| pressure.full.total,
        ),
    ]
}

/// What a daemon may be doing.
const STATES: [DaemonState; 7] = [
    DaemonState::Absent,
    DaemonState::Running,
    DaemonState::Frozen,
    DaemonState::Stopped,
    DaemonState::Dead,
    DaemonState::OnCall,
    DaemonState::Failed,
];

fn of_daemons(pools: &[Snapshot]) -> [Family; 2] {
    let nodes = || {
        let pools = pools.iter();
        pools.flat_map(|pool| pool.stats.nodes.iter().map(move |node| (pool, node)))
    };
    let states = nodes().flat_map(|(pool, node)| {
        let daemons = [("kswapd", node.kswapd), ("kcompactd", node.kcompactd)];
        daemons.into_iter().flat_map(move |(daemon, state)| {
            STATES.into_iter().map(move |one| {
                let labels = pool.labels([
                    ("node", node.id.get().to_string()),
                    ("daemon", daemon.to_owned()),
                    ("state", one.to_string()),
                ]);
                (labels, u64::from(one == state))
            })
        })
    });
    let failures = nodes().map(|(pool, node)| {
        let labels = pool.labels([("node", node.id.get().to_string())]);
        (labels, u64::from(node.kswapd_failures))
    });
    [
        Family::gauge(
            "pagepool_daemon_state",
            "1 for the state that the daemon is in, 0 for the others.",
        )
        .with(states),
        Family::gauge(
            "pagepool_kswapd_failures",
            "Runs of kswapd in a row that reclaimed nothing; from 16 on it has given up.",
        )
        .with(failures),
    ]
}

fn of_swap_areas(pools: &[Snapshot]) -> Vec<Family> {
    let areas = || {
        pools.iter().flat_map(|pool| {
            let numbered = pool.swap_areas.iter().enumerate();
            numbered.map(move |(nr, area)| {
                // Names need not differ.
                let labels = [("area", nr.to_string()), ("name", area.name.clone())];
                (pool.labels(labels), area)
            })
        })
    };
    let bytes = |family: Family| family.of_unit(BaseUnit::Bytes);
    let pages = |pages: u64| pages * PAGE_SIZE as u64;
    vec![
        bytes(Family::gauge(
            "pagepool_swap_area_size",
            "Size of the swap area.",
        ))
        .with(areas().map(|(labels, area)| (labels, area.total_pages * PAGE_SIZE))),
        bytes(Family::gauge(
            "pagepool_swap_area_used",
            "What is in the swap area.",
        ))
        .with(areas().map(|(labels, area)| (labels, area.used_pages * PAGE_SIZE))),
        bytes(Family::counter(
            "pagepool_swap_area_read",
            "Read from the swap area.",
        ))
        .with(areas().map(|(labels, area)| (labels, pages(area.pages_read)))),
        bytes(Family::counter(
            "pagepool_swap_area_written",
            "Written to the swap area.",
        ))
        .with(areas().map(|(labels, area)| (labels, pages(area.pages_written)))),
        Family::counter(
            "pagepool_swap_area_errors",
            "Transfers of the swap area that failed.",
        )
        .with(areas().map(|(labels, area)| (labels, area.errors))),
        Family::counter(
            "pagepool_swap_area_corrupt_pages",
            "Pages that the swap area gave back damaged.",
        )
        .with(areas().map(|(labels, area)| (labels, area.corrupt))),
        Family::counter(
            "pagepool_swap_area_stalls",
            "Transfers of the swap area that were not waited for any more.",
        )
        .with(areas().map(|(labels, area)| (labels, area.stalls))),
    ]
}

fn of_shrinkers(pools: &[Snapshot]) -> Vec<Family> {
    let counter = |name, help, count: fn(&ShrinkerStats) -> u64| {
        Family::counter(name, help).with(pools.iter().flat_map(|pool| {
            // Names need not differ: those of one name count together (E2).
            let mut by_name = BTreeMap::new();
            for shrinker in &pool.stats.shrinkers {
                *by_name.entry(&shrinker.name).or_insert(0) += count(shrinker);
            }
            by_name.into_iter().map(move |(name, sum)| {
                let labels = pool.labels([("shrinker", name.clone())]);
                (labels, sum)
            })
        }))
    };
    vec![
        counter(
            "pagepool_shrinker_calls",
            "Times that the shrinker was asked.",
            |shrinker| shrinker.calls,
        ),
        counter(
            "pagepool_shrinker_scanned_objects",
            "Objects that the shrinker has looked at.",
            |shrinker| shrinker.scanned,
        ),
        counter(
            "pagepool_shrinker_freed_objects",
            "Objects that the shrinker has freed, as it says.",
            |shrinker| shrinker.freed,
        ),
        counter(
            "pagepool_shrinker_timeouts",
            "Calls of the shrinker that were not waited for any more.",
            |shrinker| shrinker.timeouts,
        ),
        counter(
            "pagepool_shrinker_panics",
            "Calls of the shrinker that ended in a panic.",
            |shrinker| shrinker.panics,
        ),
    ]
}
