//! All slots of a pool, by number.
//!
//! *Kernel counterpart:* none; handles take the place of page tables.

use std::ptr::{self, from_ref};

use super::slot::{FolioSlot, Mark};
use super::waiters::Waiters;
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::sync::CoreMutex;
use crate::types::Order;

/// The number of a folio's slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct FolioId(u32);

impl FolioId {
    /// The number that [`get`](Self::get) gave.
    pub(crate) const fn from_raw(raw: u32) -> FolioId {
        FolioId(raw)
    }

    /// The number.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    const fn idx(self) -> usize {
        self.0 as usize
    }
}

/// The slots that hold no folio, and how many do.
#[derive(Debug, Default)]
struct Vacancies {
    /// The first vacant slot's number and 1; each links to the next.
    first: u32,
    /// Slots that were ever used: those beyond are all zeros.
    nr_used: u32,
    /// Folios that are open.
    nr_open: usize,
}

/// The slots of a pool's folios.
#[derive(Debug)]
pub(crate) struct FolioTable {
    slots: ZeroedTable<FolioSlot>,
    vacancies: CoreMutex<Vacancies>,
    waiters: Waiters,
}

impl FolioTable {
    /// The most folios that a table can be for.
    pub(crate) const MAX: usize = u32::MAX as usize - 1;

    /// Returns a table for so many folios, which costs memory only for those there are.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for it.
    pub(crate) fn new(max_folios: usize) -> Result<FolioTable, BuildError> {
        assert!(max_folios <= Self::MAX, "{max_folios} folios");
        Ok(FolioTable {
            slots: ZeroedTable::new(max_folios, "the table of folios")?,
            vacancies: CoreMutex::new(Vacancies::default()),
            waiters: Waiters::new(),
        })
    }

    /// Bytes that a table for so many folios may come to take.
    pub(crate) fn bytes_for(max_folios: usize) -> usize {
        ZeroedTable::<FolioSlot>::bytes_for(max_folios) + Waiters::bytes()
    }

    /// Bytes that the table may come to take.
    pub(crate) fn bytes(&self) -> usize {
        Self::bytes_for(self.slots.len())
    }

    /// Makes a folio that is away, at `location`; 0 is blank, all zeros. Returns its number, and whether it
    /// is the only one; or none if the table is full.
    pub(crate) fn open(
        &self,
        order: Order,
        marks: &[Mark],
        location: u32,
    ) -> Option<(FolioId, bool)> {
        let mut vacancies = self.vacancies.lock();
        let number = match vacancies.first.checked_sub(1) {
            Some(number) => {
                vacancies.first = self.slots[number as usize].word().location();
                number
            }
            None if (vacancies.nr_used as usize) < self.slots.len() => {
                vacancies.nr_used += 1;
                vacancies.nr_used - 1
            }
            None => return None,
        };
        vacancies.nr_open += 1;
        let is_first = vacancies.nr_open == 1;
        self.slots[number as usize].open(order, marks, location);
        Some((FolioId(number), is_first))
    }

    /// The slot of a folio that has ended, for a new one. Nobody holds it, or will.
    pub(crate) fn vacate(&self, id: FolioId) {
        let word = self.slot(id).word();
        debug_assert!(word.is_dead() && !word.is_busy(), "S2: {id:?} {word:?}");
        let mut vacancies = self.vacancies.lock();
        self.slot(id).vacate(vacancies.first);
        vacancies.first = id.0 + 1;
    }

    /// An owner has dropped its folio; returns whether that was the last folio.
    pub(crate) fn close(&self) -> bool {
        let mut vacancies = self.vacancies.lock();
        vacancies.nr_open -= 1;
        vacancies.nr_open == 0
    }

    /// Folios that have an owner.
    pub(crate) fn nr_open(&self) -> usize {
        self.vacancies.lock().nr_open
    }

    /// The slot of a folio.
    #[inline]
    pub(crate) fn slot(&self, id: FolioId) -> &FolioSlot {
        &self.slots[id.idx()]
    }

    /// The number of a folio, from its slot here.
    pub(crate) fn id_of(&self, slot: &FolioSlot) -> FolioId {
        let offset = from_ref(slot).addr() - self.slots.as_ptr().addr();
        let id = FolioId((offset / size_of::<FolioSlot>()) as u32);
        debug_assert!(ptr::eq(self.slot(id), slot), "a slot of another table");
        id
    }

    /// The slots that were ever used, with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FolioId, &FolioSlot)> {
        let nr_used = self.vacancies.lock().nr_used;
        let ids = (0..nr_used).map(FolioId);
        ids.map(|id| (id, self.slot(id)))
    }

    /// Where threads wait for a folio.
    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}
