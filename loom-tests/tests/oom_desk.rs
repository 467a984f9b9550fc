//! Whoever has the pool's owner asked for memory gets an answer, and the owner is asked once at a time.
//!
//! *Threads:* two that ask; the worker that the first of them starts, if the system has a thread for it. *Property:*
//! both return; the handler is in one call at a time (O1); nobody sleeps on when there is no worker. The queues of
//! the desk have no fences: a sleeper takes the desk's lock after its entry is published, a waker before it looks for
//! one, and whichever has it first, the other sees what it did. *The bug it would catch:* a worker that goes to sleep
//! past a call, an asker past its end; a call that is left for a worker that could not be started; an owner who has
//! nothing to give and is asked once more by whoever came meanwhile. *The edits that make it fail:* mutants
//! `oom.wake_worker`, `oom.wake_waiters`, `oom.claim_with_call`, `oom.share_call`, `oom.look_again`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_shallower, join_all};
use pagepool::model::Desk;

/// What became of `N` who asked at once.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Asked<const N: usize> {
    released: [bool; N],
    nr_calls: usize,
    nr_waits: u32,
}

fn ask<const N: usize>(desk: Desk) -> Asked<N> {
    let desk = Shared::new(desk);
    let askers = [(); N].map(|()| {
        let desk = Shared::clone(&desk);
        actor(move || desk.ask())
    });
    let released = join_all(askers);
    Asked {
        released,
        nr_calls: desk.nr_calls(),
        nr_waits: desk.nr_waits(),
    }
}

#[test]
fn who_asks_is_answered() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("oom_desk", 190, move || {
        let asked = ask(Desk::new(true, true));
        assert_eq!((asked.released, asked.nr_calls), ([true], 1));
        seen.record(asked.nr_waits);
    });
    // The call had ended; it was waited for.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn two_who_ask_share_a_call_or_have_one_each() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("oom_desk_two", 1, 370, move || {
        let asked = ask(Desk::new(true, true));
        assert_eq!(asked.released, [true; 2]);
        seen.record(asked.nr_calls);
    });
    outcomes.assert_exactly([1, 2]);
}

#[test]
fn two_who_ask_in_vain_do_so_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("oom_desk_in_vain", 5_000, move || {
        let asked = ask(Desk::new(true, false));
        assert_eq!((asked.released, asked.nr_calls), ([false; 2], 1));
        seen.record(asked.nr_waits);
    });
    // How many of them waited for its end.
    outcomes.assert_exactly([0, 1, 2]);
}

/// A regression: whoever came first said at once that the worker was its to start, and left its call later. When
/// the system had no thread, another that had come meanwhile left a call without a worker, and waited for ever.
#[test]
fn without_a_thread_nobody_waits() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("oom_desk_no_thread", 50, move || {
        let asked = ask(Desk::new(false, true));
        assert_eq!((asked.released, asked.nr_calls), ([false; 2], 0));
        seen.record(asked.nr_waits);
    });
    // Each by itself; one waited for the other's attempt.
    outcomes.assert_exactly([0, 1]);
}
