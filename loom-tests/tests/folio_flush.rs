//! A flush writes out what the folio holds, beside its readers, and forgets no write.
//!
//! *Threads:* one that has the folio isolated, writes it out and leaves it where it is; a writer; a
//! reader that comes and goes, or a pin that stays. *Property:* what was written out stood in the folio
//! whole, and if it is not what the folio holds in the end, the folio is dirty. *The bug it would catch:*
//! half of a write that is reported as flushed; a folio taken for clean that was written to during the
//! flush. *The edits that make it fail:* mutant `folio.writer_clears_stable`, and two twins: one that
//! does not ask whether its copy stands, and one that leaves the folio clean when it does not.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join};
use pagepool::model::{Courtesy, Folio, FolioMark, FolioWord, Obstacle, atomic};

use atomic::{AtomicU64, Ordering::Relaxed};

const FRAME: u32 = 5;

/// A way to flush.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// That of `reclaim::write_out`.
    Right,
    /// A twin: takes what it copied for what stood there.
    TrustsItsCopy,
    /// A twin: what was cleared stays cleared.
    Forgets,
}

struct World {
    folio: Folio,
    /// The bytes of the frame, as two words that say nothing about each other.
    bytes: [AtomicU64; 2],
}

/// A folio that holds 1, which was not written out.
fn dirty_folio() -> Shared<World> {
    let world = World {
        folio: Folio::resident(FRAME),
        bytes: Default::default(),
    };
    assert!(world.write(1));
    Shared::new(world)
}

impl World {
    fn load(&self) -> [u64; 2] {
        [self.bytes[0].load(Relaxed), self.bytes[1].load(Relaxed)]
    }

    /// Writes, unless somebody reads.
    fn write(&self, value: u64) -> bool {
        let begun = self.folio.slot.begin_write();
        if begun.is_ok() {
            // Relaxed, as plain stores would be: what orders them is under test.
            self.bytes
                .iter()
                .for_each(|word| word.store(value, Relaxed));
            assert!(!self.folio.slot.end_write(), "nobody waits");
        }
        begun.is_ok()
    }

    /// Begins to read; returns whether that is beside a flush.
    fn begin_read(&self) -> Result<bool, Obstacle> {
        let begun = self.folio.slot.begin_read(Courtesy::WaitersFirst);
        begun.map(FolioWord::is_stable)
    }

    /// Reads what the folio holds, and leaves.
    fn end_read(&self) -> u64 {
        let [first, second] = self.load();
        assert_eq!(first, second, "a reader sees half of a write");
        assert!(!self.folio.slot.end_read(), "nobody waits");
        first
    }

    /// Writes the folio out; returns what was written, if nobody was in the way.
    fn flush(&self, way: Way) -> Option<[u64; 2]> {
        let slot = &self.folio.slot;
        if !slot.begin_copy_in_place() {
            return None;
        }
        slot.clear(FolioMark::Dirty);
        let copy = self.load();
        let stood = way == Way::TrustsItsCopy || slot.is_stable();
        let is_current = slot.end_copy();
        if !is_current && way != Way::Forgets {
            slot.set(FolioMark::Dirty);
        }
        stood.then_some(copy)
    }

    /// Checks what is left; returns what was flushed, and what the folio holds.
    #[track_caller]
    fn end(&self, flushed: Option<[u64; 2]>) -> (Option<u64>, u64) {
        let word = self.folio.slot.word();
        assert!(!word.is_stable() && !word.is_in_use(), "{word:?}");
        let [last, second] = self.load();
        assert_eq!(last, second);
        let flushed = flushed.map(|[first, second]| {
            assert_eq!(first, second, "half of a write was written out");
            first
        });
        let is_clean = !self.folio.slot.is(FolioMark::Dirty);
        assert!(!is_clean || flushed == Some(last), "a write is forgotten");
        (flushed, last)
    }
}

fn flush_against_writer(way: Way) -> (Option<u64>, u64) {
    let world = dirty_folio();
    // A pin says nothing about the bytes, and is in nobody's way.
    world.folio.slot.begin_pin().expect("nobody is in the way");
    let (f, w) = (Shared::clone(&world), Shared::clone(&world));
    let flusher = actor(move || f.flush(way));
    let writer = actor(move || assert!(w.write(2)));
    join(writer);
    world.end(join(flusher))
}

#[test]
fn a_write_during_a_flush_is_written_out_whole_or_left_dirty() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_flush_writer", 3_300, move || {
        seen.record(flush_against_writer(Way::Right));
    });
    outcomes.assert_exactly([(None, 2), (Some(1), 2), (Some(2), 2)]);
}

#[test]
#[should_panic(expected = "half of a write was written out")]
fn a_copy_that_is_not_asked_after_may_be_torn() {
    check_twin(|| {
        flush_against_writer(Way::TrustsItsCopy);
    });
}

#[test]
#[should_panic(expected = "a write is forgotten")]
fn who_does_not_set_dirty_again_forgets_a_write() {
    check_twin(|| {
        flush_against_writer(Way::Forgets);
    });
}

#[test]
fn readers_and_a_flush_are_not_in_each_others_way() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_flush_reader", 540, move || {
        let world = dirty_folio();
        let (f, r) = (Shared::clone(&world), Shared::clone(&world));
        let flusher = actor(move || f.flush(Way::Right));
        let reader = actor(move || {
            let is_beside = r.begin_read().expect("a flush is in no reader's way");
            assert_eq!(r.end_read(), 1);
            is_beside
        });
        let is_beside = join(reader);
        assert_eq!(world.end(join(flusher)), (Some(1), 1));
        seen.record(is_beside);
    });
    // The reader came before the flush or after it, or while the copy was made.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn a_writer_that_waits_for_a_reader_does_not_wait_for_the_flush() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_flush_both", 24_000, move || {
        let world = dirty_folio();
        world.begin_read().expect("nobody writes");
        let (f, w, r) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let flusher = actor(move || f.flush(Way::Right));
        let writer = actor(move || w.write(2));
        let reader = actor(move || assert_eq!(r.end_read(), 1));
        join(reader);
        let has_written = join(writer);
        let (flushed, last) = world.end(join(flusher));
        assert_eq!(last, if has_written { 2 } else { 1 });
        seen.record((flushed, last));
    });
    outcomes.assert_exactly([(Some(1), 1), (None, 2), (Some(1), 2), (Some(2), 2)]);
}
