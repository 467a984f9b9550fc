//! The folio word: where a folio is and who does what with it, in 64 bits (pure).
//!
//! *Kernel counterpart:* `page->_refcount`, `PG_locked`, `PG_writeback`, `PG_waiters` and the page
//! table entry that maps a page (v5.0). There, location and state are apart, and a move has to stop all
//! who look; here they are one word, so that every transition, a move included, is one
//! compare-exchange, and nobody can be preempted while the folio is neither here nor there.
//!
//! ```text
//!  63          32 31        23 22     21       12 11     6 5    4      3        2    1       0
//! +--------------+------------+------+-----------+--------+----+------+--------+----+-------+------+
//! |   location   | generation |WANTED|  readers  |  pins  |EXCL|STABLE|RESIDENT|BUSY|WAITERS| DEAD |
//! +--------------+------------+------+-----------+--------+----+------+--------+----+-------+------+
//! ```
//!
//! | state | bits | location | who may change it |
//! |---|---|---|---|
//! | resident | RESIDENT | frame | readers and pins come and go; a writer takes EXCL; an isolator takes STABLE |
//! | being written to | RESIDENT, EXCL | frame | the writer only; pins come and go |
//! | being copied | RESIDENT, STABLE | frame | readers come and go; a writer, a lock or a new location ends it |
//! | away | none | swap entry, or 0: all zeros | whoever wants it takes BUSY |
//! | on its way back | BUSY | as away | the one who took BUSY; others wait |
//! | dead | DEAD and any | – | who brings it back or holds it isolated, to end that; nobody begins anything |
//!
//! **Invariants**
//! - F1: readers, pins, EXCL and STABLE are set on a resident folio only, and BUSY on no other.
//! - F2: EXCL excludes readers and STABLE. It does not exclude pins: they say nothing about the bytes.
//! - F3: the location changes only while there are no readers and no pins, and the generation with it.
//! - F4: nobody begins anything with a dead folio, nor with a slot that holds none. Those who have only
//!   the number of a slot, and no handle, rely on it.
//! - F5: WANTED is set while there are pins only, and the last of them takes it off: somebody would have
//!   moved the folio, and wants to be told.
//!
//! A guard that was leaked counts for ever. The one writer that knows the folio alone passes over a
//! reader and a writer that were leaked: F2 holds as far as threads are concerned, not counts.
//!
//! Not here: how one word becomes the next (`transitions`), nor the loop that does it on real atomics
//! ([`FolioSlot`](super::FolioSlot)).

mod transitions;

#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;

pub use self::transitions::{Courtesy, Landing, Obstacle, Released};

const DEAD: u64 = 1 << 0;
const WAITERS: u64 = 1 << 1;
const BUSY: u64 = 1 << 2;
const RESIDENT: u64 = 1 << 3;
const STABLE: u64 = 1 << 4;
const EXCL: u64 = 1 << 5;

const PIN: u64 = 1 << 6;
const MAX_PINS: u64 = (1 << 6) - 1;
const PINS: u64 = MAX_PINS * PIN;

const READER: u64 = 1 << 12;
const MAX_READERS: u64 = (1 << 10) - 1;
const READERS: u64 = MAX_READERS * READER;

const WANTED: u64 = 1 << 22;

const GENERATION: u64 = 1 << 23;
const GENERATIONS: u64 = ((1 << 9) - 1) * GENERATION;

const LOCATION_SHIFT: u32 = 32;

// The fields lie side by side and fill the word.
const _: () = {
    assert!(EXCL << 1 == PIN);
    assert!(PINS + PIN == READER);
    assert!(READERS + READER == WANTED);
    assert!(WANTED << 1 == GENERATION);
    assert!(GENERATIONS + GENERATION == 1 << LOCATION_SHIFT);
};

/// The state of a folio.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FolioWord(u64);

const fn location_bits(location: u32) -> u64 {
    (location as u64) << LOCATION_SHIFT
}

const fn generation_bits(generation: u64) -> u64 {
    (generation * GENERATION) & GENERATIONS
}

impl FolioWord {
    /// Returns the word of a new folio: away, at `location`; 0 is all zeros.
    pub(super) const fn away(location: u32, generation: u64) -> FolioWord {
        FolioWord(location_bits(location) | generation_bits(generation))
    }

    /// Returns the word of a slot that holds no folio, which links to another such slot.
    pub(super) const fn vacant(link: u32, generation: u64) -> FolioWord {
        FolioWord(location_bits(link) | generation_bits(generation) | DEAD)
    }

    pub(super) const fn from_bits(bits: u64) -> FolioWord {
        FolioWord(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    const fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    const fn with(self, bits: u64) -> FolioWord {
        FolioWord(self.0 | bits)
    }

    const fn without(self, bits: u64) -> FolioWord {
        FolioWord(self.0 & !bits)
    }

    /// The frame of a resident folio, the swap entry of one that is away, or 0: all zeros.
    #[inline]
    pub fn location(self) -> u32 {
        (self.0 >> LOCATION_SHIFT) as u32
    }

    /// How often the location has changed, modulo 512.
    pub(crate) const fn generation(self) -> u64 {
        (self.0 & GENERATIONS) / GENERATION
    }

    /// Whether the folio is in memory.
    #[inline]
    pub fn is_resident(self) -> bool {
        self.has(RESIDENT)
    }

    /// Whether somebody is bringing it back.
    pub fn is_busy(self) -> bool {
        self.has(BUSY)
    }

    /// Whether its owner has dropped it.
    pub fn is_dead(self) -> bool {
        self.has(DEAD)
    }

    /// Whether it is being copied and nobody has begun to write to it since.
    pub fn is_stable(self) -> bool {
        self.has(STABLE)
    }

    /// Threads that read it.
    pub fn readers(self) -> u64 {
        (self.0 & READERS) / READER
    }

    /// Pins beside the readers.
    pub fn pins(self) -> u64 {
        (self.0 & PINS) / PIN
    }

    /// Whether somebody would have moved it, but for its pins.
    #[cfg(any(test, loom))]
    pub fn is_wanted(self) -> bool {
        self.has(WANTED)
    }

    /// Whether somebody reads or writes it.
    pub fn is_in_use(self) -> bool {
        self.has(READERS | EXCL)
    }

    /// Whether somebody reads, writes or pins it: it can be neither moved nor evicted.
    pub fn is_held(self) -> bool {
        self.has(READERS | PINS | EXCL)
    }

    /// Whether two looks saw the folio in the same place, with no change of place in between.
    #[inline]
    pub(super) fn is_same_place(self, other: FolioWord) -> bool {
        let place = !(READERS | PINS | WANTED | WAITERS | STABLE);
        self.0 & place == other.0 & place
    }

    fn moved_to(self, location: u32) -> FolioWord {
        let generation = self.0.wrapping_add(GENERATION) & GENERATIONS;
        let rest = self.0 & (GENERATION - 1);
        FolioWord(location_bits(location) | generation | rest)
    }
}

impl fmt::Debug for FolioWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_resident() { "pfn:" } else { "swap:" };
        write!(f, "{place}{:x} g{}", self.location(), self.generation())?;
        let names = [
            (EXCL, " excl"),
            (STABLE, " stable"),
            (BUSY, " busy"),
            (WAITERS, " waiters"),
            (DEAD, " dead"),
        ];
        for (_, name) in names.into_iter().filter(|(bit, _)| self.has(*bit)) {
            f.write_str(name)?;
        }
        write!(f, " {}r {}p", self.readers(), self.pins())
    }
}
