//! What the program reads from outside, for tests that feed it nonsense: no answer but a value or a line.
//!
//! **Invariants**
//! - N1: whatever comes in, there is an answer: no panic, and no more memory than the limits of the readers allow.
//! - N2: a refusal is one line of printable text that names the file, if there is one.
//! - N3: what a reader accepts is consistent, so that a player needs no checks.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use clap::Parser;
use pagepool::Tape;

use crate::{
    cli::{self, Cli},
    trace::{self, BlockTrace, ReferenceTrace, Trace, kernel, recorded, source::Source},
    units::{CacheSize, parse_bytes, parse_count, parse_duration, parse_seed},
};

/// Reads `bytes` as the trace of a file called `name`; returns the number of its events.
///
/// # Errors
/// The line that a user would see.
///
/// # Panics
/// If what was accepted is not consistent (N3).
pub fn trace(name: &str, bytes: Vec<u8>) -> Result<usize, String> {
    let source = Source::of_bytes(name, bytes).map_err(|error| error.to_string())?;
    match trace::read(source, None) {
        Ok(Trace::Blocks(trace)) => Ok(check_blocks(&trace)),
        Ok(Trace::References(trace)) => Ok(check_references(&trace)),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads `bytes` as a recording of a pool, in a file called `name`; returns the number of its events.
///
/// # Errors
/// The line that a user would see.
///
/// # Panics
/// If what is accepted is inconsistent.
pub fn recording(name: &str, bytes: &[u8]) -> Result<usize, String> {
    let tape = recorded::whole(name, Tape::from_bytes(bytes)).map_err(|error| error.to_string())?;
    recorded::Script::of(&tape).assert_consistent();
    // Whether there can be such a pool is known only once one is built.
    Ok(tape.events().len())
}

/// Reads `bytes` as the state of a kernel, from a file called `name`; returns the number of its zones.
///
/// # Errors
/// The line that a user would see.
pub fn kernel_state(name: &str, bytes: Vec<u8>) -> Result<usize, String> {
    let state = Source::of_bytes(name, bytes).and_then(kernel::read);
    state
        .map(|state| state.zones.len())
        .map_err(|error| error.to_string())
}

/// Parses a command line without the program's name; whether it is one that does something.
///
/// # Errors
/// The line that a user would see.
pub fn command_line(args: Vec<OsString>) -> Result<bool, String> {
    let program = OsString::from("pagepool-stress");
    match Cli::try_parse_from([program].into_iter().chain(args)) {
        Ok(_) => Ok(true),
        Err(error) => cli::complaint(&error).map_or(Ok(false), Err),
    }
}

/// Parses `text` as a number of each kind that options have, and returns what was understood and what was not.
///
/// # Panics
/// If a number comes back that its kind does not have.
pub fn numbers(text: &str) -> Vec<Result<u64, String>> {
    let share = |size| match size {
        CacheSize::Percent(share) => {
            assert!(share > 0.0 && share <= 100.0, "{text:?} is {share} %");
            1
        }
        CacheSize::Bytes(bytes) => bytes as u64,
    };
    vec![
        parse_bytes(text).map(|bytes| bytes as u64),
        parse_count(text),
        parse_seed(text),
        parse_duration(text).map(|time| {
            assert!(!time.is_zero(), "{text:?} is no time");
            time.as_secs()
        }),
        CacheSize::parse(text).map(|size| {
            let pages = [1, 1000, u64::MAX].map(|footprint| size.pages(footprint));
            assert!(pages.iter().all(|pages| *pages > 0), "{text:?} is no page");
            share(size)
        }),
    ]
}

/// Plays a trace of blocks with nothing but slots (N3).
fn check_blocks(trace: &BlockTrace) -> usize {
    use trace::blocks::Action;

    let mut slots = vec![None; trace.nr_slots];
    let (mut pages, mut peak) = (0, 0);
    for event in &trace.events {
        let at = event.slot as usize;
        match event.action {
            Action::Alloc { order, kind } => {
                assert!(usize::from(kind) < trace.kinds.len(), "a kind of request");
                assert!(slots[at].replace(order).is_none(), "slot {at} is taken");
                pages += order.pages() as u64;
            }
            Action::Free => {
                let order: pagepool::Order = slots[at].take().expect("a block in the slot");
                pages -= order.pages() as u64;
            }
            Action::Split => {
                let split = &trace.splits[at];
                let whole = slots[split.slot as usize]
                    .take()
                    .expect("a block in the slot");
                let parts = split.parts.iter();
                assert_eq!(parts.len() * split.order.pages(), whole.pages());
                for part in parts {
                    let before = slots[*part as usize].replace(split.order);
                    assert!(before.is_none(), "slot {part} is taken");
                }
            }
        }
        peak = peak.max(pages);
    }
    assert_eq!((peak, pages), (trace.peak_pages, trace.pages_at_end));
    trace.events.len()
}

/// Looks up every key of a trace of references (N3).
fn check_references(trace: &ReferenceTrace) -> usize {
    let orders = &trace.orders;
    let mut next = 0;
    for reference in &trace.references {
        let key = reference.key() as usize;
        assert!(key <= next && key < orders.len(), "keys come in order");
        next = next.max(key + 1);
    }
    assert_eq!(next, orders.len(), "every key is used");
    let pages: u64 = orders.iter().map(|order| order.pages() as u64).sum();
    assert_eq!(pages, trace.footprint_pages);
    trace.references.len()
}
