//! Swap areas on devices of the model's, used as the store's workers and those who bring folios back do.

use std::sync::Arc;

use crate::backing::{Backing, Entry, PoolTag, StoreId, StoreSpec, Stores, WriteWatch};
use crate::swap::{Area, LeavingTurn, SwapDevice, SwapError, SwapSpace, SwapSpec};
use crate::sync::thread;
use crate::types::PAGE_SIZE;

/// A pool's swap.
#[derive(Debug)]
pub struct Swap(SwapSpace);

/// A slot that holds a page, as a number for the folio's word.
pub type Slot = u32;

/// The turn of who takes an area away.
#[derive(Debug)]
pub struct Leaving {
    _turn: LeavingTurn,
    id: StoreId,
}

impl Default for Swap {
    fn default() -> Swap {
        let stores = Arc::new(Stores::new());
        Swap(SwapSpace::new(SwapSpec {
            pool: PoolTag::of(&*stores),
            stores,
            spawn: thread::spawn,
            limit_bytes: 1 << 20,
            stuck_after: StoreSpec::STUCK_AFTER,
        }))
    }
}

impl Swap {
    /// Adds an area; returns its number.
    ///
    /// # Panics
    /// If that is refused.
    pub fn swap_on(&self, device: Arc<dyn SwapDevice>) -> usize {
        let id = self.0.swap_on(device, 0).expect("there is room");
        id.idx()
    }

    /// Takes the turn of who takes an area away, if it is there and nobody has it.
    pub fn turn_to_leave(&self, idx: usize) -> Option<Leaving> {
        let id = StoreId::all().nth(idx)?;
        let turn = self.0.turn_to_leave(id).ok()?;
        Some(Leaving { _turn: turn, id })
    }

    /// Takes an area away that holds nothing; returns whether it is gone. It is used again if not.
    ///
    /// # Panics
    /// If its threads do not end.
    pub fn swap_off(&self, leaving: &Leaving) -> bool {
        match self.0.finish_swap_off(leaving.id, None) {
            Ok(()) => true,
            Err(SwapError::InUse { .. }) => {
                self.0.cancel_swap_off(leaving.id).expect("it is there");
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes a slot for a page.
    pub fn alloc(&self, owner: u32) -> Option<Slot> {
        self.0.alloc(1, owner).map(Entry::raw)
    }

    fn area(&self, slot: Slot) -> (Arc<Area>, u64) {
        let entry = Entry::from_raw(slot).expect("it is a slot");
        let area = self.0.area(entry.store()).expect("W1: it is in use");
        (area, entry.page().into())
    }

    /// Hands a slot's write in: the device may write it from now on.
    pub fn begin_write(&self, slot: Slot) {
        let (area, page) = self.area(slot);
        area.write_begins(page, 1);
    }

    /// Writes a page of this byte, as a worker does that took it from the queue.
    ///
    /// # Panics
    /// If the device has an error.
    pub fn write(&self, slot: Slot, byte: u8) {
        let (area, page) = self.area(slot);
        let written = area.write_out(page, &[byte; PAGE_SIZE]);
        written.expect("the device has no errors");
        area.write_ends(page, 1);
    }

    /// Reads a page back; returns its first byte if it is what was written.
    pub fn read(&self, slot: Slot) -> Option<u8> {
        let (area, page) = self.area(slot);
        let mut bytes = [0; PAGE_SIZE];
        area.read_in(page, &mut bytes).ok()?;
        Some(bytes[0])
    }

    /// Gives a slot back.
    pub fn free(&self, slot: Slot) {
        self.0.free(Entry::from_raw(slot).expect("it is a slot"));
    }

    /// Free slots, and all.
    pub fn sums(&self) -> (usize, usize) {
        (self.0.free_pages(), self.0.total_pages())
    }

    /// Checks every invariant.
    ///
    /// # Panics
    /// If one is broken.
    pub fn verify(&self) {
        self.0.verify().expect("nothing is lost");
    }
}
