//! Folios in their owners' hands.
//!
//! **Invariants**
//! - H1: a [`Folio`] is its folio's only owner, and counts among the open folios of its pool's table, so
//!   that the pool is alive (see [`lifetime`](super::lifetime), L5).
//! - H2: while a guard or pin exists, the folio's word counts it, and the folio stays in its frames.
//! - H3: bytes are written through a [`FolioWrite`] only, of which there is one at a time, and none
//!   while there is a [`FolioRead`].

mod guard;
pub(crate) mod mapping;
mod shared;
#[cfg(all(test, not(loom)))]
mod tests;

pub use guard::{FolioPin, FolioRead, FolioWrite};
pub use mapping::{FlushError, MapError, Mapping};
pub use shared::{SharedFolio, SharedRead, SharedWrite};

use std::fmt;
use std::ptr::NonNull;
use std::time::Duration;

use super::lifetime::{PoolRef, Tether};
use super::{Inner, PagePool};
use crate::backing::Entry;
use crate::error::{AccessError, AllocError};
use crate::fault::{Claim, Terms};
use crate::folio::{Courtesy, FolioId, FolioSlot, FolioWord, Landing, Mark, Obstacle, Waited};
use crate::gfp::Gfp;
use crate::sync::atomic::AtomicU32;
use crate::sync::clock::{self, Instant};
use crate::types::{NodeId, Order, Pfn};

/// Movable memory behind a handle: it may be moved, written out and brought back while nobody holds it.
///
/// The bytes are reached through guards: [`read`](Self::read) shares them, [`write`](Self::write) has
/// them alone, and [`read_at`](Self::read_at) copies some out without a trace. While a guard is held the
/// folio stays where it is; in between it may be anywhere, swap included, and the next guard brings it
/// back.
///
/// ```
/// use pagepool::{Gfp, PagePool};
///
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let mut folio = pool.alloc_folio(64 << 10, Gfp::USER_MOVABLE)?; // zeros
/// folio.write()?[..5].copy_from_slice(b"hello");
/// assert_eq!(&folio.read()?[..5], b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Folio {
    tether: Tether,
    slot: NonNull<FolioSlot>,
    id: FolioId,
    len: u32,
    /// The store's page that it is a copy of; 0 if none.
    home: u32,
    /// Failures of the store that its owner knows of.
    seen_errors: AtomicU32,
}

// SAFETY: (H1) the handle owns its folio as a box does; the pool and the slot are `Sync`.
unsafe impl Send for Folio {}
// SAFETY: through `&Folio` come shared guards and copies only, counted in the folio's word.
unsafe impl Sync for Folio {}

/// How a folio is going to be used, for [`Folio::advise`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Advice {
    /// Soon: it is brought into memory now (kernel: `MADV_WILLNEED`).
    WillNeed,
    /// Not soon: it is next to leave memory when some is needed (kernel: `MADV_COLD`).
    Cold,
}

/// How a guard is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
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
    /// Makes a folio, blank or at a store's page.
    fn open_at(
        pool: &PoolRef,
        len: usize,
        order: Order,
        marks: &[Mark],
        home: Option<Entry>,
    ) -> Result<Folio, AllocError> {
        let folios = pool.folios();
        let raw_home = home.map_or(0, Entry::raw);
        let opened = folios.open(order, marks, raw_home);
        let (id, is_first) = opened.ok_or(AllocError::TooManyFolios)?;
        if is_first {
            pool.keep_for_folios();
        }
        Ok(Folio {
            tether: pool.tether(),
            slot: NonNull::from(folios.slot(id)),
            id,
            len: len as u32,
            home: raw_home,
            seen_errors: AtomicU32::new(
                home.map_or(0, |home| pool.reclaim.write_errors(home.store()).count()),
            ),
        })
    }

    fn home(&self) -> Option<Entry> {
        Entry::from_raw(self.home)
    }

    #[inline]
    pub(super) fn pool(&self) -> &Inner {
        // SAFETY: (H1) a folio is open.
        unsafe { self.tether.pool() }
    }

    #[inline]
    pub(super) fn slot(&self) -> &FolioSlot {
        // SAFETY: a slot is never unmapped while the pool lives, which (H1) it does.
        unsafe { self.slot.as_ref() }
    }

    #[inline]
    pub(super) fn id(&self) -> FolioId {
        self.id
    }

    /// The size in bytes that was asked for. Never 0.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a folio is never empty")]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The order of the block that holds it: memory is spent in powers of two of pages.
    #[must_use]
    pub fn order(&self) -> Order {
        self.slot().order()
    }

    /// Whether it is in memory at this moment.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.slot().word().is_resident()
    }

    /// The node that it is in, if it is in memory at this moment.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        let word = self.slot().word();
        word.is_resident()
            .then(|| Pfn::from_raw(word.location()).node())
    }

    /// Shares the bytes. Brings the folio back if it is away, and waits for who writes to it.
    ///
    /// # Errors
    /// [`AccessError`]: no memory to bring it back, a store that fails or stalls, or the pool's
    /// [deadline](super::Builder::deadline).
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
        self.touch();
        let copied = self.slot().read_optimistic(|frame| {
            self.pool().copy_racing(Pfn::from_raw(frame), offset, dst);
        });
        copied.is_some()
    }

    #[inline]
    #[track_caller]
    fn check_range(&self, offset: usize, len: usize) {
        // Saturating: one comparison says it all, and no folio is that long.
        if offset.saturating_add(len) > self.len() {
            out_of_range(offset, len, self.len);
        }
    }

    /// Says how the folio is going to be used.
    ///
    /// # Errors
    /// As [`read`](Self::read), if it is to be brought back and cannot be.
    pub fn advise(&self, advice: Advice) -> Result<(), AccessError> {
        match advice {
            Advice::WillNeed => self.bring_back(),
            Advice::Cold => {
                self.pool().cool(self.id);
                Ok(())
            }
        }
    }

    fn bring_back(&self) -> Result<(), AccessError> {
        drop(self.pin()?);
        Ok(())
    }

    /// Gives the contents up: the folio reads as zeros afterwards, and takes neither memory nor swap
    /// until it is touched again (kernel: `MADV_DONTNEED`).
    ///
    /// # Errors
    /// As [`write`](Self::write), in the rare case that the zeros must be written.
    pub fn discard(&mut self) -> Result<(), AccessError> {
        if self.pool().discard(self.id) {
            return Ok(());
        }
        self.write()?.fill(0);
        Ok(())
    }

    /// Brings the folio into memory and keeps it there until [`unlock`](Self::unlock) (kernel: `mlock`).
    /// It may still be moved.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn lock(&self) -> Result<(), AccessError> {
        let _here = self.pin()?;
        self.pool().set_locked(self.id, true);
        Ok(())
    }

    /// Lets the folio leave memory again.
    pub fn unlock(&self) {
        self.pool().set_locked(self.id, false);
    }

    /// Shares the folio among any number of owners; the last one ends it.
    #[must_use]
    pub fn into_shared(self) -> SharedFolio {
        SharedFolio::new(self)
    }

    /// Notes that the folio is used. Stores nothing if that is known.
    #[inline]
    fn touch(&self) {
        if !self.slot().is_known_used() {
            self.touch_slow();
        }
    }

    #[cold]
    fn touch_slow(&self) {
        self.pool().note_use(self.id);
    }

    #[inline]
    fn try_hold(&self, access: Access) -> Result<FolioWord, AccessError> {
        self.touch();
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
        if was_dirtied && self.home != 0 {
            self.note_dirtied(word);
        }
        Ok(word)
    }

    /// Counts the folio of a mapping as dirty, for the writer who has made it so.
    #[cold]
    fn note_dirtied(&self, word: FolioWord) {
        self.pool().custodian().count_dirtied(self.id, word);
    }

    /// Takes hold of the folio, wherever it is. None waits for as long as the pool's default.
    #[inline]
    pub(super) fn hold(
        &self,
        access: Access,
        patience: Option<Duration>,
    ) -> Result<FolioWord, AccessError> {
        self.touch();
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
        let patience = patience.unwrap_or(pool.patience);
        let deadline = clock::deadline_after(patience);
        loop {
            match obstacle {
                Obstacle::Away => {
                    let terms = Terms {
                        gfp: Gfp::USER_MOVABLE,
                        patience: left_until(deadline, patience),
                        deadline,
                    };
                    if let Claim::Done(word) =
                        pool.faulter().fault(self.id, access.landing(), terms)?
                    {
                        // What was away was clean.
                        if self.home != 0 && access.landing() == Landing::Write {
                            self.note_dirtied(word);
                        }
                        return Ok(word);
                    }
                }
                Obstacle::Taken => {
                    let is_blocked = |word| access.is_blocked(word);
                    let waiters = pool.folios().waiters();
                    let waited = waiters.wait(self.id, self.slot(), deadline, is_blocked);
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
fn out_of_range(offset: usize, len: usize, folio_len: u32) -> ! {
    panic!("{len} bytes at {offset} of a folio of {folio_len}")
}

/// The time until a deadline.
fn left_until(deadline: Option<Instant>, patience: Duration) -> Duration {
    deadline.map_or(patience, |deadline| {
        deadline.saturating_duration_since(clock::now())
    })
}

impl Drop for Folio {
    fn drop(&mut self) {
        self.flush_last();
        self.pool().end_folio(self.id);
        if self.pool().folios().close() {
            // SAFETY: `close` says to one folio in the life of the table's handle that it was the last.
            drop(unsafe { self.tether.take_kept() });
        }
    }
}

impl fmt::Debug for Folio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folio")
            .field("len", &self.len)
            .field("order", &self.order())
            .field("word", &self.slot().word())
            .finish_non_exhaustive()
    }
}

impl PagePool {
    /// Allocates a folio of `len` bytes, 1 to 4 MiB, filled with zeros and in memory. What it takes is
    /// the next power of two of pages.
    ///
    /// # Errors
    /// [`AllocError::NeverFits`] for a length out of range, else as
    /// [`alloc_pages`](Self::alloc_pages).
    pub fn alloc_folio(&self, len: usize, gfp: Gfp) -> Result<Folio, AllocError> {
        let folio = self.blank_folio(len)?;
        let terms = Terms {
            gfp: gfp | Gfp::MOVABLE | Gfp::HIGHMEM,
            patience: self.inner.patience,
            deadline: clock::deadline_after(self.inner.patience),
        };
        match self.inner.faulter().fault(folio.id, Landing::Idle, terms) {
            Ok(_) => Ok(folio),
            Err(AccessError::Alloc(error)) => Err(error),
            Err(error) => unreachable!("a blank folio is not read from anywhere: {error}"),
        }
    }

    /// Makes a folio of `len` bytes, 1 to 4 MiB, that reads as zeros and takes no memory until it is
    /// touched.
    ///
    /// # Errors
    /// [`AllocError::NeverFits`] for a length out of range, [`AllocError::TooManyFolios`].
    pub fn blank_folio(&self, len: usize) -> Result<Folio, AllocError> {
        let order = Order::for_bytes(len).filter(|_| len > 0);
        let order = order.ok_or(AllocError::NeverFits)?;
        Folio::open_at(&self.inner, len, order, &[], None)
    }

    /// Pins several folios at once, or none: those away are brought back first.
    ///
    /// # Errors
    /// As [`Folio::pin`], of the first that cannot be pinned.
    pub fn pin_all<'a>(
        &self,
        folios: impl IntoIterator<Item = &'a Folio>,
    ) -> Result<Vec<FolioPin<'a>>, AccessError> {
        folios.into_iter().map(Folio::pin).collect()
    }
}
