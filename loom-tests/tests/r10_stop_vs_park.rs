//! R10: a stop ends the daemon wherever it is, and returns after it has ended.
//!
//! *Threads:* a daemon's thread, started and stopped through its real life cycle; one or two who stop
//! it, in its nap, in its long sleep, in a run that goes on until it is interrupted, or before its first
//! step. Once as kswapd and once as kcompactd, which sleeps in a way of its own, also while it backs off.
//! *Property:* every stop returns, and then the thread has ended (INV-6). *The bug it would catch:*
//! a thread that looks at the stop flag before it is on its queue. *The edits that make it fail:* mutants
//! `stop.recheck`, `kcompactd.stop_recheck`.

#![cfg(loom)]

use loom_tests::{Outcomes, Tally, actor, check, join_all};
use pagepool::ZoneType;
use pagepool::model::{self, Daemon, DaemonState, Kcompactd, Look, Requests, Site, thread};

/// A node on which runs go on until they are interrupted, if it is not balanced.
#[derive(Default)]
struct Node {
    is_balanced: bool,
    nr_runs: Tally,
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
        self.nr_runs.add_one();
        while !is_interrupted() {
            thread::yield_now();
        }
        (asked, true)
    }
}

/// How often the thread had run, and slept, when it had ended.
type Life = (usize, u32);

fn stop_by<const N: usize>(is_balanced: bool, nap_ends: bool) -> Life {
    let daemon = Daemon::new(Node {
        is_balanced,
        ..Node::default()
    });
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
    (daemon.node().nr_runs.get(), daemon.nr_sleeps())
}

#[test]
fn a_stop_ends_the_nap() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_stop_in_nap", 130, move || {
        seen.record(stop_by::<1>(true, false));
    });
    // Stopped before the nap, or in it.
    outcomes.assert_exactly([(0, 0), (0, 1)]);
}

#[test]
fn a_stop_ends_the_long_sleep() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_stop_in_sleep", 290, move || {
        seen.record(stop_by::<1>(true, true));
    });
    // Stopped before the long sleep, or in it; the nap runs out at once.
    outcomes.assert_exactly([(0, 0), (0, 1)]);
}

#[test]
fn a_stop_ends_a_run() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_stop_in_run", 490, move || {
        seen.record(stop_by::<1>(false, false));
    });
    // Stopped before the run, or in it.
    outcomes.assert_exactly([(0, 0), (1, 0)]);
}

#[test]
fn two_stops_both_return_after_the_end() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_stop_twice", 850, move || {
        seen.record(stop_by::<2>(true, false));
    });
    outcomes.assert_exactly([(0, 0), (0, 1)]);
}

#[test]
fn a_stopped_daemon_can_be_started_and_stopped_again() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_start_again", 500, move || {
        let daemon = Daemon::new(Node {
            is_balanced: true,
            ..Node::default()
        });
        daemon.start();
        daemon.start();
        daemon.stop();
        daemon.stop();
        daemon.start();
        assert_eq!(daemon.state(), DaemonState::Running);
        daemon.stop();
        assert_eq!(daemon.state(), DaemonState::Stopped);
        seen.record(daemon.nr_sleeps());
    });
    // Of two lives, each with a nap or without.
    outcomes.assert_exactly([0, 1, 2]);
}

/// A node on which compaction goes on until it is interrupted, and looks are in vain.
#[derive(Default)]
struct Pieces {
    /// Looks as well.
    nr_runs: Tally,
}

impl Site for Pieces {
    fn compact(
        &self,
        _daemon: &Kcompactd<Pieces>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        self.nr_runs.add_one();
        while !is_interrupted() {
            thread::yield_now();
        }
        Err(asked)
    }

    fn look(&self, _daemon: &Kcompactd<Pieces>, _is_interrupted: &dyn Fn() -> bool) -> Look {
        self.nr_runs.add_one();
        Look::NoBetter
    }
}

fn stop_kcompactd_by<const N: usize>(before: impl Fn(&Kcompactd<Pieces>)) -> Life {
    let daemon = Kcompactd::new(Pieces::default());
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
    (daemon.site().nr_runs.get(), daemon.nr_sleeps())
}

#[test]
fn a_stop_ends_kcompactds_sleep() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_kcompactd_in_sleep", 90, move || {
        seen.record(stop_kcompactd_by::<1>(|_| ()));
    });
    // Stopped before it slept, or asleep.
    outcomes.assert_exactly([(0, 0), (0, 1)]);
}

#[test]
fn a_stop_ends_kcompactds_run() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_kcompactd_in_run", 560, move || {
        seen.record(stop_kcompactd_by::<1>(|daemon| {
            daemon.ask(ZoneType::Normal, 3)
        }));
    });
    // Stopped before the run, or in it.
    outcomes.assert_exactly([(0, 0), (1, 0)]);
}

#[test]
fn a_stop_ends_kcompactds_back_off() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_kcompactd_in_back_off", 370, move || {
        seen.record(stop_kcompactd_by::<1>(Kcompactd::ring));
    });
    // Stopped before the look, or before it backs off, or asleep in the back-off.
    outcomes.assert_exactly([(0, 0), (1, 0), (1, 1)]);
}

#[test]
fn two_stops_of_kcompactd_both_return_after_the_end() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r10_kcompactd_twice", 600, move || {
        seen.record(stop_kcompactd_by::<2>(|_| ()));
    });
    outcomes.assert_exactly([(0, 0), (0, 1)]);
}
