//! Both kinds of daemons together on small nodes: they come, stand still and go by one mechanism.

use std::sync::Arc;

use super::rig::{Rig, finds_nothing};
use super::{asked, eventually, patience};
use crate::compact::Compacted;
use crate::daemon::crew::StartError;
use crate::daemon::{Daemons, Stopped};
use crate::node::DaemonState::{Absent, Dead, Frozen, Running, Stopped as Ended};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{CoreMutex, clock};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

const NORMAL: ZoneType = ZoneType::Normal;

fn two_nodes() -> Arc<Rig> {
    Rig::new(&[[0, 64, 0], [0, 64, 0]], finds_nothing)
}

fn ask(rig: &Rig, node: usize, order: usize) {
    rig.node(node).kcompactd.post(NORMAL, Order::at(order));
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
    rig.node(0).kcompactd.ring();
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
    rig.node(1).kcompactd.ring();
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
