//! R9: a request that was refused neither keeps later ones from being served nor is worked for.
//!
//! *Threads:* one who asks for order 9, for which the node is unsuitable, and is refused; one who asks for
//! order 3, for which it is suitable; kcompactd. *Property:* the 3 is served, alone, and nothing is left
//! (INV-4). *The bug it would catch:* v5.0, which records first and judges what is recorded, so that the
//! 3 is judged as a 9 and refused as well, or has the thread work for the 9. *The edit that makes it fail:*
//! mutant `ask.judge_first`; the negative twin below judges what is recorded.

#![cfg(loom)]

use loom_tests::kcompactd::{self, FENCES};
use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::WaitQueue;
use pagepool::model::atomic::{AtomicU64, Ordering::Relaxed};

/// Whether a block of this order can be made.
fn is_suitable(order: u8) -> bool {
    order <= 3
}

#[test]
fn a_refused_request_spoils_nothing() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r09_stale_order", 1090, move || {
        let daemon = kcompactd::serving_until(|order| {
            assert_eq!(order, Some(3), "nobody may have it work for this");
            true
        });
        let kcompactd = kcompactd::live(&daemon);
        let askers = [9, 3].map(|order| {
            let daemon = daemon.clone();
            actor(move || daemon.ask_if(order, || is_suitable(order)))
        });
        assert_eq!(join_all(askers), [false, true]);
        join(kcompactd);
        assert!(daemon.asked().is_empty());
        seen.record(daemon.nr_sleeps());
    });
    // Found before it slept; woken for it.
    outcomes.assert_exactly([0, 1]);
}

/// What v5.0 records.
struct V5 {
    max_order: AtomicU64,
    queue: WaitQueue,
}

impl V5 {
    fn ask(&self, order: u8) {
        self.max_order.fetch_max(order.into(), Relaxed);
        // The record, not the order asked for.
        if is_suitable(self.max_order.load(Relaxed) as u8) {
            self.queue.wake_all();
        }
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_who_judges_what_is_recorded_refuses_the_suitable_one() {
    check_twin(|| {
        let node = Shared::new(V5 {
            max_order: AtomicU64::new(0),
            queue: WaitQueue::new(FENCES),
        });
        let k = Shared::clone(&node);
        let kcompactd = actor(move || {
            // Asleep before anybody asks, as a thread is.
            k.queue.enqueue().sleep(None);
        });
        let a = Shared::clone(&node);
        let askers = actor(move || {
            a.ask(9);
            a.ask(3);
        });
        join_all([askers, kcompactd]);
    });
}
