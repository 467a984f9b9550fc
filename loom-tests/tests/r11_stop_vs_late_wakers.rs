//! R11: a waker that comes late finds the post, not the thread; and what it asks is not lost.
//!
//! *Threads:* a daemon's thread, once as kswapd and once as kcompactd; one who stops it; an allocator that
//! asks and wakes meanwhile. *Property:* the request was served by the thread or is still recorded, for the next one; nobody is
//! left on the queue. *The bug it would catch:* a post that ends with its thread, a thread that wipes
//! requests when it ends or begins, or that takes one and ends. *The edits that make it fail:* mutants
//! `pause.put_back`, `kcompactd.put_back`.

#![cfg(loom)]

use loom_tests::{Outcomes, actor, check, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicBool, Ordering::Relaxed};
use pagepool::model::{self, Daemon, DaemonState, Kcompactd, Requests, Site};

/// A balanced node that notes whether order 3 was served.
struct Node(AtomicBool);

impl model::Node for Node {
    fn is_balanced(&self) -> bool {
        true
    }

    fn balance(
        &self,
        _daemon: &Daemon<Node>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        if is_interrupted() {
            return (asked, true);
        }
        self.0.fetch_or(asked.order(1) == Some(3), Relaxed);
        (asked, false)
    }
}

#[test]
fn a_late_request_is_served_or_kept() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r11_stop_vs_late_wakers", 14_000, move || {
        let daemon = Daemon::new(Node(AtomicBool::new(false)));
        daemon.end_nap();
        daemon.start();
        let (s, a) = (daemon.clone(), daemon.clone());
        let stopper = actor(move || s.stop());
        let allocator = actor(move || a.ask(ZoneType::Normal, 3));
        join_all([stopper, allocator]);
        assert_eq!(daemon.state(), DaemonState::Stopped);
        assert!(!daemon.is_asleep());
        let served = daemon.node().0.load(Relaxed);
        let kept = daemon.asked().order(1) == Some(3);
        assert!(served != kept, "served: {served}, kept: {kept}");
        seen.record(served);
    });
    outcomes.assert_exactly([false, true]);
}

/// Notes whether order 3 was served.
struct Pieces(AtomicBool);

impl Site for Pieces {
    fn compact(
        &self,
        _daemon: &Kcompactd<Pieces>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        if is_interrupted() {
            return Err(asked);
        }
        self.0.fetch_or(asked.order(1) == Some(3), Relaxed);
        Ok(())
    }
}

#[test]
fn a_late_request_to_kcompactd_is_served_or_kept() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r11_kcompactd", 5100, move || {
        let daemon = Kcompactd::new(Pieces(AtomicBool::new(false)));
        daemon.start();
        let (s, a) = (daemon.clone(), daemon.clone());
        let stopper = actor(move || s.stop());
        let allocator = actor(move || a.ask(ZoneType::Normal, 3));
        join_all([stopper, allocator]);
        assert_eq!(daemon.state(), DaemonState::Stopped);
        assert!(!daemon.is_asleep());
        let served = daemon.site().0.load(Relaxed);
        let kept = daemon.asked().order(1) == Some(3);
        assert!(served != kept, "served: {served}, kept: {kept}");
        seen.record(served);
    });
    outcomes.assert_exactly([false, true]);
}
