//! What players and the conductor tell each other while playing: how far, and when to stop.
#![forbid(unsafe_code)]

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;

use crate::{interrupt::Interrupt, posts::Posts};

/// Events between two looks at the clock and the stop flag.
pub(crate) const EVENTS_PER_LOOK: u64 = 1024;

/// Shared by all threads of a run. Nothing is ordered by its words: each stands for itself.
#[derive(Debug)]
pub(crate) struct Control {
    interrupt: Interrupt,
    start: Instant,
    /// When to stop, in nanoseconds from `start`.
    stop_ns: AtomicU64,
    /// Events played in this phase.
    played: CachePadded<AtomicU64>,
    posts: Posts,
}

impl Control {
    /// For `nr_workers` threads and the conductor, who end when `interrupt` says so.
    pub(crate) fn new(nr_workers: usize, interrupt: Interrupt) -> Control {
        Control {
            interrupt,
            start: Instant::now(),
            stop_ns: AtomicU64::new(u64::MAX),
            played: CachePadded::new(AtomicU64::new(0)),
            posts: Posts::new(nr_workers),
        }
    }

    /// Begins a phase, to stop after `limit` of playing if there is one.
    pub(crate) fn begin(&self, limit: Option<Duration>) {
        self.played.store(0, Relaxed);
        let stop = limit.map(|limit| self.start.elapsed() + limit);
        let stop_ns = stop.and_then(|stop| u64::try_from(stop.as_nanos()).ok());
        self.stop_ns.store(stop_ns.unwrap_or(u64::MAX), Relaxed);
    }

    /// Adds events to those played; true if it is time to stop.
    pub(crate) fn look(&self, events: u64) -> bool {
        self.played.fetch_add(events, Relaxed);
        self.is_over()
    }

    /// Whether the time is up or somebody pressed Ctrl-C.
    pub(crate) fn is_over(&self) -> bool {
        self.is_interrupted()
            || self.start.elapsed().as_nanos() as u64 >= self.stop_ns.load(Relaxed)
    }

    /// Where the threads stand.
    pub(crate) fn posts(&self) -> &Posts {
        &self.posts
    }

    /// Whether somebody pressed Ctrl-C.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.is_set()
    }

    /// Events played in this phase.
    pub(crate) fn played(&self) -> u64 {
        self.played.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_with_its_time() {
        let control = Control::new(1, Interrupt::default());
        assert!(!control.look(5));
        control.begin(Some(Duration::ZERO));
        assert!(control.look(7));
        assert_eq!(control.played(), 7);
        control.begin(None);
        assert!(!control.is_over());
    }
}
