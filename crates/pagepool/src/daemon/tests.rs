//! The thread's steps on a ward that does what a test says, and whole threads on small nodes.

mod crew;
mod kcompactd;
mod nodes;
mod rig;
mod steps;
mod trace;

use std::time::Duration;

use crate::sync::clock::{self, Instant};
use crate::sync::{Requests, thread};
use crate::types::ZoneType;

/// Long enough for anything that happens at all.
fn patience() -> Option<Instant> {
    clock::deadline_after(Duration::from_secs(60))
}

/// Starts a thread of the test's own.
fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn("test", f).expect("threads are to be had")
}

/// Waits until something is so.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = patience();
    while !is_so() {
        assert!(Some(clock::now()) < deadline, "never: {what}");
        thread::yield_now();
    }
}

/// A request for each class and order.
fn asked(requests: &[(ZoneType, u8)]) -> Requests {
    requests.iter().fold(Requests::NONE, |set, (class, order)| {
        set.with(class.idx(), *order).unwrap_or(set)
    })
}
