//! R1: a request posted while kcompactd goes to sleep is served.
//!
//! *Threads:* one waker, which posts a request and wakes; kcompactd, which takes requests and
//! sleeps. The same with the daemon's whole loop, and with two who only ring, before and in its back-off.
//! *Property:* never "request recorded and kcompactd asleep with nobody left to wake it"
//! (INV-2, INV-4), which loom reports as a deadlock. *The bug it would catch:* a waker that looks
//! for a sleeper before its request is visible, a sleeper that looks for requests before its entry
//! is, a ring that finds another there and is forgotten with it. *The edits that make it fail:* mutants
//! `kcompactd.waker`, `kcompactd.sleeper`, `kcompactd.recheck`, `waitqueue.epoch`, `waitqueue.remove`.

#![cfg(loom)]

use loom_tests::kcompactd::{self, FENCES};
use loom_tests::{Outcomes, Shared, Tally, actor, check, join, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{Kcompactd, Look, RequestWord, Requests, Site, WaitQueue};

struct Daemon {
    requests: RequestWord,
    queue: WaitQueue,
}

impl Daemon {
    fn new() -> Daemon {
        Daemon {
            requests: RequestWord::new(),
            queue: WaitQueue::new(FENCES),
        }
    }

    fn ask(&self, class_idx: usize, order: u8) {
        self.requests.post(class_idx, order);
        self.queue.wake_all();
    }

    fn serve_one(&self) -> Requests {
        loop {
            let requests = self.requests.take();
            if !requests.is_empty() {
                return requests;
            }
            self.queue.wait(None, || !self.requests.peek().is_empty());
        }
    }
}

#[test]
fn a_request_is_served_whenever_it_comes() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r01_kcompactd_lost_wake", 100, move || {
        let daemon = Shared::new(Daemon::new());
        let (d, w) = (Shared::clone(&daemon), Shared::clone(&daemon));
        let kcompactd = actor(move || d.serve_one());
        let waker = actor(move || w.ask(1, 3));
        join(waker);
        assert_eq!(join(kcompactd).order(1), Some(3));
        assert!(!daemon.queue.has_sleeper());
        seen.record(daemon.queue.nr_sleeps());
    });
    // Found before it slept; woken for it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn two_wakers_do_not_take_each_other_for_the_one_who_wakes() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r01_kcompactd_two_wakers", 15_000, move || {
        let daemon = Shared::new(Daemon::new());
        let d = Shared::clone(&daemon);
        let kcompactd = actor(move || {
            let mut served = [None; 2];
            let mut nr_runs = 0;
            while served != [Some(9), Some(3)] {
                let requests = d.serve_one();
                served = [0, 1].map(|class_idx| served[class_idx].max(requests.order(class_idx)));
                nr_runs += 1;
            }
            nr_runs
        });
        let wakers = [(0, 9), (1, 3)].map(|(class_idx, order)| {
            let w = Shared::clone(&daemon);
            actor(move || w.ask(class_idx, order))
        });
        join_all(wakers);
        let nr_runs = join(kcompactd);
        assert!(daemon.requests.peek().is_empty());
        seen.record((nr_runs, daemon.queue.nr_sleeps()));
    });
    // Both at once, or one after the other; found, or woken for, or woken for once more than that.
    outcomes.assert_exactly([(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn the_whole_loop_serves_a_request_whenever_it_comes() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r01_kcompactd_loop", 150, move || {
        let daemon = kcompactd::serving_until(|_| true);
        let kcompactd = kcompactd::live(&daemon);
        let a = daemon.clone();
        let asker = actor(move || a.ask(ZoneType::Normal, 3));
        join_all([asker, kcompactd]);
        assert_eq!(daemon.site().orders(), [Some(3)]);
        assert!(!daemon.is_asleep());
        seen.record(daemon.nr_sleeps());
    });
    outcomes.assert_exactly([0, 1]);
}

/// A node of which nobody asks anything; it stops its daemon once it has seen what all rings were for.
#[derive(Default)]
struct Node {
    /// What the rings were for, a bit each. Relaxed: the rings must order it.
    news: AtomicUsize,
    /// All of it.
    wanted: usize,
    nr_looks: Tally,
    /// The first look is in vain.
    backs_off: bool,
}

impl Node {
    fn ring(daemon: &Kcompactd<Node>, news: usize) {
        daemon.site().news.fetch_or(news, Relaxed);
        daemon.ring();
    }
}

impl Site for Node {
    fn compact(
        &self,
        _daemon: &Kcompactd<Node>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        unreachable!("nobody asks for {asked:?}")
    }

    fn look(&self, daemon: &Kcompactd<Node>, _is_interrupted: &dyn Fn() -> bool) -> Look {
        if self.nr_looks.add_one() == 0 && self.backs_off {
            return Look::NoBetter;
        }
        if self.news.load(Relaxed) == self.wanted {
            daemon.ask_to_stop();
        }
        Look::Satisfied
    }
}

#[test]
fn whatever_rings_is_seen() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r01_kcompactd_rings", 19_000, move || {
        let daemon = Kcompactd::new(Node {
            wanted: 0b11,
            ..Node::default()
        });
        daemon.begin();
        let kcompactd = kcompactd::live(&daemon);
        let ringers = [1, 2].map(|news| {
            let daemon = daemon.clone();
            actor(move || Node::ring(&daemon, news))
        });
        join_all(ringers);
        join(kcompactd);
        seen.record((daemon.site().nr_looks.get(), daemon.nr_sleeps()));
    });
    // A look for each ring, or one for both.
    outcomes.assert_exactly([(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn a_ring_in_the_back_off_is_answered_after_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r01_kcompactd_back_off", 460, move || {
        let daemon = Kcompactd::new(Node {
            wanted: 1,
            backs_off: true,
            ..Node::default()
        });
        daemon.begin();
        daemon.ring();
        daemon.end_back_off();
        let kcompactd = kcompactd::live(&daemon);
        let r = daemon.clone();
        let ringer = actor(move || {
            // So that it is not the first look that sees it.
            while r.site().nr_looks.get() == 0 {
                pagepool::model::thread::yield_now();
            }
            Node::ring(&r, 1);
        });
        join_all([ringer, kcompactd]);
        assert_eq!(daemon.site().nr_looks.get(), 2);
        seen.record(daemon.nr_sleeps());
    });
    // The back-off has run out: rung in it, or before it was on its queue.
    outcomes.assert_exactly([0, 1]);
}
