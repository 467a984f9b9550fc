//! A thread beside the one that measures.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A thread that does something for as long as it is wanted, and sleeps otherwise.
#[derive(Debug, Default)]
pub(super) struct Companion {
    state: AtomicUsize,
}

const ASLEEP: usize = 0;
const CALLED: usize = 1;
const AT_WORK: usize = 2;
const OVER: usize = 3;

impl Companion {
    /// The companion's own life.
    pub(super) fn serve(&self, mut work: impl FnMut()) {
        loop {
            // Relaxed, all: nothing but the state itself is passed on.
            match self.state.load(Ordering::Relaxed) {
                OVER => return,
                ASLEEP => thread::park(),
                CALLED => {
                    work();
                    self.change(CALLED, AT_WORK);
                }
                _ => work(),
            }
        }
    }

    /// Calls the companion and waits until it is at work.
    pub(super) fn call(&self, thread: &thread::Thread) {
        self.change(ASLEEP, CALLED);
        thread.unpark();
        while self.state.load(Ordering::Relaxed) != AT_WORK {
            std::hint::spin_loop();
        }
    }

    /// Sends it to sleep.
    pub(super) fn dismiss(&self) {
        self.change(AT_WORK, ASLEEP);
    }

    pub(super) fn end(&self, thread: &thread::Thread) {
        self.state.store(OVER, Ordering::Relaxed);
        thread.unpark();
    }

    fn change(&self, from: usize, to: usize) {
        let _ = self
            .state
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}
