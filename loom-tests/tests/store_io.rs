//! A transfer is handed to a worker and comes back, or is abandoned, and the buffer is never lost.
//!
//! *Threads:* one or two submitters, and the worker that the first transfer starts; the store's last
//! act is to end it. *Property:* who waits is woken, nothing that was submitted stays queued, each write
//! that began ends once, and all buffers are there afterwards. *The bug it would catch:* a worker that
//! goes to sleep past a transfer, a submitter that sleeps past the end of its own, a buffer that an
//! abandoned transfer takes along. *The edits that make it fail:* mutants `store.look_at_call`,
//! `store.wake_waiter`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_shallower, join};
use pagepool::model::Io;

#[test]
fn who_waits_for_a_transfer_is_woken() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("store_io_wait", 250, move || {
        let io = Io::new();
        io.write(1);
        assert_eq!(io.shut_down(), 1);
        seen.record(io.nr_sleeps().map(|nr| nr > 0));
    });
    // Whether the worker slept, and whether the submitter did.
    outcomes.assert_exactly([[false, false], [false, true], [true, false], [true, true]]);
}

#[test]
fn a_worker_that_is_about_to_sleep_sees_the_next_transfer() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("store_io_next", 1_000, move || {
        let io = Io::new();
        io.write(1);
        io.write(1);
        assert_eq!(io.shut_down(), 2);
        assert_eq!(io.nr_buffers(), 4);
        seen.record(io.nr_sleeps().map(|nr| nr > 0));
    });
    // Both in time without a sleep takes more preemptions than these.
    outcomes.assert_exactly([[false, true], [true, false], [true, true]]);
}

#[test]
fn an_abandoned_write_gives_its_buffer_back_wherever_it_stands() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("store_io_abandon", 80, move || {
        let io = Io::new();
        io.abandon_write();
        assert_eq!(io.shut_down(), 1);
        assert_eq!(io.nr_buffers(), 4);
        let [worker, submitter] = io.nr_sleeps();
        assert_eq!(submitter, 0);
        seen.record(worker > 0);
    });
    // The worker ends after the write, or sleeps and is told to.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn two_submitters_do_not_lose_each_others_wake_up() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("store_io_two", 1, 1_500, move || {
        let io = Shared::new(Io::new());
        let other = Shared::clone(&io);
        let writer = actor(move || other.write(2));
        io.write(1);
        join(writer);
        assert_eq!(io.shut_down(), 2);
        let [worker, _] = io.nr_sleeps();
        seen.record(worker > 0);
    });
    // The worker found both writes, or slept.
    outcomes.assert_exactly([false, true]);
}
