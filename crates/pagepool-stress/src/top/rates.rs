//! What happened between two snapshots, a second.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::wire::Snapshot;

/// What is shown, and the counts that it is the sum of.
const FLOWS: [(&str, &[&str]); 15] = [
    (
        "pages allocated",
        &["pgalloc_dma", "pgalloc_normal", "pgalloc_movable"],
    ),
    ("pages freed", &["pgfree"]),
    (
        "direct reclaim",
        &["allocstall_dma", "allocstall_normal", "allocstall_movable"],
    ),
    ("pages reclaimed direct", &["pgsteal_direct"]),
    ("pages reclaimed kswapd", &["pgsteal_kswapd"]),
    ("kswapd runs", &["pageoutrun"]),
    ("kcompactd wakes", &["compact_daemon_wake"]),
    ("direct compaction", &["compact_stall"]),
    ("pages moved", &["pgmigrate_success"]),
    ("pages swapped in", &["pswpin"]),
    ("pages swapped out", &["pswpout"]),
    ("faults", &["pgfault"]),
    ("faults that read", &["pgmajfault"]),
    ("refaults", &["workingset_refault"]),
    ("refusals", &["pagepool_refusals"]),
];

/// A count that only rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flow {
    pub(super) name: &'static str,
    pub(super) total: u64,
    /// A second, if there is something to compare with.
    pub(super) rate: Option<f64>,
}

/// All of them, `now` beside `before`.
pub(super) fn flows(before: Option<&Snapshot>, now: &Snapshot) -> Vec<Flow> {
    let sum = |of: &Snapshot, names: &[&str]| names.iter().map(|name| of.count(name)).sum::<u64>();
    let before = since(before, now);
    let flow = |(name, names): &(&'static str, &[&str])| {
        let total = sum(now, names);
        let rate = before.and_then(|(before, time)| {
            // Another pool at the same path begins anew.
            let rise = total.checked_sub(sum(before, names))?;
            Some(rise as f64 / time.as_secs_f64())
        });
        Flow { name, total, rate }
    };
    FLOWS.iter().map(flow).collect()
}

/// The snapshot before, if it is one of the same pool, and how long ago it was.
pub(super) fn since<'a>(
    before: Option<&'a Snapshot>,
    now: &Snapshot,
) -> Option<(&'a Snapshot, Duration)> {
    let before = before?;
    let time = now.served_for.checked_sub(before.served_for)?;
    (before.pid == now.pid && !time.is_zero()).then_some((before, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(millis: u64, counts: &[(&str, u64)]) -> Snapshot {
        let mut snapshot = Snapshot {
            served_for: Duration::from_millis(millis),
            ..Snapshot::default()
        };
        let counts = counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        snapshot.stats.vmstat = counts.collect();
        snapshot
    }

    fn flow(before: Option<&Snapshot>, now: &Snapshot, name: &str) -> (u64, Option<f64>) {
        let flows = flows(before, now);
        let flow = flows.iter().find(|flow| flow.name == name).unwrap();
        (flow.total, flow.rate)
    }

    #[test]
    fn a_rate_is_the_rise_by_the_time() {
        let before = snapshot(1000, &[("pgalloc_normal", 100), ("pgalloc_movable", 50)]);
        let now = snapshot(1500, &[("pgalloc_normal", 200), ("pgalloc_movable", 60)]);
        let of = |before| flow(before, &now, "pages allocated");
        assert_eq!(of(Some(&before)), (260, Some(220.0)));
        assert_eq!(of(None), (260, None));
        assert_eq!(of(Some(&now)), (260, None), "no time has passed");
    }

    #[test]
    fn another_pool_has_no_rates() {
        let before = snapshot(1000, &[("pgfree", 100)]);
        let now = snapshot(1500, &[("pgfree", 10)]);
        assert_eq!(flow(Some(&before), &now, "pages freed"), (10, None));
        let younger = snapshot(10, &[("pgfree", 200)]);
        assert_eq!(flow(Some(&before), &younger, "pages freed"), (200, None));
    }

    #[test]
    fn every_count_is_one_of_a_pools() {
        let pool = pagepool::PagePool::builder()
            .memory(64 << 20)
            .build()
            .unwrap();
        let vmstat = pool.stats().vmstat;
        for name in FLOWS.iter().flat_map(|(_, names)| *names) {
            assert!(vmstat.get(name).is_some(), "{name}");
        }
    }
}
