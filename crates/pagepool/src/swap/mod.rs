//! Swap: where the contents of anonymous folios are while they are not in memory.
//!
//! *Kernel counterpart:* `mm/swapfile.c, mm/swap_slots.c, mm/page_io.c, mm/swap_state.c` (v5.0), and its
//! array `swapper_spaces`.
//!
//! ```text
//!  SwapSpace ── areas by priority ──→ Area ── slots: clusters, chains, owners   which slot
//!     │                                │  └── checksums                         is it still the same
//!     │                                │ Backing, WriteWatch
//!     └── Stores, by number ─────────→ Store ── buffers, workers, counters       how it gets there
//!                                      │
//!                                      └─→ SwapDevice: SwapFile, FaultyDevice, or the user's
//! ```
//!
//! Key types: [`SwapSpace`], the table of areas; [`Area`], one of them; [`Entry`], where a folio's
//! chain of slots begins; [`ReadAhead`], how much to read around a slot; [`SwapDevice`], what an area is
//! on; [`SwapFile`], the device that most people want; [`FaultyDevice`], one for tests.
//!
//! A page is never anybody's data before its checksum was compared. Checksums are in memory: what is on
//! the device says nothing about itself, and a file that was kept from another run is worth nothing.
//!
//! **Invariants**
//! - W1: an area takes part in the sums of free and of all slots exactly while it is on.
//! - W2: the areas are in order of priority, highest first; of equals, the one that was served longest
//!   ago comes first.
//! - W3: all areas together have no more slots than the limit that was set when the pool was built, so
//!   that the memory for their tables is known.
//!
//! **Locking:** table of areas → slots of an area. Neither is held while a device is called.
//!
//! Not here: what goes to swap and when (`reclaim`), who brings it back (`fault`).

#![forbid(unsafe_code)]

mod area;
mod clusters;
mod device;
mod faulty;
mod file;
mod readahead;
mod slots;

#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use thiserror::Error;

pub(crate) use self::area::{Area, LeavingTurn};
#[cfg(test)]
pub(crate) use self::clusters::Run;
pub use self::device::SwapDevice;
pub use self::faulty::{Fault, Faults, FaultyDevice};
pub use self::file::{SwapFile, SwapFileBuilder};
pub(crate) use self::readahead::{MAX_PAGE_CLUSTER, ReadAhead, default_page_cluster};

use self::area::Totals;
use crate::backing::{Entry, PoolTag, Spawn, Store, StoreId, StoreSpec, Stores, WriteWatch};
use crate::error::{BuildError, Violation, ensure};
use crate::sync::CoreMutex;
use crate::sync::clock::Instant;
use crate::sync::fence::mutated;
use crate::types::PAGE_SIZE;

/// Slots that an area hands out before the next of the same priority has its turn (kernel: the size of a
/// per-CPU cache of slots). In between they go out in one write.
const TURN: u32 = 64;

/// Why an area could not be added or taken away.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwapError {
    /// There is no room for a page beside the header.
    #[error("{device} has {bytes} bytes: swap needs at least 8192, a header and a page")]
    TooSmall {
        /// What the device is called.
        device: String,
        /// Its size.
        bytes: u64,
    },
    /// The device is larger than an area can be.
    #[error("{device} has {bytes} bytes: a swap area has at most 512 GiB")]
    TooLarge {
        /// What the device is called.
        device: String,
        /// Its size.
        bytes: u64,
    },
    /// The pool was built for less swap.
    #[error(
        "{device} has {bytes} bytes, but only {left} of swap_limit = {limit} are left; build the pool \
         with a higher `swap_limit`, or make the device smaller"
    )]
    OverLimit {
        /// What the device is called.
        device: String,
        /// Its size.
        bytes: u64,
        /// What may be added.
        left: u64,
        /// The limit.
        limit: u64,
    },
    /// All numbers of stores are given away.
    #[error("a pool has at most {max} swap areas and backings together", max = StoreId::MAX)]
    TooMany,
    /// The pool was built for fewer stores.
    #[error(
        "the pool has as many swap areas and mappings as max_stores = {limit} permits; build it with a \
         higher `max_stores`"
    )]
    NoRoom {
        /// The limit.
        limit: usize,
    },
    /// The system refused memory for the area's tables.
    #[error(transparent)]
    Map(#[from] BuildError),
    /// The system refused something about the file.
    #[error("cannot {what} {path}: {source}; {remedy}")]
    File {
        /// What was asked of it.
        what: &'static str,
        /// Which file or directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
        /// What would help.
        remedy: &'static str,
    },
    /// No area has this number.
    #[error("there is no such swap area")]
    Unknown,
    /// The area still holds pages.
    #[error("{device} still holds {pages} pages; bring them back first, or free their folios")]
    InUse {
        /// What the device is called.
        device: String,
        /// How many.
        pages: usize,
    },
    /// Another thread takes the area away at this moment.
    #[error("another thread is taking {device} away; wait for that one")]
    Leaving {
        /// What the device is called.
        device: String,
    },
    /// The area is about to go, and waits for its device only.
    #[error("{device} is being taken away; finish that, and add it anew")]
    Ending {
        /// What the device is called.
        device: String,
    },
    /// The area's device does not return from what it was asked.
    #[error("{device} has not answered yet: {source}")]
    Busy {
        /// What the device is called.
        device: String,
        /// What is waited for.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<SwapError> for BuildError {
    fn from(error: SwapError) -> BuildError {
        match error {
            SwapError::Map(error) => error,
            error => BuildError::Swap(Box::new(error)),
        }
    }
}

/// What a pool's swap is made of.
pub(crate) struct SwapSpec {
    /// The pool's stores, those of swap among them.
    pub(crate) stores: Arc<Stores>,
    /// The pool.
    pub(crate) pool: PoolTag,
    /// How stores get their threads.
    pub(crate) spawn: Spawn,
    /// The most bytes that all areas together may have (`swap_limit`).
    pub(crate) limit_bytes: u64,
    /// After how long a call to a device counts as stuck.
    pub(crate) stuck_after: Duration,
}

/// An area in the order in which areas are filled (W2).
#[derive(Debug)]
struct Ranked {
    area: Arc<Area>,
    /// Slots until its turn is over.
    turn: u32,
}

#[derive(Debug, Default)]
struct Table {
    ranks: ArrayVec<Ranked, { StoreId::MAX }>,
    /// Bytes of all areas, those being set up among them (W3).
    bytes: u64,
}

impl Table {
    /// Takes a chain of slots from the first area that has them.
    fn take(&mut self, nr: u32, owner: u32) -> Option<Entry> {
        let mut taken = None;
        let rank = self.ranks.iter().position(|ranked| {
            taken = ranked.area.take(nr, owner);
            taken.is_some()
        })?;
        let ranked = &mut self.ranks[rank];
        ranked.turn = ranked.turn.saturating_sub(nr);
        if ranked.turn == 0 {
            self.end_turn(rank);
        }
        taken
    }

    /// Puts an area behind those of its priority.
    fn end_turn(&mut self, rank: usize) {
        self.ranks[rank].turn = TURN;
        let priority = self.ranks[rank].area.priority();
        let peers = self.ranks[rank..].iter();
        let nr_peers = peers
            .take_while(|peer| peer.area.priority() == priority)
            .count();
        self.ranks[rank..rank + nr_peers].rotate_left(1);
    }

    fn insert(&mut self, area: Arc<Area>) {
        let ahead = |other: &&Ranked| other.area.priority() >= area.priority();
        let rank = self.ranks.iter().take_while(ahead).count();
        self.ranks.insert(rank, Ranked { area, turn: TURN });
    }
}

/// The swap areas of a pool.
pub(crate) struct SwapSpace {
    spec: SwapSpec,
    table: CoreMutex<Table>,
    areas: [CoreMutex<Option<Arc<Area>>>; StoreId::MAX],
    totals: Arc<Totals>,
}

impl SwapSpace {
    /// Returns swap without areas.
    pub(crate) fn new(spec: SwapSpec) -> SwapSpace {
        SwapSpace {
            spec,
            table: CoreMutex::new(Table::default()),
            areas: std::array::from_fn(|_| CoreMutex::new(None)),
            totals: Arc::default(),
        }
    }

    /// Bytes that the tables for so many bytes of swap may come to take, in however many areas; their
    /// [buffers](Store::bytes) come on top.
    pub(crate) fn bytes_for(limit_bytes: u64) -> usize {
        // Each of an area's tables ends with a page that is not full.
        let tails = Area::bytes_for(1) + StoreId::MAX * 8 * PAGE_SIZE;
        match usize::try_from(limit_bytes / PAGE_SIZE as u64) {
            Ok(0) => 0,
            Ok(pages) => Area::bytes_for(pages) + tails,
            Err(_) => usize::MAX,
        }
    }

    /// Takes a chain of `nr_pages` slots for a folio, in the area of the highest priority that has so
    /// many (kernel: `get_swap_page`); none if no area has.
    pub(crate) fn alloc(&self, nr_pages: u32, owner: u32) -> Option<Entry> {
        if !self.totals.put_by(nr_pages) {
            return None;
        }
        let taken = self.table.lock().take(nr_pages, owner);
        if taken.is_none() {
            self.totals.give_back(nr_pages);
        }
        taken
    }

    /// Frees a folio's slots. Those that are being written become free when the write ends.
    ///
    /// # Panics
    /// If the entry is not the beginning of a chain.
    pub(crate) fn free(&self, entry: Entry) {
        let area = self.area(entry.store());
        area.expect("W1: an area with used slots stays").free(entry);
    }

    /// The area of a store, if that is one.
    pub(crate) fn area(&self, id: StoreId) -> Option<Arc<Area>> {
        self.areas[id.idx()].lock().clone()
    }

    /// All areas, in the order in which they are filled.
    pub(crate) fn areas(&self) -> ArrayVec<Arc<Area>, { StoreId::MAX }> {
        let table = self.table.lock();
        table
            .ranks
            .iter()
            .map(|ranked| Arc::clone(&ranked.area))
            .collect()
    }

    /// The slots of a folio in order, in runs that each fit one transfer.
    #[cfg(test)]
    pub(crate) fn chain(&self, entry: Entry) -> Chain {
        Chain {
            area: self
                .area(entry.store())
                .expect("W1: an area with used slots stays"),
            next: Some(entry.page()),
        }
    }

    /// The folio whose contents are in a slot, if any: for read-ahead.
    #[cfg(test)]
    pub(crate) fn owner(&self, slot: Entry) -> Option<u32> {
        self.area(slot.store())?.owner(slot.page())
    }

    /// Free slots of areas that are on.
    pub(crate) fn free_pages(&self) -> usize {
        self.totals.free()
    }

    /// Slots of areas that are on.
    pub(crate) fn total_pages(&self) -> usize {
        self.totals.all()
    }

    /// Whether more than half of the slots are used (kernel: `vm_swap_full`): then slots of folios that
    /// are in memory are better given back.
    pub(crate) fn is_half_full(&self) -> bool {
        self.free_pages() * 2 < self.total_pages()
    }

    /// Whether any area is on, with room or without.
    pub(crate) fn has_area(&self) -> bool {
        self.total_pages() > 0
    }

    /// Adds an area on a device; of higher `priority`, it is filled before others.
    ///
    /// # Errors
    /// [`SwapError`] says what to change.
    pub(crate) fn swap_on(
        &self,
        device: Arc<dyn SwapDevice>,
        priority: i16,
    ) -> Result<StoreId, SwapError> {
        let nr_pages = nr_pages(&*device)?;
        let bytes = device.capacity();
        self.charge(&*device, bytes)?;
        let added = self.add(device, priority, nr_pages);
        if added.is_err() {
            self.table.lock().bytes -= bytes;
        }
        added
    }

    /// Counts an area's bytes towards the limit (W3).
    fn charge(&self, device: &dyn SwapDevice, bytes: u64) -> Result<(), SwapError> {
        let limit = self.spec.limit_bytes;
        let mut table = self.table.lock();
        let left = limit - table.bytes;
        if bytes <= left {
            table.bytes += bytes;
            return Ok(());
        }
        drop(table);
        Err(SwapError::OverLimit {
            device: device.name().to_owned(),
            bytes,
            left,
            limit,
        })
    }

    fn add(
        &self,
        device: Arc<dyn SwapDevice>,
        priority: i16,
        nr_pages: u32,
    ) -> Result<StoreId, SwapError> {
        let mut area = None;
        let make = |id| {
            let totals = Arc::clone(&self.totals);
            let made = Arc::new(Area::new(id, priority, device, nr_pages, totals)?);
            area = Some(Arc::clone(&made));
            Store::new(StoreSpec {
                id,
                pool: self.spec.pool,
                backing: Arc::clone(&made) as _,
                in_file: Some(Arc::clone(&made) as _),
                watch: Some(made as Arc<dyn WriteWatch>),
                spawn: self.spec.spawn,
                stuck_after: self.spec.stuck_after,
                max_asks: StoreSpec::ONE_ASK,
            })
        };
        let store = self.spec.stores.add::<BuildError>(make)?;
        let store = store.ok_or(SwapError::TooMany)?;
        let area = area.expect("a store was made on it");

        // Whoever gets a slot finds the area by the slot's number: so it can be found before it is served.
        let publish = || *self.areas[store.id().idx()].lock() = Some(Arc::clone(&area));
        if !mutated("swap.found_first") {
            publish();
        }
        self.table.lock().insert(Arc::clone(&area));
        area.set_on(true);
        if mutated("swap.found_first") {
            publish();
        }
        Ok(store.id())
    }

    /// Takes the turn of who takes an area away. The three steps that follow are for who has it.
    ///
    /// # Errors
    /// [`SwapError::Unknown`], or [`SwapError::Leaving`] if somebody else has it.
    pub(crate) fn turn_to_leave(&self, id: StoreId) -> Result<LeavingTurn, SwapError> {
        let area = self.area(id).ok_or(SwapError::Unknown)?;
        let turn = area.turn_to_leave().ok_or_else(|| SwapError::Leaving {
            device: area.device().name().to_owned(),
        })?;
        // Who had the turn before may have finished.
        match self.area(id) {
            Some(now) if Arc::ptr_eq(&now, &area) || mutated("swap.same_area") => Ok(turn),
            Some(_) | None => Err(SwapError::Unknown),
        }
    }

    /// No slots are taken from the area any more. What it holds is to be brought back then:
    /// [`Area::next_chain`].
    ///
    /// # Errors
    /// [`SwapError::Unknown`].
    pub(crate) fn begin_swap_off(&self, id: StoreId) -> Result<Arc<Area>, SwapError> {
        let area = self.area(id).ok_or(SwapError::Unknown)?;
        area.set_on(false);
        Ok(area)
    }

    /// The area is used again after all.
    ///
    /// # Errors
    /// [`SwapError::Unknown`], or [`SwapError::Ending`] if it held nothing and only its device is waited
    /// for.
    pub(crate) fn cancel_swap_off(&self, id: StoreId) -> Result<(), SwapError> {
        let area = self.area(id).ok_or(SwapError::Unknown)?;
        if self
            .spec
            .stores
            .get(id)
            .is_none_or(|store| store.is_closed())
        {
            return Err(SwapError::Ending {
                device: area.device().name().to_owned(),
            });
        }
        area.set_on(true);
        Ok(())
    }

    /// Takes away an area that is off and holds nothing.
    ///
    /// # Errors
    /// [`SwapError::InUse`] if it holds something; [`SwapError::Busy`] if its threads have not ended at
    /// the deadline: it then stays, and off, until this is called again.
    pub(crate) fn finish_swap_off(
        &self,
        id: StoreId,
        deadline: Option<Instant>,
    ) -> Result<(), SwapError> {
        let area = self.begin_swap_off(id)?;
        let device = || area.device().name().to_owned();
        let pages = area.used_pages();
        if pages > 0 {
            return Err(SwapError::InUse {
                device: device(),
                pages,
            });
        }
        let store = self.spec.stores.get(id).ok_or(SwapError::Unknown)?;
        store.shut_down(deadline).map_err(|busy| SwapError::Busy {
            device: device(),
            source: busy.into(),
        })?;

        let mut table = self.table.lock();
        let rank = table.ranks.iter().position(|ranked| ranked.area.id() == id);
        let Some(rank) = rank else { return Ok(()) };
        table.ranks.remove(rank);
        table.bytes -= area.device().capacity();
        drop(table);
        *self.areas[id.idx()].lock() = None;
        self.spec.stores.remove(id);
        Ok(())
    }

    /// Checks W1, W2, and the invariants of all areas.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        let areas = self.areas();
        for area in &areas {
            area.verify()?;
        }
        let count = || {
            let on = areas.iter().filter(|area| area.is_on());
            on.map(|area| area.total_pages() - area.used_pages())
                .sum::<usize>()
        };
        // What others take or free between the counts is no violation.
        let (before, said, after) = (count(), self.free_pages(), count());
        ensure!(
            before != after || said == before,
            "W1",
            "{before} slots are free, {said} are said to be"
        );
        let descends = areas
            .windows(2)
            .all(|pair| pair[0].priority() >= pair[1].priority());
        ensure!(descends, "W2", "the areas are {areas:?}");
        Ok(())
    }
}

impl std::fmt::Debug for SwapSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwapSpace")
            .field("areas", &self.areas())
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// Whole pages of a device, if it can be an area.
fn nr_pages(device: &dyn SwapDevice) -> Result<u32, SwapError> {
    let bytes = device.capacity();
    let name = || device.name().to_owned();
    let pages = bytes / PAGE_SIZE as u64;
    if pages < 2 {
        return Err(SwapError::TooSmall {
            device: name(),
            bytes,
        });
    }
    if pages > Entry::MAX_PAGES as u64 {
        return Err(SwapError::TooLarge {
            device: name(),
            bytes,
        });
    }
    Ok(pages as u32)
}

/// The slots of a folio; see [`SwapSpace::chain`].
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Chain {
    area: Arc<Area>,
    next: Option<u32>,
}

#[cfg(test)]
impl Iterator for Chain {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (run, next) = self.area.run(self.next?, crate::backing::IO_PAGES as u32);
        self.next = next;
        Some(run)
    }
}
