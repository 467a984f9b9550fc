//! A folio with its slot and who waits for it.

use crate::folio::{Courtesy, FolioId, FolioSlot, FolioWord, Landing, Obstacle, Waited, Waiters};
use crate::sync::clock;

/// A folio's slot with the queue of those who wait for it.
#[derive(Debug)]
pub struct Folio {
    /// The word and all that can be done with it.
    pub slot: FolioSlot,
    waiters: Waiters,
}

impl Folio {
    const ID: FolioId = FolioId::from_raw(0);

    /// Returns a folio that is away.
    pub fn away() -> Folio {
        Folio {
            slot: FolioSlot::default(),
            waiters: Waiters::new(),
        }
    }

    /// Returns a folio in the frame `frame`, clean.
    pub fn resident(frame: u32) -> Folio {
        let folio = Folio::away();
        folio.slot.begin_fault().expect("a new folio is away");
        let released = folio.slot.end_fault(frame, Landing::Idle);
        assert!(!released.wake, "nobody waits for a new folio");
        folio
    }

    /// Sleeps until the word changes, if `is_blocked` says that there is something in the way; if
    /// `is_timed`, until the model fires the time-out. Returns whether the thread is to look again.
    pub fn wait(&self, is_timed: bool, is_blocked: impl Fn(FolioWord) -> bool) -> bool {
        let deadline = is_timed.then(clock::now);
        let waited = self
            .waiters
            .wait(Folio::ID, &self.slot, deadline, is_blocked);
        waited == Waited::LookAgain
    }

    /// Wakes those who wait, if the step that returned `wake` says so.
    pub fn wake_if(&self, wake: bool) {
        if wake {
            self.waiters.wake(Folio::ID);
        }
    }

    /// Lets one timed wait run out.
    pub fn fire_timeout(&self) {
        self.waiters.fire_timeout(Folio::ID);
    }

    /// How often threads have slept until the word changed, or somebody gave up.
    pub fn nr_sleeps(&self) -> u32 {
        self.waiters.nr_sleeps()
    }

    /// Begins to read, and waits until that is possible.
    pub fn read_begin(&self) -> Result<FolioWord, Obstacle> {
        self.until_free(
            false,
            |slot| slot.begin_read(Courtesy::WaitersFirst),
            |word| word.begin_read(Courtesy::WaitersFirst),
        )
    }

    /// Begins to write, and waits until that is possible, or, if `is_timed`, until the model fires the
    /// time-out.
    pub fn write_begin(&self, is_timed: bool) -> Result<FolioWord, Obstacle> {
        let begin = |slot: &FolioSlot| slot.begin_write().map(|(word, _)| word);
        self.until_free(is_timed, begin, FolioWord::begin_write)
    }

    fn until_free(
        &self,
        is_timed: bool,
        begin: impl Fn(&FolioSlot) -> Result<FolioWord, Obstacle>,
        rule: impl Fn(FolioWord) -> Result<FolioWord, Obstacle>,
    ) -> Result<FolioWord, Obstacle> {
        loop {
            match begin(&self.slot) {
                Err(Obstacle::Taken) => {}
                other => return other,
            }
            if !self.wait(is_timed, |word| rule(word) == Err(Obstacle::Taken)) {
                return Err(Obstacle::Taken);
            }
        }
    }
}
