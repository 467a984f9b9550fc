//! A sleep with a deadline ends once, as a wake-up or as a time-out, and leaves no entry behind.
//!
//! *Threads:* a sleeper with a deadline; a clock that lets it pass; a waker. *Property:* the
//! waker's count and the sleeper's ending agree: woken exactly if the waker removed an entry; the
//! count of sleepers is 0 afterwards. *The bug it would catch:* an entry removed twice, once by the
//! waker and once by the time-out, which would make the count wrap and every later free take the
//! lock; a time-out reported for a thread that was woken. *The edit that makes it fail:* mutant
//! `waitqueue.epoch`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::{CorePark, DaemonPark, FenceNames, Park, WaitOutcome, WaitQueue, clock};

fn check_timed_sleep<P: Park + 'static>(name: &str) {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check(name, 550, move || {
        let fences = FenceNames {
            waker: "kswapd.waker",
            sleeper: "kswapd.sleeper",
        };
        let queue = Shared::new(WaitQueue::<P>::new(fences));
        let (s, c, w) = (
            Shared::clone(&queue),
            Shared::clone(&queue),
            Shared::clone(&queue),
        );
        let sleeper = actor(move || s.wait(Some(clock::now()), || false));
        let clock = actor(move || c.fire_timeout());
        let waker = actor(move || w.wake_all());
        join(clock);
        let nr_woken = join(waker);
        let outcome = join(sleeper);

        assert_eq!(
            outcome == WaitOutcome::Woken,
            nr_woken == 1,
            "{outcome:?}, woke {nr_woken}"
        );
        assert!(!queue.has_sleeper());
        seen.record(format!("{outcome:?} {nr_woken}"));
    });
    outcomes.assert_exactly(["TimedOut 0", "Woken 1"].map(str::to_owned));
}

#[test]
fn a_timed_sleep_of_an_application_thread_ends_once() {
    check_timed_sleep::<CorePark>("wake_or_timeout_core");
}

#[test]
fn a_timed_sleep_of_a_daemon_ends_once() {
    check_timed_sleep::<DaemonPark>("wake_or_timeout_daemon");
}
