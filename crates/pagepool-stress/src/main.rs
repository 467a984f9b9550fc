//! Replays real page traces and generated load against a pool, and verifies every byte.
//!
//! ```text
//! cli -> commands -> trace    what to play, read into memory
//!                    player   plays it on a thread of its own, verifies contents
//!                    phase    one pool: build, play, verify(), release, trim
//!                    report   one model, as text and as JSON
//! ```
//!
//! Exit status: 0 all verified, 1 a violation was found, 2 bad usage or bad input.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "a binary outside the model-checked library: real threads and real time"
)]

mod cli; // the command line
mod commands;
mod container; // run, replay, churn, fragment, overcommit, faults, idle
mod content; // what is written into blocks
mod control; // when to stop
mod crew; // the threads
mod levels; // how much groups have, sampled
mod phase; // one pool and its load
mod pattern; // which folio is touched next
mod player; // loads
mod posts; // where threads stand, and the watchdog
mod progress; // the line on the terminal
mod rehearsal;
mod report; // text and JSON
mod rng; // random numbers
mod rss; // resident memory
mod swapping; // what pools swap to
mod tally; // counts
mod threads; // what the pool's own threads do
mod trace; // readers of traces
mod units; // numbers as people write them

use std::process::ExitCode;

use commands::Ending;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    match commands::perform(cli) {
        Ok(Ending::Verified) => ExitCode::SUCCESS,
        Ok(Ending::Violated) => ExitCode::from(1),
        Err(bad) => {
            eprintln!("error: {bad}");
            ExitCode::from(2)
        }
    }
}
