//! Folios over a user's own store.
//!
//! A mapping is a store attached to a pool. Its folios are read in when they are touched, dropped when
//! memory is short and they are clean, and written out when they are dirty. Which ranges are in whose
//! hands is registered, so that no page of a store is in memory twice.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Folio;
use crate::backing::{Backing, Entry, Store, StoreError, StoreId, StoreSpec};
use crate::error::{AllocError, BuildError};
use crate::folio::{FolioId, Mark};
use crate::group::GroupError;
use crate::node::lru::Isolated;
use crate::pool::groups::Group;
use crate::pool::lifetime::PoolRef;
use crate::pool::{Inner, PagePool};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::clock::{self, Instant};
use crate::sync::{CoreMutex, thread};
use crate::types::{Order, PAGE_SIZE};

/// How long somebody who wants a range looks away between two looks whether it has become free.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Why a store could not be attached, or a folio of it not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The pool was built for fewer stores.
    #[error(
        "the pool has as many swap areas and mappings as max_stores = {limit} permits; build it with a higher `max_stores`"
    )]
    NoRoom {
        /// The limit.
        limit: usize,
    },
    /// A page of the range is in another folio.
    #[error("page {page:#x} of the mapping is in another folio; drop that first, or share it")]
    AlreadyMapped {
        /// The range's first page.
        page: u64,
    },
    /// The range reaches beyond what a mapping can have.
    #[error("page {page:#x} is out of range: a mapping has pages 0 to {:#x}, and folios begin at multiples of their size", Entry::MAX_PAGES - 1)]
    OutOfRange {
        /// The range's first page.
        page: u64,
    },
    /// The pool has as many folios as it can.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// The system refused memory for the mapping's buffers.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Why a folio could not be written out. It stays dirty, and in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The store holds the folio back, until its log is durable.
    #[error("the store holds the folio back for now")]
    Held,
    /// The device has no room.
    #[error("the store is full")]
    Full,
    /// The device failed, or the callback panicked.
    #[error("the store failed to write")]
    Failed,
    /// The device did not answer before the deadline.
    #[error("the store has stalled")]
    Stalled,
    /// The deadline came when the store had hardly been asked.
    #[error("the time was over before the store could answer")]
    TimedOut,
    /// The folio was used by others until the deadline.
    #[error("the folio was in use until the deadline")]
    InUse,
}

impl From<StoreError> for FlushError {
    fn from(error: StoreError) -> FlushError {
        match error {
            StoreError::Held => FlushError::Held,
            StoreError::Full => FlushError::Full,
            StoreError::Stalled => FlushError::Stalled,
            StoreError::Late => FlushError::TimedOut,
            StoreError::Failed
            | StoreError::Corrupt
            | StoreError::Panicked
            | StoreError::Closed => FlushError::Failed,
        }
    }
}

/// A range of a store that is in a folio.
#[derive(Clone, Copy, Debug)]
struct Range {
    pages: u32,
    /// The folio; none while it is being made.
    folio: Option<FolioId>,
}

/// Whether a range can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claimed {
    /// It is the caller's.
    Ours,
    /// A page of it is in a folio that has ended, and is on its way out.
    Ending,
    /// A page of it is in a folio that has an owner.
    Taken,
}

/// Ranges of stores that are in folios, by their first entry. A range stays until its folio's slot is
/// about to be vacated: what the slot says until then, it says of that folio.
#[derive(Debug, Default)]
pub(crate) struct Mapped(CoreMutex<BTreeMap<u32, Range>>);

impl Mapped {
    /// Registers a range, unless a page of it is registered. `has_ended` says so of a folio.
    pub(super) fn claim(
        &self,
        first: Entry,
        pages: u32,
        has_ended: impl Fn(FolioId) -> bool,
    ) -> Claimed {
        let mut ranges = self.0.lock();
        let last = first.raw() + (pages - 1);
        let mut claimed = Claimed::Ours;
        let overlapping = ranges
            .range(..=last)
            .rev()
            .take_while(|(start, range)| **start + (range.pages - 1) >= first.raw());
        for (_, range) in overlapping {
            if !range.folio.is_some_and(&has_ended) {
                return Claimed::Taken;
            }
            claimed = Claimed::Ending;
        }
        if claimed == Claimed::Ours {
            ranges.insert(first.raw(), Range { pages, folio: None });
        }
        claimed
    }

    /// Says which folio a range is in that was claimed for it.
    pub(super) fn name(&self, first: Entry, folio: FolioId) {
        let mut ranges = self.0.lock();
        let range = ranges.get_mut(&first.raw());
        range.expect("a range that was claimed stays").folio = Some(folio);
    }

    /// Takes a range out.
    pub(crate) fn remove(&self, first: Entry) {
        let removed = self.0.lock().remove(&first.raw());
        debug_assert!(removed.is_some(), "{first:?} was not mapped");
    }
}

/// A user's store, attached to a pool: makes folios whose contents are its pages.
///
/// ```no_run
/// use pagepool::{FileBacking, Order, PagePool};
///
/// let pool = PagePool::builder().memory(64 << 20).max_stores(1).build()?;
/// let file = pool.map_backing(FileBacking::create("pages.db")?)?;
/// let mut page = file.folio(17, Order::ZERO)?; // read in at the first touch
/// page.write()?[..5].copy_from_slice(b"hello");
/// page.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Mapping {
    pool: PagePool,
    store: StoreId,
    /// Whom its folios belong to.
    group: Group,
}

impl PagePool {
    /// Attaches a store whose pages are to be in folios of this pool. It stays attached as long as the
    /// pool lives; room for it is planned by [`max_stores`](crate::Builder::max_stores).
    ///
    /// # Errors
    /// [`MapError::NoRoom`].
    pub fn map_backing(&self, backing: impl Backing) -> Result<Mapping, MapError> {
        let inner = &*self.inner;
        let limit = inner.max_stores;
        let _turn = inner.store_turn.lock();
        if inner.stores.iter().count() >= limit {
            return Err(MapError::NoRoom { limit });
        }
        let asks_to_migrate = backing.asks_to_migrate();
        let backing: Arc<dyn Backing> = Arc::new(backing);
        let store = inner.stores.add(|id| {
            Store::new(StoreSpec {
                id,
                pool: inner.tag(),
                backing,
                in_file: None,
                watch: None,
                spawn: crate::pool::spawn,
                stuck_after: StoreSpec::STUCK_AFTER,
                max_asks: StoreSpec::ONE_ASK,
            })
        })?;
        let store = store.ok_or(MapError::NoRoom { limit })?;
        if asks_to_migrate {
            // Relaxed: it has no folios yet; who meets one has learnt of it later.
            inner.stores_to_ask.fetch_or(1 << store.id().idx(), Relaxed);
        }
        Ok(Mapping {
            pool: self.clone(),
            store: store.id(),
            group: self.root_group(),
        })
    }
}

impl Mapping {
    /// Makes a folio of `order` over the store's pages from `page` on. Nothing is read yet.
    ///
    /// # Errors
    /// [`MapError`]. A range that was in a folio which has just been dropped is waited for.
    pub fn folio(&self, page: u64, order: Order) -> Result<Folio, MapError> {
        let pages = order.pages();
        let is_fit = page.is_multiple_of(pages as u64)
            && page
                .checked_add(pages as u64)
                .is_some_and(|end| end <= Entry::MAX_PAGES as u64);
        if !is_fit {
            return Err(MapError::OutOfRange { page });
        }
        let home = Entry::new(self.store, page as u32);
        let inner: &PoolRef = &self.pool.inner;
        let deadline = clock::deadline_after(inner.patience);
        let has_ended = |folio| inner.folios().slot(folio).word().is_dead();
        loop {
            match inner.mapped.claim(home, pages as u32, has_ended) {
                Claimed::Ours => break,
                Claimed::Ending if !clock::is_over(deadline) => thread::sleep(LOOK_AGAIN),
                Claimed::Ending | Claimed::Taken => return Err(MapError::AlreadyMapped { page }),
            }
        }
        let len = order.bytes();
        let opened = Folio::open_at(
            inner,
            len,
            order,
            &[Mark::Backed],
            Some(home),
            self.group.id(),
        );
        let folio = opened.map_err(|error| {
            inner.mapped.remove(home);
            MapError::Alloc(error)
        })?;
        inner.mapped.name(home, folio.id());
        Ok(folio)
    }

    /// The same mapping, for folios that belong to a group. Those made before stay where they are.
    ///
    /// # Errors
    /// [`GroupError::OtherPool`].
    pub fn in_group(&self, group: &Group) -> Result<Mapping, GroupError> {
        group.check_pool(&self.pool)?;
        Ok(Mapping {
            group: group.clone(),
            ..self.clone()
        })
    }

    /// The bytes of a page.
    #[must_use]
    pub const fn page_size() -> usize {
        PAGE_SIZE
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Folio {
    /// Writes the folio out now, if it differs from what its store holds, and waits for that. Of a folio
    /// without a store there is nothing to write.
    ///
    /// # Errors
    /// Why it could not be written, or an attempt in the background that failed since the last call: each
    /// failure is reported once to each folio of the store.
    pub fn flush(&self) -> Result<(), FlushError> {
        let Some(home) = self.home() else {
            return Ok(());
        };
        let pool = self.pool();
        let written = pool.write_back(self, clock::deadline_after(pool.patience));
        let failed_before = pool
            .reclaim
            .write_errors(home.store())
            .check(&self.seen_errors);
        written.and(failed_before.map_err(FlushError::from))
    }

    /// Whether it was written to since it was written out, or read in; also while it is being written out.
    /// A folio without a store is dirty until swap has a copy of it.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let slot = self.slot();
        // The mark goes when the write begins, and comes back if that fails, before STABLE goes: so the
        // word first. A mover sets STABLE as well, but not for long.
        let enough = clock::deadline_after(MOVE_TIME);
        loop {
            let is_stable = slot.word().is_stable();
            if slot.is(Mark::Dirty) {
                return true;
            }
            if !is_stable || enough.is_some_and(|enough| clock::now() >= enough) {
                return is_stable;
            }
            thread::yield_now();
        }
    }

    /// Writes what is dirty before the folio ends: nobody else will.
    pub(super) fn flush_last(&self) {
        if self.home().is_none() || !self.pool().may_be_dirty(self.id()) {
            return;
        }
        if let Err(error) = self.flush()
            && self.is_dirty()
        {
            tracing::error!(
                target: "pagepool::backing",
                %error,
                "a dirty folio was dropped and could not be written out; call `flush` first to learn of it"
            );
        }
    }
}

/// Longer than a folio is in a mover's hands, unless that is preempted.
const MOVE_TIME: Duration = Duration::from_millis(2);

impl Inner {
    /// Whether a folio differs from what its store holds, or may turn out to: reclaim takes the mark off
    /// before it writes, and sets it again if nothing came of that.
    fn may_be_dirty(&self, folio: FolioId) -> bool {
        let slot = self.folios.slot(folio);
        let is_isolated = || {
            loop {
                let Some((node, pfn)) = self.place_of(folio) else {
                    return false;
                };
                let is_isolated = node.is_isolated(&self.folios, pfn);
                // It may have been moved meanwhile: then that was its old frame.
                if is_isolated || self.place_of(folio).is_none_or(|(_, now)| now == pfn) {
                    return is_isolated;
                }
            }
        };
        // Once more at the end: who had it isolated may have set the mark and put it back in between. The
        // lock that `is_isolated` takes orders that.
        slot.is(Mark::Dirty) || is_isolated() || slot.is(Mark::Dirty)
    }

    /// Writes a folio of a mapping out, if it is dirty, and waits.
    fn write_back(&self, folio: &Folio, deadline: Option<Instant>) -> Result<(), FlushError> {
        loop {
            let Some((node, pfn)) = self.place_of(folio.id()) else {
                return Ok(()); // away, and so written
            };
            node.drain_lru_all(&self.folios);
            if let Some(isolated) = node.isolate_folio(&self.folios, folio.id(), pfn) {
                let written = self.write_isolated(isolated, deadline);
                // A write that was abandoned is still under way: ours was refused at once.
                if written != Err(FlushError::Stalled) || clock::is_over(deadline) {
                    return written;
                }
            }
            // Reclaim has it: what it writes is what we want written.
            if clock::is_over(deadline) {
                return Err(FlushError::InUse);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn write_isolated(
        &self,
        isolated: Isolated,
        deadline: Option<Instant>,
    ) -> Result<(), FlushError> {
        let reclaimer = self.reclaimer();
        let slot = self.folios.slot(isolated.folio);
        loop {
            if !slot.is(Mark::Dirty) {
                reclaimer.put_back_one(isolated);
                return Ok(());
            }
            match reclaimer.write_back(isolated, deadline) {
                Some(written) => return written.map_err(FlushError::from),
                None if clock::is_over(deadline) => {
                    reclaimer.put_back_one(isolated);
                    return Err(FlushError::InUse);
                }
                // Somebody reads or writes it at the moment, or has.
                None => thread::sleep(LOOK_AGAIN),
            }
        }
    }
}
