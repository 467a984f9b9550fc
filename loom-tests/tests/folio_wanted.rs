//! Who would have moved a folio, but for a pin, is told when the last pin has gone.
//!
//! *Threads:* a compactor that meets a pinned folio and asks to be told; the one who holds the pin and lets
//! go of it; a second one whose pin comes and goes meanwhile. *Property:* the compactor finds the folio free
//! to move, or somebody tells that it is, once, and nobody before the last pin has gone. *The bug it would
//! catch:* a node that is not compacted although nothing stands in the way any more. *The edits that make it
//! fail:* mutant `folio.pin_tells`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, Tally, actor, check, join};
use pagepool::model::Folio;

const FRAME: u32 = 5;

struct World {
    folio: Folio,
    nr_told: Tally,
}

impl World {
    /// A folio with one pin.
    fn pinned() -> Shared<World> {
        let world = World {
            folio: Folio::resident(FRAME),
            nr_told: Tally::default(),
        };
        world.folio.slot.begin_pin().expect("it is in memory");
        Shared::new(world)
    }

    fn unpin(&self) {
        if self.folio.slot.end_pin() {
            let word = self.folio.slot.word();
            assert!(!word.is_wanted(), "told once");
            self.nr_told.add_one();
        }
    }

    fn pin_and_unpin(&self) {
        self.folio.slot.begin_pin().expect("it is in memory");
        self.unpin();
    }

    /// What there is once all pins have gone: whether the compactor was told, or had no need to be.
    fn settled(&self, asked: bool) -> bool {
        let word = self.folio.slot.word();
        assert_eq!((word.pins(), word.is_wanted()), (0, false));
        assert_eq!(self.nr_told.get(), usize::from(asked), "asked: {asked}");
        asked
    }
}

#[test]
fn who_asks_is_told() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wanted", 5, move || {
        let world = World::pinned();
        let (c, p) = (Shared::clone(&world), Shared::clone(&world));
        let compactor = actor(move || c.folio.slot.want());
        let pinner = actor(move || p.unpin());
        join(pinner);
        let asked = join(compactor);
        seen.record(world.settled(asked));
    });
    outcomes.assert_exactly([false, true]);
}

#[test]
fn the_last_of_two_pins_tells() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_wanted_two_pins", 50, move || {
        let world = World::pinned();
        let (c, p, q) = (
            Shared::clone(&world),
            Shared::clone(&world),
            Shared::clone(&world),
        );
        let compactor = actor(move || c.folio.slot.want());
        let first = actor(move || p.unpin());
        let second = actor(move || q.pin_and_unpin());
        join(first);
        join(second);
        let asked = join(compactor);
        let word = world.folio.slot.word();
        assert_eq!((word.pins(), word.is_wanted()), (0, false));
        let told = world.nr_told.get();
        assert!(
            told == usize::from(asked),
            "asked: {asked}, told {told} times"
        );
        seen.record(asked);
    });
    outcomes.assert_exactly([false, true]);
}
