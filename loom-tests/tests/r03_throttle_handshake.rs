//! R3: nobody is throttled while kswapd sleeps; and who may reclaim is let go.
//!
//! *Threads:* a thread that takes the last page and then may not reclaim before there is one again; a
//! kswapd that may be about to sleep, and frees a page when it runs. *Property:* the thread is released
//! (INV-3): either it sees kswapd on its queue and wakes it, or kswapd sees it among the throttled, or
//! its request. In the second model the pass that frees a page releases who waits for it by itself. In
//! the third the daemon ends while somebody waits for it. *The bug they would catch:* v5.0's bare
//! `waitqueue_active` on either side; kswapd waking the throttled before it is on its own queue; a
//! thread that looks and then queues. *The edits that make them fail:* mutants `throttle.release`, `leave.release`,
//! `pfmemalloc.waker`, `pfmemalloc.sleeper`, and those of r02.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{self, Daemon, DaemonState, Requests};

struct Pages(AtomicUsize);

impl Pages {
    fn has_page(&self) -> bool {
        self.0.load(Relaxed) > 0
    }
}

impl model::Node for Pages {
    fn is_balanced(&self) -> bool {
        self.has_page()
    }

    fn balance(
        &self,
        _daemon: &Daemon<Pages>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        // The pass that frees does not look for the throttled: the next attempt to sleep must.
        self.0.store(1, Relaxed);
        (asked, false)
    }
}

#[test]
fn nobody_stays_throttled_while_kswapd_sleeps() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r03_throttle_handshake", 12_000, move || {
        let daemon = Daemon::new(Pages(AtomicUsize::new(1)));
        daemon.end_nap();
        let (k, t) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || k.run_here());
        let throttled = actor(move || {
            t.node().0.store(0, Relaxed);
            t.throttle(None, || t.node().has_page());
            t.ask_to_stop();
        });
        join(throttled);
        join(kswapd);
        assert!(!daemon.has_throttled() && !daemon.is_asleep());
        seen.record([daemon.nr_throttled() > 0, daemon.nr_sleeps() > 0]);
    });
    // Whether the thread had to wait, and whether kswapd slept.
    outcomes.assert_exactly([[false, false], [false, true], [true, false], [true, true]]);
}

#[test]
fn the_pass_that_frees_releases_who_waits_for_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r03_release", 70, move || {
        let daemon = Daemon::new(Pages(AtomicUsize::new(0)));
        let (k, t) = (daemon.clone(), daemon.clone());
        let pass = actor(move || {
            k.node().0.store(1, Relaxed);
            k.release(|| k.node().has_page());
        });
        let throttled = actor(move || t.throttle(None, || t.node().has_page()));
        join(throttled);
        join(pass);
        assert!(!daemon.has_throttled());
        seen.record(daemon.nr_throttled());
    });
    // There was a page; it was released.
    outcomes.assert_exactly([0, 1]);
}

/// A node without a page on which the daemon ends in its first run.
struct LastRun;

impl model::Node for LastRun {
    fn is_balanced(&self) -> bool {
        false
    }

    fn balance(
        &self,
        daemon: &Daemon<LastRun>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        daemon.ask_to_stop();
        (asked, true)
    }
}

#[test]
fn nobody_waits_for_a_daemon_that_has_ended() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r03_end", 3600, move || {
        let daemon = Daemon::new(LastRun);
        daemon.begin();
        let (k, t) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || k.run_here());
        let throttled = actor(move || t.throttle(None, || t.state() != DaemonState::Running));
        join(throttled);
        join(kswapd);
        assert!(!daemon.has_throttled());
        seen.record(daemon.nr_throttled() > 0);
    });
    // The daemon had ended; it released who waited.
    outcomes.assert_exactly([false, true]);
}

/// The twin looks, and only then queues.
#[test]
#[should_panic(expected = "deadlock")]
fn twin_looking_before_queueing_stays_throttled() {
    loom_tests::check_twin(|| {
        let daemon = Shared::new(Daemon::new(Pages(AtomicUsize::new(0))));
        let (k, t) = (Shared::clone(&daemon), Shared::clone(&daemon));
        let pass = actor(move || {
            k.node().0.store(1, Relaxed);
            k.release(|| k.node().has_page());
        });
        let throttled = actor(move || {
            if !t.node().has_page() {
                let looked = std::cell::Cell::new(0);
                t.throttle(None, || looked.replace(looked.get() + 1) > 1);
            }
        });
        join(throttled);
        join(pass);
    });
}
