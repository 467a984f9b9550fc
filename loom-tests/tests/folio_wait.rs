//! Who waits for a folio is woken when it is free, or gives up at its deadline; nobody is forgotten.
//!
//! *Threads:* one or two readers that leave, and a writer that waits for them; a writer that leaves, and
//! a reader and a writer that wait for it; a clock that lets a deadline pass. *Property:* every thread
//! comes to its turn, whatever the order, and sees what the one before left; afterwards nothing is left
//! on the word that would make a reader wait. *The bug it would catch:* a thread that sleeps on, since
//! the one it waits for left between its look and its sleep. *The edits that make it fail:* mutants
//! `folio.waiters_recheck`, `folio.call_waiters`, `folio.release_wakes`, `folio.waiter_gives_up`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::{Courtesy, Folio, FolioWord, Obstacle, atomic};

use atomic::{AtomicU64, Ordering::Relaxed};

const FRAME: u32 = 5;

struct World {
    folio: Folio,
    bytes: AtomicU64,
}

fn world() -> Shared<World> {
    Shared::new(World {
        folio: Folio::resident(FRAME),
        bytes: AtomicU64::new(0),
    })
}

impl World {
    fn begin_reads(&self, nr_readers: usize) {
        for _ in 0..nr_readers {
            let begun = self.folio.slot.begin_read(Courtesy::WaitersFirst);
            begun.expect("nobody is in the way");
        }
    }

    /// Reads what the folio holds, and leaves.
    fn end_read(&self) -> u64 {
        let value = self.bytes.load(Relaxed);
        self.folio.wake_if(self.folio.slot.end_read());
        value
    }

    fn read(&self) -> u64 {
        self.folio.read_begin().expect("it is in memory");
        self.end_read()
    }

    fn end_write(&self) {
        let value = self.bytes.load(Relaxed);
        self.bytes.store(value + 1, Relaxed);
        self.folio.wake_if(self.folio.slot.end_write());
    }

    fn write(&self) {
        self.folio.write_begin(false).expect("it is in memory");
        self.end_write();
    }

    /// Nothing is left behind: a reader would be let in at once.
    #[track_caller]
    fn assert_free(&self, value: u64) {
        let word = self.folio.slot.word();
        assert!(!word.is_held(), "{word:?}");
        assert!(word.begin_read(Courtesy::WaitersFirst).is_ok(), "{word:?}");
        assert_eq!(self.bytes.load(Relaxed), value);
    }
}

#[test]
fn a_writer_waits_for_a_reader() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wait_reader", 75, move || {
        let world = world();
        world.begin_reads(1);
        let (r, w) = (Shared::clone(&world), Shared::clone(&world));
        let reader = actor(move || assert_eq!(r.end_read(), 0));
        let writer = actor(move || w.write());
        join_all([reader, writer]);
        world.assert_free(1);
        seen.record(world.folio.nr_sleeps());
    });
    // The reader had left; the writer was woken by it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn a_writer_waits_for_the_last_of_two_readers() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wait_two_readers", 2_400, move || {
        let world = world();
        world.begin_reads(2);
        let (r1, r2, w) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let first = actor(move || assert_eq!(r1.end_read(), 0));
        let second = actor(move || assert_eq!(r2.end_read(), 0));
        let writer = actor(move || w.write());
        join_all([first, second, writer]);
        world.assert_free(1);
        seen.record(world.folio.nr_sleeps());
    });
    // Both had left; the writer was woken by the last, and by nobody else.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn a_reader_waits_for_a_writer_and_sees_what_it_wrote() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wait_writer", 90, move || {
        let world = world();
        world.folio.write_begin(false).expect("it is in memory");
        let (w, r) = (Shared::clone(&world), Shared::clone(&world));
        let writer = actor(move || w.end_write());
        let reader = actor(move || assert_eq!(r.read(), 1));
        join_all([writer, reader]);
        world.assert_free(1);
        seen.record(world.folio.nr_sleeps());
    });
    // The writer had left; the reader was woken by it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn a_reader_and_a_writer_that_wait_both_come_to_their_turn() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wait_both", 28_000, move || {
        let world = world();
        world.begin_reads(1);
        let (r1, w, r2) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let first = actor(move || assert_eq!(r1.end_read(), 0));
        let writer = actor(move || w.write());
        let second = actor(move || r2.read());
        join_all([first, writer]);
        let read = join(second);
        world.assert_free(1);
        seen.record((read, world.folio.nr_sleeps()));
    });
    // The second reader comes before the writer or after it. Nobody slept; one did; both did, or one twice; both did,
    // and one was woken to find the other there.
    let sleeps = 0..=3;
    outcomes.assert_exactly(sleeps.flat_map(|nr_sleeps| [(0, nr_sleeps), (1, nr_sleeps)]));
}

#[test]
fn a_writer_gives_up_at_its_deadline_and_leaves_nothing_behind() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wait_deadline", 1_800, move || {
        let world = world();
        world.begin_reads(1);
        let (r, w, c) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let reader = actor(move || assert_eq!(r.end_read(), 0));
        let writer = actor(move || {
            let begun = w.folio.write_begin(true);
            if begun.is_ok() {
                w.end_write();
            }
            begun.map(FolioWord::location)
        });
        let clock = actor(move || c.folio.fire_timeout());
        join_all([reader, clock]);
        let begun = join(writer);
        world.assert_free(u64::from(begun.is_ok()));
        assert!(matches!(begun, Ok(FRAME) | Err(Obstacle::Taken)));
        seen.record((begun.is_ok(), world.folio.nr_sleeps()));
    });
    // Too late or in time, and each without a sleep or after one.
    outcomes.assert_exactly([(false, 0), (false, 1), (true, 0), (true, 1)]);
}

/// Story: a writer whose deadline had passed left WAITERS behind, and until the last reader left, which
/// may be never, readers gave way to a thread that was long gone.
#[test]
fn readers_do_not_give_way_to_a_writer_that_gave_up() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wait_gave_up", 4_000, move || {
        let world = world();
        world.begin_reads(1);
        let (w, c, r) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let writer = actor(move || {
            assert_eq!(w.folio.write_begin(true), Err(Obstacle::Taken));
        });
        let clock = actor(move || c.folio.fire_timeout());
        let reader = actor(move || assert_eq!(r.read(), 0));
        join_all([writer, clock, reader]);
        assert_eq!(world.end_read(), 0);
        world.assert_free(0);
        seen.record(world.folio.nr_sleeps());
    });
    // Nobody slept; the writer did, or the reader, which gave way to it; both did; both did, and the reader heard the
    // clock's bell.
    outcomes.assert_exactly([0, 1, 2, 3]);
}
