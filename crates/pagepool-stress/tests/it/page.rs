//! The page of `--report`: its data is the report's, it is written whole or not at all, and a browser draws all of it.

mod browser; // what is drawn
mod film; // pictures, as they are written down
mod refused; // where it cannot be written

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{command, finished, float, number};

/// A folder for one test, which is not there yet.
fn folder(name: &str) -> PathBuf {
    let above = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&above).expect("a folder can be made");
    let folder = above.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("our own folder");
    }
    folder
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("plain")
        })
        .collect();
    names.sort();
    names
}

/// Runs the binary with `--report` and `--json`; returns both as data.
#[track_caller]
fn page_and_json(dir: &Path, args: &[&str]) -> (Value, Value) {
    let json = dir.with_extension("json");
    let run = finished(
        command()
            .args(args)
            .arg("--report")
            .arg(dir)
            .arg("--json")
            .arg(&json)
            .output()
            .expect("the binary runs"),
    );
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("report.html, when it is over"),
        "{}",
        run.stdout
    );
    let parse = |path: &Path| {
        serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
    };
    let embedded = embedded(&fs::read_to_string(dir.join("report.html")).expect("a page"));
    assert_eq!(embedded, parse(&dir.join("report.json")));
    (embedded, parse(&json))
}

/// Before the data in a page.
const DATA: &str = r#"<script type="application/json" id="data">"#;

/// The data that a page shows.
fn embedded(page: &str) -> Value {
    let (_, rest) = page.split_once(DATA).expect("it has data");
    let (data, _) = rest.split_once("</script>").expect("that ends");
    serde_json::from_str(data).expect("JSON")
}

fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is not a list"))
}

/// The sum of a list, in which null is nothing.
fn sum(values: &Value) -> f64 {
    list(values).iter().filter_map(Value::as_f64).sum()
}

fn most(values: &Value) -> f64 {
    list(values)
        .iter()
        .filter_map(Value::as_f64)
        .fold(0.0, f64::max)
}

const LOAD: [&str; 7] = [
    "overcommit",
    "--memory",
    "16M",
    "--duration",
    "2s",
    "--seed",
    "1",
];

#[test]
fn what_is_plotted_agrees_with_the_report() {
    let dir = folder("agrees");
    let (page, json) = page_and_json(&dir, &LOAD);
    assert_eq!(names_in(&dir), ["report.html", "report.json"]);
    assert_eq!(page["report"], json);
    let [recording] = &list(&page["recordings"])[..] else {
        panic!("one recording, since there is one phase")
    };
    let phase = &json["phases"][0];
    assert_eq!(recording["phase"], phase["name"]);
    for (kind, reported) in [
        ("alloc", "latency_ns"),
        ("free", "latency_free_ns"),
        ("fault", "latency_fault_ns"),
    ] {
        let (times, reported) = (&recording["latency"][kind], &phase[reported]);
        assert!(number(&reported["count"]) > 0, "{kind}");
        assert_eq!(
            sum(&times["count"]) as u64,
            number(&reported["count"]),
            "{kind}"
        );
        // The report's is to three digits, ours exact.
        let (largest, max) = (most(&times["max"]), float(&reported["max"]));
        assert!(
            largest <= max && max <= largest * 1.002 + 1.0,
            "{kind}: {largest}, {max}"
        );
    }
    // The report's counts are from before all is given back, which may take some more.
    for event in [
        "pswpin",
        "pswpout",
        "pgsteal_kswapd",
        "pgsteal_direct",
        "pgscan_kswapd",
    ] {
        let (plotted, reported) = (
            sum(&recording["vmstat"][event]),
            number(&phase["reclaim"][event]) as f64,
        );
        assert!(
            plotted >= reported && plotted <= reported * 1.5 + 5000.0,
            "{event}: {plotted}, {reported}"
        );
    }
    assert!(sum(&recording["vmstat"]["pswpout"]) > 0.0);
    let some = sum(&recording["pressure_some_s"]) * 1e6;
    let reported = number(&phase["pressure"]["some"]["total"]) as f64;
    assert!(
        some >= reported * 0.99 && some <= reported + 2e6,
        "{some} µs, {reported} µs"
    );
    assert_zones_agree(recording, &phase["nodes"]);
    assert_is_a_table(recording);
}

fn assert_zones_agree(recording: &Value, nodes: &Value) {
    let reported: Vec<&Value> = list(nodes)
        .iter()
        .flat_map(|node| list(&node["zones"]))
        .collect();
    let zones = list(&recording["zones"]);
    let areas = list(&recording["pageblocks"]["zones"]);
    assert_eq!(zones.len(), reported.len());
    for ((zone, area), reported) in zones.iter().zip(areas).zip(reported) {
        assert_eq!(zone["name"], reported["name"]);
        assert_eq!(
            number(&area["pageblocks"]) as usize,
            list(&reported["pageblocks"]).len()
        );
        // Marks rise with fragmentation only, by as much as boost says.
        let boost = number(&reported["boost"]) as f64;
        let is_seen = list(&zone["high"])
            .iter()
            .any(|high| float(high) == float(&reported["high"]));
        assert!(is_seen || boost > 0.0, "{zone}");
        assert!(most(&zone["free"]) <= float(&reported["managed"]));
        assert_eq!(list(&zone["unusable_index"]).len(), 11);
        assert!(
            sum(&zone["unusable_index"][0]) == 0.0,
            "order 0 can use all"
        );
    }
}

/// All lists have a figure for each sample, and time goes on.
fn assert_is_a_table(recording: &Value) {
    let times = list(&recording["time_s"]);
    assert!(
        (50..=1024).contains(&times.len()),
        "{} samples",
        times.len()
    );
    assert!(times.is_sorted_by(|a, b| float(a) <= float(b)));
    fn assert_rows(value: &Value, rows: usize) {
        match value {
            Value::Object(fields) => fields.values().for_each(|value| assert_rows(value, rows)),
            Value::Array(parts) if parts.iter().any(|part| part.is_array() || part.is_object()) => {
                parts.iter().for_each(|value| assert_rows(value, rows));
            }
            Value::Array(figures) => assert_eq!(figures.len(), rows),
            _ => {}
        }
    }
    for field in [
        "events",
        "pressure_some_s",
        "waiting",
        "swap_used",
        "latency",
        "vmstat",
        "zones",
        "daemons",
    ] {
        assert_rows(&recording[field], times.len());
    }
    let film = &recording["pageblocks"];
    for parts in ["changes", "moved_out"] {
        assert_eq!(list(&film["time_s"]).len(), list(&film[parts]).len());
    }
    assert_eq!(list(&film["time_s"]).last(), times.last(), "how it ended");
    for shares in list(&recording["daemons"]) {
        assert!(most(&shares["working"]) <= 1.0);
    }
}

/// A pool in pieces, in which whoever asks for a whole pageblock moves single pages out of it.
const MOVES: [&str; 9] = [
    "fragment",
    "--memory",
    "32M",
    "--order",
    "9",
    "--daemons",
    "off",
    "--seed",
    "1",
];

#[test]
fn moves_of_pageblocks_add_up_to_those_of_the_pool() {
    let dir = folder("moves");
    let (page, _) = page_and_json(&dir, &MOVES);
    let [recording] = &list(&page["recordings"])[..] else {
        panic!("one recording, since there is one phase")
    };
    let (film, moved) = (
        &recording["pageblocks"],
        &recording["vmstat"]["pgmigrate_success"],
    );
    let pictures = film::moved_out(film);
    let pages: u64 = pictures.iter().flatten().sum();
    assert!(pages > 0);
    assert_eq!(pages, sum(moved) as u64, "its folios are single pages");
    // Nothing was moved while it was filled.
    assert_eq!(pictures[0].iter().sum::<u64>(), 0);
}

#[test]
fn every_phase_has_a_recording_and_rehearsals_have_none() {
    let dir = folder("phases");
    let args = [
        "fragment",
        "--pattern",
        "mixed",
        "--memory",
        "32M",
        "--events",
        "20K",
        "--seed",
        "1",
    ];
    let (page, json) = page_and_json(&dir, &args);
    let names = |list: &Vec<Value>, key: &str| {
        list.iter()
            .map(|part| part[key].clone())
            .collect::<Vec<_>>()
    };
    let recorded = names(list(&page["recordings"]), "phase");
    assert_eq!(recorded, names(list(&json["phases"]), "name"));
    assert_eq!(recorded.len(), 2);
}
