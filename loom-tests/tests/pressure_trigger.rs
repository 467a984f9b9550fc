//! A thread that waits for pressure is told when a stall begins.
//!
//! *Threads:* one that waits for a stall; one that begins one, or two who together make it full; a clock that
//! lets the wait run out. *Property:* never "there is a stall that nobody has ended, and who waits for it
//! sleeps"; a wait that is over leaves no entry behind. *The bug it would catch:* a stall that looks for
//! sleepers before it counts, or only at the first of the changes that make it full; a thread that goes to
//! sleep beside a stall that began before it was on the queue. *The edits that make it fail:* mutants
//! `psi.wake`, `psi.recheck`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::PressureKind;
use pagepool::model::Psi;

#[test]
fn a_stall_that_begins_is_told_to_who_waits_for_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("pressure_trigger_some", 30, move || {
        let psi = Shared::new(Psi::default());
        let (w, s) = (Shared::clone(&psi), Shared::clone(&psi));
        let waiter = actor(move || w.wait(PressureKind::Some));
        let staller = actor(move || s.stall());
        join_all([waiter, staller]);
        psi.resume();
        psi.assert_calm();
        seen.record(psi.nr_sleeps(PressureKind::Some));
    });
    // The stall had begun; the waiter was woken for it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn full_is_told_by_whichever_change_makes_it_so() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("pressure_trigger_full", 360, move || {
        let psi = Shared::new(Psi::default());
        psi.join();
        let (w, s, l) = (
            Shared::clone(&psi),
            Shared::clone(&psi),
            Shared::clone(&psi),
        );
        let waiter = actor(move || w.wait(PressureKind::Full));
        let staller = actor(move || s.stall());
        let worker = actor(move || l.leave());
        join_all([waiter, staller, worker]);
        psi.resume();
        psi.assert_calm();
        seen.record(psi.nr_sleeps(PressureKind::Full));
    });
    // Both changes had been made; the waiter was woken by the second.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn a_wait_that_runs_out_beside_a_short_stall_ends_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("pressure_trigger_timed", 1_400, move || {
        let psi = Shared::new(Psi::default());
        let (w, s, c) = (
            Shared::clone(&psi),
            Shared::clone(&psi),
            Shared::clone(&psi),
        );
        let waiter = actor(move || w.wait_timed(PressureKind::Some));
        let staller = actor(move || {
            s.stall();
            s.resume();
        });
        let clock = actor(move || c.fire_timeout(PressureKind::Some));
        join(staller);
        join(clock);
        seen.record((join(waiter), psi.nr_sleeps(PressureKind::Some)));
        psi.assert_calm();
        // Whoever comes next finds a queue as good as new.
        let s = Shared::clone(&psi);
        let staller = actor(move || s.stall());
        psi.wait(PressureKind::Some);
        join(staller);
    });
    // Too late or told, and each without a sleep or after one.
    outcomes.assert_exactly([(false, 0), (false, 1), (true, 0), (true, 1)]);
}
