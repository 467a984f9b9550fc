//! A shrinker is asked, called by its worker, and answers; and it can go at any time.
//!
//! *Threads:* one or two that reclaim, the worker that the first of them starts, and one that takes the
//! shrinker out of service. *Property:* who waits is woken, calls are made one at a time, what was asked for
//! is freed once or stays, and the worker has ended when the shrinker is out of service. *The bug it would
//! catch:* a worker that goes to sleep past a call, a reclaimer that sleeps past the end of its own or past
//! its turn, a call that a leaving worker takes along. *The edits that make it fail:* mutants
//! `shrinker.look_at_call`, `shrinker.wake_waiter`.

#![cfg(loom)]

use loom_tests::{Shared, actor, check, check_shallower, join};
use pagepool::model::Shrinking;

#[test]
fn who_asks_is_answered() {
    check("shrinker_call", 30, || {
        let mut shrinking = Shrinking::new(2);
        assert_eq!(shrinking.shrink(), 2);
        shrinking.verify();
        assert_eq!(shrinking.take_out(), 0);
    });
}

#[test]
fn a_worker_that_is_about_to_sleep_sees_the_next_call() {
    check("shrinker_call_next", 100, || {
        let mut shrinking = Shrinking::new(1);
        assert_eq!(shrinking.shrink(), 1);
        assert_eq!(shrinking.shrink(), 0);
        assert_eq!(shrinking.take_out(), 0);
    });
}

#[test]
fn two_that_ask_take_turns() {
    check_shallower("shrinker_call_two", 1, 80, || {
        let mut shrinking = Shared::new(Shrinking::new(1));
        let other = Shared::clone(&shrinking);
        let other = actor(move || other.shrink());
        let freed = shrinking.shrink() + join(other);
        assert_eq!(freed, 1);
        shrinking.verify();
        let last = Shared::get_mut(&mut shrinking).expect("the other has ended");
        assert_eq!(last.take_out(), 0);
    });
}

#[test]
fn a_shrinker_may_go_while_it_is_asked() {
    check_shallower("shrinker_call_leave", 1, 80, || {
        let mut shrinking = Shrinking::new(1);
        let handle = shrinking.take_handle();
        let leaver = actor(move || drop(handle));
        let freed = shrinking.shrink();
        join(leaver);
        assert_eq!(shrinking.take_out(), 1 - freed);
    });
}
