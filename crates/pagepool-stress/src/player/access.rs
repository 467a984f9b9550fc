//! The bytes of folios, and what goes wrong on the way to them.
//!
//! An access that ends in an error is counted by its cause and tried again a few times. Which errors
//! may happen depends on the device: one that fails on purpose damages copies, a sound one does not.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use pagepool::{AccessError, Folio, FolioRead};

use crate::tally::{Tally, record};

/// What the swap device is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It works: a copy that is damaged or cannot be read is a violation.
    Sound,
    /// It fails now and then: such errors are what is expected.
    Faulty,
}

/// How often an access is tried, unless it is the last one before the folio goes.
pub(super) const ATTEMPTS: u32 = 3;

impl Tally {
    /// Has `work` look at the bytes of a folio.
    pub(super) fn read_folio<R>(
        &mut self,
        folio: &Folio,
        attempts: u32,
        trust: Trust,
        work: impl FnOnce(&mut Tally, &[u8]) -> R,
    ) -> Result<R, AccessError> {
        self.read_by(folio, attempts, trust, Folio::read, work)
    }

    /// The same once, within `patience`: for memory so short that a longer wait would be in vain.
    pub(super) fn glance_at_folio<R>(
        &mut self,
        folio: &Folio,
        patience: Duration,
        trust: Trust,
        work: impl FnOnce(&mut Tally, &[u8]) -> R,
    ) -> Result<R, AccessError> {
        let read = |folio| Folio::read_within(folio, patience);
        self.read_by(folio, 1, trust, read, work)
    }

    fn read_by<'f, R>(
        &mut self,
        folio: &'f Folio,
        attempts: u32,
        trust: Trust,
        read: impl Fn(&'f Folio) -> Result<FolioRead<'f>, AccessError>,
        work: impl FnOnce(&mut Tally, &[u8]) -> R,
    ) -> Result<R, AccessError> {
        let mut left = attempts;
        loop {
            let begin = self.begin_touch(folio);
            match read(folio) {
                Ok(bytes) => {
                    self.end_touch(begin);
                    return Ok(work(self, &bytes));
                }
                Err(error) => self.access_erred(error, trust, &mut left)?,
            }
        }
    }

    /// Has `work` change the bytes of a folio.
    pub(super) fn write_folio<R>(
        &mut self,
        folio: &mut Folio,
        attempts: u32,
        trust: Trust,
        work: impl FnOnce(&mut Tally, &mut [u8]) -> R,
    ) -> Result<R, AccessError> {
        let mut left = attempts;
        loop {
            let begin = self.begin_touch(folio);
            match folio.write() {
                Ok(mut bytes) => {
                    self.end_touch(begin);
                    return Ok(work(self, &mut bytes));
                }
                Err(error) => self.access_erred(error, trust, &mut left)?,
            }
        }
    }

    /// When an access begins that finds its folio away.
    fn begin_touch(&mut self, folio: &Folio) -> Option<Instant> {
        self.nr_touches += 1;
        (!folio.is_resident()).then(Instant::now)
    }

    fn end_touch(&mut self, begin: Option<Instant>) {
        if let Some(begin) = begin {
            record(&mut self.fault_ns, begin);
            self.nr_away += 1;
        }
    }

    /// Counts an error; returns it if the access has been tried often enough.
    #[cold]
    fn access_erred(
        &mut self,
        error: AccessError,
        trust: Trust,
        left: &mut u32,
    ) -> Result<(), AccessError> {
        self.access_failed(error);
        let is_of_device = matches!(error, AccessError::Corrupt | AccessError::StoreFailed);
        let is_impossible = matches!(
            error,
            AccessError::WouldBlock | AccessError::Deadlock | AccessError::TooManyPins
        );
        if is_impossible || (is_of_device && trust == Trust::Sound) {
            self.violations
                .add(format_args!("an access failed that cannot fail: {error}"));
        }
        *left = left.saturating_sub(1);
        match *left {
            0 => Err(error),
            _ => Ok(()),
        }
    }
}
