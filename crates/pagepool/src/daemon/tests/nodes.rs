//! Whole threads on small nodes: 64 pages, marks of 16, 20 and 24.

use std::sync::Arc;
use std::time::Duration;

use super::rig::{Rig, finds_nothing, reclaims};
use super::{eventually, patience};
use crate::daemon::{Daemons, Stopped};
use crate::gfp::Gfp;
use crate::node::DaemonState;
use crate::node::fixture::walk_at;
use crate::node::throttle::Throttled;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{CoreMutex, clock, thread};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

#[test]
fn s4_20_one_pressure_episode() {
    let rig = Rig::new(&[[0, 256, 0]], reclaims);
    rig.daemons.start(&rig).unwrap();
    eventually("asleep", || rig.is_asleep(0));

    rig.fill(0, 18);
    rig.nodes.wake_all_kswapds(&walk_at(3, 0), Gfp::KERNEL);
    assert_eq!(rig.nodes.counted(VmEvent::KswapdPosts), 1);
    // Order 3 falls to 0 after 16 pages; then 25 free pages are enough.
    let node = rig.node(0);
    eventually("balanced", || {
        node.is_balanced(Order::ZERO, ZoneType::Normal)
    });
    eventually("asleep again", || {
        rig.is_asleep(0) && rig.nr_resets.load(Relaxed) >= 2
    });
    assert!(node.kswapd.asked().is_empty());
    assert!(rig.nodes.counted(VmEvent::Pageoutrun) >= 1);
    assert_eq!(node.kswapd.failures(), 0);
    rig.stop();
    rig.nodes.verify().unwrap();
}

#[test]
fn each_node_has_a_thread_of_its_own_and_to_start_them_again_does_nothing() {
    let rig = Rig::new(&[[0, 64, 0], [0, 64, 0]], finds_nothing);
    assert_eq!([0, 1].map(|node| rig.state(node)), [DaemonState::Absent; 2]);
    rig.daemons.start(&rig).unwrap();
    rig.daemons.start(&rig).unwrap();
    assert_eq!(
        [0, 1].map(|node| rig.state(node)),
        [DaemonState::Running; 2]
    );
    assert_eq!(Arc::strong_count(&rig), 5, "one for each thread");
    rig.stop();
    assert_eq!(
        [0, 1].map(|node| rig.state(node)),
        [DaemonState::Stopped; 2]
    );
    assert_eq!(Arc::strong_count(&rig), 1, "they have ended");
    rig.stop();
}

#[test]
fn a_node_can_be_given_its_thread_later_and_a_stopped_one_a_new() {
    let rig = Rig::new(&[[0, 64, 0], [0, 64, 0]], finds_nothing);
    let second = NodeId::at(1);
    rig.daemons.run(&rig, second).unwrap();
    assert_eq!(rig.state(0), DaemonState::Absent);
    eventually("asleep", || rig.is_asleep(1));
    assert_eq!(rig.daemons.stop(&rig.nodes, second), Stopped::Ended);
    assert_eq!(rig.daemons.stop(&rig.nodes, second), Stopped::Ended);
    rig.daemons.run(&rig, second).unwrap();
    eventually("asleep again", || rig.is_asleep(1));
    rig.stop();
}

#[test]
fn frozen_daemons_do_nothing_and_what_is_asked_meanwhile_is_served_after() {
    let rig = Rig::new(&[[0, 64, 0], [0, 64, 0]], reclaims);
    rig.daemons.start(&rig).unwrap();
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    assert_eq!([0, 1].map(|node| rig.state(node)), [DaemonState::Frozen; 2]);

    rig.fill(1, 0);
    rig.nodes.wake_all_kswapds(&walk_at(0, 1), Gfp::KERNEL);
    let throttled = rig
        .nodes
        .throttle_direct_reclaim(&walk_at(0, 1), Gfp::KERNEL, None, &|_| 1);
    assert_eq!(throttled, Throttled::No, "nobody waits for a frozen one");
    thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.nr_passes.load(Relaxed), 0);

    Daemons::thaw(&rig.nodes);
    eventually("balanced", || {
        rig.node(1).is_balanced(Order::ZERO, ZoneType::Normal)
    });
    rig.stop();
}

#[test]
fn frozen_daemons_can_be_stopped() {
    let rig = Rig::new(&[[0, 64, 0]], finds_nothing);
    rig.daemons.start(&rig).unwrap();
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    rig.stop();
    assert_eq!(rig.state(0), DaemonState::Stopped);
    // Still frozen: a new thread stands still before it does anything.
    rig.daemons.start(&rig).unwrap();
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    assert_eq!(rig.state(0), DaemonState::Frozen);
    Daemons::thaw(&rig.nodes);
    eventually("asleep", || rig.is_asleep(0));
    rig.stop();
}

#[test]
fn a_freeze_that_comes_too_late_says_who_ran_on_and_freezes_nobody() {
    let gate = Arc::new(CoreMutex::new(()));
    let held = Arc::clone(&gate);
    let rig = Rig::new(&[[0, 64, 0], [0, 64, 0]], move |_, node| {
        if node.id() == NodeId::at(1) {
            drop(held.lock());
        }
        0
    });
    let closed = gate.lock();
    rig.fill(1, 0);
    rig.daemons.start(&rig).unwrap();
    eventually("a pass", || rig.nr_passes.load(Relaxed) > 0);
    let soon = clock::deadline_after(Duration::from_millis(500));
    let error = Daemons::freeze(&rig.nodes, soon).unwrap_err();
    assert_eq!(error.names(), ["kswapd1"]);
    assert_eq!(error.to_string(), "still running: kswapd1");
    drop(closed);
    eventually("thawed", || rig.is_asleep(0) && rig.is_asleep(1));
    rig.stop();
}

#[test]
fn a_daemon_that_dies_lets_go_whoever_waits_for_it_and_can_be_replaced() {
    let rig = Rig::new(&[[0, 64, 0]], |rig, _| {
        // The first thread only.
        assert!(rig.nr_passes.load(Relaxed) > 1, "a bug in a backing");
        rig.reclaim(64)
    });
    rig.daemons.start(&rig).unwrap();
    eventually("asleep", || rig.is_asleep(0));
    rig.fill(0, 0);
    let throttled = rig
        .nodes
        .throttle_direct_reclaim(&walk_at(0, 0), Gfp::KERNEL, None, &|_| 1);
    assert_eq!(throttled, Throttled::Released);
    assert_eq!(rig.state(0), DaemonState::Dead);
    assert!(rig.node(0).is_hopeless());
    assert!(
        Daemons::freeze(&rig.nodes, patience()).is_ok(),
        "it is still"
    );
    Daemons::thaw(&rig.nodes);

    let before = rig.nodes.counted(VmEvent::KswapdPosts);
    rig.nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::NOWAIT);
    let after = rig.nodes.counted(VmEvent::KswapdPosts);
    assert_eq!(after, before, "the dead are not asked");
    rig.daemons.start(&rig).unwrap();
    eventually("balanced", || {
        rig.node(0).is_balanced(Order::ZERO, ZoneType::Normal)
    });
    rig.stop();
    assert_eq!(rig.state(0), DaemonState::Stopped);
}

#[test]
fn a_daemon_that_stops_itself_ends_later_and_does_not_wait_for_itself() {
    let outcome = Arc::new(CoreMutex::new(None));
    let said = Arc::clone(&outcome);
    let rig = Rig::new(&[[0, 64, 0]], move |rig, _| {
        let frozen = Daemons::freeze(&rig.nodes, patience()).is_ok();
        *said.lock() = Some((frozen, rig.daemons.stop_all(&rig.nodes)));
        0
    });
    rig.fill(0, 0);
    rig.daemons.start(&rig).unwrap();
    eventually("stopped", || rig.state(0) == DaemonState::Stopped);
    assert_eq!(*outcome.lock(), Some((false, Stopped::Itself)));
    rig.stop();
    assert_eq!(Arc::strong_count(&rig), 1);
}

/// R14: on a node where nothing can be reclaimed the thread gives up, and sleeps.
#[test]
fn a_node_that_cannot_be_balanced_is_given_up_after_sixteen_runs() {
    let rig = Rig::new(&[[0, 64, 0]], finds_nothing);
    rig.fill(0, 0);
    rig.daemons.start(&rig).unwrap();
    eventually("given up", || rig.node(0).is_hopeless());
    eventually("asleep", || rig.is_asleep(0));
    assert_eq!(rig.nr_passes.load(Relaxed), 16 * 12);
    rig.nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::KERNEL);
    assert_eq!(rig.nodes.counted(VmEvent::KswapdPosts), 0);

    // Its owner frees: there is hope again, and work.
    rig.reclaim(64);
    assert!(!rig.node(0).is_hopeless());
    rig.fill(0, 0);
    rig.nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::KERNEL);
    eventually("given up again", || rig.node(0).is_hopeless());
    assert!(rig.nr_passes.load(Relaxed) >= 2 * 16 * 12);
    rig.stop();
}

#[test]
fn a_throttled_thread_is_served_by_the_reclaimer_it_wakes() {
    let rig = Rig::new(&[[0, 64, 0]], reclaims);
    rig.daemons.start(&rig).unwrap();
    eventually("asleep", || rig.is_asleep(0));
    rig.fill(0, 0);
    let throttled = rig
        .nodes
        .throttle_direct_reclaim(&walk_at(0, 0), Gfp::KERNEL, None, &|_| 1);
    assert_eq!(throttled, Throttled::Released);
    rig.stop();
}

#[test]
fn daemons_bind_themselves_anew_when_cpus_have_changed() {
    let rig = Rig::new(&[[0, 64, 0]], reclaims);
    rig.daemons.start(&rig).unwrap();
    rig.daemons.cpus_changed();
    eventually("asleep", || rig.is_asleep(0));
    rig.fill(0, 0);
    rig.nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::KERNEL);
    eventually("balanced all the same", || {
        rig.node(0).is_balanced(Order::ZERO, ZoneType::Normal)
    });
    rig.stop();
}
