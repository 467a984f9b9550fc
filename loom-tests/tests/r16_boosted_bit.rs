//! R16: whoever takes the note that there is a boost sees the boost.
//!
//! *Threads:* an allocator whose request is a fragmentation event; one or two requests that take the note of it, or
//! of the one before, and have the reclaimer answer what it sees then. *Property:* in the end the boost is
//! answered, or its note is there for the next request; and a note that was left is taken by one. *The bug it would
//! catch:* a note that is wiped out by a request which has read the one before, so that the boost raises the marks
//! while nobody is told (v5.0 puts up with that). *The edits that make it fail:* mutants `boosted.one_step`,
//! `boosted.publish`.

#![cfg(loom)]

use loom_tests::boosted::{STEP, boosted_zone};
use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::Zone;

/// What a request does at its end, with the reclaimer's run in its place: told is what is answered.
fn tell(zone: &Zone) -> usize {
    if !zone.consume_boosted() {
        return 0;
    }
    let seen = zone.boost();
    zone.lower_boost(seen);
    seen
}

/// Returns what was left for the next request.
#[track_caller]
fn assert_told(zone: &Zone) -> usize {
    let left = zone.boost();
    assert!(
        left == 0 || zone.consume_boosted(),
        "nobody is told of {left}"
    );
    left
}

#[test]
fn a_boost_is_answered_or_noted() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r16_boosted_bit", 110, move || {
        let zone = Shared::new(boosted_zone());
        let (t, a) = (Shared::clone(&zone), Shared::clone(&zone));
        let teller = actor(move || tell(&t));
        let allocator = actor(move || a.take_unmovable());

        assert!(join(allocator).is_some());
        let told = join(teller);
        seen.record((told, assert_told(&zone)));
    });
    outcomes.assert_exactly([(STEP, STEP), (2 * STEP, 0)]);
}

#[test]
fn of_two_who_tell_none_wipes_out_the_other_s_note() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r16_boosted_bit_two", 4_500, move || {
        let zone = Shared::new(boosted_zone());
        let tellers = [(); 2].map(|()| {
            let zone = Shared::clone(&zone);
            actor(move || tell(&zone))
        });
        let a = Shared::clone(&zone);
        let allocator = actor(move || a.take_unmovable());

        assert!(join(allocator).is_some());
        let told = join_all(tellers)
            .into_iter()
            .filter(|seen| *seen > 0)
            .count();
        assert_told(&zone);
        seen.record(told);
    });
    outcomes.assert_exactly([1, 2]);
}
