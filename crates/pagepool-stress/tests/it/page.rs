//! The page of `--report`: its data is the report's, it is written whole or not at all, and a browser draws all of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{command, finished, float, number, run, write};

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
    (parse(&dir.join("report.json")), parse(&json))
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
    assert_eq!(list(&film["time_s"]).len(), list(&film["changes"]).len());
    for shares in list(&recording["daemons"]) {
        assert!(most(&shares["working"]) <= 1.0);
    }
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

#[track_caller]
fn assert_refused(dir: &Path, parts: &[&str]) {
    let run = run([
        "churn",
        "--memory",
        "8M",
        "--generations",
        "1",
        "--report",
        dir.to_str().expect("plain"),
    ]);
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(run.stdout, "", "before the run");
    for part in parts.iter().chain(&["--report"]) {
        assert!(
            run.stderr.contains(part),
            "expected \"{part}\" in: {}",
            run.stderr
        );
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_before_the_run() {
    let above = folder("refused");
    assert_refused(
        &above.join("deeper"),
        &["No such file", "make the folder above"],
    );
    fs::create_dir(&above).expect("our own folder");
    let file = above.join("file");
    fs::write(&file, "mine").expect("our own folder");
    assert_refused(&file, &["a file is in its place"]);
    assert_refused(&file.join("below"), &["a file is in its place"]);
    assert_eq!(fs::read_to_string(&file).expect("still there"), "mine");
    for name in ["report.html", "report.json"] {
        let dir = above.join(name.replace('.', "-"));
        fs::create_dir_all(dir.join(name)).expect("our own folder");
        assert_refused(&dir, &[name, "a directory is in its place"]);
        assert_eq!(names_in(&dir), [name]);
    }
    assert_refused(Path::new("/proc/report"), &["/proc/report"]);
}

#[test]
fn a_folder_without_permission_is_refused_before_the_run() {
    let dir = folder("locked");
    fs::create_dir(&dir).expect("our own folder");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(&dir, mode(0o500)).expect("our own folder");
    // Root may write everywhere.
    if fs::write(dir.join("probe"), "").is_err() {
        assert_refused(&dir, &["denied", "name a folder that may be written to"]);
    }
    fs::set_permissions(&dir, mode(0o700)).expect("our own folder");
}

/// A limit to the size of files, which the system reports as a full disk is: by an error in the middle of a write.
#[test]
fn a_disk_that_is_full_leaves_nothing_half_written() {
    let dir = folder("full");
    fs::create_dir(&dir).expect("our own folder");
    fs::write(dir.join("report.html"), "the last one").expect("our own folder");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_pagepool-stress")])
        .args([
            "churn",
            "--memory",
            "8M",
            "--generations",
            "1",
            "--progress",
            "none",
            "--report",
        ])
        .arg(&dir)
        .output();
    let run = finished(output.expect("every system has a shell"));
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("File too large") && run.stderr.contains("make room"),
        "{}",
        run.stderr
    );
    assert!(
        run.stdout.contains("all verified"),
        "the report itself is there: {}",
        run.stdout
    );
    assert_eq!(names_in(&dir), ["report.html"]);
    assert_eq!(
        fs::read_to_string(dir.join("report.html")).expect("still there"),
        "the last one"
    );
}

/// Where the browser is: as the environment says, or on the path.
fn browser() -> Option<PathBuf> {
    if let Some(named) = env::var_os("PAGEPOOL_CHROMIUM") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "PAGEPOOL_CHROMIUM is no file: {}",
            named.display()
        );
        return Some(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|dir| {
            ["chromium", "chromium-browser", "google-chrome"].map(|name| dir.join(name))
        })
        .find(|candidate| candidate.is_file());
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "no chromium: name one in PAGEPOOL_CHROMIUM"
    );
    found
}

/// The page as it is after its scripts ran.
fn dom_of(browser: &Path, dir: &Path) -> String {
    let profile = dir.with_extension("profile");
    let page = dir
        .join("report.html")
        .canonicalize()
        .expect("the page is there");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--enable-logging=stderr",
            "--window-size=1400,1000",
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.to_str().expect("plain")))
        .output()
        .expect("the browser runs");
    let (dom, log) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    // How a browser logs what a script says or does wrong.
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(said.is_empty(), "{said:#?}");
    fs::remove_dir_all(&profile).expect("the browser has ended");
    String::from_utf8(dom).expect("text")
}

/// What the page says of itself.
#[track_caller]
fn noted(dom: &str, name: &str) -> u64 {
    let (_, rest) = dom
        .split_once(&format!("data-{name}=\""))
        .unwrap_or_else(|| panic!("no data-{name}: the script did not get there"));
    let (value, _) = rest.split_once('"').expect("a value");
    value.parse().expect("a number")
}

/// Canvases that the first recording is drawn on.
fn expected_plots(recording: &Value) -> usize {
    let kinds = ["alloc", "free", "fault"];
    let timed = kinds
        .iter()
        .filter(|kind| sum(&recording["latency"][kind]["count"]) > 0.0);
    let swap = if sum(&recording["swap_used"]) > 0.0 {
        2
    } else {
        0
    };
    // Free memory, fragmentation and pageblocks of each zone; throughput, two of daemons, pressure.
    4 + timed.count() + swap + 3 * list(&recording["zones"]).len()
}

#[test]
fn a_browser_draws_all_of_it_without_a_complaint() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let dir = folder("drawn");
    let (page, _) = page_and_json(&dir, &LOAD);
    let dom = dom_of(&browser, &dir);
    let recording = &page["recordings"][0];
    let expected = expected_plots(recording) as u64;
    assert!(expected >= 12, "{expected}");
    assert_eq!(noted(&dom, "errors"), 0);
    assert_eq!(noted(&dom, "plots"), expected);
    assert_eq!(noted(&dom, "drawn"), expected);
    assert!(dom.contains("All verified"));
    // The map's picture is the one that was recorded: the browser and we read it independently.
    let film = &recording["pageblocks"];
    let pictures = develop(film);
    let mut signs = pictures[(pictures.len() - 1) / 2].iter();
    for zone in list(&film["zones"]) {
        let count = number(&zone["pageblocks"]) as usize;
        let levels: Vec<u8> = signs.by_ref().take(count).map(|sign| sign & 63).collect();
        let of =
            |wanted: &dyn Fn(u8) -> bool| levels.iter().filter(|level| wanted(**level)).count();
        let label = format!(
            "node {} {}: {} pageblocks free, {} in part, {} full",
            zone["node"],
            zone["name"].as_str().expect("a name"),
            of(&|level| level == 0),
            of(&|level| (1..62).contains(&level)),
            of(&|level| level == 62),
        );
        assert!(dom.contains(&label), "{label}");
    }
}

#[test]
fn names_of_files_are_text_in_a_browser_too() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let path = write(
        "<img src=x onerror=alert(1)><!--<script>.pga",
        b"A 0 0 1 140cca 0 0\nF 0\n",
    );
    let dir = folder("names");
    page_and_json(&dir, &["replay", path.to_str().expect("plain")]);
    let dom = dom_of(&browser, &dir);
    assert!(
        !dom.contains("<img") && dom.contains("&lt;img src=x"),
        "{dom}"
    );
    assert_eq!(noted(&dom, "errors"), 0);
    assert_eq!(noted(&dom, "plots"), noted(&dom, "drawn"));
}

/// The pictures of all pageblocks, out of their changes.
fn develop(film: &Value) -> Vec<Vec<u8>> {
    let size: u64 = list(&film["zones"])
        .iter()
        .map(|zone| number(&zone["pageblocks"]))
        .sum();
    let mut picture = vec![0; size as usize];
    let changes = list(&film["changes"]).iter();
    let pictures = changes.map(|change| {
        let mut code = bytes_of(change.as_str().expect("text")).into_iter();
        let mut place = 0;
        while let Some(skipped) = next_number(&mut code) {
            place += skipped;
            for _ in 0..next_number(&mut code).expect("how many") {
                picture[place] = code.next().expect("a sign");
                place += 1;
            }
        }
        picture.clone()
    });
    pictures.collect()
}

fn next_number(code: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = code.next()?;
        number |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 {
            return Some(number);
        }
    }
}

/// Out of base 64.
fn bytes_of(text: &str) -> Vec<u8> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits = text.trim_end_matches('=').bytes().map(digit);
    let bits: Vec<bool> = digits
        .flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1 == 1))
        .collect();
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    bits.chunks_exact(8).map(byte).collect()
}
