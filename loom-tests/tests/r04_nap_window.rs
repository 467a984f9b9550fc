//! R4: a request posted between kswapd's nap and its full sleep is served.
//!
//! *Threads:* kswapd, which naps with a deadline and then sleeps without one; a clock, which ends
//! the nap at any moment; an allocator, which posts order 3 and wakes. *Property:* the request is
//! served, whether it comes before, during or after the nap, or while kswapd is off the queue
//! (INV-2; v5.0 may sleep on it). *The bug it would catch:* a full sleep that re-checks the old
//! order's balance and not the request word. *The edit that makes it fail:* mutant `nap.recheck`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::fence::mutated;
use pagepool::model::{FenceNames, RequestWord, WaitOutcome, WaitQueue, clock};

struct Node {
    requests: RequestWord,
    kswapd_wait: WaitQueue,
}

impl Node {
    fn new() -> Node {
        let fences = FenceNames {
            waker: "kswapd.waker",
            sleeper: "kswapd.sleeper",
        };
        Node {
            requests: RequestWord::new(),
            kswapd_wait: WaitQueue::new(fences),
        }
    }

    /// Naps, then sleeps, as kswapd does on a balanced node; returns how each ended.
    fn try_to_sleep(&self) -> (WaitOutcome, Option<WaitOutcome>) {
        let is_asked = || !self.requests.peek().is_empty();
        let nap = self.kswapd_wait.wait(Some(clock::now()), is_asked);
        let sleep = match nap {
            WaitOutcome::Ready | WaitOutcome::Woken => None,
            WaitOutcome::TimedOut => Some(
                self.kswapd_wait
                    .wait(None, || is_asked() && !mutated("nap.recheck")),
            ),
        };
        (nap, sleep)
    }
}

#[test]
fn a_request_between_nap_and_sleep_is_served() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r04_nap_window", 1400, move || {
        let node = Shared::new(Node::new());
        let (k, c, a) = (
            Shared::clone(&node),
            Shared::clone(&node),
            Shared::clone(&node),
        );
        let kswapd = actor(move || {
            let (nap, sleep) = k.try_to_sleep();
            assert_eq!(k.requests.take().order(1), Some(3));
            (nap, sleep)
        });
        let clock = actor(move || c.kswapd_wait.fire_timeout());
        let allocator = actor(move || {
            a.requests.post(1, 3);
            a.kswapd_wait.wake_all();
        });
        join(clock);
        join(allocator);
        let (nap, sleep) = join(kswapd);
        seen.record(format!("{nap:?} {sleep:?}"));
        assert!(!node.kswapd_wait.has_sleeper());
    });
    outcomes.assert_exactly(
        [
            "Ready None",
            "Woken None",
            "TimedOut Some(Ready)",
            "TimedOut Some(Woken)",
        ]
        .map(str::to_owned),
    );
}
