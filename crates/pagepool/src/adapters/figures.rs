//! All that is told of one pool, at a moment.

#![forbid(unsafe_code)]

use crate::oom::OomStats;
use crate::pool::PagePool;
use crate::pool::groups::GroupStats;
use crate::pool::stats::Stats;
use crate::pool::swapping::SwapAreaStats;
use crate::psi::Pressure;

/// What a pool said of itself.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) stats: Stats,
    /// All groups but the root, with their pressure.
    pub(super) groups: Vec<(GroupStats, Pressure)>,
    pub(super) swap_areas: Vec<SwapAreaStats>,
    pub(super) oom: OomStats,
}

impl Figures {
    pub(super) fn of(pool: &PagePool) -> Figures {
        let groups = pool.groups().into_iter().filter_map(|stats| {
            // One that was deleted meanwhile is left out.
            let pressure = pool.group(&stats.path)?.pressure();
            Some((stats, pressure))
        });
        Figures {
            stats: pool.stats(),
            groups: groups.collect(),
            swap_areas: pool.swap_areas(),
            oom: pool.oom_stats(),
        }
    }
}
