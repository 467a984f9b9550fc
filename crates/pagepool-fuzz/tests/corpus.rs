//! The kept corpus, played without a fuzzer: what once reached something, or broke it, does no harm.

use std::fs;
use std::path::{Path, PathBuf};

/// Files and bytes that a clone of the repository carries for this.
const MOST_FILES: usize = 120;
const MOST_BYTES: u64 = 200 << 10;

fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let entries = fs::read_dir(folder).expect("a folder for each target");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing is kept for {target}");
    files
}

#[track_caller]
fn assert_harmless(target: &str, play: fn(&[u8])) {
    for file in files(target) {
        // Of a failure, the test's output shows the last one.
        println!("{}", file.display());
        play(&fs::read(&file).unwrap());
    }
}

#[test]
fn kept_operations_do_no_harm() {
    assert_harmless("operations", pagepool_fuzz::operations);
}

#[test]
fn kept_settings_do_no_harm() {
    assert_harmless("settings", pagepool_fuzz::settings);
}

#[test]
fn kept_traces_do_no_harm() {
    assert_harmless("traces", pagepool_fuzz::traces);
}

#[test]
fn the_corpus_is_small() {
    let all = ["operations", "settings", "traces"].map(files).concat();
    let bytes: u64 = all
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(
        all.len() <= MOST_FILES,
        "{} files: see `.ci/fuzz --merge`",
        all.len()
    );
    assert!(bytes <= MOST_BYTES, "{bytes} bytes: see `.ci/fuzz --merge`");
}
