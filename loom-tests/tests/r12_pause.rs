//! R12: a freeze returns when the daemon stands still, and a thaw loses nothing.
//!
//! *Threads:* a daemon; a controller that freezes it, asks it for something, and thaws it; in the second
//! model one that does so twice, in the third one that stops it while it stands. The last models are of
//! kcompactd, whose safe point is the same and whose sleep and put-back are its own. *Property:* between
//! freeze and thaw the daemon is in no run (INV-7); what was asked before and meanwhile is served after;
//! a stop ends a freeze. *The bug it would catch:* a thaw that the standing daemon misses; a daemon that
//! is seen standing after it has left; a run that is interrupted and forgets what it was for. *The edits
//! that make it fail:* mutants `control.waker`, `control.sleeper`, `pause.put_back`, `pause.again`,
//! `kcompactd.put_back`, `kcompactd.stop_recheck`, `control.publish`, `control.observe`.

#![cfg(loom)]

use loom_tests::{Journal, Outcomes, Shared, actor, check, join, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use pagepool::model::{self, Daemon, DaemonState, Kcompactd, Requests, Site};

/// A balanced node; the daemon ends once it has served two classes.
#[derive(Default)]
struct Node {
    is_running: AtomicBool,
    /// A bit for each class.
    served: AtomicUsize,
    /// The classes that each run was for, and whether it was interrupted.
    runs: Journal<(usize, bool)>,
}

/// The bit of each class.
fn classes(asked: Requests) -> usize {
    asked.iter().map(|(class_idx, _)| 1 << class_idx).sum()
}

impl Node {
    /// What a run does that is not interrupted.
    fn work(&self, f: impl FnOnce()) {
        // Relaxed: the freeze must order these.
        self.is_running.store(true, Relaxed);
        f();
        self.is_running.store(false, Relaxed);
    }
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
        let interrupted = is_interrupted();
        self.runs.note((classes(asked), interrupted));
        self.work(|| {
            if !interrupted {
                self.served.fetch_or(classes(asked), Relaxed);
            }
            if self.served.load(Relaxed) == 0b110 {
                daemon.ask_to_stop();
            }
        });
        (asked, interrupted)
    }
}

/// Freezes, asks, thaws.
fn pause(daemon: &Daemon<Node>, f: impl FnOnce()) {
    daemon.freeze();
    let still = daemon.state() != DaemonState::Running;
    assert!(still && !daemon.node().is_running.load(Relaxed));
    f();
    daemon.thaw();
}

#[test]
fn what_is_asked_before_and_during_a_freeze_is_served_after() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r12_pause", 4000, move || {
        let daemon = Daemon::new(Node::default());
        daemon.ask(ZoneType::Movable, 1);
        daemon.begin();
        let (k, c) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || k.run_here());
        let controller = actor(move || pause(&c, || c.ask(ZoneType::Normal, 3)));
        join_all([controller, kswapd]);
        assert!(daemon.asked().is_empty(), "it was served");
        seen.record(daemon.node().runs.entries());
    });
    // The request of before served, and the later one after it; interrupted and put back, or not begun, and both
    // served at once.
    outcomes.assert_exactly([
        vec![(0b100, false), (0b010, false)],
        vec![(0b100, true), (0b110, false)],
        vec![(0b110, false)],
    ]);
}

#[test]
fn a_daemon_frozen_again_is_still_when_it_says_so() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r12_pause_twice", 4300, move || {
        let daemon = Daemon::new(Node::default());
        daemon.begin();
        let (k, c) = (daemon.clone(), daemon.clone());
        let kswapd = actor(move || {
            let stood = [(); 2].map(|()| {
                let stood = k.safe_point();
                k.node().work(|| ());
                stood
            });
            k.leave();
            stood
        });
        let controller = actor(move || {
            pause(&c, || ());
            pause(&c, || ());
        });
        join(controller);
        seen.record(join(kswapd));
    });
    // At which of its safe points it stood.
    outcomes.assert_exactly([[false, false], [false, true], [true, false], [true, true]]);
}

#[test]
fn what_was_done_on_one_side_of_a_freeze_is_seen_on_the_other() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r12_pause_hands_over", 760, move || {
        let daemon = Daemon::new(Node::default());
        daemon.begin();
        // Relaxed, all: freeze and thaw must order these.
        let words = Shared::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (k, theirs) = (daemon.clone(), Shared::clone(&words));
        let kswapd = actor(move || {
            theirs[0].store(1, Relaxed);
            let stood = k.safe_point();
            if stood {
                assert_eq!(theirs[1].load(Relaxed), 1, "what was done meanwhile");
            }
            k.leave();
            stood
        });
        let c = daemon.clone();
        let controller = actor(move || {
            c.freeze();
            assert_eq!(words[0].load(Relaxed), 1, "what was done before");
            words[1].store(1, Relaxed);
            c.thaw();
        });
        join(controller);
        seen.record(join(kswapd));
    });
    // It ended instead of standing still; it stood.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn a_stop_ends_a_freeze() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r12_stop_while_paused", 220, move || {
        let daemon = Daemon::new(Node::default());
        daemon.ask_to_freeze();
        daemon.start();
        let s = daemon.clone();
        let stopper = actor(move || s.stop());
        join(stopper);
        assert_eq!(daemon.state(), DaemonState::Stopped);
        seen.record(daemon.nr_waits_for_state());
    });
    // Stopped before it stood still, or woken to end.
    outcomes.assert_exactly([0, 1]);
}

/// The same node in pieces: the daemon ends once it has served two classes.
#[derive(Default)]
struct Pieces(Node);

impl Site for Pieces {
    fn compact(
        &self,
        daemon: &Kcompactd<Pieces>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        let node = &self.0;
        let interrupted = is_interrupted();
        node.runs.note((classes(asked), interrupted));
        node.work(|| {
            if !interrupted {
                node.served.fetch_or(classes(asked), Relaxed);
            }
            if node.served.load(Relaxed) == 0b110 {
                daemon.ask_to_stop();
            }
        });
        if interrupted { Err(asked) } else { Ok(()) }
    }
}

#[test]
fn what_is_asked_of_kcompactd_before_and_during_a_freeze_is_served_after() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r12_kcompactd_pause", 3200, move || {
        let daemon = Kcompactd::new(Pieces::default());
        daemon.ask(ZoneType::Movable, 1);
        daemon.begin();
        let (k, c) = (daemon.clone(), daemon.clone());
        let kcompactd = actor(move || k.run_here());
        let controller = actor(move || {
            c.freeze();
            let still = c.state() != DaemonState::Running;
            assert!(still && !c.site().0.is_running.load(Relaxed));
            c.ask(ZoneType::Normal, 3);
            c.thaw();
        });
        join_all([controller, kcompactd]);
        assert!(daemon.asked().is_empty(), "it was served");
        seen.record(daemon.site().0.runs.entries());
    });
    outcomes.assert_exactly([
        vec![(0b100, false), (0b010, false)],
        vec![(0b100, true), (0b110, false)],
        vec![(0b110, false)],
    ]);
}

#[test]
fn a_freeze_finds_kcompactd_asleep_and_a_stop_ends_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r12_kcompactd_stop_while_paused", 940, move || {
        let daemon = Kcompactd::new(Pieces::default());
        daemon.start();
        let s = daemon.clone();
        let controller = actor(move || {
            s.freeze();
            s.stop();
        });
        join(controller);
        assert_eq!(daemon.state(), DaemonState::Stopped);
        seen.record((daemon.nr_sleeps(), daemon.nr_waits_for_state()));
    });
    // Asleep when it was to freeze, or not; nobody waited for the other, or one did, or both.
    outcomes.assert_exactly([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
}
