//! Replays real page traces and generated load against a pool, and verifies every byte.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    pagepool_stress::main(std::env::args_os())
}
