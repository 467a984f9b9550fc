//! R28: a daemon on call gets one thread, by who first asks something of it.
//!
//! *Threads:* one or two who ask; one who stops the daemon, freezes it, thaws it, or waits for it; and the daemon's
//! own, started by its real life cycle. *Property:* once somebody has asked who may start a thread, there is
//! exactly one, and it finds everything that was asked; a stop that comes at any moment returns after it has ended,
//! and nobody starts another; while the daemon stands still no thread begins, and what was asked meanwhile is not
//! forgotten by the thaw; nobody waits for a thread that could not be had. *The bugs it would catch:* two who ask at
//! once and start a thread each; a request recorded between a thaw and its look; a thread that begins behind the
//! back of who closes the pool. *The edits that make it fail:* mutants `first.once`, `first.retire`,
//! `first.release`, `first.frozen`, `first.after_thaw`, and the barriers `kswapd.waker` and `control.waker`.

#![cfg(loom)]
#![expect(
    clippy::disallowed_types,
    reason = "what the model notes is nothing that its threads agree by"
)]

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use loom_tests::{Outcomes, actor, check, check_shallower, join, join_all};
use pagepool::ZoneType;
use pagepool::model::{self, Daemon, DaemonState, Requests, thread};

/// What the daemon did.
#[derive(Default)]
struct Seen {
    threads: BTreeSet<String>,
    served: Requests,
}

/// A balanced node: runs serve what is asked, and then the daemon sleeps.
#[derive(Default)]
struct Node(Mutex<Seen>);

impl Node {
    fn note<T>(&self, f: impl FnOnce(&mut Seen) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl model::Node for Node {
    fn is_balanced(&self) -> bool {
        true
    }

    fn balance(
        &self,
        _daemon: &Daemon<Node>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        self.note(|seen| seen.served = seen.served.union(asked));
        (asked, false)
    }

    fn settle(&self) {
        let id = format!("{:?}", thread::current_id());
        self.note(|seen| seen.threads.insert(id));
    }
}

fn on_call() -> Daemon<Node> {
    let daemon = Daemon::new(Node::default());
    daemon.stand_by();
    daemon
}

fn nr_threads(daemon: &Daemon<Node>) -> usize {
    daemon.node().note(|seen| seen.threads.len())
}

/// What was served, or will be by the next thread.
fn in_hand(daemon: &Daemon<Node>) -> Requests {
    daemon.node().note(|seen| seen.served).union(daemon.asked())
}

fn has(asked: Requests, class: ZoneType, order: u8) -> bool {
    asked.order(class as usize) >= Some(order)
}

#[test]
fn two_first_requests_start_one_thread_and_both_are_kept() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("r28_two_ask", 1, 1800, move || {
        let daemon = on_call();
        let askers = [(ZoneType::Normal, 3), (ZoneType::Movable, 2)].map(|(class, order)| {
            let daemon = daemon.clone();
            actor(move || daemon.ask(class, order))
        });
        join_all(askers);
        assert_eq!(daemon.state(), DaemonState::Running);
        daemon.stop();
        assert_eq!(daemon.state(), DaemonState::Stopped);
        assert_eq!(nr_threads(&daemon), 1);
        let kept = in_hand(&daemon);
        assert!(
            has(kept, ZoneType::Normal, 3) && has(kept, ZoneType::Movable, 2),
            "{kept:?}"
        );
        seen.record(daemon.asked().is_empty());
    });
    // Stopped before it had served all, or after.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn a_stop_ends_what_was_just_started_and_nobody_starts_another() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r28_ask_and_stop", 1000, move || {
        let daemon = on_call();
        let (a, s) = (daemon.clone(), daemon.clone());
        let asker = actor(move || a.ask(ZoneType::Normal, 3));
        let stopper = actor(move || {
            s.stop();
            assert_eq!(s.state(), DaemonState::Stopped);
        });
        join(asker);
        join(stopper);
        assert_eq!(daemon.state(), DaemonState::Stopped);
        assert!(!daemon.is_asleep());
        assert!(has(in_hand(&daemon), ZoneType::Normal, 3));
        seen.record(nr_threads(&daemon));
    });
    // Stopped first, or a thread came and went.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn no_thread_begins_while_the_daemon_stands_still() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r28_ask_and_freeze", 7000, move || {
        let daemon = on_call();
        let (a, f) = (daemon.clone(), daemon.clone());
        let asker = actor(move || a.ask(ZoneType::Normal, 3));
        let freezer = actor(move || {
            f.freeze();
            for _ in 0..2 {
                assert_ne!(f.state(), DaemonState::Running);
                thread::yield_now();
            }
            f.state() == DaemonState::Frozen
        });
        join(asker);
        let was_started = join(freezer);
        assert_ne!(daemon.state(), DaemonState::Running);
        daemon.stop();
        assert_eq!(nr_threads(&daemon), usize::from(was_started));
        seen.record(was_started);
    });
    // On call, or asked before and standing still.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn what_is_asked_while_the_daemon_is_thawed_starts_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r28_ask_and_thaw", 9000, move || {
        let daemon = on_call();
        daemon.freeze();
        let (a, t) = (daemon.clone(), daemon.clone());
        let asker = actor(move || {
            a.ask(ZoneType::Normal, 3);
            a.state() == DaemonState::Running
        });
        let thawer = actor(move || t.thaw());
        let by_asker = join(asker);
        join(thawer);
        assert_eq!(
            daemon.state(),
            DaemonState::Running,
            "whoever came last has started it"
        );
        daemon.stop();
        assert_eq!(nr_threads(&daemon), 1);
        assert!(has(in_hand(&daemon), ZoneType::Normal, 3));
        seen.record(by_asker);
    });
    // By the one who thawed later, or by then.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn nobody_waits_for_a_thread_that_cannot_be_had() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r28_start_in_vain", 130, move || {
        let daemon = Daemon::new(Node::default());
        daemon.stand_by_in_vain();
        let (a, t) = (daemon.clone(), daemon.clone());
        let asker = actor(move || a.ask(ZoneType::Normal, 3));
        let throttled = actor(move || t.throttle(None, || t.state() != DaemonState::Running));
        join(asker);
        join(throttled);
        assert_eq!(daemon.state(), DaemonState::Failed);
        assert!(!daemon.has_throttled());
        assert!(
            has(daemon.asked(), ZoneType::Normal, 3),
            "kept for the next attempt"
        );
        seen.record(daemon.nr_throttled() > 0);
        daemon.stop();
        assert_eq!(daemon.state(), DaemonState::Stopped);
    });
    // There was no attempt under way; it was let go.
    outcomes.assert_exactly([false, true]);
}
