//! An optimistic reader gets bytes that stood together, of the folio that it reads, or nothing.
//!
//! *Threads:* a reader that copies two words out of a folio without a trace; against it a writer, or an
//! isolator that evicts the folio and the next owner of its frame, or one that evicts the folio and
//! brings it back to the same frame after somebody else had it. *Property:* what the reader is given is
//! what one writer left, never half of it, and never what belongs to another folio. *The bug it would
//! catch:* a torn value; bytes of a stranger, read in a frame that was freed and handed out meanwhile.
//! *The edits that make it fail:* mutants `folio.writer`, `folio.optimistic`, `frame.next_owner`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::{CoreMutex, Folio, Landing, atomic, follow_last_owner};

use atomic::{AtomicU64, Ordering::Relaxed};

/// Where the folio is, and where its copy is.
const FRAME: u32 = 5;
const COPY: u32 = 9;

/// The bytes of the frame: two words, which say nothing about each other.
#[derive(Default)]
struct Bytes([AtomicU64; 2]);

impl Bytes {
    fn store(&self, value: u64) {
        // Relaxed, as plain stores would be: what orders them is under test.
        self.0.iter().for_each(|word| word.store(value, Relaxed));
    }

    fn load(&self) -> [u64; 2] {
        // Second word first: the order in which they are stored must not matter.
        let second = self.0[1].load(Relaxed);
        [self.0[0].load(Relaxed), second]
    }
}

struct World {
    folio: Folio,
    bytes: Bytes,
    /// Whether the frame is free: the zone, and its lock.
    is_free: CoreMutex<bool>,
}

fn world() -> Shared<World> {
    Shared::new(World {
        folio: Folio::resident(FRAME),
        bytes: Bytes::default(),
        is_free: CoreMutex::new(false),
    })
}

impl World {
    fn write(&self, value: u64) {
        self.folio.slot.begin_write().expect("nobody is in the way");
        self.bytes.store(value);
        assert!(!self.folio.slot.end_write(), "nobody waits");
    }

    fn read(&self) -> Option<[u64; 2]> {
        self.folio.slot.read_optimistic(|frame| {
            assert_eq!(frame, FRAME);
            self.bytes.load()
        })
    }

    fn evict(&self) {
        assert!(self.folio.slot.begin_copy());
        assert!(self.folio.slot.evict(COPY));
    }
}

#[test]
fn a_reader_sees_a_write_whole_or_nothing() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_optimistic_writer", 2_900, move || {
        let world = world();
        let (w, r) = (Shared::clone(&world), Shared::clone(&world));
        let writer = actor(move || w.write(1));
        let reader = actor(move || r.read());
        join(writer);
        seen.record(join(reader));
    });
    outcomes.assert_exactly([None, Some([0, 0]), Some([1, 1])]);
}

#[test]
fn two_writes_are_not_mixed() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_optimistic_two_writes", 25_000, move || {
        let world = world();
        let (w, r) = (Shared::clone(&world), Shared::clone(&world));
        let writer = actor(move || {
            w.write(1);
            w.write(2);
        });
        let reader = actor(move || r.read());
        join(writer);
        seen.record(join(reader));
    });
    outcomes.assert_exactly([None, Some([0, 0]), Some([1, 1]), Some([2, 2])]);
}

#[test]
fn a_reader_sees_nothing_of_the_frames_next_owner() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_optimistic_next_owner", 2_600, move || {
        let world = world();
        let (i, o, r) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let isolator = actor(move || {
            i.evict();
            *i.is_free.lock() = true;
        });
        let next_owner = actor(move || {
            let is_mine = std::mem::take(&mut *o.is_free.lock());
            if is_mine {
                follow_last_owner();
                o.bytes.store(7);
            }
            is_mine
        });
        let reader = actor(move || r.read());
        join(isolator);
        seen.record((join(next_owner), join(reader)));
    });
    let reads = [None, Some([0, 0])];
    outcomes.assert_exactly(reads.into_iter().flat_map(|r| [(false, r), (true, r)]));
}

#[test]
fn a_folio_that_comes_back_to_its_frame_is_not_taken_for_what_was_there() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_optimistic_round_trip", 8_500, move || {
        let world = world();
        let (m, r) = (Shared::clone(&world), Shared::clone(&world));
        let mover = actor(move || {
            m.evict();
            follow_last_owner();
            m.bytes.store(7);

            let away = m.folio.slot.begin_fault().expect("it is away");
            assert_eq!(away.location(), COPY);
            follow_last_owner();
            m.bytes.store(0);
            assert!(!m.folio.slot.end_fault(FRAME, Landing::Idle).wake);
        });
        let reader = actor(move || r.read());
        join(mover);
        seen.record(join(reader));
    });
    outcomes.assert_exactly([None, Some([0, 0])]);
}
