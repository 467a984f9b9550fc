//! Free memory in pieces: what is reported, and that everything that is kept stays what it was.

use serde_json::Value;

use crate::support::{number, run, verified_json};

const SMALL: [&str; 5] = ["fragment", "--memory", "32M", "--settle", "100ms"];

#[track_caller]
fn fragment(args: &[&str]) -> Value {
    let report = verified_json(SMALL.iter().chain(args).copied());
    assert!(number(&report["verified_bytes"]) > 0);
    report["fragment"].clone()
}

#[track_caller]
fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is not a list"))
}

/// A picture counts every pageblock once.
#[track_caller]
fn assert_picture(picture: &Value) {
    let by_tenth = list(&picture["by_tenth"]);
    assert_eq!(by_tenth.len(), 11);
    let pageblocks = by_tenth.iter().map(number).sum::<u64>();
    assert_eq!(pageblocks, number(&picture["pageblocks"]));
    let signs = list(&picture["lines"])
        .iter()
        .map(|line| line.as_str().expect("a line").len() as u64)
        .sum::<u64>();
    assert_eq!(signs, pageblocks, "few enough to show each");
}

/// Blocks of an order add up, and say why there are no more.
#[track_caller]
fn assert_taking(taking: &Value) {
    let [order, blocks, pages, free] =
        ["order", "blocks", "pages", "free_pages"].map(|field| number(&taking[field]));
    assert_eq!(blocks << order, pages);
    assert!(pages <= free, "{taking}");
    let latency = &taking["latency_ns"];
    assert_eq!(number(&latency["count"]), blocks);
    let percentiles = ["p50", "p95", "p99", "max"].map(|field| number(&latency[field]));
    assert!(percentiles.is_sorted(), "{taking}");
    let refusal = &taking["refusal"];
    assert!(refusal["cause"].is_string(), "{taking}");
    assert!(refusal["remedy"].is_string(), "{taking}");
}

#[test]
fn every_order_is_taken_until_it_is_refused_with_daemons_and_without() {
    let report = fragment(&["--seed", "1"]);
    assert_eq!(report["pattern"], "checkerboard");
    let runs = list(&report["runs"]);
    let daemons: Vec<_> = runs.iter().map(|run| run["daemons"].clone()).collect();
    assert_eq!(daemons, ["on", "off"]);
    for run in runs {
        let orders = list(&run["orders"]);
        let names: Vec<_> = orders
            .iter()
            .map(|taking| number(&taking["order"]))
            .collect();
        assert_eq!(names, (0..=10).rev().collect::<Vec<_>>());
        orders.iter().for_each(assert_taking);
        for picture in ["before", "settled", "after"] {
            assert_picture(&run[picture]);
        }
        let state = match run["daemons"] == "on" {
            true => "running",
            false => "absent",
        };
        assert_eq!(run["kcompactd"][0], state);
        let whole = |picture: &str| number(&run[picture]["by_tenth"][0]);
        assert_eq!(whole("before"), 0, "a quarter of each pageblock is kept");
        assert!(whole("after") > 0, "{run}");
        assert_eq!(run["kept_folios"], run["kept_pages"]);
    }
}

#[test]
fn without_daemons_whoever_asks_moves_what_is_in_the_way() {
    let report = fragment(&["--order", "9", "--daemons", "off", "--seed", "2"]);
    let run = &report["runs"][0];
    assert_eq!(run["kcompactd"], Value::from(vec!["absent"]));
    let settle = &run["settle"]["compaction"];
    assert_eq!(settle["pgmigrate_success"], 0, "nobody asked yet");
    let [taking] = &list(&run["orders"])[..] else {
        panic!("one order was asked for: {run}");
    };
    assert_taking(taking);
    assert!(number(&taking["blocks"]) > 0);
    assert!(number(&taking["compaction"]["pgmigrate_success"]) > 0);
    assert!(number(&taking["compaction"]["compact_stall"]) > 0);
    assert_eq!(taking["compaction"]["compact_daemon_wake"], 0);
}

#[test]
fn folios_of_many_sizes_that_come_and_go_are_thinned_like_others() {
    let args = [
        "--pattern",
        "churn",
        "--duration",
        "500ms",
        "--daemons",
        "on",
    ];
    let report = fragment(&args);
    let run = &report["runs"][0];
    let [folios, pages] = ["kept_folios", "kept_pages"].map(|field| number(&run[field]));
    assert!(0 < folios && folios < pages, "{folios} of {pages} pages");
    list(&run["orders"]).iter().for_each(assert_taking);
}

/// The pages that cannot be moved stand in the way in most pageblocks, and stay what they were.
#[test]
fn what_cannot_be_moved_is_counted_and_kept() {
    let args = ["--unmovable", "0.01", "--order", "9", "--seed", "3"];
    let report = fragment(&args);
    for run in list(&report["runs"]) {
        assert!(number(&run["unmovable_pages"]) > 0, "{run}");
        assert_taking(&run["orders"][0]);
    }
}

#[test]
fn whoever_keeps_nothing_gets_whole_blocks_and_whoever_keeps_all_gets_none() {
    let nothing = fragment(&["--keep", "0", "--order", "9", "--daemons", "off"]);
    let [run] = &list(&nothing["runs"])[..] else {
        panic!("{nothing}");
    };
    assert_eq!(run["kept_folios"], 0);
    assert_eq!(run["orders"][0]["compaction"]["pgmigrate_success"], 0);
    assert!(number(&run["orders"][0]["blocks"]) > 0);
    let all = fragment(&["--keep", "1", "--order", "9", "--daemons", "off"]);
    assert_eq!(all["runs"][0]["orders"][0]["blocks"], 0);
}

#[test]
fn the_readable_report_shows_pageblocks_orders_and_causes() {
    let run = run(SMALL.into_iter().chain(["--daemons", "off", "--seed", "1"]));
    assert_eq!(run.status, 0, "{}", run.stderr);
    for part in ["in pieces", "settled", "order  blocks", "refused", "legend"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}

#[test]
fn two_nodes_are_compacted_each() {
    let report = fragment(&["--nodes", "2", "--order", "9", "--daemons", "on"]);
    assert_eq!(list(&report["runs"][0]["kcompactd"]).len(), 2);
}
