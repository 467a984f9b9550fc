//! Every kind of load at once: what is seen of it, and that what goes wrong is found.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{float, number, run, verified_json};

const SMALL: [&str; 5] = ["soak", "--memory", "32M", "--seed", "1"];

#[test]
fn every_kind_of_load_is_played_and_nothing_grows() {
    let report = verified_json(SMALL.into_iter().chain(["--duration", "4s"]));
    let soak = &report["soak"];
    let (first, last) = (&soak["first"], &soak["last"]);
    assert!(number(&soak["turns"]) >= 5, "{soak}");
    assert!((float(&soak["turn_s"]) - 0.2).abs() < 1e-9);
    assert_eq!(first["metadata_bytes"], last["metadata_bytes"]);
    assert!(float(&last["at_s"]) > 3.0);
    assert!(number(&last["events"]) > 1_000, "{last}");
    assert_eq!(number(&last["violations"]), 0);
    if let Some(beside) = last["beside_pool"].as_u64() {
        assert!(beside < number(&last["rss"]));
        let grown = float(&soak["beside_pool"]["grown_bytes"]);
        assert!(grown < float(&soak["allowed_bytes"]), "{soak}");
    }
    let phase = &report["phases"][0];
    assert_eq!(phase["players"], 5);
    // Folios that were swapped, blocks that were split, large blocks that were asked for.
    let vmstat = &phase["vmstat"];
    for name in ["pswpin", "pswpout", "pgsteal_kswapd"] {
        assert!(number(&vmstat[name]) > 0, "{name}: {vmstat}");
    }
    assert!(number(&phase["splits"]) > 0);
    assert!(number(&phase["touches_away"]) > 0);
}

#[test]
fn a_line_says_now_and_then_how_things_stand() {
    let run = run(SMALL
        .into_iter()
        .chain(["--duration", "3s", "--state-every", "1s"]));
    assert_eq!(run.status, 0, "{}", run.stdout);
    let states = run.stdout.lines().filter(|line| line.starts_with("0:00:0"));
    let states: Vec<&str> = states.collect();
    assert!((2..=8).contains(&states.len()), "{}", run.stdout);
    for word in ["events", "beside the pool", "in swap", "0 violation(s)"] {
        assert!(states.iter().all(|line| line.contains(word)), "{states:?}");
    }
}

/// The report of a run in which something goes wrong on purpose.
#[track_caller]
fn planted(plant: &str, duration: &str) -> Value {
    let args = [
        "--duration",
        duration,
        "--hang-after",
        "2s",
        "--plant",
        plant,
    ];
    let run = run(SMALL.into_iter().chain(args).chain(["--json", "-"]));
    assert_eq!(run.status, 1, "{}", run.stderr);
    serde_json::from_str(&run.stdout).expect("one JSON object")
}

#[track_caller]
fn assert_says(report: &Value, words: &str) {
    let messages = report["violation_messages"].to_string();
    assert!(messages.contains(words), "{messages}");
}

#[test]
fn a_leak_is_found_and_its_slope_is_said() {
    let report = planted("leak", "4s");
    if report["rss_start"].is_null() {
        return;
    }
    assert_says(&report, "leak: memory beside the pool grew by");
    // Four mebibytes a turn, as many turns an hour as their time says.
    let soak = &report["soak"];
    let seconds = float(&soak["last"]["at_s"]) - float(&soak["first"]["at_s"]);
    let turns = number(&soak["turns"]) as f64 - 1.0;
    let planted = turns / seconds * 3600.0 * f64::from(4 << 20);
    let found = float(&soak["beside_pool"]["bytes_per_hour"]);
    assert!(
        (0.6..1.6).contains(&(found / planted)),
        "{found} of {planted}"
    );
}

#[test]
fn the_first_violation_ends_it() {
    let begin = Instant::now();
    let report = planted("lost-write", "1h");
    assert_says(&report, "lost write: folio");
    assert!(begin.elapsed() < Duration::from_secs(100));
}

#[test]
fn a_hang_ends_it_and_everybody_says_where_they_stand() {
    let report = planted("hang", "1h");
    assert_says(&report, "has been writing folio");
    assert_says(&report, "kswapd0: running");
}
