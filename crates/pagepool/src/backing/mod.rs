//! Where contents go that are not in memory, and how they get there and back.
//!
//! *Kernel counterpart:* `struct address_space_operations` (v5.0), in roles rather than in shape, and the
//! block layer under it. The kernel hands its page frames to the device. Here the device sees only
//! *staging buffers*: reclaim copies a snapshot of a folio into one, a fault copies out of one into a
//! frame that nobody knows yet. So no frame is ever in flight, and whoever is tired of waiting walks
//! away: the buffer stays with the I/O.
//!
//! | v5.0 | here |
//! |---|---|
//! | `writepage`, `writepages` | [`Backing::write_out`], of one page or several |
//! | `AOP_WRITEPAGE_ACTIVATE` | [`WriteOut::Held`] |
//! | `readpage`, `readpages` | [`Backing::read_in`], of one page or several |
//! | `direct_IO` | every transfer is one |
//! | `swap_activate`, `swap_deactivate` | `SwapSpace::swap_on`, `SwapSpace::finish_swap_off` |
//! | `set_page_dirty` | none: a folio's mark, set by its writer; a store has nothing to account |
//! | `write_begin`, `write_end` | none: a write is a guard on memory, and goes out later |
//! | `bmap` | none: a store numbers its pages itself |
//! | `migratepage` | [`Backing::migrate`], a question, for the few to whom it matters where a folio is |
//! | `isolate_page`, `putback_page` | none: who is asked has nothing to prepare; see `MovableOwner` |
//! | `releasepage`, `freepage`, `invalidatepage` | none: a store keeps nothing on a frame |
//! | `launder_page` | none: a dirty folio is written out before it is dropped |
//! | `is_partially_uptodate` | none: a folio is in memory as a whole |
//! | `is_dirty_writeback` | none: a folio is dirty by its mark; what must wait is `Held` |
//! | `error_remove_page` | none: a process is not told of broken memory in time |
//!
//! Key types: [`Backing`], what a user implements; [`Store`], one of them with its buffers, its worker
//! threads and its counters; [`IoBuf`], a buffer; [`InFlight`], a transfer; [`InFile`], a backing whose
//! reads may go past the workers; [`Entry`], where a folio's contents are.
//!
//! **Locking:** a store's lock is taken with no other lock held, and no other is taken under it. No
//! callback runs and nobody is woken while it is held.
//!
//! Not here: which slot of a swap area a folio gets (`swap`), what is written and when (`reclaim`).

mod buffer;
mod bypass;
pub(crate) mod callback;
mod counters;
mod entry;
mod file;
mod outcome;
mod store;
mod transfer;
#[cfg_attr(
    not(all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64"
        )
    )),
    path = "no_uring.rs"
)]
mod uring;
mod workers;

#[cfg(all(test, not(loom)))]
mod tests;

pub use bypass::IoEngine;
pub use file::FileBacking;

pub(crate) use buffer::IO_PAGES;
pub(crate) use bypass::InFile;
pub(crate) use callback::PoolTag;
pub(crate) use counters::Counter;
pub(crate) use entry::{Entry, StoreId};
#[cfg(any(test, loom))]
pub(crate) use outcome::Outcome;
pub(crate) use outcome::StoreError;
pub(crate) use store::{
    Completed, Direction, InFlight, IoBuf, Store, StoreSpec, Stores, WriteWatch,
};
pub use store::{StoreInside, StoreReport, WorkerActivity};
pub(crate) use workers::Spawn;

use std::sync::Arc;

use thiserror::Error;

/// A store behind folios: reads pages in and writes them out.
///
/// Every call is made on a worker thread of the store, never on a thread that allocates or touches a
/// folio, so an implementation may take locks of the application. It may block; who waits for it has a
/// deadline. What it must not do is allocate from the pool that it serves: such a request is refused.
/// A panic in it is caught and counted, and the transfer counts as failed.
///
/// Pages are 4 KiB and numbered from 0. Calls for different pages may be made at once; calls for the
/// same page never are, as long as every call returns before its caller's deadline.
pub trait Backing: Send + Sync + 'static {
    /// Fills `bytes`, whole pages from `page` on (kernel: `readpage`, `readpages`).
    ///
    /// # Errors
    /// What went wrong; then the contents of `bytes` are not looked at. A transfer of several pages that
    /// failed is tried again page by page.
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError>;

    /// Writes `bytes`, whole pages from `page` on (kernel: `writepage`). They are a snapshot of the
    /// folio: it may be written to again meanwhile.
    ///
    /// # Errors
    /// What went wrong; the folio then stays dirty, and in memory. A transfer of several pages that
    /// failed is tried again page by page.
    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError>;

    /// Whether it is to be asked before one of its folios is moved to another place in memory. Asked once,
    /// when it is attached. By default no: a store sees copies, and never where a folio is.
    ///
    /// It is for a store to which that matters all the same, since somebody has told it an address, to
    /// register it as a buffer for one.
    fn asks_to_migrate(&self) -> bool {
        false
    }

    /// The folio that begins at `page` is about to be moved to another place in memory (kernel:
    /// `migratepage`); what the store keeps that is tied to its address, it gives up now. Called only if
    /// [`asks_to_migrate`](Self::asks_to_migrate) said so, and never on behalf of a thread that waits for
    /// a large block of memory. Nothing may come of the move yet.
    ///
    /// # Errors
    /// Why not: the folio stays where it is. It does so as well if there is no answer within a tenth of a
    /// second; the store is not asked again before it has answered.
    fn migrate(&self, page: u64) -> Result<(), BackingError> {
        let _ = page;
        Ok(())
    }
}

/// A store that somebody else keeps a reference to.
impl<B: Backing + ?Sized> Backing for Arc<B> {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        (**self).read_in(page, bytes)
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        (**self).write_out(page, bytes)
    }

    fn asks_to_migrate(&self) -> bool {
        (**self).asks_to_migrate()
    }

    fn migrate(&self, page: u64) -> Result<(), BackingError> {
        (**self).migrate(page)
    }
}

/// How a write-out ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteOut {
    /// The pages are written.
    Written,
    /// Not now (kernel: `AOP_WRITEPAGE_ACTIVATE`): the folio stays dirty, and reclaim leaves it alone
    /// for a while. What a storage engine answers until its log is durable up to these pages.
    Held,
}

/// Why a page could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackingError {
    /// The device said so. Kinds such as `Interrupted`, `WouldBlock` and `TimedOut` count as transient
    /// and are tried again.
    #[error("the device failed: {0}")]
    Io(#[from] std::io::Error),
    /// What was read is not what was written.
    #[error("page {page:#x} is damaged: its checksum does not match")]
    Corrupt {
        /// The first damaged page.
        page: u64,
    },
    /// There is no room for what is to be written.
    #[error("the device is full")]
    Full,
}
