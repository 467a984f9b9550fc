//! Requests at a given rate: what is measured, in the report and in the log.

use std::fs;

use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};
use serde_json::Value;

use crate::support::{float, number, run, verified_json, write};

#[track_caller]
fn latency(args: &[&str]) -> Value {
    let small = ["latency", "--memory", "16M", "--seed", "1"];
    verified_json(small.iter().chain(args).copied())
}

/// The schedule says how many requests are due, and the latency of each is counted, from when it was due.
#[test]
fn every_request_that_is_due_counts() {
    let report = latency(&["--rate", "1K", "--duration", "2s", "--threads", "2"]);
    let found = &report["latency"];
    let [due, done] = ["due", "done"].map(|name| number(&found[name]));
    // Those of two seconds, less what threads begin late, and more while they notice that the time is up.
    assert!((1_500..4_000).contains(&due), "{found}");
    assert_eq!(number(&found["latency_ns"]["count"]), due);
    assert_eq!(number(&found["service_ns"]["count"]), done);
    assert!(done <= due);
    let of_orders = found["by_order"].as_array().expect("a list");
    let counts = of_orders
        .iter()
        .map(|row| number(&row["service_ns"]["count"]));
    assert_eq!(counts.sum::<u64>(), done);
    assert_eq!(of_orders.len(), 5);
    // Nobody is served before it is begun.
    for name in ["p50", "p99", "max"] {
        let [latency, service] =
            ["latency_ns", "service_ns"].map(|kind| number(&found[kind][name]));
        assert!(latency >= service, "{name}: {found}");
    }
    assert_eq!(report["latency_ns"], found["latency_ns"]);
    // The memory is so full that kswapd works.
    assert!(number(&report["vmstat"]["pgsteal_kswapd"]) > 100);
}

/// A load that waits for its answers would show its short service times only.
#[test]
fn a_rate_that_cannot_be_kept_shows_in_the_latency() {
    let report = latency(&["--rate", "10M", "--duration", "1s"]);
    let found = &report["latency"];
    assert_eq!(found["kept"], false);
    let [due, done] = ["due", "done"].map(|name| number(&found[name]));
    assert!(due > 5_000_000 && done < due / 2, "{found}");
    assert_eq!(number(&found["latency_ns"]["count"]), due);
    // Most had to wait for a large part of the second, whatever the pool needed for each.
    assert!(number(&found["latency_ns"]["p50"]) > 100_000_000, "{found}");
    assert!(number(&found["service_ns"]["p50"]) < 10_000_000, "{found}");
    assert!(number(&found["behind_ns_max"]) > 250_000_000);
}

#[test]
fn the_log_is_read_back_by_hdrhistogram() {
    let path = write("latency.hdr", b"");
    let report = latency(&[
        "--rate",
        "2K",
        "--arrivals",
        "poisson",
        "--duration",
        "1s",
        "--log-interval",
        "300ms",
        "--log",
        path.to_str().unwrap(),
    ]);
    let found = &report["latency"];
    let text = fs::read(&path).expect("the log is there");
    for (tag, kind) in [("latency", "latency_ns"), ("service", "service_ns")] {
        let (all, intervals) = merged(&text, tag);
        let figures = &found[kind];
        assert_eq!(number(&figures["count"]), all.len(), "{tag}");
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p9999", 0.9999)] {
            let value = all.value_at_quantile(quantile);
            assert_eq!(number(&figures[name]), value, "{tag} {name}");
        }
        assert_eq!(number(&figures["max"]), all.max());
        assert_eq!(number(&found["log"]["intervals"]), intervals);
        assert!((3..=15).contains(&intervals), "{intervals}");
    }
    assert!(float(&found["seconds"]) > 0.9);
}

/// All intervals with a tag, added up, and how many there are.
fn merged(log: &[u8], tag: &str) -> (Histogram<u64>, u64) {
    let mut all = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    let mut intervals = 0;
    let mut end = 0.0;
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.expect("a line that is understood") else {
            continue;
        };
        if interval.tag().is_none_or(|found| found.as_str() != tag) {
            continue;
        }
        let start = interval.start_timestamp().as_secs_f64();
        assert!((start - end).abs() < 0.01, "intervals follow each other");
        end = start + interval.duration().as_secs_f64();
        let bytes = decode(interval.encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut &bytes[..])
            .expect("a histogram");
        let max_ms = histogram.max() as f64 / 1e6;
        assert!((interval.max() - max_ms).abs() <= 0.01 * max_ms + 0.001);
        all.add(histogram).unwrap();
        intervals += 1;
    }
    (all, intervals)
}

/// Base 64, as the log has it.
fn decode(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |letter: &u8| LETTERS.iter().position(|other| other == letter);
    let digits: Vec<usize> = text.as_bytes().iter().map_while(digit).collect();
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let padded = (0..4).map(|n| chunk.get(n).copied().unwrap_or(0));
        let word = padded.fold(0, |word, digit| word << 6 | digit);
        let three = [word >> 16, word >> 8, word].map(|byte| byte as u8);
        three.into_iter().take(chunk.len() - 1)
    });
    bytes.collect()
}

#[test]
fn the_text_says_whether_the_rate_was_kept() {
    let args = ["latency", "--memory", "16M", "--duration", "500ms"];
    let kept = run(args.iter().chain(&["--rate", "100"]));
    assert!(kept.stdout.contains("  kept: "), "{}", kept.stdout);
    let missed = run(args.iter().chain(&["--rate", "10M"]));
    assert_eq!(missed.status, 0);
    assert!(missed.stdout.contains("NOT KEPT: "), "{}", missed.stdout);
}

#[test]
fn a_log_that_cannot_be_written_is_said() {
    let refused = run(["latency", "--log", "/no/such/folder/log.hdr"]);
    assert_eq!(refused.status, 2);
    assert!(
        refused.stderr.contains("--log /no/such/folder/log.hdr"),
        "{}",
        refused.stderr
    );
    let full = [
        "latency",
        "--memory",
        "16M",
        "--duration",
        "500ms",
        "--log",
        "/dev/full",
    ];
    let full = run(full);
    assert_eq!(full.status, 2, "{}", full.stderr);
    assert!(full.stderr.contains("--log /dev/full"), "{}", full.stderr);
    assert!(
        full.stdout.contains("all verified"),
        "the report is there all the same"
    );
}
