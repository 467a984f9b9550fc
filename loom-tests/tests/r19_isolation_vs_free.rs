//! R19: when a folio is dropped while somebody isolates it, exactly one of them takes its frame off the
//! list and frees it, and exactly one gives its slot back.
//!
//! *Threads:* the owner, who drops the folio; an isolator, who takes it from its list, tries to evict it
//! and else puts it back; or one who empties a batch that the folio is in, also one with an old entry for
//! a folio that leaves its frame and comes back there. *Property:* the frame is freed once and is on no
//! list then; the slot is vacated once; the frame is linked exactly if its custody says so, and then holds
//! its folio. *The bug it would catch:* a frame freed twice, or by nobody; a freed frame on a list, or one
//! whose folio is not there yet. *The edits that make it fail:* mutant `folio.evict_spares_the_dead`, and
//! three twins: an owner that lets go of the frame before it sets DEAD, an isolator that goes by DEAD
//! instead of ORPHAN, and one who empties a batch without Acquire.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, Tally, actor, check, check_twin, join};
use pagepool::model::{CoreMutex, Courtesy, Custody, Folio, Heir, Landing, Place, atomic};

use atomic::AtomicU8;
use atomic::Ordering::{self, Acquire, Relaxed, Release};

const FRAME: u32 = 5;
const COPY: u32 = 9;
const LIST: u8 = 0;

struct World {
    folio: Folio,
    /// The frame's byte in the frame table.
    cell: AtomicU8,
    /// The LRU lock; what it holds is whether the frame is linked to its list.
    is_linked: CoreMutex<bool>,
    nr_freed: Tally,
    nr_vacated: Tally,
}

/// What became of the folio at the isolator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    /// The owner was first.
    Missed,
    Evicted,
    PutBack,
    /// It was an orphan when it was to be put back.
    Freed,
}

/// A way to do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// That of the head of `folio/custody.rs`.
    Right,
    /// A twin: the owner lets go of the frame and then sets DEAD.
    KillsLate,
    /// A twin: the isolator frees whatever is dead.
    GoesByDead,
}

impl World {
    fn listed() -> Shared<World> {
        World::new(Custody::default().listed(LIST), true)
    }

    fn batched() -> Shared<World> {
        let batched = Custody::default().batched();
        World::new(batched.expect("a new frame is off"), false)
    }

    fn new(custody: Custody, is_linked: bool) -> Shared<World> {
        Shared::new(World {
            folio: Folio::resident(FRAME),
            cell: AtomicU8::new(custody.bits()),
            is_linked: CoreMutex::new(is_linked),
            nr_freed: Tally::default(),
            nr_vacated: Tally::default(),
        })
    }

    fn custody(&self) -> Custody {
        // Relaxed: ordered by the LRU lock.
        Custody::from_bits(self.cell.load(Relaxed))
    }

    fn set_custody(&self, custody: Custody) {
        // Relaxed: ordered by the LRU lock.
        self.cell.store(custody.bits(), Relaxed);
    }

    fn free(&self) {
        self.nr_freed.add_one();
    }

    fn vacate(&self) {
        let is_dead = self.folio.slot.word().is_dead();
        assert!(is_dead, "a slot is given back that is still in use");
        self.nr_vacated.add_one();
    }

    /// The owner drops the folio.
    fn drop_folio(&self, way: Way) {
        let looked_early = (way == Way::KillsLate).then(|| self.take_for_owner());
        if !self.folio.slot.kill().is_resident() {
            return self.vacate();
        }
        if looked_early.unwrap_or_else(|| self.take_for_owner()) {
            self.free();
            self.vacate();
        }
    }

    /// Takes the frame off its list, unless an isolator has it; returns whether it is the owner's.
    fn take_for_owner(&self) -> bool {
        let mut is_linked = self.is_linked.lock();
        let custody = self.custody();
        let (after, heir) = custody.dropped();
        self.set_custody(after);
        match heir {
            Heir::Isolator => return false,
            Heir::Owner => assert!(!*is_linked, "C1"),
            Heir::OwnerUnlinks(list) => {
                assert_eq!((list, *is_linked), (LIST, true), "C1");
                *is_linked = false;
            }
        }
        true
    }

    /// An isolator takes the frame from its list, evicts the folio if it may, and else puts it back.
    fn isolate(&self, may_evict: bool, way: Way) -> Fate {
        {
            let mut is_linked = self.is_linked.lock();
            let Some(isolated) = self.custody().isolated() else {
                return Fate::Missed;
            };
            assert!(std::mem::take(&mut *is_linked), "C1");
            self.set_custody(isolated);
        }
        let slot = &self.folio.slot;
        if may_evict && slot.begin_copy() {
            if slot.evict(COPY) {
                let _lru = self.is_linked.lock();
                self.set_custody(self.custody().off());
                self.free();
                return Fate::Evicted;
            }
            slot.end_copy();
        }
        self.put_back(way)
    }

    fn put_back(&self, way: Way) -> Fate {
        let mut is_linked = self.is_linked.lock();
        let is_mine = match way {
            Way::GoesByDead => self.folio.slot.word().is_dead(),
            Way::Right | Way::KillsLate => self.custody().is_orphan(),
        };
        if is_mine {
            self.set_custody(self.custody().off());
            self.free();
            self.vacate();
            return Fate::Freed;
        }
        *is_linked = true;
        self.set_custody(self.custody().listed(LIST));
        Fate::PutBack
    }

    /// A batch that holds the frame is emptied; returns whether the frame went to its list. `ordering` is
    /// that of the look at its custody.
    fn flush(&self, ordering: Ordering) -> bool {
        let mut is_linked = self.is_linked.lock();
        let custody = Custody::from_bits(self.cell.load(ordering));
        if custody.place() != Place::Batched {
            return false;
        }
        let word = self.folio.slot.word();
        let is_there = word.is_resident() && word.location() == FRAME && !word.is_dead();
        if is_there {
            assert!(!*is_linked, "C1");
            *is_linked = true;
            self.set_custody(custody.listed(LIST));
        }
        is_there
    }

    /// An isolator evicts the folio, and somebody brings it back to the same frame, whose entry goes into a
    /// batch that is emptied at once. Returns whether that put the frame on its list.
    fn evict_and_bring_back(&self) -> bool {
        let slot = &self.folio.slot;
        assert!(slot.begin_copy() && slot.evict(COPY));
        self.set_custody(Custody::default());

        slot.begin_fault().expect("it is away");
        let batched = Custody::default().batched().expect("the frame is off");
        self.cell.store(batched.bits(), Release);
        assert!(!slot.end_fault(FRAME, Landing::Idle).wake, "nobody waits");
        self.flush(Acquire)
    }

    /// The frame was put on its list while it held its folio.
    #[track_caller]
    fn assert_there(&self) {
        let read = self.folio.slot.begin_read(Courtesy::WaitersFirst);
        assert!(read.is_ok(), "a frame on a list holds no folio: {read:?}");
    }

    #[track_caller]
    fn assert_freed_once(&self) {
        assert_eq!(self.nr_freed.get(), 1, "frames freed");
        assert_eq!(self.nr_vacated.get(), 1, "slots given back");
        assert!(!*self.is_linked.lock(), "a freed frame is on a list");
        assert_eq!(self.custody(), Custody::default());
    }
}

fn drop_against_isolator(may_evict: bool, way: Way) -> Fate {
    let world = World::listed();
    let (o, i) = (Shared::clone(&world), Shared::clone(&world));
    let owner = actor(move || o.drop_folio(way));
    let isolator = actor(move || i.isolate(may_evict, way));
    join(owner);
    let fate = join(isolator);
    world.assert_freed_once();
    fate
}

#[test]
fn a_folio_that_is_dropped_during_an_eviction_is_freed_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r19_eviction", 200, move || {
        seen.record(drop_against_isolator(true, Way::Right));
    });
    outcomes.assert_exactly([Fate::Missed, Fate::Evicted, Fate::PutBack, Fate::Freed]);
}

#[test]
fn a_folio_that_is_dropped_while_it_is_isolated_is_freed_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r19_putback", 28, move || {
        seen.record(drop_against_isolator(false, Way::Right));
    });
    outcomes.assert_exactly([Fate::Missed, Fate::PutBack, Fate::Freed]);
}

#[test]
fn a_folio_that_is_dropped_while_its_batch_is_emptied_is_freed_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r19_batch", 18, move || {
        let world = World::batched();
        let (o, b) = (Shared::clone(&world), Shared::clone(&world));
        let owner = actor(move || o.drop_folio(Way::Right));
        let batch = actor(move || b.flush(Acquire));
        join(owner);
        let went_to_list = join(batch);
        world.assert_freed_once();
        seen.record(went_to_list);
    });
    outcomes.assert_exactly([false, true]);
}

/// Returns whether the old entry, and not the new one, has put the frame on its list.
fn old_entry_against_return(ordering: Ordering) -> bool {
    let world = World::new(Custody::default().listed(LIST), true);
    let isolated = world.custody().isolated().expect("it was listed");
    world.set_custody(isolated);
    *world.is_linked.lock() = false;

    let (m, b) = (Shared::clone(&world), Shared::clone(&world));
    let mover = actor(move || m.evict_and_bring_back());
    let old_entry = actor(move || {
        let went_to_list = b.flush(ordering);
        if went_to_list {
            b.assert_there();
        }
        went_to_list
    });
    let by_new = join(mover);
    let by_old = join(old_entry);
    assert_ne!(by_new, by_old, "the frame went to its list once");
    assert_eq!(world.custody().place(), Place::Listed(LIST));
    by_old
}

#[test]
fn an_old_entry_does_not_list_a_folio_that_is_on_its_way_back() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r19_old_entry", 160, move || {
        seen.record(old_entry_against_return(Acquire));
    });
    outcomes.assert_exactly([false, true]);
}

#[test]
#[should_panic(expected = "holds no folio")]
fn an_old_entry_that_is_looked_at_without_acquire_sees_where_the_folio_was() {
    check_twin(|| {
        old_entry_against_return(Relaxed);
    });
}

#[test]
#[should_panic(expected = "still in use")]
fn an_owner_that_kills_late_finds_its_slot_gone() {
    check_twin(|| {
        drop_against_isolator(false, Way::KillsLate);
    });
}

#[test]
#[should_panic(expected = "frames freed")]
fn an_isolator_that_goes_by_dead_frees_what_the_owner_frees() {
    check_twin(|| {
        drop_against_isolator(false, Way::GoesByDead);
    });
}
