//! A pool as it may be, for tests of what is shown.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::wire::*;

/// Two zones, a group, a swap area, a daemon that has died.
pub(super) fn snapshot() -> Snapshot {
    let zone = |name: &str, free, pageblocks: &[u64], types: &str| Zone {
        name: name.to_owned(),
        managed: pageblocks.len() as u64 * 512,
        free,
        min: 100,
        low: 200,
        high: 300,
        nr_free: vec![10, 5, 70, 0, 0, 0, 0, 0, 0, 0, 0],
        pageblock_order: 9,
        fragmentation_score: 80,
        pageblocks: pageblocks.to_vec(),
        pageblock_types: types.to_owned(),
        ..Zone::default()
    };
    let daemon = |name: &str, state: &str| Daemon {
        name: name.to_owned(),
        state: state.to_owned(),
        activity: "napping".to_owned(),
        activity_for: Duration::from_millis(20),
        failures: 0,
    };
    let line = |avg10, avg60, avg300| PressureLine {
        avg10,
        avg60,
        avg300,
        total: Duration::from_millis(2500),
    };
    let group = Group {
        path: "tenant".to_owned(),
        current_bytes: 5 << 20,
        limits: Limits { max: Some(8 << 20) },
        refusals: 7,
        pressure: Pressure {
            some: line(1.5, 0.0, 0.0),
            ..Pressure::default()
        },
    };
    let counts = [("pgalloc_normal", 3000), ("pgalloc_movable", 2000)];
    let stats = Stats {
        budget_bytes: 20 << 20,
        metadata_bytes: 400 << 10,
        managed_pages: 3072,
        free_pages: 512,
        cached_pages: 256,
        swap_total_pages: 25_600,
        swap_free_pages: 19_200,
        folios: 1234,
        pressure: Pressure {
            some: line(12.5, 3.25, 0.5),
            full: line(0.0, 0.0, 0.0),
        },
        nodes: vec![Node {
            zones: vec![
                zone("Normal", 300, &[512, 200, 1, 0], "UUMM"),
                zone("Movable", 212, &[100, 0], "EH"),
            ],
            ..Node::default()
        }],
        vmstat: counts.map(|(name, nr)| (name.to_owned(), nr)).into(),
    };
    Snapshot {
        name: "cache".to_owned(),
        pid: 4711,
        version: "0.1.0".to_owned(),
        served_for: Duration::from_secs(83),
        stats,
        groups: vec![group],
        swap_areas: vec![Area {
            name: "a file".to_owned(),
            total_pages: 25_600,
            used_pages: 6400,
            errors: 3,
            ..Area::default()
        }],
        daemons: vec![daemon("kswapd0", "running"), daemon("kcompactd0", "dead")],
        waiting: Waiting {
            for_memory: 2,
            for_kswapd: 1,
            ..Waiting::default()
        },
    }
}
