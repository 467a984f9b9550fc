//! A move loses no write, stops no reader, and leaves each frame to exactly one who frees it.
//!
//! *Threads:* a mover that copies a folio to another frame and then says that it is there; against it a
//! writer, a reader, somebody who pins the folio, an optimistic reader with the old frame's next owner, the
//! owner who drops the folio, or a second isolator that would evict it. *Property:* whoever gets at the bytes
//! sees what was written last, in whichever frame; of the two frames one holds the folio, and the other is
//! freed once; once it was dropped, both are. *The bug it would catch:* a write that falls between the copy
//! and the new place; a frame that is freed while somebody reads it, twice, or by nobody; a dropped folio's
//! new frame on a list. *The edits that make it fail:* mutants `folio.writer_clears_stable`,
//! `folio.evict_spares_the_dead`, `frame.next_owner`, and two twins: a mover that copies before it says so,
//! and one whose new frame learns of its folio only after the word has named it.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, Tally, actor, check, check_twin, join};
use pagepool::model::{
    CoreMutex, Courtesy, Custody, Folio, Heir, Place, atomic, follow_last_owner,
};

use atomic::{
    AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

const OLD: u32 = 0;
const NEW: u32 = 1;
const COPY: u32 = 9;
const LIST: u8 = 0;
/// What a frame's next owner stores.
const STRANGE: u64 = 7;

/// A frame: two words of bytes that say nothing about each other, and what the frame table says.
#[derive(Default)]
struct Frame {
    bytes: [AtomicU64; 2],
    cell: AtomicU8,
    nr_freed: Tally,
}

impl Frame {
    fn store(&self, value: u64) {
        // Relaxed, as plain stores would be: what orders them is under test.
        self.bytes
            .iter()
            .for_each(|word| word.store(value, Relaxed));
    }

    fn load(&self) -> [u64; 2] {
        [self.bytes[0].load(Relaxed), self.bytes[1].load(Relaxed)]
    }

    fn custody(&self) -> Custody {
        // Relaxed: ordered by the LRU lock.
        Custody::from_bits(self.cell.load(Relaxed))
    }

    fn set_custody(&self, custody: Custody) {
        // Relaxed: ordered by the LRU lock.
        self.cell.store(custody.bits(), Relaxed);
    }
}

/// Which frames are linked to the list.
type Linked = [bool; 2];

struct World {
    folio: Folio,
    frames: [Frame; 2],
    /// The LRU lock.
    linked: CoreMutex<Linked>,
    nr_vacated: Tally,
}

/// What came of a move.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    /// Somebody else had the folio.
    Missed,
    /// The folio is in the other frame.
    Moved,
    /// It stayed where it was.
    Stayed,
    /// Its owner had dropped it.
    Freed,
}

/// A way to do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Right,
    /// A twin: copies before it says so in the word.
    CopiesEarly,
    /// A twin: the new frame is batched after the word names it.
    BatchesLate,
}

impl World {
    fn new() -> Shared<World> {
        let world = World {
            folio: Folio::resident(OLD),
            frames: Default::default(),
            linked: CoreMutex::new([true, false]),
            nr_vacated: Tally::default(),
        };
        world.frames[0].set_custody(Custody::default().listed(LIST));
        Shared::new(world)
    }

    fn frame(&self, location: u32) -> &Frame {
        &self.frames[location as usize]
    }

    /// Takes the folio off its list, where it is at first.
    fn isolate(&self) -> bool {
        let mut linked = self.linked.lock();
        let old = self.frame(OLD);
        let Some(isolated) = old.custody().isolated() else {
            return false;
        };
        let word = self.folio.slot.word();
        if word.location() != OLD || !word.is_resident() || word.is_dead() {
            return false;
        }
        assert!(std::mem::take(&mut linked[OLD as usize]), "C1");
        old.set_custody(isolated);
        true
    }

    /// Moves the folio to the new frame, if it can.
    fn relocate(&self, way: Way) -> Fate {
        if !self.isolate() {
            return Fate::Missed;
        }
        let slot = &self.folio.slot;
        let (old, new) = (self.frame(OLD), self.frame(NEW));
        let copy = || {
            follow_last_owner();
            let [first, second] = old.load();
            new.bytes[0].store(first, Relaxed);
            new.bytes[1].store(second, Relaxed);
        };
        if way == Way::CopiesEarly {
            copy();
        }
        if slot.begin_copy() {
            if way != Way::CopiesEarly {
                copy();
            }
            // Release: as in `Node::begin_move`.
            let batched = old.custody().moved().bits();
            if way != Way::BatchesLate {
                new.cell.store(batched, Release);
            }
            if slot.relocate(NEW) {
                if way == Way::BatchesLate {
                    new.cell.store(batched, Release);
                }
                // Relaxed: the frame is the mover's alone.
                old.cell.store(Custody::default().bits(), Relaxed);
                self.free(OLD);
                self.list(NEW);
                return Fate::Moved;
            }
            new.cell.store(Custody::default().bits(), Relaxed);
            slot.end_copy();
        }
        self.free(NEW);
        self.put_back()
    }

    /// Lists the frame that the folio has come to, unless it has gone.
    fn list(&self, location: u32) {
        let mut linked = self.linked.lock();
        let frame = self.frame(location);
        // Acquire: as in `Locked::add`.
        let custody = Custody::from_bits(frame.cell.load(Acquire));
        let word = self.folio.slot.word();
        let is_there = word.is_resident() && word.location() == location && !word.is_dead();
        if custody.place() == Place::Batched && is_there {
            frame.set_custody(custody.listed(LIST));
            linked[location as usize] = true;
        }
    }

    fn put_back(&self) -> Fate {
        let mut linked = self.linked.lock();
        let old = self.frame(OLD);
        if old.custody().is_orphan() {
            old.set_custody(Custody::default());
            self.free(OLD);
            self.nr_vacated.add_one();
            return Fate::Freed;
        }
        old.set_custody(old.custody().listed(LIST));
        linked[OLD as usize] = true;
        Fate::Stayed
    }

    fn free(&self, location: u32) {
        let frame = self.frame(location);
        frame.nr_freed.add_one();
        // The next owner.
        follow_last_owner();
        frame.store(STRANGE);
    }

    /// The owner drops the folio.
    fn drop_folio(&self) {
        let word = self.folio.slot.kill();
        if !word.is_resident() {
            self.nr_vacated.add_one();
            return;
        }
        let frame = self.frame(word.location());
        let is_his = {
            let mut linked = self.linked.lock();
            let (after, heir) = frame.custody().dropped();
            frame.set_custody(after);
            if let Heir::OwnerUnlinks(_) = heir {
                assert!(
                    std::mem::take(&mut linked[word.location() as usize]),
                    "C1: it was listed"
                );
            }
            heir != Heir::Isolator
        };
        if is_his {
            self.free(word.location());
            self.nr_vacated.add_one();
        }
    }

    fn write(&self, value: u64) {
        let (word, _) = self.folio.slot.begin_write().expect("nobody is in the way");
        self.frame(word.location()).store(value);
        assert!(!self.folio.slot.end_write(), "nobody waits");
    }

    /// Where the folio is, and what it holds; and that the other frame was freed, once.
    fn settled(&self) -> (u32, [u64; 2]) {
        let word = self.folio.slot.word();
        assert!(word.is_resident() && !word.is_held() && !word.is_stable());
        let (here, there) = (word.location(), 1 - word.location());
        assert_eq!(self.frame(here).nr_freed.get(), 0);
        assert_eq!(self.frame(there).nr_freed.get(), 1);
        let linked = *self.linked.lock();
        assert_eq!(
            (linked[here as usize], linked[there as usize]),
            (true, false)
        );
        (here, self.frame(here).load())
    }
}

fn move_against_writer(way: Way) -> Fate {
    let world = World::new();
    let (m, w) = (Shared::clone(&world), Shared::clone(&world));
    let mover = actor(move || m.relocate(way));
    let writer = actor(move || w.write(1));
    join(writer);
    let fate = join(mover);
    let (here, bytes) = world.settled();
    assert_eq!(bytes, [1, 1], "the write is lost");
    assert_eq!(here == NEW, fate == Fate::Moved);
    fate
}

#[test]
fn a_moved_folio_is_what_was_written_last() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_writer", 900, move || {
        seen.record(move_against_writer(Way::Right));
    });
    outcomes.assert_exactly([Fate::Moved, Fate::Stayed]);
}

#[test]
#[should_panic(expected = "the write is lost")]
fn a_copy_made_before_it_was_begun_loses_a_write() {
    check_twin(|| {
        move_against_writer(Way::CopiesEarly);
    });
}

#[test]
fn two_writes_and_a_move_lose_nothing() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_two_writes", 5_000, move || {
        let world = World::new();
        let (m, w) = (Shared::clone(&world), Shared::clone(&world));
        let mover = actor(move || m.relocate(Way::Right));
        let writer = actor(move || {
            w.write(1);
            w.write(2);
        });
        join(writer);
        let fate = join(mover);
        assert_eq!(world.settled().1, [2, 2]);
        seen.record(fate);
    });
    outcomes.assert_exactly([Fate::Moved, Fate::Stayed]);
}

/// A reader is let in whatever the mover does, and reads what stands there.
#[test]
fn a_reader_never_waits_and_keeps_its_frame() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_reader", 450, move || {
        let world = World::new();
        let (m, r) = (Shared::clone(&world), Shared::clone(&world));
        let mover = actor(move || m.relocate(Way::Right));
        let reader = actor(move || {
            let slot = &r.folio.slot;
            let word = slot.begin_read(Courtesy::WaitersFirst);
            let word = word.expect("a move is in no reader's way");
            assert_eq!(r.frame(word.location()).load(), [0, 0]);
            assert!(!slot.end_read(), "nobody waits");
            word.location()
        });
        let place = join(reader);
        let fate = join(mover);
        assert_eq!(world.settled().1, [0, 0]);
        seen.record((fate, place));
    });
    outcomes.assert_exactly([(Fate::Moved, OLD), (Fate::Moved, NEW), (Fate::Stayed, OLD)]);
}

#[test]
fn a_pin_keeps_the_folio_where_it_is() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_pin", 500, move || {
        let world = World::new();
        let (m, p) = (Shared::clone(&world), Shared::clone(&world));
        let mover = actor(move || m.relocate(Way::Right));
        let pinner = actor(move || {
            let slot = &p.folio.slot;
            let word = slot.begin_pin().expect("a move is in no pin's way");
            assert_eq!(p.frame(word.location()).load(), [0, 0]);
            assert_eq!(slot.word().location(), word.location(), "it stays");
            assert!(!slot.end_pin(), "nobody wants to be told");
        });
        join(pinner);
        seen.record(join(mover));
        assert_eq!(world.settled().1, [0, 0]);
    });
    outcomes.assert_exactly([Fate::Moved, Fate::Stayed]);
}

/// The old frame is somebody else's as soon as the folio has left it, and he writes to it.
#[test]
fn an_optimistic_reader_sees_the_folio_or_nothing() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_optimistic", 650, move || {
        let world = World::new();
        let (m, r) = (Shared::clone(&world), Shared::clone(&world));
        let mover = actor(move || m.relocate(Way::Right));
        let reader = actor(move || {
            let slot = &r.folio.slot;
            slot.read_optimistic(|frame| r.frame(frame).load())
        });
        let read = join(reader);
        join(mover);
        seen.record(read);
    });
    outcomes.assert_exactly([None, Some([0, 0])]);
}

fn move_against_drop(way: Way) -> Fate {
    let world = World::new();
    let (m, o) = (Shared::clone(&world), Shared::clone(&world));
    let mover = actor(move || m.relocate(way));
    let owner = actor(move || o.drop_folio());
    join(owner);
    let fate = join(mover);
    for frame in [OLD, NEW] {
        let freed = world.frame(frame).nr_freed.get();
        // A mover that has missed the folio has taken no frame for it.
        let expected = usize::from(frame == OLD || fate != Fate::Missed);
        assert_eq!(freed, expected, "frame {frame} freed {freed} times");
        let custody = world.frame(frame).custody();
        assert_eq!(
            custody,
            Custody::default(),
            "C2: freed frame {frame} is not off"
        );
    }
    assert_eq!(world.nr_vacated.get(), 1, "the slot is given back once");
    assert_eq!(
        *world.linked.lock(),
        [false; 2],
        "a freed frame is on a list"
    );
    fate
}

#[test]
fn a_dropped_folio_is_freed_once_wherever_it_is() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_drop", 450, move || {
        seen.record(move_against_drop(Way::Right));
    });
    outcomes.assert_exactly([Fate::Missed, Fate::Moved, Fate::Stayed, Fate::Freed]);
}

#[test]
#[should_panic(expected = "is not off")]
fn a_new_frame_that_is_batched_late_may_be_free_by_then() {
    check_twin(|| {
        move_against_drop(Way::BatchesLate);
    });
}

/// A second isolator, which would evict the folio, finds it taken, or leaves nothing to move.
#[test]
fn of_two_isolators_one_has_the_folio() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_move_evict", 80, move || {
        let world = World::new();
        let (m, e) = (Shared::clone(&world), Shared::clone(&world));
        let mover = actor(move || m.relocate(Way::Right));
        let evictor = actor(move || {
            if !e.isolate() {
                return false;
            }
            let slot = &e.folio.slot;
            assert!(slot.begin_copy() && slot.evict(COPY), "nobody holds it");
            e.frame(OLD).set_custody(Custody::default());
            e.free(OLD);
            true
        });
        let evicted = join(evictor);
        let fate = join(mover);
        assert_eq!(world.frame(OLD).nr_freed.get(), 1);
        seen.record((evicted, fate));
    });
    outcomes.assert_exactly([(true, Fate::Missed), (false, Fate::Moved)]);
}
