//! R12: a freeze returns when the daemon stands still, and a thaw loses nothing.
//!
//! *Threads:* a daemon; a controller that freezes and thaws it, once or twice; an allocator that asks
//! meanwhile; one who stops it while it stands. *Property:* between freeze and thaw the daemon is in no
//! run (INV-7); what was asked is served after; a stop ends a freeze. *The bug it would catch:* a thaw
//! that the standing daemon misses; a daemon that is seen standing after it has left; a run that is
//! interrupted and forgets what it was for. *The edits that make it fail:* mutants `control.waker`,
//! `control.sleeper`, `pause.put_back`, `pause.again`.

#![cfg(loom)]

use loom_tests::{actor, check, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicBool, Ordering::Relaxed};
use pagepool::model::{self, Daemon, DaemonState, Requests};

/// A balanced node; the daemon ends once it has served order 3.
#[derive(Default)]
struct Node {
    is_running: AtomicBool,
}

impl model::Node for Node {
    fn is_balanced(&self) -> bool {
        true
    }

    fn balance(
        &self,
        daemon: &Daemon<Node>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        self.is_running.store(true, Relaxed);
        let interrupted = is_interrupted();
        if !interrupted && asked.order(1) == Some(3) {
            daemon.ask_to_stop();
        }
        self.is_running.store(false, Relaxed);
        (asked, interrupted)
    }
}

/// Freezes, looks, thaws.
fn pause(daemon: &Daemon<Node>) {
    daemon.freeze();
    let still = daemon.state() != DaemonState::Running;
    assert!(still && !daemon.node().is_running.load(Relaxed));
    daemon.thaw();
}

#[test]
fn what_is_asked_during_a_freeze_is_served_after() {
    check("r12_pause", 1000, || {
        let daemon = Daemon::new(Node::default());
        daemon.begin();
        let (k, c, a) = (daemon.clone(), daemon.clone(), daemon.clone());
        let kswapd = actor(move || k.run_here());
        let controller = actor(move || pause(&c));
        let allocator = actor(move || a.ask(ZoneType::Normal, 3));
        join_all([controller, allocator, kswapd]);
        assert_eq!(daemon.asked().order(1), None, "it was served");
    });
}

#[test]
fn a_daemon_frozen_again_is_still_when_it_says_so() {
    check("r12_pause_twice", 300, || {
        let daemon = Daemon::new(Node::default());
        daemon.start();
        daemon.ask(ZoneType::Normal, 2);
        let c = daemon.clone();
        let controller = actor(move || {
            pause(&c);
            pause(&c);
        });
        join_all([controller]);
        daemon.stop();
    });
}

#[test]
fn a_stop_ends_a_freeze() {
    check("r12_stop_while_paused", 300, || {
        let daemon = Daemon::new(Node::default());
        daemon.start();
        let (c, s) = (daemon.clone(), daemon.clone());
        let controller = actor(move || c.freeze());
        let stopper = actor(move || s.stop());
        join_all([controller, stopper]);
        assert_eq!(daemon.state(), DaemonState::Stopped);
    });
}
