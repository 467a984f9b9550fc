//! Where contents go that are not in memory, and how they get there and back.
//!
//! *Kernel counterpart:* `struct address_space_operations` (v5.0), in roles rather than in shape.

#![forbid(unsafe_code)]

mod entry;

pub(crate) use entry::{Entry, StoreId};

use thiserror::Error;

/// A store behind folios: reads pages in and writes them out.
///
/// Every call is made on a worker thread of the store, never on a thread that allocates or touches a
/// folio, so an implementation may take locks of the application. It may block; who waits for it has a
/// deadline. What it must not do is allocate from the pool that it serves: such a request is refused.
///
/// Pages are 4 KiB and numbered from 0. Calls for different pages may be made at once; calls for the
/// same page never are.
pub trait Backing: Send + Sync + 'static {
    /// Fills `bytes`, whole pages from `page` on (kernel: `readpage`, `readpages`).
    ///
    /// # Errors
    /// What went wrong; then the contents of `bytes` are not looked at.
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError>;

    /// Writes `bytes`, whole pages from `page` on (kernel: `writepage`). They are a snapshot of the
    /// folio: it may be written to again meanwhile.
    ///
    /// # Errors
    /// What went wrong; the folio then stays dirty, and in memory.
    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError>;
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
