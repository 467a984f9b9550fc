//! What came of a transfer: page by page, and why where it did not bring what was asked.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::buffer::IO_PAGES;
use crate::sync::clock::{self, Instant};

/// Why a transfer did not bring what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The deadline passed, and the store had had [time enough](StoreError::after). Whatever was under way goes
    /// on by itself.
    #[error("the store has stalled")]
    Stalled,
    /// The deadline passed, but who waited had too little time left when the store was asked.
    #[error("the time was over before the store could answer")]
    Late,
    /// The device failed, and trying again did not help.
    #[error("the device failed")]
    Failed,
    /// What was read is not what was written.
    #[error("the data is damaged: its checksum does not match")]
    Corrupt,
    /// The device has no room.
    #[error("the device is full")]
    Full,
    /// The backing holds the pages back for now.
    #[error("the backing holds the pages back")]
    Held,
    /// The callback panicked.
    #[error("the backing panicked")]
    Panicked,
    /// The store was shut down, or the system has no thread for it.
    #[error("the store is closed")]
    Closed,
}

/// A store that has not answered for so long is said to have stalled; a disk takes a few milliseconds for what is
/// asked at once. One that had less time, because who asked had none, is not. With less, a slow store is blamed for
/// what another lacks; with more, requests with short deadlines are not told of one that is dead.
const STALLED_AFTER: Duration = Duration::from_millis(20);

impl StoreError {
    /// Why a wait for a store ended without an answer that began at a point in time.
    pub(crate) fn after(since: Instant) -> StoreError {
        if clock::now().saturating_duration_since(since) >= STALLED_AFTER {
            StoreError::Stalled
        } else {
            StoreError::Late
        }
    }
}

/// What came of a transfer, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// A bit for each page that failed.
    failed: u32,
    /// How many of those are damaged.
    nr_corrupt: u8,
    /// Why the first of them did.
    error: Option<StoreError>,
}

const _: () = assert!(IO_PAGES == u32::BITS as usize);

impl Outcome {
    /// Every page was transferred.
    pub(crate) const DONE: Outcome = Outcome {
        failed: 0,
        nr_corrupt: 0,
        error: None,
    };

    /// None of `nr` pages was.
    pub(super) fn all_failed(nr: usize, error: StoreError) -> Outcome {
        let mut outcome = Outcome::DONE;
        (0..nr).for_each(|page| outcome.add_failure(page, error));
        outcome
    }

    pub(super) fn add_failure(&mut self, page: usize, error: StoreError) {
        self.failed |= 1 << page;
        self.nr_corrupt += u8::from(error == StoreError::Corrupt);
        self.error.get_or_insert(error);
    }

    /// Why pages failed, if any did.
    pub(crate) fn error(self) -> Option<StoreError> {
        self.error
    }

    /// How many did.
    pub(crate) fn nr_failed(self) -> u32 {
        self.failed.count_ones()
    }

    /// How many did because they are damaged.
    pub(super) fn nr_corrupt(self) -> u32 {
        self.nr_corrupt.into()
    }

    /// Whether all of `nr` pages were transferred, counting from page `first` of the buffer.
    pub(crate) fn of(self, first: usize, nr: usize) -> Result<(), StoreError> {
        debug_assert!(first + nr <= IO_PAGES, "pages {first} to {}", first + nr);
        let mask = ((1u64 << nr) - 1) << first;
        match self.error {
            Some(error) if u64::from(self.failed) & mask != 0 => Err(error),
            _ => Ok(()),
        }
    }
}
