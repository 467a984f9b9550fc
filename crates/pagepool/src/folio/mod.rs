//! Folios: memory behind a handle, that may be moved and reclaimed while its owner holds it.
//!
//! *Kernel counterpart:* `struct folio` and the page table entry that maps it (v5.0: compound pages).
//! What the kernel does by unmapping is done here by one word for each folio, since a process cannot
//! afford a fault and a mapping a page.
//!
//! Key types: [`FolioWord`], a folio's state, with all transitions (pure); [`FolioSlot`], a word on real
//! atomics, with write sequence and marks; [`FolioTable`], all slots of a pool; [`Custody`], who has a
//! folio's frame in hand (pure); [`Frames`], a block of frames that nobody else knows; [`copy_racing`],
//! the one way to read bytes that may be changing.
//!
//! **Invariants**
//! - S1: a slot is type-stable: never unmapped while the pool lives, and addressed by its number.
//! - S2: a folio that is open has one owner, whose drop closes it. Its slot is used anew only after
//!   nobody holds the folio isolated or brings it back.
//! - S3: the frame of a resident folio has the folio as its owner in the frame table, from before the
//!   folio's word says so until after it does not.
//!
//! **Locking:** the table's free slots have a lock of their own, outside the order; who waits for a
//! folio sleeps on one of the [`Waiters`]' queues.
//!
//! Not here: which folio is reclaimed (`reclaim`), where contents go (`backing`, `swap`), how they come
//! back (`fault`), and the handles (`pool`).

#![allow(
    unreachable_pub,
    reason = "`pub` items are what models reach through `pagepool::model`"
)]

mod bytes;
mod custody;
mod frames;
mod pins;
mod slot;
mod table;
mod waiters;
mod word;

pub use self::frames::follow_last_owner;
pub(crate) use self::slot::SHADOWS;
pub use self::slot::{FolioSlot, Mark};
#[cfg(loom)]
pub(crate) use self::waiters::Waiters;
#[cfg(loom)]
pub use self::word::Released;
pub use self::word::{Courtesy, FolioWord, Landing, Obstacle};

pub(crate) use self::bytes::{copy_racing, copy_racing_at};
pub(crate) use self::custody::MAX_USES;
pub use self::custody::{Custody, Flag as CustodyFlag, Heir, Place};
pub(crate) use self::frames::{Frames, Vacated};
pub(crate) use self::pins::PinRecords;
pub(crate) use self::table::{FolioId, FolioTable};
pub(crate) use self::waiters::Waited;
