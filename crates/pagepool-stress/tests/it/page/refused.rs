//! Where a page cannot be written, and what stands there then.

use std::{fs, path::Path, process::Command};

use super::{LOAD, folder, names_in, page_and_json};
use crate::support::{finished, run};

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

#[test]
fn a_report_that_is_there_already_is_replaced() {
    let dir = folder("replaced");
    fs::create_dir(&dir).expect("our own folder");
    for name in ["report.html", "report.json", "mine"] {
        fs::write(dir.join(name), "the last one").expect("our own folder");
    }
    page_and_json(&dir, &LOAD);
    assert_eq!(names_in(&dir), ["mine", "report.html", "report.json"]);
    let mine = fs::read_to_string(dir.join("mine"));
    assert_eq!(mine.expect("still there"), "the last one");
}
