//! The folio word: where a folio is and who does what with it, in 64 bits (pure).
//!
//! *Kernel counterpart:* `page->_refcount`, `PG_locked`, `PG_writeback`, `PG_waiters` and the page
//! table entry that maps a page (v5.0). There, location and state are apart, and a move has to stop all
//! who look; here they are one word, so that every transition, a move included, is one
//! compare-exchange, and nobody can be preempted while the folio is neither here nor there.
//!
//! ```text
//!  63            32 31        22 21        12 11      6 5    4     3        2    1       0
//! +----------------+------------+------------+---------+----+------+--------+----+-------+------+
//! |    location    | generation |  readers   |  pins   |EXCL|STABLE|RESIDENT|BUSY|WAITERS| DEAD |
//! +----------------+------------+------------+---------+----+------+--------+----+-------+------+
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
//! **Transitions** are functions from a word to the word after it, or to nothing where they are not
//! permitted; the compare-exchange loop is written once, in [`FolioSlot`](super::FolioSlot).
//!
//! **Invariants**
//! - F1: readers, pins, EXCL and STABLE are set on a resident folio only, and BUSY on no other.
//! - F2: EXCL excludes readers and STABLE. It does not exclude pins: they say nothing about the bytes.
//! - F3: the location changes only while there are no readers and no pins, and the generation with it.
//! - F4: nobody begins anything with a dead folio, nor with a slot that holds none. Those who have only
//!   the number of a slot, and no handle, rely on it.
//!
//! A guard that was leaked counts for ever. The one writer that knows the folio alone passes over a
//! reader and a writer that were leaked: F2 holds as far as threads are concerned, not counts.

use std::fmt;

use crate::sync::fence::mutated;

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

const GENERATION: u64 = 1 << 22;
const GENERATIONS: u64 = ((1 << 10) - 1) * GENERATION;

const LOCATION_SHIFT: u32 = 32;

// The fields lie side by side and fill the word.
const _: () = {
    assert!(EXCL << 1 == PIN);
    assert!(PINS + PIN == READER);
    assert!(READERS + READER == GENERATION);
    assert!(GENERATIONS + GENERATION == 1 << LOCATION_SHIFT);
};

/// The state of a folio.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FolioWord(u64);

/// Why a transition is not permitted: what the caller has to do first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The folio is away: bring it back.
    Away,
    /// The folio has ended. Those who hold a handle do not meet this.
    Ended,
    /// Somebody brings it back, writes to it, or, for a writer, reads it: wait.
    Taken,
    /// The count of readers or pins is at its limit.
    TooMany,
}

/// Whom a reader gives way to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Courtesy {
    /// To threads that wait: writers come first.
    WaitersFirst,
    /// To nobody: this thread reads the folio already, and who waits, waits for it as well.
    MeFirst,
}

/// What a folio that comes back is given to at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Landing {
    /// To nobody.
    Idle,
    /// To a reader.
    Read,
    /// To a writer.
    Write,
    /// To somebody who pins it.
    Pin,
}

/// A word after its transition, and whether threads wait that must be woken for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Released {
    /// The word.
    pub word: FolioWord,
    /// Whether the bucket must be rung.
    pub wake: bool,
}

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

    /// How often the location has changed, modulo 1024.
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
        let place = !(READERS | PINS | WAITERS | STABLE);
        self.0 & place == other.0 & place
    }

    /// What stands in the way of anybody who wants the bytes.
    #[inline]
    fn check_present(self) -> Result<(), Obstacle> {
        if self.0 & (RESIDENT | DEAD) == RESIDENT {
            Ok(())
        } else {
            Err(self.absence())
        }
    }

    /// Why the bytes are not there.
    #[cold]
    fn absence(self) -> Obstacle {
        if self.has(DEAD) {
            Obstacle::Ended
        } else if self.has(BUSY) {
            Obstacle::Taken
        } else {
            Obstacle::Away
        }
    }

    /// A reader comes.
    #[inline]
    pub fn begin_read(self, courtesy: Courtesy) -> Result<FolioWord, Obstacle> {
        let in_the_way = match courtesy {
            Courtesy::WaitersFirst => EXCL | DEAD | WAITERS,
            Courtesy::MeFirst => EXCL | DEAD,
        };
        if self.0 & (RESIDENT | in_the_way) != RESIDENT {
            return Err(self.check_present().err().unwrap_or(Obstacle::Taken));
        }
        self.counted(READER, READERS)
    }

    /// One more in the field `count`.
    #[inline]
    fn counted(self, one: u64, count: u64) -> Result<FolioWord, Obstacle> {
        // A full count comes round to 0; what it carries into the next field goes no further than here.
        let after = self.0.wrapping_add(one);
        if after & count == 0 {
            return Err(Obstacle::TooMany);
        }
        Ok(FolioWord(after))
    }

    /// What is taken from the word when a reader leaves.
    pub(super) const READER_LEAVES: u64 = READER;

    /// What is taken from the word when a pin goes.
    pub(super) const PIN_GOES: u64 = PIN;

    /// Whether the reader that leaves this word was the last that somebody waits for.
    #[inline]
    pub(super) fn owes_wake_after_reader(self) -> bool {
        self.has(WAITERS) && self.readers() == 1
    }

    /// Nobody waits any more, or at least each who does will be woken.
    pub(super) fn call_waiters(self) -> FolioWord {
        self.without(WAITERS)
    }

    /// A writer comes that alone knows the folio: what stands in its way can only have been left there.
    #[inline]
    pub fn begin_write_owned(self) -> Result<FolioWord, Obstacle> {
        self.check_present()?;
        // The copy that somebody makes is out of date from here on: STABLE goes in the same step.
        if mutated("folio.writer_clears_stable") {
            return Ok(self.with(EXCL));
        }
        Ok(self.without(STABLE).with(EXCL))
    }

    /// A writer comes among others.
    #[inline]
    pub fn begin_write(self) -> Result<FolioWord, Obstacle> {
        self.check_present()?;
        if self.has(EXCL | READERS) {
            return Err(Obstacle::Taken);
        }
        self.begin_write_owned()
    }

    /// The writer leaves.
    #[inline]
    pub fn end_write(self) -> Released {
        debug_assert!(self.has(EXCL), "F2: nobody writes {self:?}");
        self.release(self.without(EXCL))
    }

    /// A pin comes.
    #[inline]
    pub fn begin_pin(self) -> Result<FolioWord, Obstacle> {
        self.check_present()?;
        self.counted(PIN, PINS)
    }

    /// Somebody takes it upon itself to bring the folio back.
    pub fn begin_fault(self) -> Result<FolioWord, Obstacle> {
        match self.check_present() {
            Err(Obstacle::Away) => Ok(self.with(BUSY)),
            // Somebody else has done it.
            Ok(()) => Err(Obstacle::Taken),
            Err(other) => Err(other),
        }
    }

    /// The same for somebody who brings the folio back ahead of any request, and does so only if it is
    /// where it was thought to be.
    pub fn begin_fault_at(self, location: u32) -> Result<FolioWord, Obstacle> {
        if self.location() != location || self.has(DEAD) {
            return Err(Obstacle::Taken);
        }
        self.begin_fault()
    }

    /// The folio is back, in the frame `location`. If its owner has dropped it meanwhile, whoever brought
    /// it back has it to end, frame and all.
    pub fn end_fault(self, location: u32, landing: Landing) -> Released {
        debug_assert!(self.has(BUSY), "nobody brings {self:?} back");
        let holder = match landing {
            Landing::Idle => 0,
            Landing::Read => READER,
            Landing::Write => EXCL,
            Landing::Pin => PIN,
        };
        let back = self.without(BUSY).moved_to(location);
        self.release(back.with(RESIDENT | holder))
    }

    /// It could not be brought back. If its owner has dropped it meanwhile, see `end_fault`.
    pub fn abort_fault(self) -> Released {
        debug_assert!(self.has(BUSY), "nobody brings {self:?} back");
        self.release(self.without(BUSY))
    }

    /// It is not brought back, but made blank: its contents are given up.
    pub fn blank_fault(self) -> Released {
        debug_assert!(self.has(BUSY), "nobody brings {self:?} back");
        self.release(self.without(BUSY).moved_to(0))
    }

    /// Its isolator begins to copy it.
    pub fn begin_copy(self) -> Option<FolioWord> {
        let free = self.has(RESIDENT) && !self.is_held() && !self.has(DEAD);
        free.then(|| self.with(STABLE))
    }

    /// The same for a copy after which the folio stays where it is: readers and pins are not in its way.
    pub fn begin_copy_in_place(self) -> Option<FolioWord> {
        let free = self.has(RESIDENT) && !self.has(EXCL | DEAD);
        free.then(|| self.with(STABLE))
    }

    /// Its isolator has done with the copy, or gives it up; or its owner, who locks it, sees to it that no
    /// copy begun before lets it leave memory.
    pub fn end_copy(self) -> FolioWord {
        self.without(STABLE)
    }

    /// Its isolator takes it out of memory: a copy is at `location`. Permitted only if nobody has written
    /// to it since the copy began, and nobody holds it.
    pub fn evict(self, location: u32) -> Option<FolioWord> {
        let is_dead = self.has(DEAD) && !mutated("folio.evict_spares_the_dead");
        let permitted = self.has(STABLE) && !self.is_held() && !is_dead;
        let away = self.without(RESIDENT | STABLE).moved_to(location);
        permitted.then_some(away)
    }

    /// Its isolator has moved it to the frame `location`; permitted as [`evict`](Self::evict).
    #[cfg_attr(not(any(test, loom)), expect(dead_code, reason = "compaction"))]
    pub fn relocate(self, location: u32) -> Option<FolioWord> {
        Some(self.evict(location)?.with(RESIDENT))
    }

    /// Its owner drops it.
    pub fn kill(self) -> FolioWord {
        self.with(DEAD)
    }

    /// Somebody waits for a change.
    pub(super) fn with_waiter(self) -> FolioWord {
        self.with(WAITERS)
    }

    #[inline]
    fn release(self, after: FolioWord) -> Released {
        Released {
            word: after.without(WAITERS),
            wake: self.has(WAITERS) && !mutated("folio.release_wakes"),
        }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const FRAME: u32 = 77;

    fn away() -> FolioWord {
        FolioWord::away(0, 5)
    }

    fn resident() -> FolioWord {
        let busy = away().begin_fault().unwrap();
        busy.end_fault(FRAME, Landing::Idle).word
    }

    fn read(word: FolioWord) -> FolioWord {
        word.begin_read(Courtesy::WaitersFirst).unwrap()
    }

    #[test]
    fn a_blank_folio_is_away_and_all_zeros() {
        let word = away();
        assert!(!word.is_resident() && !word.is_busy() && !word.is_held());
        assert_eq!((word.location(), word.generation()), (0, 5));
        assert_eq!(word.begin_read(Courtesy::MeFirst), Err(Obstacle::Away));
        assert_eq!(word.begin_write(), Err(Obstacle::Away));
        assert_eq!(word.begin_pin(), Err(Obstacle::Away));
    }

    #[test]
    fn one_thread_brings_a_folio_back_and_the_others_wait() {
        let busy = away().begin_fault().unwrap();
        assert_eq!(busy.begin_fault(), Err(Obstacle::Taken));
        assert_eq!(busy.begin_read(Courtesy::MeFirst), Err(Obstacle::Taken));
        let landed = busy.with_waiter().end_fault(FRAME, Landing::Read);
        assert!(landed.wake);
        assert_eq!(landed.word.location(), FRAME);
        assert_eq!((landed.word.readers(), landed.word.generation()), (1, 6));
        assert_eq!(landed.word.begin_fault(), Err(Obstacle::Taken));
    }

    #[test]
    fn a_fault_that_fails_leaves_the_folio_where_it_was() {
        let busy = away().begin_fault().unwrap().with_waiter();
        let aborted = busy.abort_fault();
        assert!(aborted.wake);
        assert_eq!(aborted.word, away());
    }

    #[test]
    fn readers_share_and_a_writer_does_not() {
        let two = read(read(resident()));
        assert_eq!(two.readers(), 2);
        assert_eq!(two.begin_write(), Err(Obstacle::Taken));
        let writing = resident().begin_write().unwrap();
        assert_eq!(writing.begin_read(Courtesy::MeFirst), Err(Obstacle::Taken));
        assert_eq!(writing.begin_write(), Err(Obstacle::Taken));
        assert_eq!(writing.end_write().word, resident());
    }

    #[test]
    fn a_reader_gives_way_to_waiters_unless_they_wait_for_it() {
        let awaited = read(resident()).with_waiter();
        assert_eq!(
            awaited.begin_read(Courtesy::WaitersFirst),
            Err(Obstacle::Taken)
        );
        assert_eq!(awaited.begin_read(Courtesy::MeFirst).unwrap().readers(), 2);
        assert!(awaited.owes_wake_after_reader());
        let second = awaited.begin_read(Courtesy::MeFirst).unwrap();
        assert!(!second.owes_wake_after_reader());
    }

    #[test]
    fn a_pin_stops_eviction_and_neither_readers_nor_writers() {
        let pinned = resident().begin_pin().unwrap();
        assert_eq!(read(pinned).readers(), 1);
        let written = pinned.begin_write().unwrap().end_write().word;
        assert_eq!(written, pinned);
        assert_eq!(pinned.begin_copy(), None);
        let copying = resident().begin_copy().unwrap();
        assert_eq!(copying.begin_pin().unwrap().evict(3), None);
    }

    #[test]
    fn counts_do_not_overflow() {
        let mut word = resident();
        for _ in 0..MAX_READERS {
            word = word.begin_read(Courtesy::MeFirst).unwrap();
        }
        assert_eq!(word.begin_read(Courtesy::MeFirst), Err(Obstacle::TooMany));
        for _ in 0..MAX_PINS {
            word = word.begin_pin().unwrap();
        }
        assert_eq!(word.begin_pin(), Err(Obstacle::TooMany));
        assert_eq!((word.readers(), word.pins()), (MAX_READERS, MAX_PINS));
        assert_eq!((word.location(), word.generation()), (FRAME, 6));
    }

    #[test]
    fn a_writer_ends_the_copy_in_the_same_step() {
        let copying = resident().begin_copy().unwrap();
        assert!(copying.is_stable());
        let written = copying.begin_write().unwrap().end_write().word;
        assert!(!written.is_stable());
        assert_eq!(written.evict(3), None);
    }

    #[test]
    fn readers_do_not_end_a_copy_but_hold_the_folio() {
        let copying = resident().begin_copy().unwrap();
        let reading = read(copying);
        assert!(reading.is_stable());
        assert_eq!(reading.evict(3), None);
        assert_eq!(copying.evict(3).unwrap().location(), 3);
    }

    #[test]
    fn evicted_folios_are_away_at_their_copy() {
        let gone = resident().begin_copy().unwrap().evict(9).unwrap();
        assert!(!gone.is_resident() && !gone.is_stable());
        assert_eq!((gone.location(), gone.generation()), (9, 7));
        assert!(!gone.is_same_place(resident()));
    }

    #[test]
    fn a_moved_folio_stays_resident() {
        let moved = resident().begin_copy().unwrap().relocate(9).unwrap();
        assert!(moved.is_resident() && !moved.is_stable());
        assert_eq!((moved.location(), moved.generation()), (9, 7));
    }

    #[test]
    fn a_dead_folio_is_not_touched() {
        let dead = resident().begin_copy().unwrap().kill();
        assert_eq!(dead.evict(3), None);
        let dead = resident().kill();
        assert_eq!(dead.begin_copy(), None);
        for dead in [dead, away().kill(), FolioWord::vacant(7, 3)] {
            let ended = Err(Obstacle::Ended);
            assert_eq!(dead.begin_read(Courtesy::MeFirst), ended, "{dead:?}");
            assert_eq!(dead.begin_write(), ended);
            assert_eq!(dead.begin_write_owned(), ended);
            assert_eq!(dead.begin_pin(), ended);
            assert_eq!(dead.begin_fault(), ended);
        }
    }

    #[test]
    fn who_brings_a_dead_folio_back_is_told() {
        let busy = away().begin_fault().unwrap().kill();
        assert!(busy.end_fault(FRAME, Landing::Read).word.is_dead());
        assert!(busy.abort_fault().word.is_dead());
    }

    #[test]
    fn a_place_is_told_apart_from_the_same_place_later() {
        let held = read(resident()).with_waiter();
        assert!(held.is_same_place(resident()));
        let gone = resident().begin_copy().unwrap().evict(9).unwrap();
        let back = gone.begin_fault().unwrap().end_fault(FRAME, Landing::Idle);
        assert!(!back.word.is_same_place(resident()));
        assert!(!resident().begin_write().unwrap().is_same_place(resident()));
    }

    #[test]
    fn the_generation_wraps_within_its_field() {
        let mut word = FolioWord::away(0, 1023);
        assert_eq!(word.generation(), 1023);
        word = word
            .begin_fault()
            .unwrap()
            .end_fault(u32::MAX, Landing::Write)
            .word;
        assert_eq!((word.generation(), word.location()), (0, u32::MAX));
        assert_eq!((word.readers(), word.pins()), (0, 0));
    }

    #[test]
    fn the_debug_form_reads_like_a_sentence() {
        let word = read(resident()).with_waiter();
        assert_eq!(format!("{word:?}"), "pfn:4d g6 waiters 1r 0p");
    }

    /// What somebody may try to do with a folio.
    #[derive(Clone, Copy, Debug)]
    enum Op {
        BeginRead(Courtesy),
        EndRead,
        BeginWrite,
        BeginWriteOwned,
        EndWrite,
        BeginPin,
        EndPin,
        BeginFault,
        EndFault(u32, Landing),
        AbortFault,
        BeginCopy,
        BeginCopyInPlace,
        EndCopy,
        Evict(u32),
        Relocate(u32),
        Wait,
        Call,
        Kill,
    }

    fn op() -> impl Strategy<Value = Op> {
        use Op::*;
        let landing = prop_oneof![
            Just(Landing::Idle),
            Just(Landing::Read),
            Just(Landing::Write),
            Just(Landing::Pin),
        ];
        prop_oneof![
            6 => prop_oneof![Just(Courtesy::MeFirst), Just(Courtesy::WaitersFirst)].prop_map(BeginRead),
            6 => Just(EndRead),
            3 => Just(BeginWrite),
            1 => Just(BeginWriteOwned),
            4 => Just(EndWrite),
            2 => Just(BeginPin),
            3 => Just(EndPin),
            6 => Just(BeginFault),
            6 => (any::<u32>(), landing).prop_map(|(at, landing)| EndFault(at, landing)),
            1 => Just(AbortFault),
            6 => Just(BeginCopy),
            2 => Just(BeginCopyInPlace),
            2 => Just(EndCopy),
            4 => any::<u32>().prop_map(Evict),
            2 => any::<u32>().prop_map(Relocate),
            2 => Just(Wait),
            2 => Just(Call),
            1 => Just(Kill),
        ]
    }

    /// A folio as plain fields: what the word packs.
    #[derive(Clone, PartialEq, Debug)]
    struct Model {
        location: u32,
        nr_moves: u64,
        readers: u64,
        pins: u64,
        is_resident: bool,
        is_busy: bool,
        is_written: bool,
        is_stable: bool,
        is_dead: bool,
        is_awaited: bool,
    }

    impl Model {
        fn new() -> Model {
            Model {
                location: 0,
                nr_moves: 5,
                readers: 0,
                pins: 0,
                is_resident: false,
                is_busy: false,
                is_written: false,
                is_stable: false,
                is_dead: false,
                is_awaited: false,
            }
        }

        /// The model that a word stands for.
        fn of(word: FolioWord, nr_moves: u64) -> Model {
            assert_eq!(word.generation(), nr_moves % 1024);
            Model {
                location: word.location(),
                nr_moves,
                readers: word.readers(),
                pins: word.pins(),
                is_resident: word.is_resident(),
                is_busy: word.is_busy(),
                is_written: word.has(EXCL),
                is_stable: word.is_stable(),
                is_dead: word.is_dead(),
                is_awaited: word.has(WAITERS),
            }
        }

        fn is_held(&self) -> bool {
            self.readers > 0 || self.pins > 0 || self.is_written
        }

        fn is_open(&self) -> Result<(), Obstacle> {
            match (self.is_dead, self.is_resident, self.is_busy) {
                (true, _, _) => Err(Obstacle::Ended),
                (false, true, _) => Ok(()),
                (false, false, true) => Err(Obstacle::Taken),
                (false, false, false) => Err(Obstacle::Away),
            }
        }

        fn move_to(&mut self, location: u32) {
            self.location = location;
            self.nr_moves += 1;
        }

        fn begin_write(&mut self, is_in_the_way: bool) -> Result<(), Obstacle> {
            self.is_open()?;
            if is_in_the_way {
                return Err(Obstacle::Taken);
            }
            self.is_written = true;
            self.is_stable = false;
            Ok(())
        }

        /// F1 to F3, as far as one state shows them.
        fn verify(&self) {
            let in_use = self.is_held() || self.is_stable;
            assert!(!in_use || self.is_resident, "F1: {self:?}");
            assert!(!(self.is_busy && self.is_resident), "F1: {self:?}");
            let others = self.readers > 0 || self.is_stable;
            assert!(!(self.is_written && others), "F2: {self:?}");
        }
    }

    /// The word after the step, if it is permitted, and what the model says of it: the step is done there
    /// too. None if nobody could try it, since nobody holds what it gives back.
    fn step(word: FolioWord, model: &mut Model, op: Op) -> Option<FolioWord> {
        let check = |got: Result<FolioWord, Obstacle>, expected: Result<(), Obstacle>| {
            assert_eq!(got.map(|_| ()), expected, "{op:?} of {word:?}");
            Some(got.unwrap_or(word))
        };
        let leave = |released: Released, model: &mut Model| {
            assert_eq!(released.wake, std::mem::take(&mut model.is_awaited));
            Some(released.word)
        };
        match op {
            Op::BeginRead(courtesy) => {
                let gives_way = courtesy == Courtesy::WaitersFirst && model.is_awaited;
                let expected = model.is_open().and_then(|()| {
                    let is_taken = model.is_written || gives_way;
                    if is_taken {
                        Err(Obstacle::Taken)
                    } else {
                        Ok(())
                    }
                });
                model.readers += u64::from(expected.is_ok());
                check(word.begin_read(courtesy), expected)
            }
            Op::EndRead if model.readers > 0 => {
                let is_last = model.readers == 1;
                assert_eq!(word.owes_wake_after_reader(), is_last && model.is_awaited);
                model.readers -= 1;
                Some(FolioWord(word.0 - FolioWord::READER_LEAVES))
            }
            Op::BeginWrite => {
                let is_in_the_way = model.is_written || model.readers > 0;
                check(word.begin_write(), model.begin_write(is_in_the_way))
            }
            // Whoever knows the folio alone has no guard out, but for those it leaked.
            Op::BeginWriteOwned if model.readers == 0 => {
                check(word.begin_write_owned(), model.begin_write(false))
            }
            Op::EndWrite if model.is_written => {
                model.is_written = false;
                leave(word.end_write(), model)
            }
            Op::BeginPin => {
                let full = if model.pins == MAX_PINS {
                    Err(Obstacle::TooMany)
                } else {
                    Ok(())
                };
                let expected = model.is_open().and(full);
                model.pins += u64::from(expected.is_ok());
                check(word.begin_pin(), expected)
            }
            Op::EndPin if model.pins > 0 => {
                model.pins -= 1;
                Some(FolioWord(word.0 - FolioWord::PIN_GOES))
            }
            Op::BeginFault => {
                let expected = match model.is_open() {
                    Err(Obstacle::Away) => Ok(()),
                    Ok(()) => Err(Obstacle::Taken),
                    other => other,
                };
                model.is_busy |= expected.is_ok();
                check(word.begin_fault(), expected)
            }
            Op::EndFault(location, landing) if model.is_busy => {
                model.is_busy = false;
                model.is_resident = true;
                model.move_to(location);
                match landing {
                    Landing::Idle => {}
                    Landing::Read => model.readers = 1,
                    Landing::Write => model.is_written = true,
                    Landing::Pin => model.pins = 1,
                }
                leave(word.end_fault(location, landing), model)
            }
            Op::AbortFault if model.is_busy => {
                model.is_busy = false;
                leave(word.abort_fault(), model)
            }
            Op::BeginCopy => {
                let is_permitted = model.is_open().is_ok() && !model.is_held();
                model.is_stable |= is_permitted;
                assert_eq!(word.begin_copy().is_some(), is_permitted, "{word:?}");
                Some(word.begin_copy().unwrap_or(word))
            }
            Op::BeginCopyInPlace => {
                let is_permitted = model.is_open().is_ok() && !model.is_written;
                model.is_stable |= is_permitted;
                let after = word.begin_copy_in_place();
                assert_eq!(after.is_some(), is_permitted, "{word:?}");
                Some(after.unwrap_or(word))
            }
            Op::EndCopy => {
                model.is_stable = false;
                Some(word.end_copy())
            }
            Op::Evict(location) | Op::Relocate(location) => {
                let is_move = matches!(op, Op::Relocate(_));
                let after = if is_move {
                    word.relocate(location)
                } else {
                    word.evict(location)
                };
                let is_permitted = model.is_stable && !model.is_held() && !model.is_dead;
                assert_eq!(after.is_some(), is_permitted, "{op:?} of {word:?}");
                if is_permitted {
                    model.is_stable = false;
                    model.is_resident = is_move;
                    model.move_to(location);
                }
                Some(after.unwrap_or(word))
            }
            Op::Wait => {
                model.is_awaited = true;
                Some(word.with_waiter())
            }
            Op::Call => {
                model.is_awaited = false;
                Some(word.call_waiters())
            }
            Op::Kill => {
                model.is_dead = true;
                Some(word.kill())
            }
            Op::BeginWriteOwned | Op::EndRead | Op::EndWrite | Op::EndPin => None,
            Op::EndFault(..) | Op::AbortFault => None,
        }
    }

    proptest! {
        /// Whatever is tried in whatever order: the word does what plain fields would do, F1 to F3 hold,
        /// and an optimistic reader tells every change of place from none.
        #[test]
        fn the_word_does_as_plain_fields_do(ops in vec(op(), 0..100)) {
            let (mut word, mut model) = (away(), Model::new());
            for op in ops {
                let before = (word, model.clone());
                let Some(after) = step(word, &mut model, op) else {
                    continue;
                };
                prop_assert_eq!(&Model::of(after, model.nr_moves), &model, "{:?} of {:?}", op, word);
                model.verify();
                let (old, was) = before;
                if was.nr_moves != model.nr_moves {
                    prop_assert_eq!(was.readers + was.pins, 0, "F3: {:?} of {:?}", op, old);
                    prop_assert!(!after.is_same_place(old), "{:?} of {:?}", op, old);
                }
                word = after;
            }
        }
    }
}
