//! All that is told of one pool, at a moment.

use super::family::Labels;
use crate::oom::OomStats;
use crate::pool::PagePool;
use crate::pool::groups::GroupStats;
use crate::pool::stats::Stats;
use crate::pool::swapping::SwapAreaStats;
use crate::psi::Pressure;

/// What a pool said of itself.
#[derive(Debug)]
pub(super) struct Snapshot {
    name: Option<String>,
    pub(super) stats: Stats,
    /// All groups but the root, with their pressure.
    pub(super) groups: Vec<(GroupStats, Pressure)>,
    pub(super) swap_areas: Vec<SwapAreaStats>,
    pub(super) oom: OomStats,
}

impl Snapshot {
    pub(super) fn of(name: Option<String>, pool: &PagePool) -> Snapshot {
        let groups = pool.groups().into_iter().filter_map(|stats| {
            // One that was deleted meanwhile is left out.
            let pressure = pool.group(&stats.path)?.pressure();
            Some((stats, pressure))
        });
        Snapshot {
            name,
            stats: pool.stats(),
            groups: groups.collect(),
            swap_areas: pool.swap_areas(),
            oom: pool.oom_stats(),
        }
    }

    /// The labels that every sample of the pool has, and others.
    pub(super) fn labels<const N: usize>(&self, others: [(&'static str, String); N]) -> Labels {
        let name = self.name.iter().map(|name| ("pool", name.clone()));
        name.chain(others)
            .map(|(key, value)| (key, value.into()))
            .collect()
    }
}
