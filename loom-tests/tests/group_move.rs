//! A folio that moves to another group while it is evicted: the group that loses it is the one that has it.
//!
//! *Threads:* an owner that pins the folio, moves it and its charge to another group, and lets go of the pin; an
//! isolator that copies the folio, reads its group and takes it out of memory. *Property:* in the end the group
//! that the folio was in when it left is charged for nothing, and so is the other. *The bug it would catch:* an
//! isolator that has read the old group before the move, and evicts the folio after it, gives back what the
//! old group no longer has. *The edit that makes it fail:* mutant `group.move_ends_copy`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::{GroupedFolio, Room};

const FRAME: u32 = 5;
const COPY: u32 = 9;

struct World {
    folio: GroupedFolio,
    rooms: [Room; 2],
}

impl World {
    /// Returns whether the folio has moved.
    fn move_folio(&self) -> bool {
        if self.folio.slot().begin_pin().is_err() {
            return false;
        }
        assert!(self.rooms[1].counter.try_charge(1));
        self.rooms[0].uncharge();
        self.folio.set_group_of_pinned(1);
        let _ = self.folio.slot().end_pin();
        true
    }

    /// Returns the group that the folio has left memory from, if it has.
    fn evict(&self) -> Option<usize> {
        let slot = self.folio.slot();
        if !slot.begin_copy() {
            return None;
        }
        let group = self.folio.group();
        if !slot.evict(COPY) {
            slot.end_copy();
            return None;
        }
        self.rooms[group].uncharge();
        Some(group)
    }
}

#[test]
fn the_group_that_has_the_folio_gives_it_back() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_move", 200, move || {
        let world = Shared::new(World {
            folio: GroupedFolio::resident(FRAME),
            rooms: [Room::new(2), Room::new(2)],
        });
        world.rooms[0].charge();
        let w = Shared::clone(&world);
        let isolator = actor(move || w.evict());
        let moved = world.move_folio();
        let evicted = join(isolator);
        let has_it = usize::from(moved);
        let pages = [0, 1].map(|group: usize| world.rooms[group].counter.pages());
        let mut expected = [0, 0];
        if evicted.is_none() {
            expected[has_it] = 1;
        }
        assert_eq!(pages, expected, "moved: {moved}, evicted: {evicted:?}");
        seen.record((moved, evicted));
    });
    outcomes.assert_exactly([(false, Some(0)), (true, None), (true, Some(1))]);
}
