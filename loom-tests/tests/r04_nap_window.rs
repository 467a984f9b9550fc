//! R4: a request posted between kswapd's nap and its full sleep is served.
//!
//! *Threads:* kswapd, which naps with a deadline and then sleeps without one, as the real one does on a
//! balanced node; a clock, which ends the nap at any moment; an allocator, which posts order 3 and
//! wakes. *Property:* the request is served, whether it comes before, during or after the nap, or while
//! kswapd is off the queue (INV-2; v5.0 may sleep on it); and it is counted by when it came. *The bug it
//! would catch:* a full sleep that re-checks the old order's balance and not the request word. *The edit
//! that makes it fail:* mutants `nap.recheck`, `nap.put_back`.

#![cfg(loom)]

use loom_tests::{Outcomes, actor, check, join};
use pagepool::ZoneType;
use pagepool::model::{self, CoreMutex, Daemon, Requests};

/// A node that is always balanced; it keeps what was counted last.
struct Balanced(CoreMutex<&'static str>);

impl model::Node for Balanced {
    fn is_balanced(&self) -> bool {
        true
    }

    fn balance(
        &self,
        _daemon: &Daemon<Balanced>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        (asked, false)
    }

    fn count(&self, event: &'static str) {
        *self.0.lock() = event;
    }
}

#[test]
fn a_request_between_nap_and_sleep_is_served() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r04_nap_window", 1400, move || {
        let daemon = Daemon::new(Balanced(CoreMutex::new("slept")));
        let (k, c, a) = (daemon.clone(), daemon.clone(), daemon.clone());
        let kswapd = actor(move || {
            let left = Requests::NONE.with(1, 0).expect("none was there");
            k.try_to_sleep(left, left);
            assert_eq!(k.take().order(1), Some(3));
        });
        let clock = actor(move || c.end_nap());
        let allocator = actor(move || a.ask(ZoneType::Normal, 3));
        join(clock);
        join(allocator);
        join(kswapd);
        seen.record(*daemon.node().0.lock());
        assert!(!daemon.is_asleep());
    });
    // Seen on the queue before or after the nap; woken in the nap; woken in the long sleep.
    outcomes.assert_exactly([
        "kswapd_high_wmark_hit_quickly",
        "kswapd_low_wmark_hit_quickly",
        "slept",
    ]);
}

#[test]
fn a_nap_that_ends_early_loses_nothing_that_it_was_for() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r04_premature_wake", 50, move || {
        let daemon = Daemon::new(Balanced(CoreMutex::new("slept")));
        let (k, a) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || {
            // A run for a block of order 3 has ended; another's request ends the nap.
            let left = Requests::NONE.with(2, 3).expect("none was there");
            k.try_to_sleep(left, left);
            let asked = k.take();
            (asked.order(1), asked.order(2))
        });
        let allocator = actor(move || a.ask(ZoneType::Normal, 0));
        join(allocator);
        let asked = join(kswapd);
        let how = *daemon.node().0.lock();
        if how == "kswapd_low_wmark_hit_quickly" {
            assert_eq!(asked, (Some(0), Some(3)), "what the nap was for is lost");
        }
        seen.record((how, asked));
    });
    // Seen on the queue, before the nap; woken in it.
    outcomes.assert_exactly([
        ("kswapd_high_wmark_hit_quickly", (Some(0), None)),
        ("kswapd_low_wmark_hit_quickly", (Some(0), Some(3))),
    ]);
}
