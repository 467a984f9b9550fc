//! Both kinds of daemons together on small nodes: they come, stand still and go by one mechanism.

use std::sync::Arc;

use super::rig::{Rig, finds_nothing, give_threads, nr_attempts, reclaims};
use super::{asked, eventually, patience};
use crate::compact::Compacted;
use crate::daemon::crew::StartError;
use crate::daemon::{Daemons, Stopped};
use crate::node::DaemonState::{Absent, Dead, Failed, Frozen, OnCall, Running, Stopped as Ended};
use crate::node::StartBy;
use crate::node::throttle::Throttled;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{CoreMutex, clock, thread};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

const NORMAL: ZoneType = ZoneType::Normal;

fn two_nodes() -> Arc<Rig> {
    Rig::new(&[[0, 64, 0], [0, 64, 0]], finds_nothing)
}

fn ask(rig: &Rig, node: usize, order: usize) {
    let order = Order::at(order);
    rig.node(node)
        .kcompactd
        .post(NORMAL, order, StartBy::Caller);
}

#[test]
fn each_node_has_a_thread_of_each_kind_and_to_start_them_again_does_nothing() {
    let rig = two_nodes();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Absent; 2]; 2]);
    rig.daemons.start(&rig).unwrap();
    rig.daemons.start(&rig).unwrap();
    rig.daemons.run(&rig, NodeId::at(1)).unwrap();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Running; 2]; 2]);
    assert_eq!(Arc::strong_count(&rig), 5, "one for each thread");
    eventually("all sleep", || rig.all_asleep());
    rig.stop();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Ended; 2]; 2]);
    assert_eq!(Arc::strong_count(&rig), 1, "they have ended");
}

#[test]
fn a_kcompactd_serves_its_own_node() {
    let rig = two_nodes();
    rig.daemons.start(&rig).unwrap();
    ask(&rig, 1, 3);
    let compacted = || rig.compacted.lock().clone();
    let wanted = [(1, asked(&[(NORMAL, 3)]))];
    eventually("compacted", || compacted() == wanted);
    rig.node(0).kcompactd.ring(StartBy::Caller);
    eventually("looked", || rig.nr_looks.load(Relaxed) == 1);
    eventually("all sleep", || rig.all_asleep());
    assert_eq!(rig.nodes.counted(VmEvent::KcompactdWake), 1);
    rig.stop();
    assert_eq!(compacted(), wanted, "there is no last work");
}

/// Spec 4.3: kcompactd's registration comes first, and without it none is started.
#[test]
fn s4_3_without_a_place_among_those_who_hear_of_cpus_no_daemon_is_started() {
    let rig = two_nodes();
    let places: Vec<_> = std::iter::from_fn(|| rig.daemons.take_place()).collect();
    let error = rig.daemons.start(&rig).unwrap_err();
    assert!(matches!(error, StartError::Kind { .. }), "{error:?}");
    assert_eq!(error.to_string(), "kcompactd could not be started");
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Absent; 2]; 2]);
    drop(places);
    rig.daemons.start(&rig).unwrap();
    assert!(rig.daemons.take_place().is_none(), "each kind has one");
    rig.stop();
}

/// Spec 4.3: kswapd's comes last, and it goes without.
#[test]
fn s4_3_kswapds_are_started_even_if_they_will_not_hear_of_cpus() {
    let rig = two_nodes();
    let _place = rig.daemons.take_place().unwrap();
    rig.daemons.start(&rig).unwrap();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Running; 2]; 2]);
    rig.stop();
}

#[test]
fn a_node_can_be_given_its_threads_later_and_what_it_was_asked_before_is_served() {
    let rig = two_nodes();
    ask(&rig, 1, 2);
    rig.daemons.run(&rig, NodeId::at(1)).unwrap();
    assert_eq!(rig.states(0), [Absent; 2]);
    eventually("served", || rig.compacted.lock().len() == 1);
    for _ in 0..2 {
        assert_eq!(rig.daemons.stop(&rig.nodes, NodeId::at(1)), Stopped::Ended);
        assert_eq!(rig.states(1), [Ended; 2]);
    }
    ask(&rig, 1, 4);
    rig.daemons.run(&rig, NodeId::at(1)).unwrap();
    let last = || rig.compacted.lock().last().copied();
    eventually("served anew", || last() == Some((1, asked(&[(NORMAL, 4)]))));
    rig.stop();
}

#[test]
fn both_kinds_stand_still_together_and_what_is_asked_meanwhile_is_served_after() {
    let rig = two_nodes();
    rig.daemons.start(&rig).unwrap();
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Frozen; 2]; 2]);
    ask(&rig, 0, 3);
    rig.node(1).kcompactd.ring(StartBy::Caller);
    assert!(rig.compacted.lock().is_empty());
    Daemons::thaw(&rig.nodes);
    eventually("served", || rig.compacted.lock().len() == 1);
    eventually("looked", || rig.nr_looks.load(Relaxed) == 1);
    // A stop ends a freeze.
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    rig.stop();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Ended; 2]; 2]);
}

#[test]
fn a_freeze_that_comes_too_late_names_the_kcompactd_that_ran_on() {
    let rig = two_nodes();
    let gate = Arc::new(CoreMutex::new(()));
    let held = Arc::clone(&gate);
    rig.compacts_by(move |_, _, _, _| {
        drop(held.lock());
        Compacted::Done
    });
    let closed = gate.lock();
    rig.daemons.start(&rig).unwrap();
    ask(&rig, 1, 3);
    eventually("at work", || !rig.compacted.lock().is_empty());
    // Long enough for the others to be scheduled, however busy the machine is.
    let soon = clock::deadline_after(std::time::Duration::from_millis(500));
    let error = Daemons::freeze(&rig.nodes, soon).unwrap_err();
    assert_eq!(error.names(), ["kcompactd1"]);
    drop(closed);
    eventually("thawed", || rig.all_asleep());
    rig.stop();
}

#[test]
fn a_freeze_or_a_stop_interrupts_a_run_and_what_it_left_is_still_asked() {
    let rig = two_nodes();
    rig.compacts_by(|rig, _, left, is_interrupted| {
        eventually("interrupted", is_interrupted);
        rig.compacts_by(|_, _, _, _| Compacted::Done);
        Compacted::Interrupted { left }
    });
    rig.daemons.start(&rig).unwrap();
    ask(&rig, 0, 3);
    eventually("at work", || !rig.compacted.lock().is_empty());
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    assert_eq!(rig.node(0).kcompactd.asked(), asked(&[(NORMAL, 3)]));
    Daemons::thaw(&rig.nodes);
    eventually("served", || rig.compacted.lock().len() == 2);
    rig.stop();
}

#[test]
fn a_kcompactd_that_dies_is_in_nobodys_way_and_can_be_replaced() {
    let rig = two_nodes();
    rig.compacts_by(|rig, _, _, _| {
        rig.compacts_by(|_, _, _, _| Compacted::Done);
        panic!("a bug in a backing");
    });
    rig.daemons.start(&rig).unwrap();
    ask(&rig, 0, 3);
    eventually("dead", || rig.states(0)[0] == Dead);
    assert_eq!((rig.states(0)[1], rig.states(1)), (Running, [Running; 2]));
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    Daemons::thaw(&rig.nodes);
    // What is asked of it waits for the next one.
    ask(&rig, 0, 4);
    rig.daemons.start(&rig).unwrap();
    eventually("served", || rig.compacted.lock().len() == 2);
    rig.stop();
    assert_eq!(rig.states(0), [Ended; 2]);
    assert_eq!(Arc::strong_count(&rig), 1);
}

#[test]
fn a_kcompactd_that_stops_itself_ends_later_and_does_not_wait_for_itself() {
    let rig = Rig::new(&[[0, 64, 0]], finds_nothing);
    let outcome = Arc::new(CoreMutex::new(None));
    let said = Arc::clone(&outcome);
    rig.compacts_by(move |rig, _, _, _| {
        let frozen = Daemons::freeze(&rig.nodes, patience()).is_ok();
        *said.lock() = Some((frozen, rig.daemons.stop_all(&rig.nodes)));
        Compacted::Done
    });
    rig.daemons.start(&rig).unwrap();
    ask(&rig, 0, 3);
    eventually("stopped", || rig.states(0) == [Ended; 2]);
    assert_eq!(*outcome.lock(), Some((false, Stopped::Itself)));
    rig.stop();
    assert_eq!(Arc::strong_count(&rig), 1);
}

#[test]
fn kcompactds_bind_themselves_anew_when_cpus_have_changed() {
    let rig = two_nodes();
    rig.daemons.start(&rig).unwrap();
    rig.daemons.cpus_changed();
    ask(&rig, 0, 3);
    eventually("served all the same", || !rig.compacted.lock().is_empty());
    rig.stop();
}

#[test]
fn a_daemon_on_call_gets_its_thread_by_the_first_request_and_serves_it() {
    let rig = two_nodes();
    rig.stand_by();
    rig.stand_by();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[OnCall; 2]; 2]);
    assert_eq!(Arc::strong_count(&rig), 1, "there is no thread");
    ask(&rig, 1, 3);
    assert_eq!(
        [0, 1].map(|node| rig.states(node)),
        [[OnCall; 2], [Running, OnCall]]
    );
    eventually("served", || rig.compacted.lock().len() == 1);
    rig.node(0).kcompactd.ring(StartBy::Caller);
    eventually("looked", || rig.nr_looks.load(Relaxed) == 1);
    ask(&rig, 1, 4);
    eventually("served again", || rig.compacted.lock().len() == 2);
    assert_eq!(Arc::strong_count(&rig), 3, "one for each thread");
    // The others are started because somebody wants them to be there.
    rig.daemons.start(&rig).unwrap();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Running; 2]; 2]);
    rig.stop();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Ended; 2]; 2]);
    assert_eq!(Arc::strong_count(&rig), 1);
}

#[test]
fn who_may_not_start_a_thread_leaves_the_request_to_the_next_who_may() {
    let rig = two_nodes();
    rig.stand_by();
    let post = &rig.node(0).kcompactd;
    post.post(NORMAL, Order::at(3), StartBy::Another);
    post.ring(StartBy::Another);
    assert_eq!(rig.states(0), [OnCall; 2]);
    assert_eq!(nr_attempts(), 0);
    // What was rung for already starts it as well.
    post.ring(StartBy::Caller);
    eventually("served", || rig.compacted.lock().len() == 1);
    assert_eq!(rig.compacted.lock()[0], (0, asked(&[(NORMAL, 3)])));
    eventually("looked", || rig.nr_looks.load(Relaxed) == 1);
    rig.stop();
}

#[test]
fn nobody_starts_what_was_stopped_or_was_asked_for_nothing() {
    let rig = two_nodes();
    rig.stand_by();
    rig.node(0).kcompactd.see_to_thread();
    assert_eq!(rig.states(0), [OnCall; 2]);
    assert_eq!(rig.daemons.stop(&rig.nodes, NodeId::at(0)), Stopped::Ended);
    assert_eq!(rig.states(0), [Ended; 2]);
    ask(&rig, 0, 3);
    assert_eq!((rig.states(0), nr_attempts()), ([Ended; 2], 0));
    rig.daemons.run(&rig, NodeId::at(0)).unwrap();
    eventually("served", || rig.compacted.lock().len() == 1);
    rig.stop();
    assert_eq!([0, 1].map(|node| rig.states(node)), [[Ended; 2]; 2]);
}

#[test]
fn while_all_stand_still_no_thread_begins_and_the_thaw_starts_what_was_asked_for() {
    let rig = two_nodes();
    rig.stand_by();
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    ask(&rig, 1, 3);
    assert_eq!((rig.states(1), nr_attempts()), ([OnCall; 2], 0));
    Daemons::thaw(&rig.nodes);
    assert_eq!(rig.states(0), [OnCall; 2]);
    eventually("served", || rig.compacted.lock().len() == 1);
    assert_eq!(rig.states(1), [Running, OnCall]);
    rig.stop();
}

/// Nobody waits for a kswapd that there is no thread for: a request that was throttled for it is let go, and the
/// next ones reclaim at once. It is tried again, but not at once.
#[test]
fn a_daemon_that_has_no_thread_to_be_had_is_in_nobodys_way_and_is_tried_again_later() {
    let rig = Rig::new(&[[0, 64, 0]], reclaims);
    rig.stand_by();
    rig.fill(0, 0);
    give_threads(false);
    let post = &rig.node(0).kswapd;
    for _ in 0..3 {
        post.post(NORMAL, Order::ZERO, StartBy::Caller);
    }
    assert_eq!(
        (rig.state(0), nr_attempts()),
        (Failed, 1),
        "once, then not for a while"
    );
    assert!(
        rig.node(0).allow_direct_reclaim(NORMAL, &|_| 1),
        "nobody waits for it"
    );
    assert!(!rig.node(0).is_hopeless(), "it goes on being asked");
    let report = crate::node::DaemonReport::of("kswapd0".into(), post);
    assert_eq!(report.start_failures, 1);
    assert!(
        report
            .to_string()
            .contains("failed, no thread to be had 1 times in a row: "),
        "{report}"
    );
    assert!(report.to_string().contains("os error 11"), "{report}");
    // To start it because it is to be there says why it cannot.
    assert!(matches!(
        rig.daemons.start(&rig),
        Err(StartError::Thread { .. })
    ));
    assert_eq!(rig.state(0), Failed);
    assert_eq!(
        rig.states(0)[0],
        Failed,
        "kcompactd came first, and was on call"
    );
    Daemons::freeze(&rig.nodes, patience()).unwrap();
    Daemons::thaw(&rig.nodes);

    give_threads(true);
    thread::sleep(std::time::Duration::from_millis(150));
    post.post(NORMAL, Order::ZERO, StartBy::Caller);
    assert_eq!(rig.state(0), Running);
    eventually("served", || rig.nodes.normal(0).free_pages() > 16);
    assert_eq!(post.start_failure(), (0, None));
    rig.stop();
    assert_eq!(rig.states(0), [Ended; 2]);
}

/// While a thread is started the daemon counts as running, and threads may be throttled for it.
#[test]
fn who_waits_for_a_daemon_whose_thread_cannot_be_had_is_let_go() {
    let rig = Rig::new(&[[0, 64, 0]], finds_nothing);
    rig.fill(0, 0);
    let node = rig.node(0);
    give_threads(false);
    // As `answer` does, up to the moment at which the system is asked.
    node.kswapd.control().stand_by();
    assert!(node.kswapd.control().answer());
    let throttle = |deadline| {
        let walk = crate::node::fixture::walk_at(0, 0);
        rig.nodes
            .throttle_direct_reclaim(&walk, crate::gfp::Gfp::KERNEL, deadline, &|_| 1)
    };
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| throttle(None));
        eventually("throttled", || node.pfmemalloc().has_sleeper());
        node.kswapd.control().abandon(OnCall);
        rig.stand_by();
        node.kswapd.post(NORMAL, Order::ZERO, StartBy::Caller);
        assert_eq!(rig.state(0), Failed);
        assert_eq!(waiter.join().unwrap(), Throttled::Released);
    });
    give_threads(true);
    rig.stop();
}

#[test]
fn who_asks_while_a_daemon_is_stopped_does_not_wait_and_it_ends() {
    let rig = two_nodes();
    for _ in 0..20 {
        rig.stand_by();
        std::thread::scope(|scope| {
            for order in [1, 2, 3] {
                let rig = &rig;
                scope.spawn(move || ask(rig, 0, order));
            }
            scope.spawn(|| rig.daemons.stop(&rig.nodes, NodeId::at(0)));
        });
        assert_eq!(rig.daemons.stop_all(&rig.nodes), Stopped::Ended);
        assert_eq!(rig.states(0), [Ended; 2]);
        assert_eq!(Arc::strong_count(&rig), 1, "no thread is left");
    }
    rig.stop();
}
