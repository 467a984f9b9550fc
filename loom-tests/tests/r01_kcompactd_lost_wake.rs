//! R1: a request posted while kcompactd goes to sleep is served.
//!
//! *Threads:* one waker, which posts a request and wakes; kcompactd, which takes requests and
//! sleeps. *Property:* never "request recorded and kcompactd asleep with nobody left to wake it"
//! (INV-2, INV-4), which loom reports as a deadlock. *The bug it would catch:* a waker that looks
//! for a sleeper before its request is visible, a sleeper that looks for requests before its entry
//! is. *The edits that make it fail:* mutants `kcompactd.waker`, `kcompactd.sleeper`,
//! `waitqueue.epoch`.

#![cfg(loom)]

use loom_tests::{Shared, actor, check, join, join_all};
use pagepool::model::{FenceNames, RequestWord, Requests, WaitQueue};

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
