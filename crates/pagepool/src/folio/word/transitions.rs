//! The transitions of the folio word: functions from a word to the word after it, or to nothing where
//! they are not permitted (pure).
//!
//! The compare-exchange loop is written once, in [`FolioSlot`](crate::folio::FolioSlot). What the bits
//! mean, and the invariants that each function keeps, are in the head of [`word`](super).

use super::{
    BUSY, DEAD, EXCL, FolioWord, PIN, PINS, READER, READERS, RESIDENT, STABLE, WAITERS, WANTED,
};
use crate::sync::fence::mutated;

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

impl FolioWord {
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
    pub(in crate::folio) const READER_LEAVES: u64 = READER;

    /// What is taken from the word when a pin goes.
    pub(in crate::folio) const PIN_GOES: u64 = PIN;

    /// Whether the reader that leaves this word was the last that somebody waits for.
    #[inline]
    pub(in crate::folio) fn owes_wake_after_reader(self) -> bool {
        self.has(WAITERS) && self.readers() == 1
    }

    /// Nobody waits any more, or at least each who does will be woken.
    pub(in crate::folio) fn call_waiters(self) -> FolioWord {
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

    /// Somebody wants to be told when the last pin goes; permitted while there is one.
    pub fn want(self) -> Option<FolioWord> {
        (self.pins() > 0 && !self.has(DEAD)).then(|| self.with(WANTED))
    }

    /// Whether the pin that goes from this word was the last, and somebody wants to be told.
    #[inline]
    pub(in crate::folio) fn owes_news_after_pin(self) -> bool {
        self.has(WANTED) && self.pins() == 1
    }

    /// Who wanted to be told is about to be; permitted once no pin is left.
    pub(in crate::folio) fn tell(self) -> Option<FolioWord> {
        (self.has(WANTED) && self.pins() == 0).then(|| self.without(WANTED))
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
    pub fn relocate(self, location: u32) -> Option<FolioWord> {
        Some(self.evict(location)?.with(RESIDENT))
    }

    /// Its owner drops it.
    pub fn kill(self) -> FolioWord {
        self.with(DEAD)
    }

    /// Somebody waits for a change.
    pub(in crate::folio) fn with_waiter(self) -> FolioWord {
        self.with(WAITERS)
    }

    #[inline]
    fn release(self, after: FolioWord) -> Released {
        Released {
            word: after.without(WAITERS),
            wake: self.has(WAITERS) && !mutated("folio.release_wakes"),
        }
    }
}
