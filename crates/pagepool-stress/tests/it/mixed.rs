//! Movable and unmovable memory that come and go side by side: what is reported, and that it shows what is
//! wrong.

use serde_json::Value;

use crate::support::{command, finished, number, run, verified_json};

const SMALL: [&str; 9] = [
    "fragment",
    "--pattern",
    "mixed",
    "--memory",
    "64M",
    "--events",
    "150K",
    "--seed",
    "1",
];

/// The pool is looked at about each thousandth event, so small is the load.
const POINTS: usize = 100;

#[track_caller]
fn share(value: &Value) -> f64 {
    let share = value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a share"));
    assert!((0.0..=1.0).contains(&share), "{share}");
    share
}

#[track_caller]
fn mixed(args: &[&str]) -> Value {
    let report = verified_json(SMALL.iter().chain(args).copied());
    assert!(number(&report["verified_bytes"]) > 0);
    assert_eq!(report["fragment"]["pattern"], "mixed");
    report["fragment"].clone()
}

#[track_caller]
fn runs(report: &Value) -> &Vec<Value> {
    report["runs"].as_array().expect("a list")
}

/// The sums are those of the points.
#[track_caller]
fn assert_points(run: &Value) {
    let points = run["points"].as_array().expect("a list");
    let sum = |field: &str| {
        points
            .iter()
            .map(|point| number(&point[field]))
            .sum::<u64>()
    };
    assert_eq!(sum("requests"), number(&run["order9"]["requests"]));
    assert_eq!(sum("granted"), number(&run["order9"]["granted"]));
    assert_eq!(sum("granted"), number(&run["latency_ns"]["count"]));
    let late = &run["order9_last_tenth"];
    assert!(number(&late["requests"]) > 0, "{run}");
    assert!(number(&late["requests"]) < sum("requests") / 5, "{run}");
    let events: Vec<_> = points
        .iter()
        .map(|point| number(&point["events"]))
        .collect();
    assert!(events.is_sorted() && events.len() >= POINTS, "{events:?}");
    let most = points
        .iter()
        .map(|point| number(&point["both_kinds"]))
        .max();
    assert_eq!(most, Some(number(&run["both_kinds"]["most"])));
}

#[test]
fn both_kinds_are_held_and_large_blocks_asked_for_with_daemons_and_without() {
    let report = mixed(&[]);
    let names: Vec<_> = runs(&report).iter().map(|run| &run["daemons"]).collect();
    assert_eq!(names, ["on", "off"]);
    for run in runs(&report) {
        assert_eq!(run["events"], 150_000);
        let held = &run["held"];
        let full = share(&held["share"]);
        assert!((0.77..0.84).contains(&full), "held at 0.8: {full}");
        let [folios, raw] = ["folio_pages", "unmovable_pages"].map(|field| number(&held[field]));
        let unmovable = raw as f64 / (folios + raw) as f64;
        assert!((0.04..0.06).contains(&unmovable), "{unmovable}");
        assert_points(run);
        // What is aimed at; the pool is small, and so is one pageblock in it.
        assert!(share(&run["order9"]["share"]) >= 0.98, "{run}");
        assert!(share(&run["order9_last_tenth"]["share"]) >= 0.98, "{run}");
        assert!(number(&run["both_kinds"]["most"]) <= 1, "{run}");
    }
    let moved = |run: &Value| number(&run["compaction"]["pgmigrate_success"]);
    assert!(
        moved(&runs(&report)[0]) > 0,
        "kcompactd moves of its own accord"
    );
}

/// Raw blocks that are asked for as movable ones lie among the folios and stand in the way.
#[test]
fn what_is_not_kept_apart_costs_large_blocks() {
    let report = mixed(&["--plant", "ungrouped"]);
    for run in runs(&report) {
        assert_points(run);
        let [all, worst] = [&run["order9"]["share"], &run["order9_worst_share"]].map(share);
        assert!(all < 0.9 && worst <= all, "{all}, {worst}: {run}");
    }
}

/// So full a pool has to put raw blocks among folios now and then.
#[test]
fn a_pool_that_is_nearly_full_mixes_kinds_and_says_so() {
    let report = mixed(&["--fill", "0.95", "--unmovable", "0.4", "--daemons", "off"]);
    let run = &runs(&report)[0];
    assert!(number(&run["both_kinds"]["most"]) > 0, "{run}");
    assert!(number(&run["extfrag_events"]) > 0, "{run}");
    assert!(share(&run["both_kinds"]["most_share"]) > 0.005, "{run}");
}

#[test]
fn without_a_number_of_events_the_time_ends_it() {
    let args = [
        "fragment",
        "--pattern",
        "mixed",
        "--memory",
        "64M",
        "--duration",
        "1s",
        "--daemons",
        "on",
    ];
    let report = verified_json(args);
    let run = &report["fragment"]["runs"][0];
    assert!(number(&run["events"]) > 0);
    assert!(number(&run["order9"]["requests"]) > 0, "{run}");
}

/// It used to begin again, and to go on until the time was up.
#[test]
fn events_end_it_before_the_time_is_up() {
    let report = verified_json(
        SMALL
            .iter()
            .chain(&["--duration", "10m", "--daemons", "off"])
            .copied(),
    );
    assert_eq!(report["phases"][0]["rounds"], 1);
    assert_eq!(report["fragment"]["runs"][0]["events"], 150_000);
}

#[test]
fn the_readable_report_names_the_figures() {
    let run = run(SMALL.into_iter().chain(["--daemons", "off"]));
    assert_eq!(run.status, 0, "{}", run.stderr);
    for part in [
        "requests granted",
        "in the last tenth",
        "both kinds",
        "pageblocks on average",
        "compacted for themselves",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}

#[test]
fn options_of_the_pattern_are_refused_elsewhere() {
    for option in ["--fill=0.5", "--events=10"] {
        let output = command().args(["fragment", option]).output();
        let run = finished(output.expect("the binary runs"));
        assert_eq!(run.status, 2, "{option}");
        assert!(run.stderr.contains("--pattern mixed"), "{}", run.stderr);
    }
}
