//! One swap area: a device, its slots, and a checksum for each.
//!
//! *Kernel counterpart:* `struct swap_info_struct` and `swap_aops` (v5.0).
//!
//! **Ordering.** A checksum is stored by the worker that writes the page and read by the thread that reads
//! it. The entry travels from the one to the other through the store's lock and the folio's word.

use std::any::Any;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::clusters::Run;
use super::device::SwapDevice;
use super::file::SwapFile;
use super::slots::{Found, SlotMap};
use crate::arena::ZeroedTable;
use crate::backing::{Backing, BackingError, Entry, InFile, StoreId, WriteOut, WriteWatch};
use crate::error::{BuildError, Violation};
use crate::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, cpu};
use crate::types::PAGE_SIZE;

/// Slots of all areas that are on: all of them, and those that are free.
///
/// The free ones may be below zero for a moment, while one thread has put by what it is about to take
/// from an area and another switches that area off.
#[derive(Debug, Default)]
pub(super) struct Totals {
    free: AtomicI64,
    all: AtomicI64,
}

impl Totals {
    // Relaxed, in all of these: the slots themselves are handed over under their area's lock.

    pub(super) fn free(&self) -> usize {
        usize::try_from(self.free.load(Relaxed)).unwrap_or(0)
    }

    pub(super) fn all(&self) -> usize {
        usize::try_from(self.all.load(Relaxed)).unwrap_or(0)
    }

    /// Puts `nr` free slots by, if there are so many.
    pub(super) fn put_by(&self, nr: u32) -> bool {
        let take = |free: i64| (free >= nr.into()).then(|| free - i64::from(nr));
        if mutated("swap.put_by_in_one") {
            let left = take(self.free.load(Relaxed));
            return left
                .inspect(|left| self.free.store(*left, Relaxed))
                .is_some();
        }
        self.free.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    pub(super) fn give_back(&self, nr: u32) {
        self.free.fetch_add(nr.into(), Relaxed);
    }

    fn add(&self, sign: i64, all: usize, free: u32) {
        self.all.fetch_add(sign * all as i64, Relaxed);
        self.free.fetch_add(sign * i64::from(free), Relaxed);
    }
}

/// What an area's lock guards.
#[derive(Debug)]
struct Slots {
    map: SlotMap,
    /// Whether slots may be taken. Only then is what is free here part of the sum of all areas.
    is_on: bool,
    /// Whether somebody takes the area away.
    is_leaving: bool,
}

/// The turn of who takes an area away, until it is dropped: two who empty it at once could call each
/// other's attempt off.
#[derive(Debug)]
#[must_use = "it is others' turn once this is dropped"]
pub(crate) struct LeavingTurn(Arc<Area>);

impl Drop for LeavingTurn {
    fn drop(&mut self) {
        self.0.slots.lock().is_leaving = false;
    }
}

/// A swap area.
pub(crate) struct Area {
    id: StoreId,
    priority: i16,
    device: Arc<dyn SwapDevice>,
    nr_pages: u32,
    slots: CoreMutex<Slots>,
    checksums: ZeroedTable<AtomicU32>,
    totals: Arc<Totals>,
}

impl Area {
    /// Returns an area on `nr_pages` of a device, from which slots can be taken once it is
    /// [on](Area::set_on).
    pub(super) fn new(
        id: StoreId,
        priority: i16,
        device: Arc<dyn SwapDevice>,
        nr_pages: u32,
        totals: Arc<Totals>,
    ) -> Result<Area, BuildError> {
        Ok(Area {
            id,
            priority,
            device,
            nr_pages,
            slots: CoreMutex::new(Slots {
                map: SlotMap::new(nr_pages, cpu::possible())?,
                is_on: false,
                is_leaving: false,
            }),
            checksums: ZeroedTable::new(nr_pages as usize, "the checksums of swap slots")?,
            totals,
        })
    }

    /// Bytes that the tables for so many slots may come to take.
    pub(super) fn bytes_for(nr_pages: usize) -> usize {
        SlotMap::bytes_for(nr_pages) + ZeroedTable::<AtomicU32>::bytes_for(nr_pages)
    }

    /// Bytes that its tables may come to take.
    pub(crate) fn bytes(&self) -> usize {
        Area::bytes_for(self.nr_pages as usize)
    }

    /// The number of its store.
    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    /// Areas of higher priority are filled first.
    pub(crate) fn priority(&self) -> i16 {
        self.priority
    }

    /// What it is on.
    pub(crate) fn device(&self) -> &Arc<dyn SwapDevice> {
        &self.device
    }

    /// Slots that there are, without the header.
    pub(crate) fn total_pages(&self) -> usize {
        self.nr_pages as usize - 1
    }

    /// Slots that hold something, or that an abandoned write still holds.
    pub(crate) fn used_pages(&self) -> usize {
        self.slots.lock().map.nr_used() as usize
    }

    /// Whether slots are taken from it.
    pub(crate) fn is_on(&self) -> bool {
        self.slots.lock().is_on
    }

    /// Takes the turn of who takes the area away, unless somebody has it.
    pub(super) fn turn_to_leave(self: &Arc<Area>) -> Option<LeavingTurn> {
        let mut slots = self.slots.lock();
        if slots.is_leaving {
            return None;
        }
        slots.is_leaving = true;
        Some(LeavingTurn(Arc::clone(self)))
    }

    /// Lets slots be taken from now on, or not.
    pub(super) fn set_on(&self, is_on: bool) {
        let mut slots = self.slots.lock();
        if slots.is_on == is_on {
            return;
        }
        slots.is_on = is_on;
        let sign = if is_on { 1 } else { -1 };
        let nr_free = slots.map.nr_free();
        self.totals.add(sign, self.total_pages(), nr_free);
    }

    /// Takes a chain of slots that the caller has put by.
    pub(super) fn take(&self, nr: u32, owner: u32) -> Option<Entry> {
        let mut slots = self.slots.lock();
        if !slots.is_on && !mutated("swap.off_gives_none") {
            return None;
        }
        let head = slots.map.take(cpu::current(), nr, owner)?;
        Some(Entry::new(self.id, head))
    }

    /// Frees a chain.
    pub(super) fn free(&self, entry: Entry) {
        self.give(|map| map.free(entry.page()));
    }

    /// Does something that frees slots.
    fn give(&self, give: impl FnOnce(&mut SlotMap) -> u32) {
        let mut slots = self.slots.lock();
        let nr_freed = give(&mut slots.map);
        if slots.is_on {
            self.totals.give_back(nr_freed);
        }
    }

    /// Whose slot it is, if anybody's.
    pub(crate) fn owner(&self, page: u32) -> Option<u32> {
        self.slots.lock().map.owner(page)
    }

    /// The slots of a chain from `page` on that follow each other, at most `max`; and where it goes on.
    pub(crate) fn run(&self, page: u32, max: u32) -> (Run, Option<u32>) {
        self.slots.lock().map.run(page, max)
    }

    /// The first chain that begins at slot `from` or after, and its owner.
    pub(crate) fn next_chain(&self, from: u32) -> Option<(Entry, u32)> {
        let mut from = from;
        loop {
            let found = self.slots.lock().map.find_head(from);
            match found {
                Found::Head { page, owner } => return Some((Entry::new(self.id, page), owner)),
                Found::NotYet { next } => from = next,
                Found::Nothing => return None,
            }
        }
    }

    /// Checks the invariants of its slots.
    pub(super) fn verify(&self) -> Result<(), Violation> {
        self.slots.lock().map.verify()
    }

    /// The first page of `bytes`, which are those from `page` on, that is not what was written.
    fn first_damaged(&self, page: u64, bytes: &[u8]) -> Option<u32> {
        // Relaxed: ordered by whatever passed the entry on.
        let is_damaged = |&(page, bytes): &(u32, &[u8])| {
            self.checksums[page as usize].load(Relaxed) != checksum(page, bytes)
        };
        let damaged = numbered(page, bytes).find(is_damaged);
        damaged.map(|(page, _)| page)
    }

    fn offset(page: u64) -> u64 {
        page * PAGE_SIZE as u64
    }
}

impl std::fmt::Debug for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Area")
            .field("id", &self.id)
            .field("device", &self.device.name())
            .finish_non_exhaustive()
    }
}

/// The checksum of a page: CRC-32C of its bytes, begun with its number, so that a page that was written
/// to the wrong place does not match either.
fn checksum(page: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(page, bytes)
}

fn numbered(page: u64, bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let first = u32::try_from(page).expect("areas have fewer pages");
    (first..).zip(bytes.chunks_exact(PAGE_SIZE))
}

impl Backing for Area {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        let mut done = 0;
        while done < bytes.len() {
            let offset = Area::offset(page) + done as u64;
            match self.device.read_at(&mut bytes[done..], offset)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                // What a device that is read directly accepts begins at a page.
                n => done = whole_pages(done + n, done)?,
            }
        }
        match self.first_damaged(page, bytes) {
            Some(page) => Err(BackingError::Corrupt { page: page.into() }),
            None => Ok(()),
        }
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        for (page, bytes) in numbered(page, bytes) {
            // Relaxed: as in `first_damaged`.
            self.checksums[page as usize].store(checksum(page, bytes), Relaxed);
        }
        let mut done = 0;
        while done < bytes.len() {
            let offset = Area::offset(page) + done as u64;
            let n = self.device.write_at(&bytes[done..], offset)?;
            done = whole_pages(done + n, done)?;
        }
        Ok(WriteOut::Written)
    }
}

impl InFile for Area {
    fn file(&self) -> Option<&File> {
        let device: &dyn Any = &*self.device;
        device.downcast_ref::<SwapFile>()?.file_for_rings()
    }

    fn is_intact(&self, page: u64, bytes: &[u8]) -> bool {
        self.first_damaged(page, bytes).is_none()
    }
}

/// The end of the last page that was transferred whole, which is beyond `before`.
///
/// # Errors
/// A transient one if there is none: the device did less than a page, and may do more the next time.
fn whole_pages(done: usize, before: usize) -> io::Result<usize> {
    let done = done / PAGE_SIZE * PAGE_SIZE;
    if done > before {
        return Ok(done);
    }
    Err(io::ErrorKind::Interrupted.into())
}

impl WriteWatch for Area {
    fn write_begins(&self, page: u64, nr: usize) {
        self.slots.lock().map.write_begins(page as u32, nr as u32);
    }

    fn write_ends(&self, page: u64, nr: usize) {
        self.give(|map| map.write_ends(page as u32, nr as u32));
    }
}
