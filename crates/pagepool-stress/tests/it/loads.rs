//! The main job and the random loads.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{number, run, verified_json, write};

fn sum(phases: &Value, field: &str) -> u64 {
    phases
        .as_array()
        .expect("phases")
        .iter()
        .map(|phase| number(&phase[field]))
        .sum()
}

/// Each request that was refused waited for a deadline that nobody could meet: in a pool smaller than
/// the trace the main job took minutes.
#[test]
fn the_main_job_ends_in_a_pool_that_is_too_small() {
    let start = Instant::now();
    // Neither memory nor swap has room for what the trace holds.
    let args = ["run", "--memory", "24M", "--swap", "8M", "--duration", "1s"];
    let report = verified_json(args);
    assert!(start.elapsed() < Duration::from_secs(120));
    assert!(!report["failures"].as_array().expect("a list").is_empty());
}

/// Figures that say the same thing in two places say the same.
fn assert_figures_agree(report: &Value) {
    let phases = &report["phases"];
    for field in ["ops", "verified_bytes", "violations", "slowpath_entries"] {
        assert_eq!(number(&report[field]), sum(phases, field), "{field}");
    }
    for phase in phases.as_array().expect("phases") {
        let [allocs, frees] = ["allocs", "frees"].map(|field| number(&phase[field]));
        assert!(frees >= allocs, "all is freed, split blocks in parts");
        let refused: u64 = phase["failures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| number(&f["count"]))
            .sum();
        assert!(number(&phase["latency_ns"]["count"]) <= allocs + refused);
        for zone in phase["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|n| n["zones"].as_array().unwrap())
        {
            assert_eq!(zone["nr_free"].as_array().unwrap().len(), 11);
            assert_eq!(zone["unusable_index"].as_array().unwrap().len(), 11);
            let listed: u64 = zone["nr_free"]
                .as_array()
                .unwrap()
                .iter()
                .enumerate()
                .map(|(o, n)| number(n) << o)
                .sum();
            assert!(listed <= number(&zone["free"]), "{zone}");
            assert!(number(&zone["free"]) <= number(&zone["managed"]));
        }
        let latency =
            ["p50", "p99", "p999", "p9999", "max"].map(|p| number(&phase["latency_ns"][p]));
        assert!(latency.is_sorted(), "{latency:?}");
        let totals = ["some", "full"].map(|kind| number(&phase["pressure"][kind]["total"]));
        assert!(totals[0] >= totals[1], "{totals:?}");
    }
    assert_eq!(report["pressure"], phases[0]["pressure"]);
    if let Some(rss_max) = report["rss_max"].as_u64() {
        assert!(rss_max <= number(&report["rss_start"]) + number(&report["budget_bytes"]));
    }
}

#[test]
fn the_main_job_ends_verified() {
    let report = verified_json(["--duration", "1s", "--seed", "1", "--threads", "2"]);
    assert_eq!(
        (&report["command"], &report["seed"]),
        (&"run".into(), &1.into())
    );
    assert_figures_agree(&report);
    let pass = &report["phases"][0];
    assert!(number(&pass["allocs"]) > 20_000, "{pass}");
    assert_eq!(pass["managed_pages"], 17 * 512, "half of the trace's peak");
    let reclaim = &pass["reclaim"];
    for field in ["pgsteal_kswapd", "pgmajfault", "pswpin", "pswpout"] {
        assert!(number(&reclaim[field]) > 1000, "{field}: {reclaim}");
    }
    // How much a run does depends on how soon kswapd gets a CPU.
    assert!(number(&reclaim["kswapd_runs"]) > 50, "{reclaim}");
    assert_eq!(pass["swap"]["errors"], 0);
    // Frozen if the pool was verified a moment ago, and the thread has had no CPU since; on call if there was
    // nothing to do for it.
    for daemon in ["kswapd", "kcompactd"] {
        let state = &pass["nodes"][0][daemon];
        assert!(
            *state == "running"
                || *state == "frozen"
                || (daemon == "kcompactd" && *state == "on call"),
            "{daemon}: {state}"
        );
    }
    for name in ["pgmigrate_success", "compact_stall", "compact_daemon_wake"] {
        assert_eq!(pass["compaction"][name], pass["vmstat"][name], "{name}");
    }
    assert_eq!(
        pass["facts"]["kernel"]["zones"][0]["unusable_index"][9],
        1.0
    );
    assert_eq!(report["nodes"], pass["nodes"]);
    assert_eq!(report["phases"][1]["players"], 2);
}

#[test]
fn the_seed_comes_first_and_repeats_the_load() {
    let args = [
        "churn",
        "--memory",
        "8M",
        "--generations",
        "2",
        "--seed",
        "77",
    ];
    let text = run(args).stdout;
    assert_eq!(text.lines().next(), Some("seed 77"));
    let [one, two] = [0, 1].map(|_| verified_json(args));
    for field in ["ops", "verified_bytes", "failures"] {
        assert_eq!(one[field], two[field], "{field}");
    }
}

#[test]
fn churn_counts_large_blocks() {
    let report = verified_json(["churn", "--memory", "32M", "--generations", "3"]);
    assert_figures_agree(&report);
    let churn = &report["churn"];
    assert_eq!(churn["generations"].as_array().unwrap().len(), 4);
    assert!(number(&churn["got"]) <= number(&churn["ideal"]));
    let text = run([
        "churn",
        "--memory",
        "8M",
        "--generations",
        "1",
        "--order",
        "2",
    ])
    .stdout;
    assert!(text.contains("order 2, 50 % live, 1 generations"), "{text}");
}

#[test]
fn every_kind_of_request_on_two_nodes() {
    let report = verified_json([
        "churn",
        "--mixed",
        "--ops",
        "60K",
        "--nodes",
        "2",
        "--threads",
        "2",
        "--memory",
        "32M",
    ]);
    assert_figures_agree(&report);
    assert!(number(&report["ops"]) > 50_000);
    assert!(number(&report["phases"][0]["splits"]) > 0);
}

#[test]
fn the_report_goes_to_a_file_and_nothing_shows_progress_where_none_is_wanted() {
    let path = write("report.json", b"");
    let run = run([
        "churn",
        "--memory",
        "8M",
        "--generations",
        "1",
        "--progress",
        "none",
        "--json",
        path.to_str().unwrap(),
    ]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.ends_with("all verified\n"), "{}", run.stdout);
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(report["schema"], 1);
}

#[test]
fn memory_is_resident_before_the_load_if_that_is_asked_for() {
    let args = [
        "churn",
        "--memory",
        "32M",
        "--generations",
        "1",
        "--prefault",
    ];
    let report = verified_json(args.into_iter().chain(["8M"]));
    let phase = &report["phases"][0];
    assert_eq!(number(&phase["prefault"]["bytes"]), 8 << 20);
    assert!(phase["prefault"]["ms_per_gib"].as_f64().unwrap() > 0.0);
    assert_eq!(phase["prefault"]["end"], "done");
    assert_eq!(number(&phase["vmstat"]["pagepool_prefaulted"]), 2048);

    let huge = verified_json(args.into_iter().chain(["8M", "--huge-pages", "when-whole"]));
    let [backed, refused] = ["pagepool_huge_backed", "pagepool_huge_refused"]
        .map(|name| number(&huge["phases"][0]["vmstat"][name]));
    assert!(backed + refused > 0, "the system was asked");
    let all = run(args.into_iter().chain(["all", "--duration", "100ms"]));
    assert_eq!(all.status, 0, "{}{}", all.stdout, all.stderr);
    let line = all.stdout.lines().find(|line| line.contains("prefault"));
    assert!(
        line.is_some_and(|line| line.contains("ms a GiB")),
        "{}",
        all.stdout
    );
}
