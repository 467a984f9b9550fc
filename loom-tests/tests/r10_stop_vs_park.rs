//! R10: a stop ends the daemon wherever it is, and returns after it has ended.
//!
//! *Threads:* a daemon's thread, started and stopped through its real life cycle; one or two who stop
//! it, in its nap, in its long sleep, in a run that goes on until it is interrupted, or before its first
//! step. Once as kswapd and once as kcompactd, which sleeps in a way of its own, also while it backs off.
//! *Property:* every stop returns, and then the thread has ended (INV-6). *The bug it would catch:*
//! a thread that looks at the stop flag before it is on its queue. *The edits that make it fail:* mutants
//! `stop.recheck`, `kcompactd.stop_recheck`.

#![cfg(loom)]

use loom_tests::{actor, check, join_all};
use pagepool::ZoneType;
use pagepool::model::{self, Daemon, DaemonState, Kcompactd, Look, Requests, Site, thread};

/// A node on which runs go on until they are interrupted, if it is not balanced.
struct Node {
    is_balanced: bool,
}

impl model::Node for Node {
    fn is_balanced(&self) -> bool {
        self.is_balanced
    }

    fn balance(
        &self,
        _daemon: &Daemon<Node>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        while !is_interrupted() {
            thread::yield_now();
        }
        (asked, true)
    }
}

fn stop_by<const N: usize>(is_balanced: bool, nap_ends: bool) {
    let daemon = Daemon::new(Node { is_balanced });
    if nap_ends {
        daemon.end_nap();
    }
    daemon.start();
    let stoppers = [(); N].map(|()| {
        let daemon = daemon.clone();
        actor(move || {
            daemon.stop();
            assert_eq!(daemon.state(), DaemonState::Stopped);
        })
    });
    join_all(stoppers);
    assert!(!daemon.is_asleep());
}

#[test]
fn a_stop_ends_the_nap() {
    check("r10_stop_in_nap", 130, || stop_by::<1>(true, false));
}

#[test]
fn a_stop_ends_the_long_sleep() {
    check("r10_stop_in_sleep", 290, || stop_by::<1>(true, true));
}

#[test]
fn a_stop_ends_a_run() {
    check("r10_stop_in_run", 490, || stop_by::<1>(false, false));
}

#[test]
fn two_stops_both_return_after_the_end() {
    check("r10_stop_twice", 1000, || stop_by::<2>(true, false));
}

#[test]
fn a_stopped_daemon_can_be_started_and_stopped_again() {
    check("r10_start_again", 500, || {
        let daemon = Daemon::new(Node { is_balanced: true });
        daemon.start();
        daemon.start();
        daemon.stop();
        daemon.stop();
        daemon.start();
        assert_eq!(daemon.state(), DaemonState::Running);
        daemon.stop();
        assert_eq!(daemon.state(), DaemonState::Stopped);
    });
}

/// A node on which compaction goes on until it is interrupted, and looks are in vain.
struct Pieces;

impl Site for Pieces {
    fn compact(
        &self,
        _daemon: &Kcompactd<Pieces>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        while !is_interrupted() {
            thread::yield_now();
        }
        Err(asked)
    }

    fn look(&self, _daemon: &Kcompactd<Pieces>, _is_interrupted: &dyn Fn() -> bool) -> Look {
        Look::NoBetter
    }
}

fn stop_kcompactd_by<const N: usize>(before: impl Fn(&Kcompactd<Pieces>)) {
    let daemon = Kcompactd::new(Pieces);
    before(&daemon);
    daemon.start();
    let stoppers = [(); N].map(|()| {
        let daemon = daemon.clone();
        actor(move || {
            daemon.stop();
            assert_eq!(daemon.state(), DaemonState::Stopped);
        })
    });
    join_all(stoppers);
    assert!(!daemon.is_asleep());
}

#[test]
fn a_stop_ends_kcompactds_sleep() {
    check("r10_kcompactd_in_sleep", 90, || {
        stop_kcompactd_by::<1>(|_| ());
    });
}

#[test]
fn a_stop_ends_kcompactds_run() {
    check("r10_kcompactd_in_run", 560, || {
        stop_kcompactd_by::<1>(|daemon| daemon.ask(ZoneType::Normal, 3));
    });
}

#[test]
fn a_stop_ends_kcompactds_back_off() {
    check("r10_kcompactd_in_back_off", 370, || {
        stop_kcompactd_by::<1>(Kcompactd::ring);
    });
}

#[test]
fn two_stops_of_kcompactd_both_return_after_the_end() {
    check("r10_kcompactd_twice", 740, || {
        stop_kcompactd_by::<2>(|_| ());
    });
}
