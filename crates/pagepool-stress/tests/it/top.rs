//! `top`: what it shows of another process's pool, on a terminal and in a pipe, and how it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Run, command, number, run, verified_json};

/// A path for one test's socket, short enough for one.
fn socket(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pagepool-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain")
}

/// A load that serves its pool.
struct Load {
    child: Child,
    socket: PathBuf,
}

impl Load {
    fn start(name: &str, more: &[&str]) -> Load {
        let socket = socket(name);
        let child = command()
            .args(["overcommit", "--memory", "16M", "--serve", text(&socket)])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let load = Load { child, socket };
        let begin = Instant::now();
        while load.top(&["--once"]).status != 0 {
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "it is not served"
            );
            thread::sleep(Duration::from_millis(50));
        }
        load
    }

    fn top(&self, more: &[&str]) -> Run {
        run([&["top", text(&self.socket)], more].concat())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("it was started");
        let _ = fs::remove_file(&self.socket);
    }
}

#[test]
fn what_it_shows_is_what_the_load_reports() {
    let mut load = Load::start("load", &["--duration", "6s", "--json", "-", "--seed", "7"]);
    let said: Value = serde_json::from_str(&load.top(&["--json", "-"]).stdout).unwrap();
    let shown = load.top(&["--once"]);
    assert_eq!((shown.status, shown.stderr.as_str()), (0, ""));
    let mut report = String::new();
    let stdout = load.child.stdout.as_mut().unwrap();
    stdout.read_to_string(&mut report).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["violations"], 0);

    assert_eq!(said["protocol"], 1);
    let snapshot = &said["snapshot"];
    assert_eq!(snapshot["pid"], load.child.id());
    let stats = &snapshot["stats"];
    for field in ["budget_bytes", "metadata_bytes"] {
        assert_eq!(stats[field], report[field], "{field}");
    }
    let zones = |of: &Value| of["nodes"][0]["zones"].as_array().unwrap().clone();
    let (said_zones, reported) = (zones(stats), zones(&report));
    assert_eq!(said_zones.len(), reported.len());
    for (said, reported) in said_zones.iter().zip(&reported) {
        for field in ["name", "managed", "min", "low", "high"] {
            assert_eq!(said[field], reported[field], "{field}");
        }
    }
    // What only rises had not risen as far.
    let count = |of: &Value, name: &str| number(&of["vmstat"][name]);
    for name in ["pgfault", "pswpout", "pgsteal_kswapd"] {
        assert!(count(stats, name) <= count(&report, name), "{name}");
    }

    let managed = number(&reported[0]["managed"]);
    let grouped = format!("{},{:03}", managed / 1000, managed % 1000);
    let name = load.socket.file_stem().unwrap().to_str().unwrap();
    for part in [
        &format!("{name}  pid {}  served for 0:00:", load.child.id()),
        " of 16.0 MiB in use, ",
        "\nZONES ",
        &format!(" {grouped} "),
        // On call, or running: by how far the load has come.
        "\nkswapd0        ",
        "\nPRESSURE % ",
        "\npages swapped out ",
        "\nPAGEBLOCKS ",
    ] {
        assert!(shown.stdout.contains(part), "{part} in {}", shown.stdout);
    }
    assert!(!shown.stdout.contains('\x1b'));
    // The socket went with the pool.
    assert!(!load.socket.exists());
}

#[test]
fn the_only_pool_of_all_that_are_served_is_found() {
    let folder = socket("runtime");
    fs::create_dir(&folder).unwrap();
    let top = |more: &[&str]| {
        let output = command()
            .arg("top")
            .args(more)
            .env("XDG_RUNTIME_DIR", &folder)
            .output();
        crate::support::finished(output.unwrap())
    };
    let nobody = top(&[]);
    assert_eq!(nobody.status, 2);
    assert!(
        nobody.stderr.contains("no pool is served"),
        "{}",
        nobody.stderr
    );

    let load = || {
        let args = ["overcommit", "--memory", "8M", "--duration", "1h"];
        let child = command()
            .args(args)
            .args(["--serve", "auto"])
            .env("XDG_RUNTIME_DIR", &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.expect("the binary runs")
    };
    let mut loads = vec![load()];
    let begin = Instant::now();
    let until = |more: &[&str], status| loop {
        let run = top(more);
        if run.status == status {
            return run;
        }
        assert!(begin.elapsed() < Duration::from_secs(90), "{}", run.stderr);
        thread::sleep(Duration::from_millis(50));
    };
    let only = until(&[], 0);
    assert!(
        only.stdout.starts_with("overcommit  pid "),
        "{}",
        only.stdout
    );
    loads.push(load());
    let several = until(&[], 2);
    assert_eq!(several.stderr.lines().count(), 1);
    let pids: Vec<_> = loads.iter().map(|load| load.id().to_string()).collect();
    assert!(
        pids.iter()
            .all(|pid| several.stderr.contains(&format!("{pid}-overcommit.sock")))
    );
    assert!(
        top(&["--pid", &pids[1]])
            .stdout
            .contains(&format!("pid {} ", pids[1]))
    );

    for load in &mut loads {
        load.kill().unwrap();
        load.wait().unwrap();
    }
    // Killed, they have left their sockets behind.
    assert_eq!(top(&["--pid", &pids[0]]).status, 2);
    fs::remove_dir_all(&folder).unwrap();
}

#[track_caller]
fn assert_refused(path: &Path, part: &str) {
    let run = run(["top", text(path)]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
}

/// A program at a socket that says one thing to all who come.
fn sayer(path: &Path, says: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(says.as_bytes()).unwrap();
        }
    });
}

#[test]
fn what_is_no_pool_is_refused_in_a_line() {
    let path = socket("none");
    assert_refused(&path, "there is no such file");
    fs::write(&path, "").unwrap();
    assert_refused(&path, "it is no socket");
    fs::remove_file(&path).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert_refused(&path, "has ended");
    fs::remove_file(&path).unwrap();
    sayer(&path, "220 mail\r\n");
    assert_refused(&path, "is not a pagepool's");
    let newer = socket("newer");
    sayer(&newer, "{\"protocol\":9,\"snapshot\":[]}\n");
    assert_refused(&newer, "speaks version 9 of the protocol");
    [path, newer]
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());

    let load = run([
        "overcommit",
        "--memory",
        "8M",
        "--serve",
        "/nowhere/s",
        "--progress",
        "none",
    ]);
    assert_eq!(load.status, 2);
    assert!(
        load.stderr
            .starts_with("error: --serve: cannot create a socket for /nowhere/s")
    );
    assert_eq!(load.stderr.lines().count(), 1);
}

#[test]
fn a_pool_that_is_served_sleeps_as_well_as_any() {
    let path = socket("idle");
    let args = [
        "idle",
        "--memory",
        "8M",
        "--settle",
        "1s",
        "--duration",
        "2s",
        "--serve",
    ];
    let report = verified_json(args.into_iter().chain([text(&path)]));
    let threads = report["idle"]["threads"].as_array().unwrap();
    let server = threads.iter().find(|thread| thread["name"] == "pool-serve");
    assert_eq!(server.unwrap()["wakeups"], 0);
}

/// `top` on a terminal of its own, by a tool that nearly every system has; none where it is missing.
struct OnTerminal {
    script: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    /// Runs shell commands there, on 40 lines of 100 columns; `TOP` stands for the program.
    fn run(commands: &str) -> Option<OnTerminal> {
        let probe = Command::new("script").arg("--version").output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            return None;
        }
        let program = format!("{} top", env!("CARGO_BIN_EXE_pagepool-stress"));
        let commands = format!(
            "stty rows 40 cols 100; {}",
            commands.replace("TOP", &program)
        );
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &commands, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was there");
        let mut stdout = script.stdout.take().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = stdout.read(&mut bytes) {
                to.lock().unwrap().extend_from_slice(&bytes[..len]);
            }
        });
        Some(OnTerminal { script, shown })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, is_there: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        while !is_there(&self.text()) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Its status, and what it has shown. Ended while it is watched: `script` ends when its command has.
    #[track_caller]
    fn finish(mut self) -> (Option<i32>, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.script.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", self.text());
            thread::sleep(Duration::from_millis(20));
        };
        thread::sleep(Duration::from_millis(100));
        (status.code(), self.text())
    }
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

#[test]
fn a_terminal_shows_the_pool_and_is_given_back_as_it_was() {
    let load = Load::start("screen", &["--duration", "1h"]);
    let commands = format!(
        "stty -g; TOP {} --interval 100ms; echo status $?; stty -g",
        text(&load.socket)
    );
    let Some(mut terminal) = OnTerminal::run(&commands) else {
        return;
    };
    terminal.wait_for(|text| text.contains("ZONES") && text.contains("kswapd0"));
    // It is drawn anew when the pool has moved on.
    terminal.wait_for(|text| text.matches("\x1b[").count() > 300);
    terminal.press("?");
    terminal.wait_for(|text| text.contains("shift-tab"));
    terminal.press("?p");
    terminal.wait_for(|text| text.contains("paused"));
    terminal.press("q");
    let (status, text) = terminal.finish();
    assert_eq!(status, Some(0), "{text}");
    let (before, rest) = text.split_once(ENTER).expect("a screen");
    let (screen, after) = rest.rsplit_once(LEAVE).expect("the end of it");
    // A green gauge on the terminal's own ground.
    assert!(screen.contains("\x1b[38;5;2;49m"), "{screen:?}");
    assert!(after.contains("\x1b[?25h"), "the cursor is back: {after:?}");
    let settings = before.lines().next_back().unwrap_or_default().trim();
    let lines: Vec<_> = after.lines().map(str::trim).collect();
    assert!(
        lines.iter().any(|line| line.ends_with("status 0")),
        "{lines:?}"
    );
    assert!(
        !settings.is_empty() && lines.contains(&settings),
        "{before:?} {after:?}"
    );
}

#[test]
fn a_terminal_that_gets_tiny_and_large_again_is_drawn_anew() {
    let load = Load::start("resized", &["--duration", "1h"]);
    let commands = format!(
        "(for size in 5:20 1:1 50:170; do sleep 1; stty rows ${{size%:*}} cols ${{size#*:}}; done) & \
         TOP {} --interval 100ms",
        text(&load.socket)
    );
    let Some(mut terminal) = OnTerminal::run(&commands) else {
        return;
    };
    // Only a wide one has two columns.
    terminal.wait_for(|text| {
        let after = text.rsplit_once("ZONES").map(|(_, after)| after);
        after.is_some_and(|after| after.lines().next().unwrap_or_default().contains("WORK"))
    });
    terminal.press("\x03");
    let (status, text) = terminal.finish();
    assert_eq!(status, Some(0), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn the_end_of_the_process_is_said_and_is_no_error() {
    let mut load = Load::start("ends", &["--duration", "1h"]);
    let Some(terminal) = OnTerminal::run(&format!("TOP {} --interval 100ms", text(&load.socket)))
    else {
        return;
    };
    terminal.wait_for(|text| text.contains("ZONES"));
    load.child.kill().unwrap();
    let (status, text) = terminal.finish();
    assert_eq!(status, Some(0), "{text}");
    let (_, after) = text.rsplit_once(LEAVE).expect("the screen is left");
    let ended = format!("process {} has ended", load.child.id());
    assert!(after.contains(&ended), "{after:?}");
}

#[test]
fn a_process_that_is_stopped_does_not_stop_the_screen() {
    let load = Load::start("stopped", &["--duration", "1h"]);
    let Some(mut terminal) = OnTerminal::run(&format!("TOP {}", text(&load.socket))) else {
        return;
    };
    terminal.wait_for(|text| text.contains("ZONES"));
    let kill = |signal: &str| {
        let args = [signal, &load.child.id().to_string()];
        assert!(Command::new("kill").args(args).status().unwrap().success());
    };
    kill("-STOP");
    terminal.wait_for(|text| text.contains("no answer for"));
    terminal.press("q");
    assert_eq!(terminal.finish().0, Some(0));
    kill("-CONT");
}
