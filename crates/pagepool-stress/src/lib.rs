//! What the binary `pagepool-stress` is made of: replays of real page traces and generated load against a pool,
//! every byte verified.
//!
//! ```text
//! cli -> commands -> trace    what to play, read into memory
//!                    policy   what well-known policies would miss of it
//!                    player   plays it on a thread of its own, verifies contents
//!                    phase    one pool: build, play, verify(), release, trim
//!                    progress how it stands meanwhile
//!                    record   how it stood over time
//!                    top      how a pool of another process stands
//!                    report   one model, as text and as JSON
//!                    page     model and recordings, as a page to look at
//! ```
//!
//! A library for the tests' sake: [`main`] is the program, and [`input`] what it reads from outside, for whoever
//! feeds it nonsense. Nothing here is meant to be built on.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "outside the model-checked library: real threads and real time"
)]

mod cli; // the command line
mod commands; // what can be done
mod container; // a container that is played
mod content; // what is written into blocks
mod control; // when to stop
mod crew; // the threads
mod drift; // what grows
mod gauge; // bars of text
mod hdr_log; // latencies, interval by interval, in a file
pub mod input; // what is read from outside, for tests
mod interrupt; // Ctrl-C
mod ledger; // latencies of requests that were due
mod levels; // how much groups have, sampled
mod meter; // latencies that can be looked at meanwhile
mod nearest; // what somebody meant who wrote another name
mod order_mix; // which orders are asked for
mod page; // the page of --report
mod phase; // one pool and its load
mod pattern; // which folio is touched next
mod player; // loads
mod policy; // what well-known policies would miss
mod posts; // where threads stand, and the watchdog
mod progress; // what is shown meanwhile
mod record; // how things stood, over time
mod rehearsal;
mod report; // text and JSON
mod rng; // random numbers
mod rss; // resident memory
mod schedule; // when requests are due
mod serving; // where pools are served
mod swapping; // what pools swap to
mod tally; // counts
mod taping; // a pool that is recorded
mod threads; // what the pool's own threads do
mod top; // a pool of another process, on a terminal
mod trace; // readers of traces
mod units; // numbers as people write them
mod what_if; // a recorded pool, and what is changed about it

use std::{ffi::OsString, process::ExitCode};

use commands::Ending;

/// Runs the program with these arguments, the program's name first.
///
/// Exit status: 0 all verified, 1 a violation was found, 2 bad usage or bad input; 130 after a second signal.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match cli::parse(args) {
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
