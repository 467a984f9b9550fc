//! More folios than memory: what is measured, and that what goes wrong is found.

use serde_json::Value;

use crate::support::{float, number, run, verified_json, write};

#[track_caller]
fn overcommit(args: &[&str]) -> Value {
    let small = ["overcommit", "--memory", "8M", "--duration", "500ms"];
    verified_json(small.iter().chain(args).copied())
}

#[test]
fn overcommit_measures_faults_and_reclaim() {
    let report = overcommit(&["--threads", "2", "--seed", "1"]);
    let (paging, phase) = (&report["paging"], &report["phases"][0]);
    assert_eq!(paging["working_set"]["pages"], 4096);
    assert_eq!(paging["working_set"]["pattern"], "zipf");
    assert!(number(&paging["touches"]) > 0);
    let miss_ratio = float(&paging["miss_ratio"]);
    assert!(miss_ratio > 0.0 && miss_ratio < 1.0, "{paging}");
    let faults = &phase["latency_fault_ns"];
    assert!(number(&faults["count"]) > 0);
    let percentiles = ["p50", "p99", "p999", "p9999", "max"].map(|p| number(&faults[p]));
    assert!(percentiles.is_sorted(), "{percentiles:?}");
    let vmstat = &report["vmstat"];
    let [kswapd, direct] = ["pgsteal_kswapd", "pgsteal_direct"].map(|name| number(&vmstat[name]));
    let share = float(&phase["reclaim"]["kswapd_share"]);
    assert!((share - kswapd as f64 / (kswapd + direct) as f64).abs() < 1e-9);
    for name in [
        "pswpout",
        "pswpin",
        "kswapd_low_wmark_hit_quickly",
        "allocstall_normal",
    ] {
        assert!(vmstat[name].is_u64(), "{name}");
    }
    assert_eq!(
        report["overreclaim_pages_max"],
        paging["overreclaim_pages_max"]
    );
    assert!(number(&paging["overreclaim_samples"]) > 0);
    assert!(number(&report["slowpath_entries"]) > 0);
}

#[test]
fn every_pattern_and_order_is_played() {
    for pattern in ["scan", "loop", "phases"] {
        let report = overcommit(&["--pattern", pattern]);
        assert_eq!(report["paging"]["working_set"]["pattern"], pattern);
    }
    overcommit(&["--order", "2"]);
    let mixed = overcommit(&["--orders", "mixed", "--nodes", "2"]);
    let set = &mixed["paging"]["working_set"];
    assert!(number(&set["folios"]) < number(&set["pages"]));
}

#[test]
fn a_cut_of_the_container_is_followed_and_nothing_is_lost() {
    let report = verified_json([
        "overcommit",
        "--container-cut",
        "--memory",
        "32M",
        "--duration",
        "2s",
        "--threads",
        "2",
    ]);
    let cut = &report["container_cut"];
    assert_eq!(
        number(&cut["limit_after"]) * 2,
        number(&cut["limit_before"])
    );
    let share = number(&cut["share_bytes"]);
    assert!(number(&cut["budget_bytes"]) <= share, "{cut}");
    assert!(share.abs_diff(16 << 20) < 4096, "{cut}");
    assert!(number(&cut["given_back_bytes"]) >= 15 << 20, "{cut}");
    assert!(float(&cut["seconds_until_within"]) > 0.0);
    assert!(cut["obstacle"].is_null());
    assert!(report["budget_bytes"].as_u64() > Some(31 << 20));
    let plain = overcommit(&[]);
    assert!(plain.get("container_cut").is_none());
}

#[test]
fn a_set_that_fits_is_not_read_back() {
    let report = overcommit(&["--factor", "0.5"]);
    assert_eq!(report["paging"]["majfaults"], 0);
}

#[test]
fn a_swap_file_of_the_users_is_made_and_removed() {
    let path = write("swap.here", b"").with_file_name("swap.file");
    overcommit(&["--swap", path.to_str().unwrap()]);
    assert!(!path.exists());
    let taken = write("swap.taken", b"mine");
    let refused = run(["overcommit", "--swap", taken.to_str().unwrap()]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert_eq!(std::fs::read(taken).unwrap(), b"mine");
}

/// Faults at one call in so few that a second sees all of them.
const MANY: [&str; 16] = [
    "faults",
    "--memory",
    "8M",
    "--duration",
    "1s",
    "--error-rate",
    "100",
    "--stall",
    "500",
    "--corrupt",
    "100",
    "--full",
    "100",
    "--torn",
    "100",
    "--stall-time",
];

#[test]
fn a_device_that_fails_loses_nothing_without_an_error() {
    let report = verified_json(MANY.into_iter().chain(["10ms", "--seed", "3"]));
    let injected = report["paging"]["injected"].as_array().expect("a list");
    let count = |name: &str| {
        let found = injected.iter().find(|injected| injected["fault"] == name);
        found.map_or(0, |injected| number(&injected["count"]))
    };
    assert!(
        count("read_error") > 0 && count("corrupt_read") > 0,
        "{injected:?}"
    );
    let causes: Vec<_> = report["access_failures"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|failure| failure["cause"].clone())
        .collect();
    assert!(causes.contains(&"corrupt".into()), "{causes:?}");
}

#[test]
fn rates_of_zero_inject_nothing() {
    let off = ["--error-rate", "--stall", "--corrupt", "--full", "--torn"];
    let args = ["faults", "--memory", "8M", "--duration", "300ms"];
    let args = args
        .into_iter()
        .chain(off.into_iter().flat_map(|rate| [rate, "0"]));
    let report = verified_json(args);
    assert!(report["paging"].get("injected").is_none());
    assert_eq!(report["access_failures"], Value::Array(vec![]));
}

#[track_caller]
fn assert_found(plant: &str, message: &str) {
    let args = [
        "faults",
        "--memory",
        "8M",
        "--duration",
        "1s",
        "--json",
        "-",
    ];
    let run = run(args
        .into_iter()
        .chain(["--hang-after", "1s", "--plant", plant]));
    assert_eq!(run.status, 1, "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).expect("one JSON object");
    assert_eq!(report["verdict"], "violation");
    let messages = report["violation_messages"].to_string();
    assert!(messages.contains(message), "{messages}");
}

#[test]
fn planted_violations_are_found() {
    assert_found("lost-write", "lost write: folio");
    assert_found("flip", "corruption: folio");
}

#[test]
fn a_hang_is_found_and_says_who_stands_where() {
    assert_found("hang", "player0 has been writing folio");
    assert_found("hang", "player0: sleeping");
    assert_found("hang", "kswapd0: running");
}

#[test]
fn idle_counts_wake_ups_by_thread() {
    let args = [
        "idle",
        "--memory",
        "8M",
        "--settle",
        "1s",
        "--duration",
        "2s",
    ];
    let report = verified_json(args);
    let idle = &report["idle"];
    assert_eq!(
        (&idle["scene"], &idle["wakeups"]),
        (&"quiet".into(), &0.into())
    );
    let threads = idle["threads"].as_array().expect("a list");
    assert!(
        threads.iter().any(|thread| thread["name"] == "kswapd0"),
        "{threads:?}"
    );
}

#[test]
fn threads_that_cannot_help_take_no_cpu() {
    for scene in ["--hopeless", "--dead-store"] {
        let args = [
            "idle",
            scene,
            "--memory",
            "8M",
            "--settle",
            "3s",
            "--duration",
            "1s",
        ];
        let report = verified_json(args);
        assert_eq!(report["idle"]["scene"], scene.trim_start_matches('-'));
        assert!(float(&report["idle"]["cpu_share"]) <= 0.02);
    }
}

#[test]
fn help_says_what_is_measured_and_how_it_ends() {
    for (command, words) in [
        ("run", ["sqlite.pages", "Exit status"]),
        ("fragment", ["pgmigrate_success", "Exit status"]),
        ("replay", ["miss ratio", "Exit status"]),
        ("latency", ["coordinated omission", "Exit status"]),
        ("overcommit", ["miss ratio", "Exit status"]),
        ("faults", ["without an error", "Exit status"]),
        ("idle", ["voluntary", "Exit status"]),
        ("soak", ["slope", "Exit status"]),
    ] {
        let help = run([command, "--help"]);
        assert_eq!(help.status, 0);
        let text = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "{command}: {text}");
        }
    }
}
