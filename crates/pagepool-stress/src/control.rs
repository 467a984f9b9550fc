//! What players and the conductor tell each other while playing: how far, and when to stop.
#![forbid(unsafe_code)]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;
use signal_hook::consts::SIGINT;

use crate::posts::Posts;

/// Events between two looks at the clock and the stop flag.
pub(crate) const EVENTS_PER_LOOK: u64 = 1024;

/// Shared by all threads of a run. Nothing is ordered by its words: each stands for itself.
#[derive(Debug)]
pub(crate) struct Control {
    interrupted: Arc<AtomicBool>,
    start: Instant,
    /// When to stop, in nanoseconds from `start`.
    stop_ns: AtomicU64,
    /// Events played in this phase.
    played: CachePadded<AtomicU64>,
    posts: Posts,
}

impl Control {
    /// For `nr_workers` threads and the conductor.
    pub(crate) fn new(nr_workers: usize) -> Control {
        Control {
            interrupted: Arc::new(AtomicBool::new(false)),
            start: Instant::now(),
            stop_ns: AtomicU64::new(u64::MAX),
            played: CachePadded::new(AtomicU64::new(0)),
            posts: Posts::new(nr_workers),
        }
    }

    /// Makes Ctrl-C end the run with the report so far; a second one ends the process.
    pub(crate) fn heed_ctrl_c(&self) -> io::Result<()> {
        const STATUS: i32 = 130;
        let flag = &self.interrupted;
        signal_hook::flag::register_conditional_shutdown(SIGINT, STATUS, Arc::clone(flag))?;
        signal_hook::flag::register(SIGINT, Arc::clone(flag))?;
        Ok(())
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
        self.interrupted.load(Relaxed)
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
        let control = Control::new(1);
        assert!(!control.look(5));
        control.begin(Some(Duration::ZERO));
        assert!(control.look(7));
        assert_eq!(control.played(), 7);
        control.begin(None);
        assert!(!control.is_over());
    }
}
