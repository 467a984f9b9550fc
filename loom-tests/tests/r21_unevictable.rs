//! R21: a folio is on the list of those that reclaim does not see if and only if it is locked.
//!
//! *Threads:* an owner who locks the folio, or unlocks it; against him the end of a fault with the batch that lists
//! it, reclaim that takes it off its list and puts it back, or a mover that lists it in another frame. *Property:* when
//! all have done, the folio is set aside exactly if it is locked, in whichever frame it is. *The bug it would
//! catch:* an unlocked folio that stays out of reclaim's sight for good, and a locked one that is looked at in vain
//! again and again. *The edits that make it fail:* mutant `folio.word_after_mark`, and the twin that puts a folio back
//! where it was to go when it was judged.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join};
use pagepool::model::{CoreMutex, Custody, Folio, FolioMark, Landing, Place, atomic::AtomicU8};

use pagepool::model::atomic::Ordering::{Acquire, Relaxed, Release};

/// The two lists.
const INACTIVE: u8 = 0;
const UNEVICTABLE: u8 = 4;

/// A folio in one of two frames, or away, and what the frame table says of them.
struct Placement {
    folio: Folio,
    frames: [AtomicU8; 2],
    /// The LRU lock.
    lists: CoreMutex<()>,
}

// The steps of `Locked` and `Node`.
impl Placement {
    /// A folio that is away.
    fn away(locked: bool) -> Placement {
        let placement = Placement {
            folio: Folio::away(),
            frames: [0, 0].map(AtomicU8::new),
            lists: CoreMutex::new(()),
        };
        if locked {
            placement.folio.slot.set(FolioMark::Locked);
        }
        placement
    }

    fn listed(locked: bool) -> Placement {
        let placement = Placement::away(locked);
        placement.bring_in();
        placement.list();
        placement
    }

    fn custody(&self, frame: u32) -> Custody {
        // Acquire: as in `Locked::add`; the rest is ordered by the lock.
        Custody::from_bits(self.frames[frame as usize].load(Acquire))
    }

    fn set_custody(&self, frame: u32, custody: Custody) {
        // Relaxed: ordered by the lock.
        self.frames[frame as usize].store(custody.bits(), Relaxed);
    }

    /// Puts it where it belongs, under the lock; returns which list that is.
    fn link(&self, frame: u32) -> u8 {
        let list = if self.folio.slot.is(FolioMark::Locked) {
            UNEVICTABLE
        } else {
            INACTIVE
        };
        self.set_custody(frame, self.custody(frame).listed(list));
        list
    }

    /// The end of a fault: the folio waits in a batch.
    fn bring_in(&self) {
        self.folio.slot.begin_fault().expect("it is away");
        let batched = Custody::default().batched().expect("it was off");
        // Release: as in `Node::expect_on_lru`.
        self.frames[0].store(batched.bits(), Release);
        let released = self.folio.slot.end_fault(0, Landing::Idle);
        assert!(!released.wake, "nobody waits");
    }

    /// Empties the batch; returns on which list the folio came.
    fn list(&self) -> Option<u8> {
        self.list_in(0)
    }

    fn list_in(&self, frame: u32) -> Option<u8> {
        let _lists = self.lists.lock();
        let word = self.folio.slot.word();
        let is_there = word.is_resident() && word.location() == frame;
        let is_ours = is_there && self.custody(frame).place() == Place::Batched;
        is_ours.then(|| self.link(frame))
    }

    /// Locks the folio in memory, for an owner who keeps it there meanwhile; returns whether he found it on a
    /// list.
    fn lock(&self) -> bool {
        self.folio.slot.begin_pin().expect("it is in memory");
        assert!(self.folio.slot.lock(), "it was not locked");
        let found = self.relist();
        let _ = self.folio.slot.end_pin();
        found
    }

    /// Returns whether the owner found it on a list.
    fn unlock(&self) -> bool {
        assert!(self.folio.slot.unlock(), "it was locked");
        self.relist()
    }

    /// As `Nodes::relist`.
    fn relist(&self) -> bool {
        let word = self.folio.slot.word_after_mark();
        if !word.is_resident() {
            return false;
        }
        let _lists = self.lists.lock();
        let now = self.folio.slot.word();
        let is_there = now.is_resident() && now.location() == word.location();
        let is_found =
            is_there && matches!(self.custody(word.location()).place(), Place::Listed(_));
        if is_found {
            self.link(word.location());
        }
        is_found
    }

    fn isolate(&self) -> bool {
        let _lists = self.lists.lock();
        let isolated = self.custody(0).isolated();
        if let Some(isolated) = isolated {
            self.set_custody(0, isolated);
        }
        isolated.is_some()
    }

    /// Takes the folio off its list and puts it back, if it was on one; returns on which it is then.
    fn look(&self) -> Option<u8> {
        let is_ours = self.isolate();
        is_ours.then(|| {
            let _lists = self.lists.lock();
            self.link(0)
        })
    }

    /// A twin: puts it back where it looked as if it belonged.
    fn look_and_trust(&self) -> bool {
        let is_ours = self.isolate();
        if is_ours {
            let list = match self.folio.slot.is(FolioMark::Locked) {
                true => UNEVICTABLE,
                false => INACTIVE,
            };
            let _lists = self.lists.lock();
            self.set_custody(0, self.custody(0).listed(list));
        }
        is_ours
    }

    /// Moves the folio to the second frame, if it can; returns whether it did.
    fn relocate(&self) -> bool {
        if !self.isolate() {
            return false;
        }
        let slot = &self.folio.slot;
        if slot.begin_copy() {
            let batched = self.custody(0).moved().bits();
            // Release: as in `Node::begin_move`.
            self.frames[1].store(batched, Release);
            if slot.relocate(1) {
                self.set_custody(0, Custody::default());
                self.list_in(1);
                return true;
            }
            self.set_custody(1, Custody::default());
            slot.end_copy();
        }
        let _lists = self.lists.lock();
        self.link(0);
        false
    }

    #[track_caller]
    fn is_set_aside(&self) -> bool {
        let word = self.folio.slot.word();
        assert!(word.is_resident(), "{word:?}");
        match self.custody(word.location()).place() {
            Place::Listed(list) => list == UNEVICTABLE,
            place => panic!("it is on no list: {place:?}"),
        }
    }
}

/// Runs the owner against one other; returns whether the owner found the folio on a list, and what the other came to.
fn against<T: 'static>(
    placement: Placement,
    owner: fn(&Placement) -> bool,
    other: fn(&Placement) -> T,
) -> (Shared<Placement>, (bool, T)) {
    let placement = Shared::new(placement);
    let (o, p) = (Shared::clone(&placement), Shared::clone(&placement));
    let owner = actor(move || owner(&o));
    let other = actor(move || other(&p));
    let has_found = join(owner);
    let came_to = join(other);
    (placement, (has_found, came_to))
}

#[test]
fn unlocked_while_it_comes_back() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r21_unlock_fault", 550, move || {
        let fault = |placement: &Placement| {
            placement.bring_in();
            placement.list()
        };
        let (placement, ends) = against(Placement::away(true), Placement::unlock, fault);
        assert!(!placement.is_set_aside(), "it is stranded");
        seen.record(ends);
    });
    // The owner came before the batch; after it, which listed by the new mark; by the old one, and he put that right.
    outcomes.assert_exactly([
        (false, Some(INACTIVE)),
        (true, Some(INACTIVE)),
        (true, Some(UNEVICTABLE)),
    ]);
}

#[test]
fn unlocked_while_it_is_moved() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r21_unlock_move", 950, move || {
        let listed = Placement::listed(true);
        let (placement, ends) = against(listed, Placement::unlock, Placement::relocate);
        assert!(!placement.is_set_aside(), "it is stranded");
        seen.record(ends);
    });
    // On its way, or on a list before or after. An unlock is in no way of a move.
    outcomes.assert_exactly([(false, true), (true, true)]);
}

#[test]
fn unlocked_while_reclaim_has_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r21_unlock_look", 88, move || {
        let listed = Placement::listed(true);
        let (placement, ends) = against(listed, Placement::unlock, Placement::look);
        assert!(!placement.is_set_aside(), "it is stranded");
        seen.record(ends);
    });
    // Reclaim had it; the owner found it, before reclaim did or put back by the new mark; by the old one, and he put
    // that right.
    outcomes.assert_exactly([
        (false, Some(INACTIVE)),
        (true, Some(INACTIVE)),
        (true, Some(UNEVICTABLE)),
    ]);
}

#[test]
fn locked_while_reclaim_has_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r21_lock_look", 88, move || {
        let listed = Placement::listed(false);
        let (placement, ends) = against(listed, Placement::lock, Placement::look);
        assert!(placement.is_set_aside(), "reclaim will look at it again");
        seen.record(ends);
    });
    // Reclaim had it; the owner found it, before reclaim did or put back by the new mark; by the old one, and he put
    // that right.
    outcomes.assert_exactly([
        (false, Some(UNEVICTABLE)),
        (true, Some(UNEVICTABLE)),
        (true, Some(INACTIVE)),
    ]);
}

#[test]
fn locked_while_a_batch_lists_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r21_lock_list", 475, move || {
        let batched = Placement::away(false);
        batched.bring_in();
        let (placement, ends) = against(batched, Placement::lock, Placement::list);
        assert!(placement.is_set_aside(), "reclaim will look at it again");
        seen.record(ends);
    });
    // The owner came before the batch; after it, which listed by the new mark; by the old one, and he put that right.
    outcomes.assert_exactly([
        (false, Some(UNEVICTABLE)),
        (true, Some(UNEVICTABLE)),
        (true, Some(INACTIVE)),
    ]);
}

#[test]
fn locked_while_it_is_moved() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r21_lock_move", 1_950, move || {
        let listed = Placement::listed(false);
        let (placement, ends) = against(listed, Placement::lock, Placement::relocate);
        assert!(placement.is_set_aside(), "reclaim will look at it again");
        seen.record(ends);
    });
    // On its way, or on a list; called off by the pin, or moved before or after it.
    outcomes.assert_exactly([(false, false), (false, true), (true, false), (true, true)]);
}

#[test]
#[should_panic(expected = "it is stranded")]
fn put_back_where_it_was_to_go_it_may_be_stranded() {
    check_twin(|| {
        let listed = Placement::listed(true);
        let (placement, _) = against(listed, Placement::unlock, Placement::look_and_trust);
        assert!(!placement.is_set_aside(), "it is stranded");
    });
}
