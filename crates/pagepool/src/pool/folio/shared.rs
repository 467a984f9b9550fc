//! Folios with several owners.
//!
//! Exclusion is by the folio's word here, not by the borrow checker, so a thread could wait for itself.
//! Each thread therefore remembers the few shared folios that it holds; one that writes while it reads,
//! or the other way round, is told so ([`AccessError::Deadlock`]), and one that reads again does not
//! queue behind writers that wait for it.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::{Advice, FlushError, Folio, FolioRead, FolioWrite};
use crate::error::AccessError;
use crate::folio::{Courtesy, FolioSlot};
use crate::sync::thread::per_thread;

/// Shared folios that a thread may hold at once and still be told of a deadlock; beyond, its deadline
/// tells.
const REMEMBERED: usize = 16;

per_thread! {
    static HELD: Cell<[Option<Hold>; REMEMBERED]> = Cell::new([None; REMEMBERED]);
}

/// A shared folio that this thread holds.
///
/// By the address of its slot, and by its generation, which does not change as long as somebody holds it:
/// what is left of a guard that was leaked does not stand for the next folio in the slot.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hold {
    slot: usize,
    generation: u64,
    exclusive: bool,
}

impl Hold {
    fn of(folio: &Folio, exclusive: bool) -> Hold {
        Hold {
            slot: std::ptr::from_ref::<FolioSlot>(folio.slot()).addr(),
            generation: folio.slot().word().generation(),
            exclusive,
        }
    }
}

/// What this thread holds of a folio.
fn held(folio: &Folio) -> Option<Hold> {
    let holds = [false, true].map(|exclusive| Hold::of(folio, exclusive));
    let held = HELD.with(Cell::get);
    held.into_iter().flatten().find(|hold| holds.contains(hold))
}

fn remember(folio: &Folio, exclusive: bool) {
    let hold = Hold::of(folio, exclusive);
    let mut held = HELD.with(Cell::get);
    if let Some(room) = held.iter_mut().find(|entry| entry.is_none()) {
        *room = Some(hold);
        HELD.with(|cell| cell.set(held));
    }
}

fn forget(folio: &Folio, exclusive: bool) {
    let hold = Hold::of(folio, exclusive);
    let mut held = HELD.with(Cell::get);
    if let Some(entry) = held.iter_mut().find(|entry| **entry == Some(hold)) {
        *entry = None;
        HELD.with(|cell| cell.set(held));
    }
}

/// A folio that several owners share. Cloning makes another owner; the last one ends the folio.
///
/// ```
/// # use pagepool::{Gfp, PagePool};
/// # let pool = PagePool::builder().memory(64 << 20).build()?;
/// let one = pool.alloc_folio(4096, Gfp::USER_MOVABLE)?.into_shared();
/// let other = one.clone();
/// let thread = std::thread::spawn(move || other.write().map(|mut bytes| bytes[0] = 7));
/// thread.join().unwrap()?;
/// assert_eq!(one.read()?[0], 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedFolio {
    folio: Arc<Folio>,
}

impl SharedFolio {
    pub(super) fn new(folio: Folio) -> SharedFolio {
        SharedFolio {
            folio: Arc::new(folio),
        }
    }

    /// The folio again, if this is its only owner.
    ///
    /// # Errors
    /// This owner, if there are others.
    pub fn into_owned(self) -> Result<Folio, SharedFolio> {
        Arc::try_unwrap(self.folio).map_err(|folio| SharedFolio { folio })
    }

    /// The size in bytes that was asked for. Never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a folio is never empty")]
    pub fn len(&self) -> usize {
        self.folio.len()
    }

    /// Whether it is in memory at this moment.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.folio.is_resident()
    }

    /// Shares the bytes. New readers wait behind writers that wait already.
    ///
    /// # Errors
    /// As [`Folio::read`], and [`AccessError::Deadlock`] if this thread writes to the folio.
    pub fn read(&self) -> Result<SharedRead<'_>, AccessError> {
        self.read_for(None)
    }

    /// As [`read`](Self::read), waiting no longer than `patience`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_within(&self, patience: Duration) -> Result<SharedRead<'_>, AccessError> {
        self.read_for(Some(patience))
    }

    fn read_for(&self, patience: Option<Duration>) -> Result<SharedRead<'_>, AccessError> {
        let folio = &*self.folio;
        let courtesy = match held(folio) {
            Some(hold) if hold.exclusive => return Err(AccessError::Deadlock),
            Some(_) => Courtesy::MeFirst,
            None => Courtesy::WaitersFirst,
        };
        let word = folio.hold(Access::Read(courtesy), patience)?;
        remember(folio, false);
        Ok(SharedRead {
            guard: FolioRead::new(folio, word),
            folio,
        })
    }

    /// Has the bytes alone.
    ///
    /// # Errors
    /// As [`Folio::write`], and [`AccessError::Deadlock`] if this thread reads or writes the folio.
    pub fn write(&self) -> Result<SharedWrite<'_>, AccessError> {
        self.write_for(None)
    }

    /// As [`write`](Self::write), waiting no longer than `patience`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_within(&self, patience: Duration) -> Result<SharedWrite<'_>, AccessError> {
        self.write_for(Some(patience))
    }

    fn write_for(&self, patience: Option<Duration>) -> Result<SharedWrite<'_>, AccessError> {
        let folio = &*self.folio;
        if held(folio).is_some() {
            return Err(AccessError::Deadlock);
        }
        let word = folio.hold(Access::Write, patience)?;
        remember(folio, true);
        Ok(SharedWrite {
            guard: FolioWrite::new(folio, word),
            folio,
        })
    }

    /// As [`Folio::read_at`].
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), AccessError> {
        if self.folio.read_optimistic(offset, dst) {
            return Ok(());
        }
        let bytes = self.read()?;
        dst.copy_from_slice(&bytes[offset..offset + dst.len()]);
        Ok(())
    }

    /// As [`Folio::peek`].
    #[cfg(shuttle)]
    #[doc(hidden)]
    pub fn peek(&self, dst: &mut [u8]) -> bool {
        self.folio.peek(dst)
    }

    /// As [`Folio::flush`].
    ///
    /// # Errors
    /// As [`Folio::flush`].
    pub fn flush(&self) -> Result<(), FlushError> {
        self.folio.flush()
    }

    /// As [`Folio::advise`].
    ///
    /// # Errors
    /// As [`Folio::advise`].
    pub fn advise(&self, advice: Advice) -> Result<(), AccessError> {
        self.folio.advise(advice)
    }
}

impl fmt::Debug for SharedFolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedFolio").field(&self.folio).finish()
    }
}

macro_rules! shared_guard {
    ($(#[$doc:meta])* $name:ident, $guard:ident, $exclusive:literal) => {
        $(#[$doc])*
        #[must_use = "the folio is let go of when the guard is dropped"]
        #[derive(Debug)]
        pub struct $name<'a> {
            guard: $guard<'a>,
            folio: &'a Folio,
        }

        impl Deref for $name<'_> {
            type Target = [u8];

            fn deref(&self) -> &[u8] {
                &self.guard
            }
        }

        impl Drop for $name<'_> {
            fn drop(&mut self) {
                forget(self.folio, $exclusive);
            }
        }
    };
}

shared_guard!(
    /// Shared access to the bytes of a [`SharedFolio`].
    SharedRead,
    FolioRead,
    false
);
shared_guard!(
    /// Exclusive access to the bytes of a [`SharedFolio`].
    SharedWrite,
    FolioWrite,
    true
);

impl DerefMut for SharedWrite<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.guard
    }
}
