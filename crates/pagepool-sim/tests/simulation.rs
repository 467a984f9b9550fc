//! What the simulation promises: the same seed is the same history, kept cases pass, and it finds bugs.

#![cfg(shuttle)]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use pagepool_sim::case::Case;
use pagepool_sim::play::{Played, play};

#[track_caller]
fn play_well(case: &Case) -> Played {
    play(case).unwrap_or_else(|why| panic!("{why}\n{case}"))
}

#[test]
fn a_seed_is_one_history_and_another_seed_another() {
    let mut histories = Vec::new();
    for seed in 0..12 {
        let case = Case::random(seed, 60);
        let first = play_well(&case);
        // What was in memory before, and where, must not matter.
        let _elsewhere = vec![seed; 10_000 * seed as usize];
        assert_eq!(play_well(&case), first, "case {seed}");
        histories.push(first.history);
    }
    histories.sort_unstable();
    histories.dedup();
    assert_eq!(histories.len(), 12);
}

#[test]
fn the_schedule_matters() {
    let mut case = Case::random(3, 200);
    let first = play_well(&case);
    case.world.seed += 1;
    assert_ne!(play_well(&case).history, first.history);
}

/// Each file tells what went wrong once, and why.
#[test]
fn kept_cases_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut nr = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let case = Case::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let story = text.lines().take_while(|line| line.starts_with('#'));
        assert!(story.count() > 0, "{} has no story", path.display());
        play(&case).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        nr += 1;
    }
    assert!(nr > 0, "there are cases");
}

fn simulate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagepool-sim"));
    command.args(["run", "--seed", "1", "--jobs", "1"]);
    command.args(["--duration", "60s", "--steps", "300"]);
    command
}

#[track_caller]
fn assert_found(step: &str, expected: &str) {
    // A mutant may be found in more than one way.
    let mut command = simulate();
    command.args(["--keep-going", "--cases", "300"]);
    let output = command.env("PAGEPOOL_MUTANT", step).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_failed_is_printed_to_be_played_again() {
    let mut command = simulate();
    command.env("PAGEPOOL_MUTANT", "waitqueue.epoch");
    let output = command.arg("--whole").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let (_, case) = said.split_once("# play it again").expect(&said);
    let case = Case::parse(case.split_once('\n').unwrap().1).unwrap();
    assert_eq!(case.steps.len(), 300);
}

#[test]
fn a_writer_that_lets_a_copy_go_on_is_found_as_lost_bytes() {
    assert_found("folio.writer_clears_stable", "not as ");
}

#[test]
fn a_sleeper_that_counts_from_when_it_sleeps_is_found_as_a_broken_invariant() {
    assert_found(
        "waitqueue.epoch",
        "I1: an entry of this epoch was not counted",
    );
}

#[test]
fn without_a_mutant_the_same_cases_pass() {
    let output = simulate().args(["--cases", "40"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
