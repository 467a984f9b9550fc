//! R2: an allocator that takes a zone below its low mark is noticed by kswapd.
//!
//! *Threads:* two allocators, each of which takes a page with a relaxed decrement, judges the mark
//! with what it left behind, and if it is below, posts and wakes; kswapd, which sleeps while
//! nothing is asked and the zone is above its mark. *Property:* kswapd runs; never "below the mark
//! and asleep" (INV-2). The same again with the daemon's whole loop, which naps and sleeps. *The bug it would catch:* v5.0's bare `waitqueue_active`; a count whose
//! update is not ordered before the look for a sleeper. *The edits that make it fail:* mutants
//! `kswapd.waker`, `kswapd.sleeper`.

#![cfg(loom)]

use loom_tests::{Journal, Outcomes, Shared, actor, check, join, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{self, Daemon, FenceNames, RequestWord, Requests, WaitQueue};

const FENCES: FenceNames = FenceNames {
    waker: "kswapd.waker",
    sleeper: "kswapd.sleeper",
};
const LOW: usize = 2;

struct Node {
    nr_free: AtomicUsize,
    requests: RequestWord,
    kswapd_wait: WaitQueue,
}

impl Node {
    fn new(nr_free: usize) -> Node {
        Node {
            nr_free: AtomicUsize::new(nr_free),
            requests: RequestWord::new(),
            kswapd_wait: WaitQueue::new(FENCES),
        }
    }

    fn allocate(&self) {
        let nr_left = self.nr_free.fetch_sub(1, Relaxed) - 1;
        if nr_left < LOW {
            self.requests.post(1, 0);
            self.kswapd_wait.wake_all();
        }
    }

    fn run_kswapd_once(&self) {
        while self.requests.take().is_empty() {
            self.kswapd_wait
                .wait(None, || !self.requests.peek().is_empty());
        }
    }
}

#[test]
fn kswapd_runs_when_an_allocator_goes_below_low() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r02_kswapd_lost_wake", 800, move || {
        let node = Shared::new(Node::new(LOW + 1));
        let n = Shared::clone(&node);
        let kswapd = actor(move || n.run_kswapd_once());
        let allocators = [(); 2].map(|()| {
            let n = Shared::clone(&node);
            actor(move || n.allocate())
        });
        join_all(allocators);
        join(kswapd);
        assert_eq!(node.nr_free.load(Relaxed), LOW - 1);
        seen.record(node.kswapd_wait.nr_sleeps());
    });
    // The request was found; kswapd was woken for it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn the_fence_orders_a_relaxed_count_too() {
    // Without a request word: the condition is the count itself.
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r02_kswapd_relaxed_count", 90, move || {
        let node = Shared::new(Node::new(LOW));
        let (k, a) = (Shared::clone(&node), Shared::clone(&node));
        let kswapd = actor(move || {
            k.kswapd_wait
                .wait_until(None, || k.nr_free.load(Relaxed) < LOW);
        });
        let allocator = actor(move || {
            a.nr_free.fetch_sub(1, Relaxed);
            a.kswapd_wait.wake_all();
        });
        join(allocator);
        join(kswapd);
        seen.record(node.kswapd_wait.nr_sleeps());
    });
    outcomes.assert_exactly([0, 1]);
}

/// A node of a few pages; the daemon ends once it has seen one that was short.
struct Pages(AtomicUsize, Journal<&'static str>);

impl model::Node for Pages {
    fn is_balanced(&self) -> bool {
        self.0.load(Relaxed) >= LOW
    }

    fn balance(
        &self,
        daemon: &Daemon<Pages>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        if !model::Node::is_balanced(self) {
            self.0.store(LOW, Relaxed);
            daemon.ask_to_stop();
        }
        (asked, false)
    }

    fn count(&self, event: &'static str) {
        self.1.note(event);
    }
}

#[test]
fn the_whole_loop_runs_when_an_allocator_goes_below_low() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r02_kswapd_loop", 600, move || {
        let daemon = Daemon::new(Pages(AtomicUsize::new(LOW), Journal::default()));
        daemon.end_nap();
        let (k, a) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || k.run_here());
        let allocator = actor(move || {
            if a.node().0.fetch_sub(1, Relaxed) - 1 < LOW {
                a.ask(ZoneType::Normal, 0);
            }
        });
        join(allocator);
        join(kswapd);
        assert_eq!(daemon.node().0.load(Relaxed), LOW);
        seen.record((daemon.node().1.entries(), daemon.nr_sleeps()));
    });
    // Short before the nap; woken as the nap begins; woken on its way to the long sleep, or in it.
    outcomes.assert_exactly([
        (vec!["kswapd_high_wmark_hit_quickly"], 0),
        (vec!["kswapd_low_wmark_hit_quickly"], 0),
        (vec![], 0),
        (vec![], 1),
    ]);
}
