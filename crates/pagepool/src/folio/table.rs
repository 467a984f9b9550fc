//! All slots of a pool, by number.
//!
//! *Kernel counterpart:* none; handles take the place of page tables.

use std::ptr::{self, from_ref};

use super::slot::{FolioSlot, Mark};
use super::waiters::Waiters;
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::memmap::Memmap;
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::fence::mutated;
use crate::types::{GroupId, MAX_GROUPS, Order};

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
    /// The group of each. Beside the slots, since hardly anybody looks who looks at those.
    groups: ZeroedTable<AtomicU8>,
    vacancies: CoreMutex<Vacancies>,
    waiters: Waiters,
}

const _: () = assert!(MAX_GROUPS <= u8::MAX as usize);

impl FolioTable {
    /// The most folios that a table can be for: a frame's owner has room for no more.
    pub(crate) const MAX: usize = Memmap::MAX_OWNERS;

    /// Returns a table for so many folios, which costs memory only for those there are.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for it.
    pub(crate) fn new(max_folios: usize) -> Result<FolioTable, BuildError> {
        assert!(max_folios <= Self::MAX, "{max_folios} folios");
        Ok(FolioTable {
            slots: ZeroedTable::new(max_folios, "the table of folios")?,
            groups: ZeroedTable::new(max_folios, "the table of folios")?,
            vacancies: CoreMutex::new(Vacancies::default()),
            waiters: Waiters::new(),
        })
    }

    /// Bytes that a table for so many folios may come to take.
    pub(crate) fn bytes_for(max_folios: usize) -> usize {
        ZeroedTable::<FolioSlot>::bytes_for(max_folios)
            + ZeroedTable::<AtomicU8>::bytes_for(max_folios)
            + Waiters::bytes()
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
        group: GroupId,
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
        self.set_group(FolioId(number), group);
        self.slots[number as usize].open(order, marks, location);
        Some((FolioId(number), is_first))
    }

    /// The group of a folio. Who acts on it holds the folio in a way that keeps it from changing: see
    /// [`set_group`](Self::set_group).
    pub(crate) fn group(&self, id: FolioId) -> GroupId {
        // Relaxed: ordered by the folio's word, or by the lock of the lists that it is on.
        let group = self.groups[id.idx()].load(Ordering::Relaxed);
        GroupId::at(usize::from(group))
    }

    /// Moves a folio to a group, for its owner, who has it away and in its own hands.
    pub(crate) fn set_group(&self, id: FolioId, group: GroupId) {
        // Relaxed: as in `group`.
        self.groups[id.idx()].store(group.get() as u8, Ordering::Relaxed);
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

    /// Moves a folio to a group that its owner has pinned in memory. Whoever has begun a copy of it, and may
    /// have read the old group in order to evict it, comes to nothing.
    pub(crate) fn set_group_of_pinned(&self, id: FolioId, group: GroupId) {
        self.set_group(id, group);
        if !mutated("group.move_ends_copy") {
            self.slot(id).end_copy();
        }
    }

    /// How many slots there are.
    pub(crate) fn most(&self) -> usize {
        self.slots.len()
    }

    /// How many slots were ever used.
    pub(crate) fn nr_used(&self) -> usize {
        self.vacancies.lock().nr_used as usize
    }

    /// The slot of a place below [`nr_used`](Self::nr_used).
    pub(crate) fn at(&self, idx: usize) -> FolioId {
        FolioId(idx as u32)
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
