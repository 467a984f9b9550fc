//! Every command ends with the report so far when it is asked to, and at once when it is asked again.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::command;

/// A run that has printed its seed, and so heeds signals.
struct Started {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Started {
    fn new(args: &[&str]) -> Started {
        let mut child = command()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut seed = String::new();
        stdout.read_line(&mut seed).expect("a line");
        assert!(seed.starts_with("seed "), "{seed}");
        Started { child, stdout }
    }

    fn send(&self, signals: &[&str]) {
        let id = self.child.id();
        let kill = |signal| format!("kill -{signal} {id}");
        let script: Vec<String> = signals.iter().map(kill).collect();
        let sent = Command::new("sh").args(["-c", &script.join("; ")]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Waits for its end: status and text.
    fn finish(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("text");
        (self.child.wait().expect("it ends").code(), text)
    }
}

#[track_caller]
fn assert_ends_with_a_report(args: &[&str], after: Duration, signal: &str) {
    let run = Started::new(args);
    thread::sleep(after);
    let begin = Instant::now();
    run.send(&[signal]);
    let (status, text) = run.finish();
    assert_eq!(status, Some(0), "{args:?}: {text}");
    assert!(text.contains("interrupted"), "{args:?}: {text}");
    assert!(text.ends_with("all verified\n"), "{args:?}: {text}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{args:?}");
}

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/sqlite.pages.zst");

/// Each command in the middle of something that lasts for an hour.
const COMMANDS: [&[&str]; 13] = [
    &["run"],
    &["replay", TRACE, "--sizes", "10%"],
    &["replay", TRACE, "--cache", "10%"],
    &["churn", "--memory", "32M"],
    &["churn", "--mixed", "--memory", "32M"],
    &["fragment", "--memory", "32M", "--settle", "1h"],
    &["fragment", "--memory", "32M", "--pattern", "mixed"],
    &["latency", "--memory", "16M", "--rate", "1"],
    &["overcommit", "--memory", "16M"],
    &["overcommit", "--memory", "16M", "--container-cut"],
    &["overcommit", "--memory", "16M", "--groups"],
    &["faults", "--memory", "16M"],
    &["soak", "--memory", "32M"],
];

/// Every second one of them, beginning with the `first`.
fn assert_commands_end(first: usize) {
    for (n, args) in COMMANDS.iter().enumerate().skip(first).step_by(2) {
        let args = [*args, &["--duration", "1h"]].concat();
        let signal = ["INT", "TERM"][n / 2 % 2];
        assert_ends_with_a_report(&args, Duration::from_millis(1000), signal);
    }
}

#[test]
fn every_command_ends_with_the_report_so_far() {
    assert_commands_end(0);
}

#[test]
fn and_so_do_the_others() {
    assert_commands_end(1);
}

#[test]
fn an_idle_pool_is_not_judged_by_a_moment() {
    let settling = ["idle", "--memory", "16M", "--settle", "1h"];
    assert_ends_with_a_report(&settling, Duration::from_secs(3), "TERM");
    let counting = ["idle", "--memory", "16M", "--duration", "1h"];
    assert_ends_with_a_report(&counting, Duration::from_secs(5), "INT");
}

/// From the moment on at which the seed is printed: while traces are read, too.
#[test]
fn a_signal_that_comes_early_is_heeded() {
    for args in [&["run"][..], &["replay", TRACE], &["latency"]] {
        assert_ends_with_a_report(args, Duration::ZERO, "INT");
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    // Filled folios are all read back before the report: that takes a while.
    let run = Started::new(&["overcommit", "--memory", "256M", "--duration", "1h"]);
    thread::sleep(Duration::from_secs(3));
    run.send(&["INT", "TERM"]);
    let (status, text) = run.finish();
    assert_eq!(status, Some(130), "{text}");
    assert!(!text.contains("verdict"), "{text}");
}
