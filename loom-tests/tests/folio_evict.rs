//! An eviction loses no write, and takes no frame from under somebody who uses it.
//!
//! *Threads:* an isolator that copies a folio and then takes it out of memory; against it a writer, a
//! reader, or somebody who pins the folio. *Property:* if the folio was evicted, its copy is the last
//! that was written; if it was not, its frame is. Who was let at the frame never sees what its next owner
//! stores there. *The bug it would catch:* a write that falls between the copy and the eviction; a frame
//! that is handed on while a reader reads it. *The edits that make it fail:* mutants
//! `folio.writer_clears_stable`, `folio.take_over`, `folio.pass_on`, `folio.end_read`, `folio.end_pin`, and the twin that does not ask the word a second time.

#![cfg(loom)]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom runs its threads one at a time, and checks what is not Sync"
)]

use loom::cell::UnsafeCell;
use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::{Courtesy, Folio, Obstacle, atomic, follow_last_owner};

use atomic::{AtomicU64, Ordering::Relaxed};

const FRAME: u32 = 5;
const COPY: u32 = 9;
/// What the frame's next owner stores.
const STRANGE: u64 = 7;

struct World {
    folio: Folio,
    /// The bytes of the frame, as two words that say nothing about each other.
    bytes: [AtomicU64; 2],
}

fn world() -> Shared<World> {
    Shared::new(World {
        folio: Folio::resident(FRAME),
        bytes: Default::default(),
    })
}

impl World {
    fn store(&self, value: u64) {
        // Relaxed, as plain stores would be: what orders them is under test.
        self.bytes
            .iter()
            .for_each(|word| word.store(value, Relaxed));
    }

    fn load(&self) -> [u64; 2] {
        [self.bytes[0].load(Relaxed), self.bytes[1].load(Relaxed)]
    }

    /// Copies the folio out and evicts it; returns the copy, if that was possible.
    fn evict(&self) -> Option<[u64; 2]> {
        let slot = &self.folio.slot;
        if !slot.begin_copy() {
            return None;
        }
        let copy = self.load();
        if slot.evict(COPY) {
            return Some(copy);
        }
        slot.end_copy();
        None
    }

    fn write(&self, value: u64) -> bool {
        match self.folio.slot.begin_write() {
            Ok((word, _)) => {
                assert_eq!(word.location(), FRAME);
                self.store(value);
                assert!(!self.folio.slot.end_write(), "nobody waits");
                true
            }
            Err(obstacle) => {
                assert_eq!(obstacle, Obstacle::Away);
                false
            }
        }
    }

    /// Evicts the folio, after which the frame is somebody else's, who writes to it.
    fn evict_and_hand_on(&self) -> bool {
        let evicted = self.evict();
        if let Some(copy) = evicted {
            assert_eq!(copy, [0, 0]);
            follow_last_owner();
            self.store(STRANGE);
        }
        evicted.is_some()
    }
}

/// Returns the copy, if there is one, and whether the writer was let in.
fn evict_against_writer(
    evict: impl FnOnce(&World) -> Option<[u64; 2]> + 'static,
) -> (Option<[u64; 2]>, bool) {
    let world = world();
    let (i, w) = (Shared::clone(&world), Shared::clone(&world));
    let isolator = actor(move || evict(&i));
    let writer = actor(move || w.write(1));
    let has_written = join(writer);
    let copy = join(isolator);

    let word = world.folio.slot.word();
    assert_eq!(word.is_resident(), copy.is_none());
    assert!(!word.is_stable() && !word.is_held(), "{word:?}");
    let last = u64::from(has_written);
    assert_eq!(copy.unwrap_or_else(|| world.load()), [last, last]);
    (copy, has_written)
}

#[test]
fn an_evicted_folio_is_what_was_written_last() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_evict_writer", 900, move || {
        seen.record(evict_against_writer(World::evict));
    });
    outcomes.assert_exactly([(Some([0, 0]), false), (Some([1, 1]), true), (None, true)]);
}

/// The twin copies before it asks, and so the writer's bytes may be missing.
#[test]
#[should_panic(expected = "left")]
fn a_copy_made_before_it_was_begun_is_out_of_date() {
    check_twin(|| {
        evict_against_writer(|world| {
            let copy = world.load();
            let slot = &world.folio.slot;
            (slot.begin_copy() && slot.evict(COPY)).then_some(copy)
        });
    });
}

#[test]
fn two_writers_and_an_eviction_lose_nothing() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_evict_two_writes", 6_000, move || {
        let world = world();
        let (i, w) = (Shared::clone(&world), Shared::clone(&world));
        let isolator = actor(move || i.evict());
        let writer = actor(move || [w.write(1), w.write(2)]);
        let last = match join(writer) {
            [false, false] => 0,
            [true, false] => 1,
            [true, true] => 2,
            [false, true] => panic!("nobody brings it back"),
        };
        let copy = join(isolator);
        assert_eq!(copy.unwrap_or_else(|| world.load()), [last, last]);
        seen.record((copy.is_some(), last));
    });
    outcomes.assert_exactly([(true, 0), (true, 1), (true, 2), (false, 2)]);
}

#[test]
fn a_reader_keeps_the_frame_until_it_leaves() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_evict_reader", 300, move || {
        let world = world();
        let (i, r) = (Shared::clone(&world), Shared::clone(&world));
        let isolator = actor(move || i.evict_and_hand_on());
        let reader = actor(move || {
            let slot = &r.folio.slot;
            let word = slot.begin_read(Courtesy::WaitersFirst);
            if let Ok(word) = word {
                assert_eq!(word.location(), FRAME);
                assert_eq!(r.load(), [0, 0]);
                assert!(!slot.end_read(), "nobody waits");
            }
            word.is_ok()
        });
        seen.record(join_all([isolator, reader]));
    });
    outcomes.assert_exactly([[true, true], [true, false], [false, true]]);
}

#[test]
fn a_pin_keeps_the_frame_until_it_goes() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_evict_pin", 300, move || {
        let world = world();
        let (i, p) = (Shared::clone(&world), Shared::clone(&world));
        let isolator = actor(move || i.evict_and_hand_on());
        let pinner = actor(move || {
            let slot = &p.folio.slot;
            let word = slot.begin_pin();
            if let Ok(word) = word {
                assert_eq!(word.location(), FRAME);
                assert_eq!(p.load(), [0, 0]);
                assert!(!slot.end_pin(), "nobody wants to be told");
            }
            word.is_ok()
        });
        seen.record(join_all([isolator, pinner]));
    });
    outcomes.assert_exactly([[true, true], [true, false], [false, true]]);
}

/// Evicts a folio beside somebody who holds it; the frame is a cell, so that loom reports a next owner who
/// stores while the holder may still read. Returns whether it was evicted, and held.
fn hand_on_beside(
    begin: impl FnOnce(&Folio) -> bool + 'static,
    end: impl FnOnce(&Folio) + 'static,
) -> (bool, bool) {
    let frame = Shared::new((Folio::resident(FRAME), UnsafeCell::new(())));
    let (i, h) = (Shared::clone(&frame), Shared::clone(&frame));
    let isolator = actor(move || {
        let evicted = i.0.slot.begin_copy() && i.0.slot.evict(COPY);
        if evicted {
            i.1.with_mut(|_| ());
        }
        evicted
    });
    let holder = actor(move || {
        let held = begin(&h.0);
        if held {
            h.1.with(|_| ());
            end(&h.0);
        }
        held
    });
    (join(isolator), join(holder))
}

#[test]
fn the_frames_next_owner_comes_after_its_last_reader() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_evict_last_reader", 170, move || {
        seen.record(hand_on_beside(
            |folio| folio.slot.begin_read(Courtesy::WaitersFirst).is_ok(),
            |folio| assert!(!folio.slot.end_read(), "nobody waits"),
        ));
    });
    outcomes.assert_exactly([(false, true), (true, false), (true, true)]);
}

#[test]
fn the_frames_next_owner_comes_after_its_last_pin() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_evict_last_pin", 170, move || {
        seen.record(hand_on_beside(
            |folio| folio.slot.begin_pin().is_ok(),
            |folio| assert!(!folio.slot.end_pin(), "nobody wants it"),
        ));
    });
    outcomes.assert_exactly([(false, true), (true, false), (true, true)]);
}
