//! R14: on a node that cannot be balanced kswapd gives up, whoever frees a page here and there.
//!
//! *Threads:* kswapd, two fruitless runs short of giving up; a direct reclaimer that has freed a page,
//! which balances nothing. *Property:* kswapd runs twice more and sleeps; the count of its runs is
//! bounded. *The bug it would catch:* v5.0's "any progress restores hope", by which a few hot pages kept
//! a hopeless node's kswapd at work for ever. *The edit that makes it fail:* mutant
//! `failures.any_progress`.

#![cfg(loom)]

use loom_tests::{Outcomes, actor, check, join};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{self, Daemon, Requests};

/// A node that cannot be balanced; it counts runs.
struct Node(AtomicUsize);

impl model::Node for Node {
    fn is_balanced(&self) -> bool {
        false
    }

    fn balance(
        &self,
        daemon: &Daemon<Node>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        if is_interrupted() {
            return (asked, true);
        }
        self.0.fetch_add(1, Relaxed);
        daemon.note_failure(None, || false);
        (asked, false)
    }
}

#[test]
fn progress_without_balance_does_not_keep_kswapd_at_work() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r14_hopeless_resurrection", 13_000, move || {
        let daemon = Daemon::new(Node(AtomicUsize::new(0)));
        for _ in 0..14 {
            daemon.note_failure(None, || false);
        }
        daemon.end_nap();
        let (k, d) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || k.run_here());
        let direct = actor(move || {
            d.note_progress(|| false);
            while !d.is_hopeless_with(None) {
                model::thread::yield_now();
            }
            d.ask_to_stop();
        });
        join(direct);
        join(kswapd);
        assert_eq!(daemon.node().0.load(Relaxed), 2);
        assert_eq!(daemon.failures(), 16);
        seen.record(daemon.nr_sleeps());
    });
    // Stopped before it slept, or asleep.
    outcomes.assert_exactly([0, 1]);
}
