//! Runs the binary and reads what it says.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command, ready for arguments.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pagepool-stress"))
}

/// Runs the binary.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    finished(command().args(args).output().expect("the binary runs"))
}

/// How a process ended.
pub(crate) fn finished(output: Output) -> Run {
    Run {
        status: output.status.code().expect("not killed"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs the binary with `--json -`, makes sure that all was verified, and returns the object.
#[track_caller]
pub(crate) fn verified_json<'a>(args: impl IntoIterator<Item = &'a str>) -> Value {
    let run = run(args.into_iter().chain(["--json", "-"]));
    let report: Value = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|error| panic!("not one JSON object: {error}: {}", run.stderr));
    assert_eq!(report["violation_messages"], Value::Array(vec![]));
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_eq!(report["violations"], 0);
    assert_eq!(report["verdict"], "verified");
    report
}

/// Writes a file for one test and returns its path.
pub(crate) fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("traces");
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder can be made");
    fs::write(&path, bytes).expect("the file can be written");
    path
}

/// Replays one file and returns its phase.
#[track_caller]
pub(crate) fn replay(name: &str, bytes: &[u8]) -> Value {
    let path = write(name, bytes);
    let report = verified_json(["replay", path.to_str().expect("plain"), "--cache", "50%"]);
    report["phases"][0].clone()
}

/// A count in a report.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is not a count"))
}

/// A figure in a report.
#[track_caller]
pub(crate) fn float(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}
