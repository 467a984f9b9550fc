//! Recordings: made by a load, played again, and played in a pool that is otherwise.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{number, run, verified_json, write};

/// Where a test's recording goes.
fn path(name: &str) -> PathBuf {
    write(name, b"")
}

/// Records a load.
#[track_caller]
fn record(name: &str, load: &str) -> (PathBuf, Value) {
    let path = path(name);
    let args = load.split_whitespace();
    let file = ["--record", path.to_str().unwrap(), "--seed", "1"];
    let report = verified_json(args.chain(file));
    (path, report)
}

/// Plays a recording, with these changes.
#[track_caller]
fn replay(path: &Path, changes: &[&str]) -> Value {
    let changes = changes.iter().flat_map(|change| ["--what-if", change]);
    let file = path.to_str().unwrap();
    let args = ["replay", file, "--seed", "1"].into_iter().chain(changes);
    verified_json(args)["what_if"].clone()
}

#[test]
fn a_recorded_run_is_replayed_to_the_same_numbers() {
    let (path, churned) = record(
        "churn.ppr",
        "churn --generations 2 --occupancy 60 --memory 24M --order 1",
    );
    let found = replay(&path, &[]);
    let (recorded, replayed) = (&found["recorded"], &found["as_recorded"]);
    let churned = &churned["phases"][0];
    assert!(number(&recorded["allocs"]) >= number(&churned["allocs"]));
    assert!(number(&recorded["allocs"]) > 5000);
    assert_eq!(number(&recorded["lost"]), 0);
    assert_eq!(recorded["allocs"], recorded["frees"], "all was freed");
    // What was refused then may be granted now, and is freed at once.
    let again = number(&recorded["refused"]) - number(&replayed["refused"]);
    assert_eq!(
        number(&replayed["allocs"]),
        number(&recorded["allocs"]) + again
    );
    assert_eq!(
        number(&replayed["frees"]),
        number(&recorded["frees"]) + again
    );
    assert_eq!(number(&replayed["skipped"]), 0);
    assert!(found["what_if"].is_null());
}

#[test]
fn less_memory_refuses_more() {
    let (path, _) = record(
        "refused.ppr",
        "churn --generations 1 --occupancy 70 --memory 32M",
    );
    let found = replay(&path, &["memory=16M"]);
    let [recorded, what_if] = ["as_recorded", "what_if"].map(|run| &found[run]);
    let [few, many] = [recorded, what_if].map(|run| number(&run["refused"]));
    assert!(many > few + 1000, "{few} {many}");
    let by_cause = what_if["refused_by_cause"].as_object().unwrap();
    let sum: u64 = by_cause.values().map(number).sum();
    assert_eq!(sum, many);
    assert!(number(&by_cause["below_min"]) > 1000, "{by_cause:?}");
    assert!(
        number(&what_if["skipped"]) > 1000,
        "what was refused is not freed"
    );
    assert_eq!(found["changes"], Value::from(["memory=16M"].to_vec()));
}

#[test]
fn less_memory_swaps_more_and_no_daemons_reclaim_nothing() {
    let (path, overcommitted) = record(
        "swapped.ppr",
        "overcommit --duration 300ms --memory 16M --factor 1.5 --threads 1",
    );
    let found = replay(&path, &["memory=10M", "daemons=off", "vm.page-cluster=0"]);
    let [recorded, what_if] = ["as_recorded", "what_if"].map(|run| &found[run]);
    assert!(number(&found["recorded"]["accesses"]) >= number(&overcommitted["paging"]["touches"]));
    let [less, more] = [recorded, what_if].map(|run| number(&run["touches_away"]));
    assert!(less > 100 && more > less, "{less} {more}");
    for field in ["pswpout", "pgsteal_direct"] {
        let [less, more] = [recorded, what_if].map(|run| number(&run["reclaim"][field]));
        assert!(more > less, "{field}: {less} {more}");
    }
    assert!(number(&recorded["reclaim"]["pgsteal_kswapd"]) > 0);
    assert_eq!(number(&what_if["reclaim"]["pgsteal_kswapd"]), 0);
    assert!(what_if["pool"].as_str().unwrap().contains("page_cluster 0"));
}

#[test]
fn both_runs_stand_side_by_side() {
    let (path, _) = record("text.ppr", "churn --generations 1 --memory 16M");
    let file = path.to_str().unwrap();
    let run = run(["replay", file, "--what-if", "memory=8M", "--seed", "1"]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let mut lines = run
        .stdout
        .lines()
        .skip_while(|line| !(line.contains("as recorded ") && line.ends_with(" what if")));
    assert!(lines.next().is_some(), "{}", run.stdout);
    let row = lines
        .find(|line| line.trim_start().starts_with("refused"))
        .unwrap();
    assert_eq!(row.split_whitespace().count(), 3, "{row}");
}

#[track_caller]
fn assert_refused(args: &[&str], part: &str) {
    let run = run(args);
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.contains(part),
        "expected \"{part}\" in: {}",
        run.stderr
    );
}

/// What is done to the bytes of a file.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn bad_recordings_are_refused_in_a_line() {
    let (path, _) = record("good.ppr", "churn --generations 1 --memory 16M");
    let good = fs::read(&path).unwrap();
    let changed = |name: &str, change: Change<'_>| {
        let mut bytes = good.clone();
        change(&mut bytes);
        write(name, &bytes)
    };
    let files: [(&str, Change<'_>, &str); 8] = [
        (
            "cut.ppr",
            &|bytes| bytes.truncate(bytes.len() - 40),
            "cut off after",
        ),
        (
            "head.ppr",
            &|bytes| bytes.truncate(20),
            "ends within its header",
        ),
        ("version.ppr", &|bytes| bytes[8] = 7, "in format 7"),
        (
            "later.ppr",
            &|bytes| bytes[8..10].fill(0xff),
            "in format 65535",
        ),
        ("text.bad.ppr", &|bytes| bytes[19] = 0xff, "65536 at most"),
        (
            "absurd.ppr",
            &|bytes| {
                // The value of the first setting, and blanks to make up for it.
                let text_len = u32::from_le_bytes(bytes[16..20].try_into().unwrap());
                let end = 32 + text_len as usize;
                bytes.splice(end..end, [b' '; 32 - 8]);
                let at = 32 + "memory = ".len();
                bytes.splice(at..at, *b"99999999");
                bytes[16..20].copy_from_slice(&(text_len + 32).to_le_bytes());
            },
            "no such pool can be built",
        ),
        (
            "event.ppr",
            &|bytes| {
                let at = bytes.len() - 33 - 3;
                bytes[at] = 0;
            },
            "has no valid kind",
        ),
        (
            "foreign.ppr",
            &|bytes| bytes[0] = b'Q',
            "neither the name nor the first line",
        ),
    ];
    for (name, change, part) in files {
        let path = changed(name, change);
        let path = path.to_str().unwrap();
        assert_refused(&["replay", path], part);
        assert_refused(&["replay", path], name);
    }
    let good = path.to_str().unwrap();
    assert_refused(&["replay", good, good], "played by itself");
    assert_refused(&["replay", good, "--memory", "1G"], "--what-if memory=SIZE");
    assert_refused(
        &["replay", good, "--what-if", "memroy=1G"],
        "did you mean memory?",
    );
    assert_refused(&["replay", good, "--what-if", "swappiness=201"], "0 to 200");
    assert_refused(&["replay", good, "--what-if", "swappiness"], "memory=512M");
    let trace = write("plain.pga", b"A 0 0 0 cc0 0 0\nF 0\n");
    let trace = trace.to_str().unwrap();
    assert_refused(&["replay", trace, "--what-if", "memory=1G"], "this is none");
    assert_refused(
        &[
            "churn",
            "--memory",
            "16M",
            "--record",
            "/nowhere/at/all.ppr",
        ],
        "--record /nowhere/at/all.ppr",
    );
}
