//! R18: of an eviction and somebody who takes hold of the folio, exactly one succeeds; and a write that
//! falls between the eviction's look at `Dirty` and its end is not forgotten.
//!
//! *Threads:* an isolator that evicts a folio, and one that pins, reads or writes it and stays, or writes
//! and leaves. In the last case the isolator tries twice: it writes the folio out and evicts it, and if
//! that came to nothing, tries again, with no write-out if the folio says that its copy is up to date.
//! *Property:* the folio is evicted exactly if nobody got hold of it; in the end the contents, in memory
//! or in the copy, are what was written last. *The bug it would catch:* a frame freed under a holder;
//! an eviction without write-out of a folio that was dirtied meanwhile. *The edits that make it fail:*
//! mutant `folio.writer_clears_stable`, and two twins: one that looks at `Dirty` before it begins the
//! copy, and one that does not set it again when the copy does not stand.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join};
use pagepool::model::{Courtesy, Folio, FolioMark, FolioSlot, atomic};

use atomic::{AtomicU64, Ordering::Relaxed};

const FRAME: u32 = 5;
const COPY: u32 = 9;

fn evicts(slot: &FolioSlot) -> bool {
    slot.begin_copy() && slot.evict(COPY)
}

/// Runs an eviction against somebody who takes hold of the folio and does not let go.
fn check_getter(name: &str, get: fn(&FolioSlot) -> bool) {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check(name, 120, move || {
        let folio = Shared::new(Folio::resident(FRAME));
        let (i, g) = (Shared::clone(&folio), Shared::clone(&folio));
        let isolator = actor(move || evicts(&i.slot));
        let getter = actor(move || get(&g.slot));
        let got = join(getter);
        let evicted = join(isolator);
        assert_ne!(got, evicted, "{:?}", folio.slot.word());
        assert_eq!(folio.slot.word().is_resident(), got);
        seen.record(got);
    });
    outcomes.assert_exactly([false, true]);
}

#[test]
fn a_pin_or_an_eviction_succeeds_and_not_both() {
    check_getter("r18_pin", |slot| slot.begin_pin().is_ok());
}

#[test]
fn a_reader_or_an_eviction_succeeds_and_not_both() {
    check_getter("r18_reader", |slot| {
        slot.begin_read(Courtesy::WaitersFirst).is_ok()
    });
}

#[test]
fn a_writer_or_an_eviction_succeeds_and_not_both() {
    check_getter("r18_writer", |slot| slot.begin_write().is_ok());
}

/// A way to evict a folio that was written to before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// That of the head of `folio/slot.rs`.
    Right,
    /// A twin: is the folio dirty? That is asked before the copy is begun.
    LooksTooEarly,
    /// A twin: what was cleared stays cleared.
    Forgets,
}

struct World {
    folio: Folio,
    /// The bytes of the frame.
    bytes: AtomicU64,
    /// The bytes of the copy, which only the isolator touches.
    copy: AtomicU64,
}

impl World {
    /// A folio that holds 1 and whose copy holds 0.
    fn dirty() -> World {
        let world = World::clean();
        assert!(world.write(1));
        world
    }

    /// A folio that holds 0, as does its copy.
    fn clean() -> World {
        World {
            folio: Folio::resident(FRAME),
            bytes: AtomicU64::new(0),
            copy: AtomicU64::new(0),
        }
    }

    fn write(&self, value: u64) -> bool {
        let begun = self.folio.slot.begin_write().is_ok();
        if begun {
            self.bytes.store(value, Relaxed);
            assert!(!self.folio.slot.end_write(), "nobody waits");
        }
        begun
    }

    fn evict(&self, way: Way) -> bool {
        let slot = &self.folio.slot;
        let was_dirty = slot.is(FolioMark::Dirty);
        if !slot.begin_copy() {
            return false;
        }
        let is_dirty = match way {
            Way::LooksTooEarly => was_dirty,
            Way::Right | Way::Forgets => slot.is(FolioMark::Dirty),
        };
        if is_dirty {
            slot.clear(FolioMark::Dirty);
            self.copy.store(self.bytes.load(Relaxed), Relaxed);
        }
        if slot.evict(COPY) {
            return true;
        }
        let stands = slot.end_copy();
        if is_dirty && !stands && way != Way::Forgets {
            slot.set(FolioMark::Dirty);
        }
        false
    }

    /// What is left of the folio, where it is.
    fn contents(&self) -> u64 {
        let place = if self.folio.slot.word().is_resident() {
            &self.bytes
        } else {
            &self.copy
        };
        place.load(Relaxed)
    }
}

/// Returns at which attempt the folio was evicted, and whether the writer was let in.
fn evict_twice_against_writer(start: fn() -> World, way: Way) -> (Option<usize>, bool) {
    let world = Shared::new(start());
    let before = world.bytes.load(Relaxed);
    let (i, w) = (Shared::clone(&world), Shared::clone(&world));
    let isolator = actor(move || (1..=2).find(|_| i.evict(way)));
    let writer = actor(move || w.write(2));
    let has_written = join(writer);
    let evicted = join(isolator);
    assert_eq!(world.contents(), if has_written { 2 } else { before });
    (evicted, has_written)
}

#[test]
fn a_write_to_a_dirty_folio_is_written_out() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r18_dirty", 1_700, move || {
        seen.record(evict_twice_against_writer(World::dirty, Way::Right));
    });
    outcomes.assert_exactly([
        (Some(1), false),
        (Some(1), true),
        (Some(2), true),
        (None, true),
    ]);
}

#[test]
fn a_write_to_a_clean_folio_is_written_out() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r18_clean", 900, move || {
        seen.record(evict_twice_against_writer(World::clean, Way::Right));
    });
    outcomes.assert_exactly([
        (Some(1), false),
        (Some(1), true),
        (Some(2), true),
        (None, true),
    ]);
}

#[test]
#[should_panic(expected = "left")]
fn who_looks_at_dirty_before_the_copy_loses_a_write() {
    check_twin(|| {
        evict_twice_against_writer(World::clean, Way::LooksTooEarly);
    });
}

#[test]
#[should_panic(expected = "left")]
fn who_does_not_set_dirty_again_loses_a_write() {
    check_twin(|| {
        evict_twice_against_writer(World::dirty, Way::Forgets);
    });
}
