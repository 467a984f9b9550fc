//! A shrinker is asked, called by its worker, and answers; and it can go at any time.
//!
//! *Threads:* one or two that reclaim, the worker that the first of them starts, and one that takes the
//! shrinker out of service. *Property:* who waits is woken, calls are made one at a time, what was asked for
//! is freed once or stays, and the worker has ended when the shrinker is out of service. *The bug it would
//! catch:* a worker that goes to sleep past a call, a reclaimer that sleeps past the end of its own or past
//! its turn, a call that a leaving worker takes along. *The edits that make it fail:* mutants
//! `shrinker.look_at_call`, `shrinker.wake_waiter`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_deeper, check_shallower, join};
use pagepool::model::Shrinking;

#[test]
fn who_asks_is_answered() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_deeper("shrinker_call", 3, 300, move || {
        let mut shrinking = Shrinking::new(2);
        assert_eq!(shrinking.shrink(), 2);
        shrinking.verify();
        let [_, waits] = shrinking.nr_sleeps();
        assert_eq!(shrinking.take_out(), 0);
        seen.record(waits > 0);
    });
    // Found its end at once, for which the worker has to overtake; or slept until it.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn a_worker_that_is_about_to_sleep_sees_the_next_call() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("shrinker_call_next", 540, move || {
        let mut shrinking = Shrinking::new(1);
        assert_eq!(shrinking.shrink(), 1);
        assert_eq!(shrinking.shrink(), 0);
        assert_eq!(shrinking.take_out(), 0);
        let [worker, _] = shrinking.nr_sleeps();
        seen.record(worker.min(2));
    });
    // The worker never slept; before the second call or after it; both.
    outcomes.assert_exactly([0, 1, 2]);
}

#[test]
fn two_that_ask_take_turns() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("shrinker_call_two", 1, 280, move || {
        let mut shrinking = Shared::new(Shrinking::new(1));
        let other = Shared::clone(&shrinking);
        let other = actor(move || other.shrink());
        let freed = [shrinking.shrink(), join(other)];
        shrinking.verify();
        let last = Shared::get_mut(&mut shrinking).expect("the other has ended");
        assert_eq!(last.take_out(), 0);
        seen.record(freed);
    });
    // Either may come first.
    outcomes.assert_exactly([[0, 1], [1, 0]]);
}

#[test]
fn a_shrinker_may_go_while_it_is_asked() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("shrinker_call_leave", 1, 100, move || {
        let mut shrinking = Shrinking::new(1);
        let handle = shrinking.take_handle();
        let leaver = actor(move || drop(handle));
        let freed = shrinking.shrink();
        join(leaver);
        assert_eq!(shrinking.take_out(), 1 - freed);
        seen.record(freed);
    });
    // It went before it was called, or after.
    outcomes.assert_exactly([0, 1]);
}
