//! Whoever has the pool's owner asked for memory gets an answer, and the owner is asked once at a time.
//!
//! *Threads:* two that ask; the worker that the first of them starts, if the system has a thread for it. *Property:*
//! both return; the handler is in one call at a time (O1); nobody sleeps on when there is no worker. The queues of
//! the desk have no fences: a sleeper takes the desk's lock after its entry is published, a waker before it looks for
//! one, and whichever has it first, the other sees what it did. *The bug it would catch:* a worker that goes to sleep
//! past a call, an asker past its end; a call that is left for a worker that could not be started. *The edits that
//! make it fail:* mutants `oom.wake_worker`, `oom.wake_waiters`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_shallower, join_all};
use pagepool::model::Desk;

fn ask_by<const N: usize>(has_threads: bool) -> ([bool; N], usize) {
    let desk = Shared::new(Desk::new(has_threads));
    let askers = [(); N].map(|()| {
        let desk = Shared::clone(&desk);
        actor(move || desk.ask())
    });
    let released = join_all(askers);
    (released, desk.nr_calls())
}

#[test]
fn who_asks_is_answered() {
    check("oom_desk", 190, || {
        assert_eq!(ask_by::<1>(true), ([true], 1));
    });
}

#[test]
fn two_who_ask_share_a_call_or_have_one_each() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("oom_desk_two", 1, 370, move || {
        let (released, calls) = ask_by::<2>(true);
        assert_eq!(released, [true; 2]);
        seen.record(calls);
    });
    outcomes.assert_exactly([1, 2]);
}

#[test]
fn without_a_thread_nobody_waits() {
    check("oom_desk_no_thread", 50, || {
        assert_eq!(ask_by::<2>(false), ([false; 2], 0));
    });
}
