//! Getting at a folio's bytes: at once where it can be, else by bringing it back and waiting in line.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::{Folio, FolioPin, FolioRead, FolioWrite};
use crate::error::AccessError;
use crate::fault::{Claim, Terms};
use crate::folio::{Courtesy, FolioSlot, FolioWord, Landing, Obstacle, Waited};
use crate::gfp::Gfp;
use crate::record::AccessKind;
use crate::sync::clock::{self, Instant};
use crate::types::Pfn;

/// How a guard is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pool) enum Access {
    /// Shared.
    Read(Courtesy),
    /// Alone, as the folio's only owner.
    WriteOwned,
    /// Alone, among others.
    Write,
    /// In its place, whatever happens to the bytes.
    Pin,
}

impl Access {
    fn landing(self) -> Landing {
        match self {
            Access::Read(_) => Landing::Read,
            Access::WriteOwned | Access::Write => Landing::Write,
            Access::Pin => Landing::Pin,
        }
    }

    fn kind(self) -> AccessKind {
        match self {
            Access::Read(_) => AccessKind::Read,
            Access::WriteOwned | Access::Write => AccessKind::Write,
            Access::Pin => AccessKind::Pin,
        }
    }

    /// Takes hold of the folio, if it can be had at once. Returns the word, and whether that has made a
    /// clean folio dirty.
    #[inline]
    fn begin(self, slot: &FolioSlot) -> Result<(FolioWord, bool), Obstacle> {
        match self {
            Access::Read(courtesy) => Ok((slot.begin_read(courtesy)?, false)),
            Access::WriteOwned => slot.begin_write_owned(),
            Access::Write => slot.begin_write(),
            Access::Pin => Ok((slot.begin_pin()?, false)),
        }
    }

    /// Whether a word is in the way of this access for as long as somebody else holds the folio.
    fn is_blocked(self, word: FolioWord) -> bool {
        let tried = match self {
            Access::Read(courtesy) => word.begin_read(courtesy),
            Access::WriteOwned => word.begin_write_owned(),
            Access::Write => word.begin_write(),
            Access::Pin => word.begin_pin(),
        };
        tried == Err(Obstacle::Taken)
    }
}

impl Folio {
    /// Shares the bytes. Brings the folio back if it is away, and waits for who writes to it.
    ///
    /// # Errors
    /// [`AccessError`]: no memory to bring it back, a store that fails or stalls, or the pool's
    /// [deadline](crate::Builder::deadline).
    #[inline]
    pub fn read(&self) -> Result<FolioRead<'_>, AccessError> {
        let word = self.hold(Access::Read(Courtesy::WaitersFirst), None)?;
        Ok(FolioRead::new(self, word))
    }

    /// As [`read`](Self::read), waiting no longer than `patience`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_within(&self, patience: Duration) -> Result<FolioRead<'_>, AccessError> {
        let word = self.hold(Access::Read(Courtesy::WaitersFirst), Some(patience))?;
        Ok(FolioRead::new(self, word))
    }

    /// Shares the bytes if that is possible at once.
    ///
    /// # Errors
    /// [`AccessError::WouldBlock`] if the folio is away or being written to.
    #[inline]
    pub fn try_read(&self) -> Result<FolioRead<'_>, AccessError> {
        let word = self.try_hold(Access::Read(Courtesy::WaitersFirst))?;
        Ok(FolioRead::new(self, word))
    }

    /// Has the bytes alone. Brings the folio back if it is away. What is being written out of it at the
    /// moment is not waited for.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[inline]
    pub fn write(&mut self) -> Result<FolioWrite<'_>, AccessError> {
        let word = self.hold(Access::WriteOwned, None)?;
        Ok(FolioWrite::new(self, word))
    }

    /// As [`write`](Self::write), waiting no longer than `patience`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write_within(&mut self, patience: Duration) -> Result<FolioWrite<'_>, AccessError> {
        let word = self.hold(Access::WriteOwned, Some(patience))?;
        Ok(FolioWrite::new(self, word))
    }

    /// Has the bytes alone if that is possible at once.
    ///
    /// # Errors
    /// [`AccessError::WouldBlock`] if the folio is away.
    #[inline]
    pub fn try_write(&mut self) -> Result<FolioWrite<'_>, AccessError> {
        let word = self.try_hold(Access::WriteOwned)?;
        Ok(FolioWrite::new(self, word))
    }

    /// Keeps the folio in its place without a claim on its bytes: neither moved nor written out to make
    /// room. Its address stays the same meanwhile. Meant to be short; what must stay in memory for long
    /// is [locked](Self::lock).
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`AccessError::TooManyPins`] from 63 pins on.
    #[inline]
    #[track_caller]
    pub fn pin(&self) -> Result<FolioPin<'_>, AccessError> {
        let word = self.hold(Access::Pin, None)?;
        Ok(FolioPin::new(self, word))
    }

    /// Copies `dst.len()` bytes out, from `offset` on. If the folio is in memory and nobody writes to it
    /// meanwhile, nothing is stored that others could see, so that readers on many CPUs do not slow each
    /// other down; else as by [`read`](Self::read).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// If the bytes are not all in the folio.
    #[inline(always)]
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), AccessError> {
        if self.read_optimistic(offset, dst) {
            return Ok(());
        }
        // Copied here and not there, so that `dst` may be a register.
        let bytes = self.read_slow()?;
        dst.copy_from_slice(&bytes[offset..offset + dst.len()]);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&self) -> Result<FolioRead<'_>, AccessError> {
        self.read()
    }

    /// As [`read_at`](Self::read_at), but only if that leaves no trace; returns whether it did. If not,
    /// what is in `dst` means nothing.
    ///
    /// # Panics
    /// If the bytes are not all in the folio.
    // Always: the length is mostly a constant, and then hardly anything is left of this.
    #[inline(always)]
    #[must_use = "if it did not succeed, the bytes mean nothing"]
    pub fn read_optimistic(&self, offset: usize, dst: &mut [u8]) -> bool {
        self.check_range(offset, dst.len());
        self.touch(AccessKind::Read);
        self.copy_if_settled(offset, dst)
    }

    /// Copies what is in the folio without noting that it was used, if it is in memory and nobody has it on
    /// hand; returns whether it did. For a simulation that looks at everything.
    #[cfg(shuttle)]
    #[doc(hidden)]
    pub fn peek(&self, dst: &mut [u8]) -> bool {
        self.check_range(0, dst.len());
        self.copy_if_settled(0, dst)
    }

    #[inline(always)]
    fn copy_if_settled(&self, offset: usize, dst: &mut [u8]) -> bool {
        let copied = self.slot().read_optimistic(|frame| {
            let frame = Pfn::from_raw(self.guess(frame));
            self.pool().copy_racing(frame, offset, dst);
        });
        copied.is_some()
    }

    #[inline]
    #[track_caller]
    fn check_range(&self, offset: usize, len: usize) {
        // Saturating: one comparison says it all, and no folio is that long.
        if offset.saturating_add(len) > self.len() {
            out_of_range(offset, len, self.len());
        }
    }

    /// Notes that the folio is used. Stores nothing if that is known and not recorded.
    #[inline]
    fn touch(&self, kind: AccessKind) {
        if !self.slot().is_known_used() {
            self.touch_slow(kind);
        }
    }

    #[cold]
    fn touch_slow(&self, kind: AccessKind) {
        let (pool, id) = (self.pool(), self.id());
        let is_first = !self.slot().is_used();
        if is_first {
            pool.note_use(id);
        }
        pool.note_access(id, kind, is_first);
    }

    #[inline]
    fn try_hold(&self, access: Access) -> Result<FolioWord, AccessError> {
        self.touch(access.kind());
        self.begin(access).map_err(|obstacle| match obstacle {
            Obstacle::Away | Obstacle::Taken => AccessError::WouldBlock,
            Obstacle::TooMany => AccessError::TooManyPins,
            Obstacle::Ended => unreachable!("H1: the folio is open"),
        })
    }

    /// Takes hold of the folio, if it can be had at once.
    #[inline]
    fn begin(&self, access: Access) -> Result<FolioWord, Obstacle> {
        let (word, was_dirtied) = access.begin(self.slot())?;
        if was_dirtied && self.home().is_some() {
            self.note_dirtied(word);
        }
        Ok(word)
    }

    /// Counts the folio of a mapping as dirty, for the writer who has made it so.
    #[cold]
    fn note_dirtied(&self, word: FolioWord) {
        self.pool().custodian().count_dirtied(self.id(), word);
    }

    /// Takes hold of the folio, wherever it is. None waits for as long as the pool's default.
    #[inline]
    pub(super) fn hold(
        &self,
        access: Access,
        patience: Option<Duration>,
    ) -> Result<FolioWord, AccessError> {
        self.touch(access.kind());
        match self.begin(access) {
            Ok(word) => Ok(word),
            Err(obstacle) => self.hold_slow(access, obstacle, patience),
        }
    }

    #[cold]
    fn hold_slow(
        &self,
        access: Access,
        mut obstacle: Obstacle,
        patience: Option<Duration>,
    ) -> Result<FolioWord, AccessError> {
        let pool = self.pool();
        pool.note_time();
        let patience = patience.unwrap_or(pool.patience);
        let deadline = clock::deadline_after(patience);
        loop {
            match obstacle {
                Obstacle::Away => {
                    let terms = Terms {
                        gfp: Gfp::USER_MOVABLE,
                        patience: left_until(deadline, patience),
                        deadline,
                        is_object: false,
                    };
                    let fault = || pool.faulter().fault(self.id(), access.landing(), terms);
                    if let Claim::Done(word) = pool.note_fault(self.id(), access.kind(), fault)? {
                        // What was away was clean.
                        if self.home().is_some() && access.landing() == Landing::Write {
                            self.note_dirtied(word);
                        }
                        return Ok(word);
                    }
                }
                Obstacle::Taken => {
                    let is_blocked = |word| access.is_blocked(word);
                    let _stall = pool.faulter().stall_for(self.id());
                    let waiters = pool.folios().waiters();
                    let waited = waiters.wait(self.id(), self.slot(), deadline, is_blocked);
                    if waited == Waited::TimedOut {
                        return Err(AccessError::TimedOut);
                    }
                }
                Obstacle::TooMany => return Err(AccessError::TooManyPins),
                Obstacle::Ended => unreachable!("H1: the folio is open"),
            }
            match self.begin(access) {
                Ok(word) => return Ok(word),
                Err(now) => obstacle = now,
            }
        }
    }
}

/// Away from where reads are inlined.
#[cold]
#[inline(never)]
#[track_caller]
fn out_of_range(offset: usize, len: usize, folio_len: usize) -> ! {
    panic!("{len} bytes at {offset} of a folio of {folio_len}")
}

/// The time until a deadline.
fn left_until(deadline: Option<Instant>, patience: Duration) -> Duration {
    deadline.map_or(patience, |deadline| {
        deadline.saturating_duration_since(clock::now())
    })
}
