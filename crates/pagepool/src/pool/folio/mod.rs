//! Folios in their owners' hands.
//!
//! **Invariants**
//! - H1: a [`Folio`] is its folio's only owner, and counts among the open folios of its pool's table, so
//!   that the pool is alive (see [`lifetime`](super::lifetime), L5).
//! - H2: while a guard or pin exists, the folio's word counts it, and the folio stays in its frames.
//! - H3: bytes are written through a [`FolioWrite`] only, of which there is one at a time, and none
//!   while there is a [`FolioRead`].
//!
//! | file | what |
//! |---|---|
//! | `handle` | the handle: its pointers, its beginning and end |
//! | `access` | how one gets at the bytes, and waits for them |
//! | `guard`, `shared` | what one gets: guards, pins, a folio of many owners |
//! | `mapping` | folios over users' stores |
//! | `regroup` | folios that go from one group to another |
//! | `movable` | folios that their owners have a hand in moving |

mod access;
mod guard;
mod handle;
pub(crate) mod mapping;
pub(in crate::pool) mod movable;
mod regroup;
mod shared;
#[cfg(all(test, not(loom)))]
mod tests;

pub use guard::{FolioPin, FolioRead, FolioWrite};
pub use handle::Folio;
pub use mapping::{FlushError, MapError, Mapping};
pub use movable::{Immovable, MovableBlock, MovableOwner, MoveOutcome, Relocation};
pub use shared::{SharedFolio, SharedRead, SharedWrite};

use super::PagePool;
use crate::error::{AccessError, AllocError};
use crate::fault::Terms;
use crate::folio::Landing;
use crate::gfp::Gfp;
use crate::record::{AccessKind, Happening};
use crate::sync::clock;
use crate::types::{GroupId, Order};

/// How a folio is going to be used, for [`Folio::advise`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Advice {
    /// Soon: it is brought into memory now (kernel: `MADV_WILLNEED`).
    WillNeed,
    /// Not soon: it is next to leave memory when some is needed (kernel: `MADV_COLD`).
    Cold,
}

impl Folio {
    /// Says how the folio is going to be used.
    ///
    /// # Errors
    /// As [`read`](Self::read), if it is to be brought back and cannot be.
    pub fn advise(&self, advice: Advice) -> Result<(), AccessError> {
        match advice {
            Advice::WillNeed => self.bring_back(),
            Advice::Cold => {
                let folio = self.id().get();
                self.pool().recorder.note(|| Happening::Cool { folio });
                self.pool().cool(self.id());
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
        let folio = self.id().get();
        self.pool().recorder.note(|| Happening::Discard { folio });
        if self.pool().discard(self.id()) {
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
        let folio = self.id().get();
        self.pool().recorder.note(|| Happening::Lock { folio });
        self.pool().set_locked(self.id(), true);
        Ok(())
    }

    /// Lets the folio leave memory again.
    pub fn unlock(&self) {
        let folio = self.id().get();
        self.pool().recorder.note(|| Happening::Unlock { folio });
        self.pool().set_locked(self.id(), false);
    }

    /// Shares the folio among any number of owners; the last one ends it.
    #[must_use]
    pub fn into_shared(self) -> SharedFolio {
        SharedFolio::new(self)
    }
}

impl PagePool {
    /// Allocates a folio of `len` bytes, from 1 byte to 4 MiB, filled with zeros and in memory. What it takes is
    /// the next power of two of pages.
    ///
    /// # Errors
    /// [`AllocError::NeverFits`] for a length out of range, else as
    /// [`alloc_pages`](Self::alloc_pages).
    pub fn alloc_folio(&self, len: usize, gfp: Gfp) -> Result<Folio, AllocError> {
        self.alloc_folio_in(GroupId::ROOT, len, gfp)
    }

    /// The same, for a group.
    pub(in crate::pool) fn alloc_folio_in(
        &self,
        group: GroupId,
        len: usize,
        gfp: Gfp,
    ) -> Result<Folio, AllocError> {
        let folio = self.blank_folio_in(group, len)?;
        let terms = self.first_terms(gfp);
        self.populate(&folio, terms)?;
        Ok(folio)
    }

    /// What a folio is brought into memory by for the first time.
    fn first_terms(&self, gfp: Gfp) -> Terms {
        Terms {
            gfp: gfp | Gfp::MOVABLE | Gfp::HIGHMEM,
            patience: self.inner.patience,
            deadline: clock::deadline_after(self.inner.patience),
            is_object: false,
        }
    }

    /// Brings a blank folio into memory.
    fn populate(&self, folio: &Folio, terms: Terms) -> Result<(), AllocError> {
        let pool = &*self.inner;
        let fault = || pool.faulter().fault(folio.id(), Landing::Idle, terms);
        match pool.note_fault(folio.id(), AccessKind::Idle, fault) {
            Ok(_) => Ok(()),
            Err(AccessError::Alloc(error)) => Err(error),
            Err(error) => unreachable!("a blank folio is not read from anywhere: {error}"),
        }
    }

    /// Makes a folio of `len` bytes, from 1 byte to 4 MiB, that reads as zeros and takes no memory until it is
    /// touched.
    ///
    /// # Errors
    /// [`AllocError::NeverFits`] for a length out of range, [`AllocError::TooManyFolios`].
    pub fn blank_folio(&self, len: usize) -> Result<Folio, AllocError> {
        self.blank_folio_in(GroupId::ROOT, len)
    }

    /// The same, for a group.
    pub(in crate::pool) fn blank_folio_in(
        &self,
        group: GroupId,
        len: usize,
    ) -> Result<Folio, AllocError> {
        let order = Order::for_bytes(len).filter(|_| len > 0);
        let order = order.ok_or(AllocError::NeverFits)?;
        Folio::open_at(&self.inner, len, order, &[], None, group)
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
