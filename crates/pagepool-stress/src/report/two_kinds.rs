//! What came of movable and unmovable memory side by side: large blocks while both come and go, and pageblocks
//! that hold both.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::{
    fragment::{BlockLatency, Compaction},
    picture::Picture,
    text::{line, percent},
};
use crate::{
    player::two_kinds::Point,
    units::{grouped, human_ns},
};

/// The load, and what came of it with daemons and without.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MixedReport {
    pub(crate) pattern: &'static str,
    /// Of the pool's pages, those that are held.
    pub(crate) fill: f64,
    /// Of those, the ones that cannot be moved.
    pub(crate) unmovable: f64,
    pub(crate) runs: Vec<MixedRun>,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MixedRun {
    /// `on` or `off`.
    pub(crate) daemons: &'static str,
    /// How kcompactd of each node stood at the end.
    pub(crate) kcompactd: Vec<String>,
    /// Allocations and frees, large blocks not included.
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    pub(crate) events_per_s: f64,
    pub(crate) held: Held,
    pub(crate) order9: Asked,
    /// The same of the last tenth of the events.
    pub(crate) order9_last_tenth: Asked,
    /// The smallest share at one point.
    pub(crate) order9_worst_share: f64,
    /// Of the order-9 requests that were granted.
    pub(crate) latency_ns: BlockLatency,
    pub(crate) both_kinds: BothKinds,
    /// Times that kinds were mixed in a pageblock.
    pub(crate) extfrag_events: u64,
    pub(crate) compaction: Compaction,
    pub(crate) points: Vec<Point>,
    /// The pageblocks at the end.
    pub(crate) after: Picture,
}

/// What was held at the end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Held {
    pub(crate) folios: u64,
    pub(crate) folio_pages: u64,
    pub(crate) unmovable_pages: u64,
    /// All of that, as a share of what the pool can hand out.
    pub(crate) share: f64,
}

/// Requests for large blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Asked {
    pub(crate) requests: u64,
    pub(crate) granted: u64,
    /// 1 if nothing was asked for.
    pub(crate) share: f64,
}

impl Asked {
    /// At all of the given points.
    pub(crate) fn at<'a>(points: impl Iterator<Item = &'a Point>) -> Asked {
        let add = |(requests, granted): (u64, u64), point: &Point| {
            (requests + point.requests, granted + point.granted)
        };
        let (requests, granted) = points.fold((0, 0), add);
        let share = match requests {
            0 => 1.0,
            _ => granted as f64 / requests as f64,
        };
        Asked {
            requests,
            granted,
            share,
        }
    }

    /// At those of the last tenth of `events`.
    pub(crate) fn last_tenth(points: &[Point], events: u64) -> Asked {
        Asked::at(
            points
                .iter()
                .filter(|point| point.events > events - events / 10),
        )
    }

    /// The smallest share at one of the points.
    pub(crate) fn worst_share(points: &[Point]) -> f64 {
        let shares = points
            .iter()
            .map(|point| Asked::at([point].into_iter()).share);
        shares.fold(1.0, f64::min)
    }
}

/// Pageblocks that hold movable memory and other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct BothKinds {
    /// All pageblocks of the pool.
    pub(crate) pageblocks: u64,
    /// Those that hold both: on average over all points, at the worst, and at the last.
    pub(crate) mean: f64,
    pub(crate) most: u64,
    pub(crate) last: u64,
    /// The same as shares of all pageblocks.
    pub(crate) mean_share: f64,
    pub(crate) most_share: f64,
    pub(crate) last_share: f64,
}

impl BothKinds {
    /// At the given points, in a pool of so many pageblocks.
    pub(crate) fn at(points: &[Point], pageblocks: u64) -> BothKinds {
        let counts = || points.iter().map(|point| point.both_kinds);
        let of_all = |count: f64| count / pageblocks.max(1) as f64;
        let mean = counts().sum::<u64>() as f64 / points.len().max(1) as f64;
        let (most, last) = (
            counts().max().unwrap_or(0),
            counts().next_back().unwrap_or(0),
        );
        BothKinds {
            pageblocks,
            mean,
            most,
            last,
            mean_share: of_all(mean),
            most_share: of_all(most as f64),
            last_share: of_all(last as f64),
        }
    }
}

/// Writes all of it.
pub(super) fn write(report: &MixedReport, text: &mut String) {
    for run in &report.runs {
        text.push('\n');
        write_run(report, run, text);
    }
    text.push('\n');
    let legend = "order 9: of the blocks that half of what is free above the high marks would make; \
                  both kinds: pageblocks with memory that can be moved and memory that cannot; \
                  pageblocks: . free, 1 up to a tenth in use, … 9, # full";
    line(text, "", "legend", legend);
}

fn write_run(report: &MixedReport, run: &MixedRun, text: &mut String) {
    let load = format!(
        "daemons {}: {} events in {:.1} s = {} a second; {} held: {} folios of {} pages, {} pages that cannot be moved; kcompactd {}",
        run.daemons,
        grouped(run.events),
        run.seconds,
        grouped(run.events_per_s as u64),
        percent(run.held.share),
        grouped(run.held.folios),
        grouped(run.held.folio_pages),
        grouped(run.held.unmovable_pages),
        run.kcompactd.join(", ")
    );
    line(text, "", report.pattern, &load);
    let order9 = format!(
        "{} of {} requests granted; {} of {} in the last tenth; {} at the worst of {} points",
        percent(run.order9.share),
        grouped(run.order9.requests),
        percent(run.order9_last_tenth.share),
        grouped(run.order9_last_tenth.requests),
        percent(run.order9_worst_share),
        run.points.len()
    );
    line(text, "  ", "order 9", &order9);
    let BlockLatency {
        p50, p95, p99, max, ..
    } = run.latency_ns;
    let [p50, p95, p99, max] = [p50, p95, p99, max].map(human_ns);
    let latency = format!("p50 {p50}, p95 {p95}, p99 {p99}, max {max}");
    line(text, "  ", "latency", &latency);
    let BothKinds {
        pageblocks,
        mean,
        most,
        last,
        mean_share,
        most_share,
        last_share,
    } = run.both_kinds;
    let both = format!(
        "{} of {} pageblocks on average ({mean:.1}), {} at the most ({most}), {} at the last point ({last}); kinds were mixed {} times",
        percent(mean_share),
        grouped(pageblocks),
        percent(most_share),
        percent(last_share),
        grouped(run.extfrag_events)
    );
    line(text, "  ", "both kinds", &both);
    let moved = format!(
        "{} folios moved, {} not; {} requests compacted for themselves; kcompactd was asked {} times",
        grouped(run.compaction.pgmigrate_success),
        grouped(run.compaction.pgmigrate_fail),
        grouped(run.compaction.compact_stall),
        grouped(run.compaction.compact_daemon_wake)
    );
    line(text, "  ", "moved", &moved);
    super::fragment::write_picture("at the end", &run.after, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(events: u64, requests: u64, granted: u64, both_kinds: u64) -> Point {
        Point {
            events,
            requests,
            granted,
            both_kinds,
        }
    }

    #[test]
    fn requests_add_up_and_the_last_tenth_stands_by_itself() {
        let points = [
            point(100, 10, 10, 0),
            point(500, 10, 4, 3),
            point(901, 5, 5, 1),
            point(1000, 5, 3, 2),
        ];
        let all = Asked::at(points.iter());
        assert_eq!((all.requests, all.granted), (30, 22));
        let late = Asked::last_tenth(&points, 1000);
        assert_eq!((late.requests, late.granted, late.share), (10, 8, 0.8));
        assert!((Asked::worst_share(&points) - 0.4).abs() < 1e-9);
        let both = BothKinds::at(&points, 200);
        assert_eq!((both.most, both.last, both.mean), (3, 2, 1.5));
        assert!((both.most_share - 0.015).abs() < 1e-9);
    }

    #[test]
    fn without_a_point_nothing_was_refused_and_nothing_is_mixed() {
        assert_eq!(Asked::at([].iter()).share, 1.0);
        assert_eq!(Asked::worst_share(&[]), 1.0);
        assert_eq!(BothKinds::at(&[], 0), BothKinds::default());
    }
}
