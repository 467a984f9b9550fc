//! Reads that go past the workers: who wants the pages reads them itself, by the ring of its buffer.
//!
//! A worker costs a fault two wake-ups, more than a fast disk takes to answer. What it is good for is
//! that it can be left alone with a call that does not return; a ring can be left as well. So a read of
//! a file is tried here first, and the workers have what remains:
//!
//! ```text
//!            all pages came, and are intact
//!   Reading ────────────────────────────────→ Taken, with what was read
//!      │ │   short, failed or damaged
//!      │ └──────────────────────────────────→ Queued: a worker reads it once more, tries again what may
//!      │                                      pass, page by page, and says what is wrong
//!      │     the deadline
//!      └────────────────────────────────────→ Orphaned ──→ Running: a worker waits for the device
//! ```
//!
//! Writes stay with the workers. Nobody waits for one alone, two are under way at once, and while a file
//! grows the kernel would only hand them to threads of its own.
//!
//! Not here: what a ring is (`uring`).

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use super::buffer::Buffer;
use super::counters::Counter;
use super::outcome::{Outcome, StoreError};
use super::store::{Completed, IoBuf, Request, Shared, Store, StoreSpec};
use super::uring::{Flight, Landed, Ring};
use crate::sync::clock::Instant;

/// A backing whose page n is the n-th 4096 bytes of a file, so that reads need not be calls to it.
pub(crate) trait InFile: Send + Sync {
    /// The file; none if it is in none after all, or wants to be called.
    fn file(&self) -> Option<&File>;

    /// Whether `bytes`, whole pages from `page` on, are what was written there.
    fn is_intact(&self, page: u64, bytes: &[u8]) -> bool;
}

/// How a store reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum IoEngine {
    /// Whoever needs pages reads them itself, through io_uring.
    IoUring,
    /// Threads of the store call its device, or its backing.
    Threads,
}

impl fmt::Display for IoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            IoEngine::IoUring => "io_uring",
            IoEngine::Threads => "threads",
        })
    }
}

/// What of a store's backing lies in a file that rings can read, as far as the system lets them.
pub(super) fn source(spec: &StoreSpec) -> Option<Arc<dyn InFile>> {
    let in_file = spec.in_file.as_ref()?;
    (in_file.file().is_some() && Ring::is_available()).then(|| Arc::clone(in_file))
}

/// What came of a read past the workers.
enum Passed {
    /// The buffer holds the pages.
    Whole(IoBuf),
    /// Nothing came of it. The workers are to be asked.
    Not(IoBuf),
}

impl Store {
    /// How this store reads.
    pub(crate) fn engine(&self) -> IoEngine {
        match self.shared().source {
            Some(_) => IoEngine::IoUring,
            None => IoEngine::Threads,
        }
    }

    /// Fills the first `nr` pages of the buffer from the store's pages from `page` on, and waits for it.
    ///
    /// # Errors
    /// [`StoreError::Stalled`] or [`StoreError::Late`] if that did not end before the deadline.
    pub(crate) fn read(
        &self,
        buf: IoBuf,
        page: u64,
        nr: usize,
        deadline: Option<Instant>,
    ) -> Result<Completed, StoreError> {
        match self.read_past_workers(buf, page, nr, deadline)? {
            Passed::Whole(buf) => Ok(Completed {
                buf,
                outcome: Outcome::DONE,
            }),
            Passed::Not(buf) => self.submit_read(buf, page, nr).wait(deadline),
        }
    }

    fn read_past_workers(
        &self,
        mut buf: IoBuf,
        page: u64,
        nr: usize,
        deadline: Option<Instant>,
    ) -> Result<Passed, StoreError> {
        let shared = self.shared();
        let Some(source) = &shared.source else {
            return Ok(Passed::Not(buf));
        };
        let has_ring =
            |buffer: &mut Buffer| source.file().is_some_and(|file| buffer.has_ring(file));
        let request = Request::read(page, nr);
        if !has_ring(buf.buffer_mut()) || !shared.begin_reading(&buf, request) {
            return Ok(Passed::Not(buf));
        }

        let (op, buffer) = buf.into_parts();
        match Flight::prepare(buffer, page, nr).wait(deadline) {
            Ok(Landed { buffer, is_whole }) => {
                let buf = shared.end_reading(op, buffer);
                if !is_whole || !source.is_intact(page, buf.pages(0, nr)) {
                    return Ok(Passed::Not(buf));
                }
                shared.count(request, Outcome::DONE);
                Ok(Passed::Whole(buf))
            }
            Err(flight) => {
                shared.counters.add(Counter::Abandoned, 1);
                shared.orphan(op, request, flight);
                Shared::see_to_workers(shared);
                Err(shared.gave_up(request.since))
            }
        }
    }
}
