//! The handle itself: which folio, in which pool, and what its end means.
//!
//! Its pointers are what is unsafe about folios; the rest of what owners do is written on top.

use std::fmt;
use std::ptr::NonNull;

use crate::arena::opaque;
use crate::backing::Entry;
use crate::error::AllocError;
use crate::folio::{FolioId, FolioSlot, Mark};
use crate::pool::Inner;
use crate::pool::lifetime::{PoolRef, Tether};
use crate::record::{Cause, Happening};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::types::{GroupId, NodeId, Order, Pfn};

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
    /// The frame that it was in when it was last read without a trace: a guess, see
    /// [`guess`](Self::guess).
    last_frame: AtomicU32,
    len: u32,
    /// The store's page that it is a copy of; 0 if none.
    home: u32,
    /// Failures of the store that its owner knows of.
    pub(super) seen_errors: AtomicU32,
}

// SAFETY: (H1) the handle owns its folio as a box does; the pool and the slot are `Sync`.
unsafe impl Send for Folio {}
// SAFETY: through `&Folio` come shared guards and copies only, counted in the folio's word.
unsafe impl Sync for Folio {}

impl Folio {
    /// Makes a folio of a group, blank or at a store's page.
    pub(super) fn open_at(
        pool: &PoolRef,
        len: usize,
        order: Order,
        marks: &[Mark],
        home: Option<Entry>,
        group: GroupId,
    ) -> Result<Folio, AllocError> {
        let folios = pool.folios();
        let raw_home = home.map_or(0, Entry::raw);
        let opened = folios.open(order, marks, raw_home, group);
        let opened = opened.ok_or(AllocError::TooManyFolios);
        let (id, is_first) = opened.inspect_err(|error| {
            pool.recorder.note(|| Happening::NotOpened {
                len: len as u32,
                cause: Cause::of_alloc(*error),
            });
        })?;
        pool.recorder.note(|| Happening::Open {
            folio: id.get(),
            len: len as u32,
            backed: home.is_some(),
        });
        if !group.is_root() {
            pool.groups.slot(group).join();
        }
        if is_first {
            pool.keep_for_folios();
        }
        Ok(Folio {
            tether: pool.tether(),
            slot: NonNull::from(folios.slot(id)),
            last_frame: AtomicU32::new(0),
            len: len as u32,
            home: raw_home,
            seen_errors: AtomicU32::new(
                home.map_or(0, |home| pool.reclaim.write_errors(home.store()).count()),
            ),
        })
    }

    /// The store's page that it is a copy of.
    pub(super) fn home(&self) -> Option<Entry> {
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

    /// Its number. Worked out anew each time: handles are two to a cache line.
    pub(super) fn id(&self) -> FolioId {
        self.pool().folios().id_of(self.slot())
    }

    /// Returns `frame`, where the folio is. If it was there the last time as well, the CPU need not wait
    /// for the answer of the slot before it asks for the bytes: it has the number from the handle, and
    /// the comparison only confirms it.
    #[inline]
    pub(super) fn guess(&self, frame: u32) -> u32 {
        // Relaxed: a guess, which means nothing unless it is right.
        let last = self.last_frame.load(Ordering::Relaxed);
        let guess = opaque(last);
        if last == frame {
            return guess;
        }
        self.last_frame.store(frame, Ordering::Relaxed);
        frame
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
}

const _: () = assert!(cfg!(loom) || size_of::<Folio>() == 32);

impl Drop for Folio {
    fn drop(&mut self) {
        self.flush_last();
        // Before its number is anybody else's.
        let folio = self.id().get();
        self.pool().recorder.note(|| Happening::Close { folio });
        self.pool().end_folio(self.id());
        if self.pool().folios().close() {
            // SAFETY: `close` says to one folio in the life of the table's handle that it was the last.
            let pool = unsafe { self.tether.take_kept() };
            // Who closes the pool waits for that, and memory may have come back before, or not at all.
            pool.nodes.freed().wake_all();
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
