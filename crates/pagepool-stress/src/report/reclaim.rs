//! What was reclaimed, and by whom.
#![forbid(unsafe_code)]

use pagepool::Stats;
use serde::Serialize;

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
