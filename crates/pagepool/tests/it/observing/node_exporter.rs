//! Prometheus' exporter for machines reads a directory that a pool has written, as if it were `/proc`.
//!
//! It is a program of its own, which `.ci/test` fetches. Without it this says so and passes, but not in CI.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pagepool::{PAGE_SIZE, Stats};
use prometheus_parse::{Scrape, Value};

use super::Used;

/// Where the exporter is: as the environment says, or on the path.
fn exporter() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PAGEPOOL_NODE_EXPORTER") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "PAGEPOOL_NODE_EXPORTER is no file: {}",
            named.display()
        );
        return Some(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    ["prometheus-node-exporter", "node_exporter"]
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
        .find(|candidate| candidate.is_file())
}

/// An exporter that runs; it ends with this value.
struct Exporter {
    child: Child,
    address: String,
    /// Kept open, so that it can go on to write.
    _log: BufReader<std::process::ChildStderr>,
}

impl Exporter {
    fn start(program: &Path, procfs: &Path) -> Exporter {
        let collectors = ["vmstat", "meminfo", "pressure", "zoneinfo", "buddyinfo"];
        let mut child = Command::new(program)
            .arg(format!("--path.procfs={}", procfs.display()))
            .arg("--collector.disable-defaults")
            .args(collectors.map(|name| format!("--collector.{name}")))
            .arg("--collector.vmstat.fields=.*")
            .args([
                "--web.listen-address=127.0.0.1:0",
                "--web.disable-exporter-metrics",
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line).unwrap() == 0 {
                let _ = child.kill();
                panic!("{} ended:\n{said}", program.display());
            }
            said.push_str(&line);
            if let Some((_, address)) = line.split_once("address=127.0.0.1:") {
                let port = address.split_whitespace().next().unwrap();
                break format!("127.0.0.1:{port}");
            }
        };
        Exporter {
            child,
            address,
            _log: log,
        }
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was exported, by name and labels.
struct Exported(HashMap<(String, Vec<(String, String)>), f64>);

impl Exported {
    fn parse(text: &str) -> Exported {
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let samples = Scrape::parse(lines).unwrap().samples;
        let values = samples.into_iter().filter_map(|sample| {
            let (Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value)) =
                sample.value
            else {
                return None;
            };
            let labels = sample.labels.iter();
            let mut labels: Vec<_> = labels.map(|(k, v)| (k.clone(), v.clone())).collect();
            labels.sort();
            Some(((sample.metric, labels), value))
        });
        Exported(values.collect())
    }

    #[track_caller]
    fn assert(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let mut own: Vec<_> = { labels.iter() }
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        own.sort();
        let found = self.0.get(&(name.to_owned(), own));
        let found = *found.unwrap_or_else(|| panic!("no {name} {labels:?}"));
        // Numbers come with six digits behind the first.
        assert!(
            (found - expected).abs() <= expected.abs() * 1e-6,
            "{name} {labels:?}: {found}, not {expected}"
        );
    }
}

/// The exporter's collector of pressure wants all three files; processors and disks are the machine's.
fn add_pressure_of_the_machine(procfs: &Path) {
    for which in ["cpu", "io"] {
        let place = procfs.join("pressure").join(which);
        let of_machine = Path::new("/proc/pressure").join(which);
        if fs::read_to_string(&of_machine).is_ok() {
            symlink(of_machine, place).unwrap();
        } else {
            let line = "avg10=0.00 avg60=0.00 avg300=0.00 total=0";
            fs::write(place, format!("some {line}\nfull {line}\n")).unwrap();
        }
    }
}

fn assert_vmstat(exported: &Exported, stats: &Stats) {
    for (name, count) in stats.vmstat.iter() {
        exported.assert(&format!("node_vmstat_{name}"), &[], count as f64);
    }
}

fn assert_memory(exported: &Exported, stats: &Stats) {
    let bytes = |pages: usize| (pages * PAGE_SIZE) as f64;
    let vmstat = |name| bytes(stats.vmstat.get(name).unwrap() as usize);
    for (name, expected) in [
        ("MemTotal", bytes(stats.managed_pages)),
        ("MemFree", bytes(stats.free_pages)),
        ("SwapTotal", bytes(stats.swap_total_pages)),
        ("SwapFree", bytes(stats.swap_free_pages)),
        ("AnonPages", vmstat("nr_anon_pages")),
        ("SwapCached", vmstat("nr_swapcached")),
        ("Inactive_anon", vmstat("nr_inactive_anon")),
        ("Cached", vmstat("nr_file_pages")),
        ("KReclaimable", bytes(8)),
        ("Slab", 0.0),
    ] {
        exported.assert(&format!("node_memory_{name}_bytes"), &[], expected);
    }
}

fn assert_pressure(exported: &Exported, stats: &Stats) {
    for (which, line) in [
        ("waiting", stats.pressure.some),
        ("stalled", stats.pressure.full),
    ] {
        let name = format!("node_pressure_memory_{which}_seconds_total");
        let micros = line.total.as_micros() as f64;
        exported.assert(&name, &[], micros / 1e6);
    }
}

fn assert_zones(exported: &Exported, stats: &Stats) {
    for node in &stats.nodes {
        let id = node.id.get().to_string();
        for zone in &node.zones {
            let labels = [("node", &*id), ("zone", zone.name)];
            for (name, pages) in [
                ("nr_free_pages", zone.free),
                ("min_pages", zone.min),
                ("low_pages", zone.low),
                ("high_pages", zone.high),
                ("spanned_pages", zone.spanned),
                ("present_pages", zone.present),
                ("managed_pages", zone.managed),
            ] {
                exported.assert(&format!("node_zoneinfo_{name}"), &labels, pages as f64);
            }
            for (class, pages) in zone.protection.into_iter().enumerate() {
                let name = format!("node_zoneinfo_protection_{class}");
                exported.assert(&name, &labels, pages as f64);
            }
            for (order, nr) in zone.nr_free.into_iter().enumerate() {
                let order = order.to_string();
                let labels = [labels[0], labels[1], ("size", &*order)];
                exported.assert("node_buddyinfo_blocks", &labels, nr as f64);
            }
        }
        for zone in &node.empty_zones {
            let labels = [("node", &*id), ("zone", zone.zone.name())];
            exported.assert("node_zoneinfo_managed_pages", &labels, 0.0);
        }
        let first = node.zones[0].name;
        let labels = [("node", &*id), ("zone", first)];
        for name in [
            "nr_anon_pages",
            "nr_inactive_anon",
            "nr_active_anon",
            "nr_isolated_anon",
        ] {
            let pages = node.vmstat.get(name).unwrap();
            let name = name.strip_suffix("_pages").unwrap_or(name);
            exported.assert(
                &format!("node_zoneinfo_{name}_pages"),
                &labels,
                pages as f64,
            );
        }
    }
}

#[test]
fn node_exporter_reads_a_directory_that_a_pool_wrote() {
    let Some(program) = exporter() else {
        let how = "install the package prometheus-node-exporter, or run .ci/test, which fetches it";
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no node_exporter: {how}"
        );
        eprintln!("NOT TESTED: there is no node_exporter: {how}");
        return;
    };
    let used = Used::new();
    let dir = tempfile::tempdir().unwrap();
    let stats = used.pool.stats();
    stats.write_proc(&dir).unwrap();
    add_pressure_of_the_machine(dir.path());

    let exporter = Exporter::start(&program, dir.path());
    let exported = Exported::parse(&exporter.scrape());
    for collector in ["vmstat", "meminfo", "pressure", "zoneinfo", "buddyinfo"] {
        let labels = [("collector", collector)];
        exported.assert("node_scrape_collector_success", &labels, 1.0);
    }
    assert_vmstat(&exported, &stats);
    assert_memory(&exported, &stats);
    assert_pressure(&exported, &stats);
    assert_zones(&exported, &stats);
}
