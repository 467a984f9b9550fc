//! R15: of a boost a reclaimer takes what it saw of it, and what was added meanwhile stands.
//!
//! *Threads:* a reclaimer that lowers the boost by what it saw; against it an allocator whose request is a
//! fragmentation event, or somebody who sets other marks, which ends the boost. *Property:* the boost ends at what
//! was added after the reclaimer looked, never below zero, and what ended stays ended. *The bug it would catch:* a
//! boost that is read without the lock and stored under it; one that is cleared instead of lowered; one that is
//! lowered below zero, which is a mark that nothing can meet. *The edits that make it fail:* mutants
//! `boost.under_lock`, `boost.what_was_seen`, `boost.not_below_zero`, and the twin without a lock.

#![cfg(loom)]

use loom_tests::boosted::{STEP, boosted_zone};
use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn a_boost_added_meanwhile_remains() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r15_boost", 40, move || {
        let zone = Shared::new(boosted_zone());
        let (k, a) = (Shared::clone(&zone), Shared::clone(&zone));
        let reclaimer = actor(move || {
            let answered = k.boost();
            k.lower_boost(answered);
            answered
        });
        let allocator = actor(move || a.take_unmovable());

        let answered = join(reclaimer);
        let page = join(allocator);
        assert!(page.is_some());
        assert_eq!(zone.boost() + answered, 2 * STEP);
        zone.verify();
        seen.record(zone.boost());
    });
    outcomes.assert_exactly([0, STEP]);
}

#[test]
#[should_panic(expected = "a boost is lost")]
fn twin_lowering_without_the_lock_loses_a_boost() {
    check_twin(|| {
        let boost = Shared::new(AtomicUsize::new(STEP));
        let (k, a) = (Shared::clone(&boost), Shared::clone(&boost));
        let reclaimer = actor(move || k.store(k.load(Relaxed) - STEP, Relaxed));
        let allocator = actor(move || a.store(a.load(Relaxed) + STEP, Relaxed));
        join_all([reclaimer, allocator]);
        assert_eq!(boost.load(Relaxed), STEP, "a boost is lost");
    });
}

#[test]
fn marks_that_are_set_meanwhile_end_a_boost_for_good() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r15_boost_ended", 45, move || {
        let zone = Shared::new(boosted_zone());
        let (k, s) = (Shared::clone(&zone), Shared::clone(&zone));
        let reclaimer = actor(move || {
            let answered = k.boost();
            k.lower_boost(answered);
            answered
        });
        let setter = actor(move || s.set_marks(0, 5));

        seen.record(join(reclaimer));
        join(setter);
        assert_eq!(zone.boost(), 0);
        zone.verify();
    });
    outcomes.assert_exactly([0, STEP]);
}
