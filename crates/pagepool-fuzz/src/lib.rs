//! Inputs that nobody would write, and what must hold for them all the same.
//!
//! Each target is a function of bytes that panics when a promise is broken: under libFuzzer (`.ci/fuzz`), which looks
//! for bytes that make it, over the kept corpus as an ordinary test, and over single files by the binaries.
//!
//! | target | input | promise |
//! |---|---|---|
//! | [`operations`] | steps of four bytes | a pool keeps every byte and every invariant, whatever it is asked |
//! | [`settings`] | a letter, and text | a setting is taken as it was meant, or refused in one line and without effect |
//! | [`traces`] | a line with a file's name, and the file | a trace is consistent, or refused in one line that names the place |
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "outside the model-checked library: real threads and real time"
)]

mod operations; // a pool and what is done to it
mod settings; // tunables, limits of the host, numbers, command lines, builders
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

pub use operations::operations;
pub use settings::settings;
pub use traces::traces;

/// Plays the files named on the command line, one after the other, and says which: the last one named is the one
/// that a panic is about.
pub fn play_files(target: fn(&[u8])) -> ExitCode {
    let files: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: give files with inputs, such as those of the corpus");
        return ExitCode::from(2);
    }
    for file in &files {
        match fs::read(file) {
            Ok(input) => {
                eprintln!("{}", file.display());
                target(&input);
            }
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}

/// What refuses something says so in one line, in words that can be printed.
#[track_caller]
fn assert_one_line(refusal: &str) {
    assert!(!refusal.trim().is_empty(), "a refusal without words");
    let strange = |letter: char| letter.is_control();
    assert!(!refusal.contains(strange), "not one line: {refusal:?}");
    assert!(refusal.len() < 4096, "a long line: {refusal:?}");
}
