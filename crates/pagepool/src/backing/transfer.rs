//! One transfer: calls the backing, tries again what may pass, and says page by page what came of it.

#![forbid(unsafe_code)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::counters::{Counter, Counters};
use super::outcome::{Outcome, StoreError};
use super::store::Direction;
use super::{Backing, BackingError, WriteOut};
use crate::sync::thread;
use crate::types::PAGE_SIZE;

/// How often a transient error is answered by another attempt.
const MAX_RETRIES: u32 = 5;

/// The wait before the first of them; it doubles from one to the next, to 31 ms altogether.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// What came of one attempt.
enum Attempt {
    Done,
    Transient,
    Refused(StoreError),
}

/// A backing and where its doings are counted.
pub(super) struct Transfer<'a> {
    pub(super) backing: &'a dyn Backing,
    pub(super) counters: &'a Counters,
    pub(super) direction: Direction,
}

impl Transfer<'_> {
    /// Transfers whole pages between `bytes` and the backing, from its page `page` on.
    ///
    /// If that fails for a reason that may be one page's, each page is tried by itself: one bad page
    /// takes no other with it. A question is asked once.
    pub(super) fn run(&self, page: u64, bytes: &mut [u8]) -> Outcome {
        let nr = bytes.len() / PAGE_SIZE;
        if self.direction == Direction::Ask {
            return match self.attempt(page, bytes) {
                Attempt::Done => Outcome::DONE,
                Attempt::Transient => Outcome::all_failed(nr, StoreError::Failed),
                Attempt::Refused(error) => Outcome::all_failed(nr, error),
            };
        }
        match self.attempt_patiently(page, bytes) {
            Ok(()) => Outcome::DONE,
            Err(StoreError::Failed | StoreError::Corrupt) if nr > 1 => {
                self.run_page_by_page(page, bytes)
            }
            Err(error) => Outcome::all_failed(nr, error),
        }
    }

    fn run_page_by_page(&self, page: u64, bytes: &mut [u8]) -> Outcome {
        let mut outcome = Outcome::DONE;
        for (n, bytes) in bytes.chunks_exact_mut(PAGE_SIZE).enumerate() {
            if let Err(error) = self.attempt_patiently(page + n as u64, bytes) {
                outcome.add_failure(n, error);
            }
        }
        outcome
    }

    /// Attempts it until the answer is final.
    fn attempt_patiently(&self, page: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..=MAX_RETRIES {
            match self.attempt(page, bytes) {
                Attempt::Done => return Ok(()),
                Attempt::Refused(error) => return Err(error),
                Attempt::Transient => {}
            }
            self.counters.add(Counter::Retries, 1);
            thread::sleep(pause);
            pause *= 2;
        }
        Err(StoreError::Failed)
    }

    /// Calls the backing once. A panic in it ends here.
    fn attempt(&self, page: u64, bytes: &mut [u8]) -> Attempt {
        // After a panic nothing is looked at but the buffer, all of whose contents are bytes.
        let called = catch_unwind(AssertUnwindSafe(|| match self.direction {
            Direction::Read => self
                .backing
                .read_in(page, bytes)
                .map(|()| WriteOut::Written),
            Direction::Write => self.backing.write_out(page, bytes),
            Direction::Ask => self.backing.migrate(page).map(|()| WriteOut::Written),
        }));
        match called {
            Ok(Ok(WriteOut::Written)) => Attempt::Done,
            Ok(Ok(WriteOut::Held)) => Attempt::Refused(StoreError::Held),
            Ok(Err(error)) => judge(&error),
            Err(payload) => {
                self.counters.add(Counter::Panics, 1);
                // What was panicked with may panic when it is dropped. That panic's payload is let go
                // undropped.
                if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    std::mem::forget(again);
                }
                Attempt::Refused(StoreError::Panicked)
            }
        }
    }
}

fn judge(error: &BackingError) -> Attempt {
    use io::ErrorKind::{Interrupted, StorageFull, TimedOut, WouldBlock};
    match error {
        BackingError::Io(error) => match error.kind() {
            Interrupted | WouldBlock | TimedOut => Attempt::Transient,
            StorageFull => Attempt::Refused(StoreError::Full),
            _ => Attempt::Refused(StoreError::Failed),
        },
        BackingError::Corrupt { .. } => Attempt::Refused(StoreError::Corrupt),
        BackingError::Full => Attempt::Refused(StoreError::Full),
    }
}
