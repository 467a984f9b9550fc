//! A turn is one thread's at a time, everybody who waits for it comes to it, and who holds it back stands alone.
//!
//! *Threads:* two that take the turn, write and leave, and a third that looks for it; one that takes it beside one
//! that holds it back and lets it go. *Property:* the writes of one turn are not interrupted by another's; what was
//! written in it is seen in the next; nobody sleeps on. *The bug it would catch:* a thread that sleeps for ever,
//! since the one before it left between its look and its sleep; two that have the turn. *The edits that make
//! it fail:* mutants `turn.look_after`, `waitqueue.recheck`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::{Turn, atomic};

use atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Default)]
struct World {
    turn: Turn,
    first: AtomicU64,
    second: AtomicU64,
}

impl World {
    /// Changes both words, which are equal outside of a turn.
    fn change(&self) {
        let turn = self.turn.take(None).expect("it comes");
        // Relaxed, all: ordered by the turn.
        let value = self.first.load(Relaxed);
        assert_eq!(self.second.load(Relaxed), value, "somebody else is at it");
        self.first.store(value + 1, Relaxed);
        self.second.store(value + 1, Relaxed);
        drop(turn);
    }
}

#[test]
fn a_turn_comes_to_everybody_and_is_one_thread_s_at_a_time() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("turn_is_one_s_and_comes", 20, move || {
        let world = Shared::new(World::default());
        let actors = [(); 2].map(|()| {
            let world = Shared::clone(&world);
            actor(move || world.change())
        });
        join_all(actors);
        // Relaxed: both have ended.
        assert_eq!(world.first.load(Relaxed), 2);
        world.change();
        seen.record(world.turn.nr_sleeps());
    });
    // One after the other; one waited.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn who_holds_a_turn_back_is_alone_and_who_waits_goes_on_afterwards() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("turn_held_back", 20, move || {
        let world = Shared::new(World::default());
        let (changer, holder) = (Shared::clone(&world), Shared::clone(&world));
        let changer = actor(move || changer.change());
        let holder = actor(move || {
            assert!(holder.turn.hold_back(None));
            // Relaxed, both: nobody else has the turn.
            let seen = holder.first.load(Relaxed);
            assert_eq!(holder.second.load(Relaxed), seen, "somebody is at it");
            holder.turn.let_go();
            seen
        });
        let found = join(holder);
        join(changer);
        seen.record((found, world.turn.nr_sleeps()));
    });
    // Held back before the change or after it; without a wait, or with one.
    outcomes.assert_exactly([(0, 0), (0, 1), (1, 0), (1, 1)]);
}
