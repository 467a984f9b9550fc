//! What was recorded of a phase, by the names that the page and other programs read it by.
//!
//! Each list of figures has one for each sample, in the order of time; what is not known is null. Whatever happened
//! is counted for the time from the sample before.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use pagepool::{Migratetype, Order};
use serde::Serialize;

use super::{
    buckets::{BUCKETS, percentile},
    film::Film,
    look::{EVENTS, KINDS, Layout, OF_DAEMON, OF_RUN, OF_ZONE},
    reel::Reel,
};

/// A phase over time.
#[derive(Debug, Serialize)]
pub(crate) struct Recording {
    pub(crate) phase: String,
    /// When each sample ends, in seconds from when the phase began.
    time_s: Vec<f64>,
    /// What players count as they go, as in the live display.
    events: Vec<f64>,
    /// Seconds for which threads waited for memory.
    pressure_some_s: Vec<f64>,
    pressure_full_s: Vec<f64>,
    /// Threads that waited at a look, at most.
    waiting: Vec<f64>,
    /// Pages of swap in use.
    swap_used: Vec<f64>,
    /// `alloc`, `free`, `fault`.
    latency: BTreeMap<&'static str, Times>,
    /// By the names of `vmstat`.
    vmstat: BTreeMap<&'static str, Vec<f64>>,
    zones: Vec<Zone>,
    daemons: Vec<Daemon>,
    pageblocks: Pageblocks,
}

/// Latencies in nanoseconds, to an eighth; the largest are exact. Null where there were none.
#[derive(Debug, Serialize)]
struct Times {
    count: Vec<u64>,
    p50: Vec<Option<u64>>,
    p99: Vec<Option<u64>>,
    p999: Vec<Option<u64>>,
    max: Vec<Option<u64>>,
}

/// A zone, in pages.
#[derive(Debug, Serialize)]
struct Zone {
    node: usize,
    name: &'static str,
    /// The least that was seen.
    free: Vec<f64>,
    cached: Vec<f64>,
    min: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    boost: Vec<f64>,
    /// By order: the share of what is free that it cannot use, 0 to 1.
    unusable_index: Vec<Vec<f64>>,
}

/// A daemon: the share of the looks that found it at each, 0 to 1.
#[derive(Debug, Serialize)]
struct Daemon {
    name: String,
    working: Vec<f64>,
    napping: Vec<f64>,
    asleep: Vec<f64>,
}

/// Pictures of all pageblocks; `Film::changes` says how they are written.
#[derive(Debug, Serialize)]
struct Pageblocks {
    kinds: [&'static str; 4],
    /// In the order of the bytes.
    zones: Vec<Area>,
    time_s: Vec<f64>,
    changes: Vec<String>,
    /// As `Film::moved_out` says.
    moved_out: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Area {
    node: usize,
    name: &'static str,
    pageblocks: usize,
    pageblock_pages: usize,
}

impl Recording {
    pub(super) fn new(phase: &str, layout: &Layout, reel: &Reel, film: &Film) -> Recording {
        let of_run = |name: &str| {
            let at = OF_RUN.iter().position(|(known, _)| *known == name);
            reel.column(at.expect("a figure of the run"))
        };
        let latency = |(n, kind): (usize, &&'static str)| (*kind, Times::of(reel, n));
        let event = |(n, name): (usize, &&'static str)| (*name, reel.column(Layout::event_at(n)));
        Recording {
            phase: phase.to_owned(),
            time_s: rounded(of_run("time")),
            events: of_run("events"),
            pressure_some_s: rounded(of_run("pressure_some")),
            pressure_full_s: rounded(of_run("pressure_full")),
            waiting: of_run("waiting"),
            swap_used: of_run("swap_used"),
            latency: KINDS.iter().enumerate().map(latency).collect(),
            vmstat: EVENTS.iter().enumerate().map(event).collect(),
            zones: (0..layout.zones.len())
                .map(|n| Zone::of(layout, reel, n))
                .collect(),
            daemons: (0..layout.daemons.len())
                .map(|n| Daemon::of(layout, reel, n))
                .collect(),
            pageblocks: Pageblocks::of(layout, film),
        }
    }
}

/// To a millionth, which is more than any of them is worth.
fn rounded(figures: Vec<f64>) -> Vec<f64> {
    figures
        .into_iter()
        .map(|figure| (figure * 1e6).round() / 1e6)
        .collect()
}

impl Times {
    fn of(reel: &Reel, kind: usize) -> Times {
        let largest = reel.column(Layout::latency_at(kind));
        let mut times = Times {
            count: Vec::with_capacity(largest.len()),
            p50: Vec::with_capacity(largest.len()),
            p99: Vec::with_capacity(largest.len()),
            p999: Vec::with_capacity(largest.len()),
            max: Vec::with_capacity(largest.len()),
        };
        for (counts, max) in reel.counts().zip(largest) {
            let counts = &counts[kind * BUCKETS..][..BUCKETS];
            let count: u64 = counts.iter().map(|&count| u64::from(count)).sum();
            let at = |quantile| percentile(counts, quantile, max as u64);
            times.count.push(count);
            times.p50.push(at(0.5));
            times.p99.push(at(0.99));
            times.p999.push(at(0.999));
            times.max.push((max > 0.0).then_some(max as u64));
        }
        times
    }
}

impl Zone {
    fn of(layout: &Layout, reel: &Reel, n: usize) -> Zone {
        let begin = Layout::zone_at(n);
        let column = |name: &str| {
            let at = OF_ZONE.iter().position(|(known, _)| *known == name);
            reel.column(begin + at.expect("a figure of a zone"))
        };
        let index =
            |order: Order| rounded(reel.column(begin + OF_ZONE.len() + usize::from(order.get())));
        Zone {
            node: layout.zones[n].node,
            name: layout.zones[n].zone,
            free: column("free"),
            cached: column("cached"),
            min: column("min"),
            low: column("low"),
            high: column("high"),
            boost: column("boost"),
            unusable_index: Order::all().map(index).collect(),
        }
    }
}

impl Daemon {
    fn of(layout: &Layout, reel: &Reel, n: usize) -> Daemon {
        let [working, napping, asleep] = [0, 1, 2].map(|at: usize| {
            debug_assert!(at < OF_DAEMON.len());
            rounded(reel.column(layout.daemon_at(n) + at))
        });
        Daemon {
            name: layout.daemons[n].clone(),
            working,
            napping,
            asleep,
        }
    }
}

impl Pageblocks {
    fn of(layout: &Layout, film: &Film) -> Pageblocks {
        let area = |zone: &super::look::ZoneName| Area {
            node: zone.node,
            name: zone.zone,
            pageblocks: zone.nr_blocks,
            pageblock_pages: zone.block_pages,
        };
        Pageblocks {
            kinds: Migratetype::ALL.map(Migratetype::name),
            zones: layout.zones.iter().map(area).collect(),
            time_s: rounded(film.times().to_vec()),
            changes: film.changes(),
            moved_out: film.moved_out(),
        }
    }
}
