//! `overcommit --groups`: who is protected keeps its folios, limits are kept, and the figures show where not.

use serde_json::Value;

use crate::support::{float, number, run, verified_json};

/// A pool of 16 MiB, of which the protected group needs a quarter.
const SMALL: [&str; 7] = [
    "overcommit",
    "--memory",
    "16M",
    "--duration",
    "1500ms",
    "--seed",
    "5",
];

const PAGE: u64 = 4096;

#[track_caller]
fn shared(args: &[&str]) -> Value {
    let mut report = verified_json(SMALL.iter().chain(args).copied());
    report["groups"].take()
}

/// The group `n` of the phase `beside`.
fn beside(groups: &Value, n: usize) -> &Value {
    assert_eq!(groups["phases"][1]["name"], "beside");
    &groups["phases"][1]["groups"][n]
}

#[test]
fn the_protected_group_keeps_its_hit_rate_beside_a_neighbour_that_thrashes() {
    let groups = shared(&["--groups"]);
    let isolation = &groups["isolation"];
    assert_eq!(isolation["hit_rate_alone"], 1.0, "{groups:#}");
    assert_eq!(isolation["reached"], true, "{groups:#}");

    let alone = groups["phases"][0]["groups"].as_array().unwrap();
    assert_eq!(
        (alone.len(), &groups["phases"][0]["name"]),
        (1, &"alone".into())
    );
    let (protected, neighbour) = (beside(&groups, 0), beside(&groups, 1));
    assert_eq!(protected["path"], "protected");
    assert_eq!(protected["set_pages"], 1024);
    assert_eq!(protected["limits"]["low"], 1024 * PAGE);
    assert_eq!(protected["limits"]["max"], Value::Null);
    assert!(number(&protected["touches"]) > 100, "{protected}");
    assert!(number(&protected["peak_bytes"]) <= 1024 * PAGE);

    assert_eq!(neighbour["path"], "neighbour1");
    assert_eq!(neighbour["set_pages"], 8192);
    assert!(
        float(&neighbour["hit_rate"]) < 0.95,
        "it thrashes: {neighbour}"
    );
    assert!(number(&neighbour["pgsteal"]) > 0 && number(&neighbour["workingset_refault"]) > 0);
    assert!(
        number(&neighbour["pressure"]["some"]["total"])
            >= number(&neighbour["pressure"]["full"]["total"])
    );
    assert!(number(&groups["phases"][1]["samples"]) > 0);

    let check = &groups["pressure_check"];
    assert_eq!(check["waits"], 10);
    assert!(
        number(&check["counted_us"]) <= number(&check["waited_us"]),
        "{check}"
    );
    assert!(float(&check["error_percent"]) < 20.0, "{check}");
}

/// The check of the check: without its low limit the same group loses what it has.
#[test]
fn without_protection_the_hit_rate_is_visibly_lost() {
    let groups = shared(&["--groups", "2", "--unprotected"]);
    assert_eq!(groups["protected"], false);
    assert_eq!(groups["isolation"]["reached"], false, "{groups:#}");
    assert!(float(&groups["isolation"]["lost_points"]) > 1.0);
    let group = beside(&groups, 0);
    assert_eq!(group["limits"]["low"], 0);
    assert!(number(&group["pgsteal"]) > 0, "{group}");
}

#[test]
fn max_is_never_exceeded_and_high_by_a_batch_at_most() {
    let groups = shared(&["--groups", "3", "--max", "2M"]);
    for n in [1, 2] {
        let group = beside(&groups, n);
        assert_eq!(group["limits"]["max"], 2 << 20);
        assert_eq!(group["over_max_pages_max"], 0);
        assert!(number(&group["peak_bytes"]) <= 2 << 20, "{group}");
        assert!(number(&group["max_events"]) > 0, "{group}");
        assert_eq!(group["over_high_pages_max"], Value::Null);
    }
    let groups = shared(&[
        "--groups",
        "2",
        "--high",
        "2M",
        "--max",
        "4M",
        "--threads",
        "4",
    ]);
    let group = beside(&groups, 1);
    assert_eq!(group["threads"], 2);
    assert_eq!(group["over_high_goal_pages"], 64);
    assert!(number(&group["over_high_pages_max"]) <= 64, "{group}");
    assert!(number(&group["high_events"]) > 0, "{group}");
}

/// Contents are verified as without groups.
#[test]
fn a_lost_write_of_a_member_is_found() {
    let run = run(SMALL.iter().chain(&["--groups", "--plant", "lost-write"]));
    assert_eq!(run.status, 1, "{}", run.stdout);
    assert!(run.stdout.contains("lost write"), "{}", run.stdout);
}

#[test]
fn the_readable_report_names_groups_goals_and_limits() {
    let run = run(SMALL
        .iter()
        .chain(&["--groups", "--max", "2M", "--high", "1M"]));
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    for part in [
        "neighbour1",
        "hit rate of the protected group",
        "points lost, the goal of 1 is",
        "neighbour1: never exceeded",
        "neighbour1: exceeded by",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}
