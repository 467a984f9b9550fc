//! Files are whole or not there, and an error says which and why.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pool::PagePool;
use crate::pool::procfs::{ProcFile, ProcStep, ProcWriteError};

fn pool() -> PagePool {
    let builder = PagePool::builder().managed(16 << 20).daemons(false);
    builder.build().unwrap()
}

/// The names of all files below a directory, drafts included.
fn files_below(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let relative = path.strip_prefix(dir).unwrap();
                found.push(relative.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn assert_error(error: &ProcWriteError, step: ProcStep, path: &Path, part: &str) {
    assert_eq!((error.step, &*error.path), (step, path), "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(text.contains(part), "{text}");
    assert!(std::error::Error::source(error).is_some());
}

#[test]
fn a_snapshot_becomes_a_directory_like_proc() {
    let dir = tempfile::tempdir().unwrap();
    let stats = pool().stats();
    stats.write_proc(&dir).unwrap();
    let mut expected = ProcFile::ALL.map(ProcFile::path);
    expected.sort_unstable();
    assert_eq!(files_below(dir.path()), expected);
    for file in ProcFile::ALL {
        let text = fs::read_to_string(dir.path().join(file.path())).unwrap();
        assert_eq!(text, stats.proc(file).to_string());
    }
    // And once more over the old ones.
    stats.write_proc(dir.path()).unwrap();
    assert_eq!(files_below(dir.path()), expected);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = pool().stats().write_proc(&missing).unwrap_err();
    let path = missing.join("vmstat");
    assert_error(&error, ProcStep::Create, &path, "make the directory first");
    assert!(!missing.exists());
}

/// Nobody may create files in `/sys`, root included; in a container it may be mounted read-only.
#[test]
fn a_directory_that_takes_no_files_is_named() {
    let error = pool().stats().write_proc("/sys").unwrap_err();
    let path = PathBuf::from("/sys/vmstat");
    let kind = error.source.kind();
    let expected = match kind {
        std::io::ErrorKind::ReadOnlyFilesystem => "name a directory that can be written to",
        _ => "the process must be allowed to create files",
    };
    assert_error(&error, ProcStep::Create, &path, expected);
}

#[test]
fn what_cannot_be_replaced_is_named_and_leaves_no_draft() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("buddyinfo");
    fs::create_dir(&in_the_way).unwrap();
    fs::write(in_the_way.join("something"), "").unwrap();
    let error = pool().stats().write_proc(&dir).unwrap_err();
    assert_error(&error, ProcStep::Replace, &in_the_way, "is in its place");
    let expected = ["buddyinfo/something", "vmstat", "zoneinfo"];
    assert_eq!(files_below(dir.path()), expected, "those before it are new");
}

#[test]
fn a_file_where_a_directory_should_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pressure"), "a file").unwrap();
    let error = pool().stats().write_proc(&dir).unwrap_err();
    let path = dir.path().join("pressure/memory");
    assert_error(&error, ProcStep::Create, &path, "Not a directory");
}

/// Runs this binary once more, for the test of the given name, where no file may grow beyond a KiB.
fn run_where_files_stay_small(test: &str, dir: &Path) {
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let output = Command::new("bash")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("PAGEPOOL_TEST_DIR", dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// As on a full disk, a part of the text is written, and then the system refuses: the old file stays, and the
/// part goes.
#[test]
fn when_there_is_no_more_room_the_old_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("vmstat");
    fs::write(&old, "the old one").unwrap();
    let name = "pool::procfs::tests::writing::meets_a_limit_of_file_sizes";
    run_where_files_stay_small(name, dir.path());
    assert_eq!(fs::read_to_string(&old).unwrap(), "the old one");
    assert_eq!(files_below(dir.path()), ["vmstat"]);
}

#[test]
#[ignore = "a part of another test, which runs it in a process of its own"]
fn meets_a_limit_of_file_sizes() {
    let dir = PathBuf::from(std::env::var_os("PAGEPOOL_TEST_DIR").unwrap());
    let error = pool().stats().write_proc(&dir).unwrap_err();
    let path = dir.join("vmstat");
    assert_error(
        &error,
        ProcStep::Write,
        &path,
        "make room, or name a directory",
    );
}

/// Two writers and a reader: who reads finds a file that ends as it should, always.
#[test]
#[expect(clippy::disallowed_types, reason = "these threads are not modelled")]
fn a_reader_never_finds_a_part() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let stats = pool().stats();
    stats.write_proc(&dir).unwrap();
    let writing = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    stats.write_proc(&dir).unwrap();
                }
                writing.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let whole = stats.proc(ProcFile::Zoneinfo).to_string();
        while writing.load(Ordering::Relaxed) > 0 {
            let text = fs::read_to_string(dir.path().join("zoneinfo")).unwrap();
            assert_eq!(text, whole);
        }
    });
    let mut expected = ProcFile::ALL.map(ProcFile::path);
    expected.sort_unstable();
    assert_eq!(files_below(dir.path()), expected, "no drafts");
}
