//! One of those who miss a folio brings it back, the others wait for it and see its bytes.
//!
//! *Threads:* two that read a folio that is away; of which the first to try may fail; an optimistic
//! reader and one that brings the folio back; the owner that drops the folio and one that brings it back
//! ahead of a request. *Property:* there is one fault; who waits is woken, also if the fault failed, and
//! then does it itself; whoever is let in sees all bytes; a folio that is dropped while it comes back is
//! freed once. *The bug it would catch:* a second fault into a second frame; a reader that sleeps on; half
//! of the bytes; a frame that owner and fault both free, or neither. *The edits that make it fail:*
//! mutants `folio.waiters_recheck`, `folio.release_wakes`, and the twin that looks at the word once more
//! after it has published it.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, Tally, actor, check, check_twin, join, join_all};
use pagepool::model::{Folio, FolioWord, Landing, Obstacle, atomic};

use atomic::{AtomicU64, Ordering::Relaxed};

const FRAME: u32 = 5;

struct World {
    folio: Folio,
    /// The bytes of the frame, as two words that say nothing about each other.
    bytes: [AtomicU64; 2],
    /// Faults that began.
    nr_faults: Tally,
    /// How many of the first faults fail.
    nr_failing: usize,
    nr_freed: Tally,
    nr_vacated: Tally,
}

fn world(nr_failing: usize) -> Shared<World> {
    Shared::new(World {
        folio: Folio::away(),
        bytes: Default::default(),
        nr_faults: Tally::default(),
        nr_failing,
        nr_freed: Tally::default(),
        nr_vacated: Tally::default(),
    })
}

impl World {
    fn load(&self) -> [u64; 2] {
        [self.bytes[0].load(Relaxed), self.bytes[1].load(Relaxed)]
    }

    fn fill(&self) {
        // Relaxed, as plain stores would be: what orders them is under test.
        self.bytes.iter().for_each(|word| word.store(1, Relaxed));
    }

    /// Reads the folio, and brings it back if it is away. Returns whether that succeeded.
    fn read(&self) -> bool {
        loop {
            match self.folio.read_begin() {
                Ok(word) => return self.read_at(word),
                Err(Obstacle::Away) => {}
                Err(obstacle) => panic!("{obstacle:?}"),
            }
            if self.folio.slot.begin_fault().is_ok() {
                return self.bring_back();
            }
        }
    }

    fn read_at(&self, word: FolioWord) -> bool {
        assert_eq!((word.location(), self.load()), (FRAME, [1, 1]));
        self.folio.wake_if(self.folio.slot.end_read());
        true
    }

    fn bring_back(&self) -> bool {
        let is_failing = self.nr_faults.add_one() < self.nr_failing;
        if is_failing {
            self.folio.wake_if(self.folio.slot.abort_fault().wake);
            return false;
        }
        self.fill();
        let landed = self.folio.slot.end_fault(FRAME, Landing::Read);
        self.folio.wake_if(landed.wake);
        self.read_at(landed.word)
    }

    /// Brings the folio back for nobody. `is_dead` says whether the owner has left it to this thread,
    /// given the word as it was published.
    fn read_ahead(&self, is_dead: fn(&Folio, FolioWord) -> bool) -> Option<()> {
        self.folio.slot.begin_fault().ok()?;
        let landed = self.folio.slot.end_fault(FRAME, Landing::Idle);
        if is_dead(&self.folio, landed.word) {
            self.nr_freed.add_one();
            self.nr_vacated.add_one();
        }
        Some(())
    }

    /// Drops the folio.
    fn drop_folio(&self) {
        let before = self.folio.slot.kill();
        if before.is_resident() {
            self.nr_freed.add_one();
        }
        if !before.is_busy() {
            self.nr_vacated.add_one();
        }
    }
}

/// Returns who got the folio, after how many faults and sleeps.
fn two_readers(nr_failing: usize) -> ([bool; 2], usize, u32) {
    let world = world(nr_failing);
    let (a, b) = (Shared::clone(&world), Shared::clone(&world));
    let readers = [actor(move || a.read()), actor(move || b.read())];
    let got = join_all(readers);
    let word = world.folio.slot.word();
    assert!(!word.is_held() && !word.is_busy(), "{word:?}");
    assert_eq!(word.is_resident(), got.contains(&true));
    (got, world.nr_faults.get(), world.folio.nr_sleeps())
}

#[test]
fn one_of_two_readers_brings_the_folio_back() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_fault", 1_400, move || seen.record(two_readers(0)));
    // The other came when it was there, or slept until it was.
    outcomes.assert_exactly([([true, true], 1, 0), ([true, true], 1, 1)]);
}

#[test]
fn a_fault_that_fails_leaves_it_to_the_next() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_fault_fails", 360, move || {
        seen.record(two_readers(1));
    });
    // Either fails; the other came when that was over, or slept until it was.
    outcomes.assert_exactly([
        ([false, true], 2, 0),
        ([false, true], 2, 1),
        ([true, false], 2, 0),
        ([true, false], 2, 1),
    ]);
}

#[test]
fn an_optimistic_reader_sees_a_folio_that_came_back_whole_or_not_at_all() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_fault_optimistic", 400, move || {
        let world = world(0);
        let (f, r) = (Shared::clone(&world), Shared::clone(&world));
        let fault = actor(move || f.read());
        let reader = actor(move || r.folio.slot.read_optimistic(|_| r.load()));
        assert!(join(fault));
        seen.record(join(reader));
    });
    outcomes.assert_exactly([None, Some([1, 1])]);
}

/// Returns whether the folio came back.
fn read_ahead_against_drop(is_dead: fn(&Folio, FolioWord) -> bool) -> bool {
    let world = world(0);
    let (f, o) = (Shared::clone(&world), Shared::clone(&world));
    let fault = actor(move || f.read_ahead(is_dead));
    let owner = actor(move || o.drop_folio());
    join(owner);
    let came_back = join(fault).is_some();
    assert_eq!(world.nr_freed.get(), usize::from(came_back));
    assert_eq!(world.nr_vacated.get(), 1);
    came_back
}

#[test]
fn a_folio_that_is_dropped_while_it_comes_back_is_freed_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_fault_drop", 85, move || {
        seen.record(read_ahead_against_drop(|_, published| published.is_dead()));
    });
    outcomes.assert_exactly([false, true]);
}

/// The twin looks once more, when the owner may have come and gone: both free the frame.
#[test]
#[should_panic(expected = "left")]
fn a_look_after_the_folio_was_published_is_too_late() {
    check_twin(|| {
        read_ahead_against_drop(|folio, _| {
            // A load alone is no place where loom lets another thread in, without probes.
            loom::thread::yield_now();
            folio.slot.word().is_dead()
        });
    });
}
