//! R1: a request posted while kcompactd goes to sleep is served.
//!
//! *Threads:* one waker, which posts a request and wakes; kcompactd, which takes requests and
//! sleeps. The same with the daemon's whole loop, and with two who only ring, before and in its back-off.
//! *Property:* never "request recorded and kcompactd asleep with nobody left to wake it"
//! (INV-2, INV-4), which loom reports as a deadlock. *The bug it would catch:* a waker that looks
//! for a sleeper before its request is visible, a sleeper that looks for requests before its entry
//! is, a ring that finds another there and is forgotten with it. *The edits that make it fail:* mutants
//! `kcompactd.waker`, `kcompactd.sleeper`, `kcompactd.recheck`, `waitqueue.epoch`.

#![cfg(loom)]

use loom_tests::{Shared, Tally, actor, check, join, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{FenceNames, Kcompactd, Look, RequestWord, Requests, Site, WaitQueue};

struct Daemon {
    requests: RequestWord,
    queue: WaitQueue,
}

impl Daemon {
    fn new() -> Daemon {
        let fences = FenceNames {
            waker: "kcompactd.waker",
            sleeper: "kcompactd.sleeper",
        };
        Daemon {
            requests: RequestWord::new(),
            queue: WaitQueue::new(fences),
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
    check("r01_kcompactd_lost_wake", 100, || {
        let daemon = Shared::new(Daemon::new());
        let (d, w) = (Shared::clone(&daemon), Shared::clone(&daemon));
        let kcompactd = actor(move || d.serve_one());
        let waker = actor(move || w.ask(1, 3));
        join(waker);
        assert_eq!(join(kcompactd).order(1), Some(3));
        assert!(!daemon.queue.has_sleeper());
    });
}

#[test]
fn two_wakers_do_not_take_each_other_for_the_one_who_wakes() {
    check("r01_kcompactd_two_wakers", 15_000, || {
        let daemon = Shared::new(Daemon::new());
        let d = Shared::clone(&daemon);
        let kcompactd = actor(move || {
            let mut served = [None; 2];
            while served != [Some(9), Some(3)] {
                let requests = d.serve_one();
                served = [0, 1].map(|class_idx| served[class_idx].max(requests.order(class_idx)));
            }
        });
        let wakers = [(0, 9), (1, 3)].map(|(class_idx, order)| {
            let w = Shared::clone(&daemon);
            actor(move || w.ask(class_idx, order))
        });
        join_all(wakers);
        join(kcompactd);
        assert!(daemon.requests.peek().is_empty());
    });
}

/// A node that stops its daemon once it has served a request and seen what all rings were for.
#[derive(Default)]
struct Node {
    /// What the rings were for, a bit each. Relaxed: the rings must order it.
    news: AtomicUsize,
    /// All of it.
    wanted: usize,
    is_served: Tally,
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
        daemon: &Kcompactd<Node>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        assert_eq!(asked.order(1), Some(3));
        self.is_served.add_one();
        daemon.ask_to_stop();
        Ok(())
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
fn the_whole_loop_serves_a_request_whenever_it_comes() {
    check("r01_kcompactd_loop", 150, || {
        let daemon = Kcompactd::new(Node::default());
        daemon.begin();
        let (k, a) = (daemon.clone(), daemon.clone());
        let kcompactd = actor(move || k.run_here());
        let asker = actor(move || a.ask(ZoneType::Normal, 3));
        join_all([asker, kcompactd]);
        assert_eq!(daemon.site().is_served.get(), 1);
        assert!(!daemon.is_asleep());
    });
}

#[test]
fn whatever_rings_is_seen() {
    check("r01_kcompactd_rings", 19_000, || {
        let daemon = Kcompactd::new(Node {
            wanted: 0b11,
            ..Node::default()
        });
        daemon.begin();
        let k = daemon.clone();
        let kcompactd = actor(move || k.run_here());
        let ringers = [1, 2].map(|news| {
            let daemon = daemon.clone();
            actor(move || Node::ring(&daemon, news))
        });
        join_all(ringers);
        join(kcompactd);
        assert!(daemon.site().nr_looks.get() <= 2);
    });
}

#[test]
fn a_ring_in_the_back_off_is_answered_after_it() {
    check("r01_kcompactd_back_off", 460, || {
        let daemon = Kcompactd::new(Node {
            wanted: 1,
            backs_off: true,
            ..Node::default()
        });
        daemon.begin();
        daemon.ring();
        daemon.end_back_off();
        let (k, r) = (daemon.clone(), daemon.clone());
        let kcompactd = actor(move || k.run_here());
        let ringer = actor(move || {
            // So that it is not the first look that sees it.
            while r.site().nr_looks.get() == 0 {
                pagepool::model::thread::yield_now();
            }
            Node::ring(&r, 1);
        });
        join_all([ringer, kcompactd]);
        assert_eq!(daemon.site().nr_looks.get(), 2);
    });
}
