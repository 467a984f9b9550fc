//! The thread's steps, on a ward whose state a test sets.

use std::sync::Arc;

use super::{asked, eventually, patience, spawn};
use crate::daemon::kswapd::{self, NAP, Ward, try_to_sleep};
use crate::node::{DaemonPost, Pressure};
use crate::reclaim::balance::{Balanced, End};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::sync::{CoreMutex, FenceNames, Requests, WaitQueue, clock};
use crate::types::{NodeId, ZoneType};
use crate::zone::vmstat::VmEvent;

const FENCES: FenceNames = FenceNames {
    waker: "kswapd.waker",
    sleeper: "kswapd.sleeper",
};

/// What the thread did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Balance(Requests),
    HandOver(Requests),
    Set(Pressure),
    Count(VmEvent),
}

/// What comes of a run.
type Script = Box<dyn Fn(&Fake, Requests) -> Balanced + Send + Sync>;

struct Fake {
    post: DaemonPost,
    throttled: WaitQueue,
    hopeless: AtomicBool,
    /// How many more times the node is found balanced.
    balanced: AtomicUsize,
    script: Script,
    steps: CoreMutex<Vec<Step>>,
}

impl Fake {
    fn new(
        balanced: usize,
        script: impl Fn(&Fake, Requests) -> Balanced + Send + Sync + 'static,
    ) -> Arc<Fake> {
        let fake = Arc::new(Fake {
            post: DaemonPost::new(FENCES),
            throttled: WaitQueue::new(FENCES),
            hopeless: AtomicBool::new(false),
            balanced: AtomicUsize::new(balanced),
            script: Box::new(script),
            steps: CoreMutex::default(),
        });
        fake.post.control().begin();
        fake
    }

    /// One that has nothing to balance.
    fn idle(balanced: usize) -> Arc<Fake> {
        Fake::new(balanced, |_, left| done(left))
    }

    fn note(&self, step: Step) {
        self.steps.lock().push(step);
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }

    /// The steps that are not about counters.
    fn deeds(&self) -> Vec<Step> {
        let steps = self.steps();
        let is_deed = |step: &Step| matches!(step, Step::Balance(_) | Step::HandOver(_));
        steps.into_iter().filter(is_deed).collect()
    }

    fn counted(&self) -> Vec<VmEvent> {
        let event = |step: &Step| match step {
            Step::Count(event) => Some(*event),
            Step::Balance(_) | Step::HandOver(_) | Step::Set(_) => None,
        };
        self.steps.lock().iter().filter_map(event).collect()
    }
}

impl Ward for Arc<Fake> {
    fn nid(&self) -> NodeId {
        NodeId::at(0)
    }

    fn post(&self) -> &DaemonPost {
        &self.post
    }

    fn throttled(&self) -> &WaitQueue {
        &self.throttled
    }

    fn is_balanced(&self, _asked: Requests) -> bool {
        let once = |left: usize| left.checked_sub(1);
        self.balanced.fetch_update(Relaxed, Relaxed, once).is_ok()
    }

    fn is_hopeless(&self) -> bool {
        self.hopeless.load(Relaxed)
    }

    fn balance(&self, asked: Requests, _is_interrupted: &dyn Fn() -> bool) -> Balanced {
        self.note(Step::Balance(asked));
        (self.script)(self, asked)
    }

    fn hand_over(&self, asked: Requests) {
        self.note(Step::HandOver(asked));
    }

    fn set_pressure(&self, pressure: Pressure) {
        self.note(Step::Set(pressure));
    }

    fn settle_on_cpus(&mut self) {}

    fn count(&self, event: VmEvent) {
        self.note(Step::Count(event));
    }
}

fn done(left: Requests) -> Balanced {
    Balanced {
        left,
        end: End::Balanced,
    }
}

fn normal(order: u8) -> Requests {
    asked(&[(ZoneType::Normal, order)])
}

const LOW_QUICKLY: VmEvent = VmEvent::KswapdLowWmarkHitQuickly;
const HIGH_QUICKLY: VmEvent = VmEvent::KswapdHighWmarkHitQuickly;
/// Often enough.
const ALWAYS: usize = usize::MAX;

/// Ends the run after this pass.
fn stop(fake: &Fake) {
    fake.post.ask_to_stop();
}

/// Runs the loop in this thread until its script stops it.
fn run(fake: &Arc<Fake>) {
    let mut ward = Arc::clone(fake);
    kswapd::run(&mut ward);
}

// ---- the attempt to sleep ----

#[test]
fn erratum_9_a_node_that_was_never_balanced_counts_as_the_high_mark_hit_quickly() {
    let fake = Fake::idle(0);
    let start = clock::now();
    try_to_sleep(&fake, normal(3), normal(3));
    assert!(clock::now().saturating_duration_since(start) < NAP);
    assert_eq!(fake.steps(), [Step::Count(HIGH_QUICKLY)]);
    assert!(!fake.post.queue().has_sleeper());
}

#[test]
fn a_node_out_of_balance_after_the_nap_counts_as_the_high_mark_hit_quickly() {
    let fake = Fake::idle(1);
    let start = clock::now();
    try_to_sleep(&fake, normal(3), normal(0));
    assert!(clock::now().saturating_duration_since(start) >= NAP);
    let expected = [Step::HandOver(normal(3)), Step::Count(HIGH_QUICKLY)];
    assert_eq!(fake.steps(), expected);
}

#[test]
fn a_wake_during_the_nap_counts_as_the_low_mark_hit_quickly_and_keeps_what_it_slept_for() {
    let fake = Fake::idle(ALWAYS);
    let sleeper = Arc::clone(&fake);
    let thread = spawn(move || try_to_sleep(&sleeper, normal(3), normal(0)));
    eventually("a nap", || fake.post.queue().has_sleeper());
    let movable = asked(&[(ZoneType::Movable, 2)]);
    fake.post.put_back(movable);
    fake.post.queue().wake_all();
    thread.join().unwrap();

    // It may have been caught before or in the nap, or, on a slow machine, after.
    match fake.counted()[..] {
        [LOW_QUICKLY] => assert_eq!(fake.post.take(), movable.union(normal(0))),
        [HIGH_QUICKLY] | [] => assert_eq!(fake.post.take(), movable),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn an_undisturbed_nap_leads_to_a_long_sleep_with_cheap_counters() {
    let fake = Fake::idle(ALWAYS);
    let sleeper = Arc::clone(&fake);
    let thread = spawn(move || try_to_sleep(&sleeper, normal(3), normal(0)));
    eventually("calm", || fake.steps().contains(&Step::Set(Pressure::Calm)));
    eventually("the sleep", || fake.post.queue().has_sleeper());
    fake.post.queue().wake_all();
    thread.join().unwrap();
    let expected = [
        Step::HandOver(normal(3)),
        Step::Set(Pressure::Calm),
        Step::Set(Pressure::Under),
    ];
    assert_eq!(fake.steps(), expected, "and nothing was hit quickly");
}

#[test]
fn a_hopeless_node_lets_its_reclaimer_sleep() {
    let fake = Fake::idle(0);
    fake.hopeless.store(true, Relaxed);
    let sleeper = Arc::clone(&fake);
    let thread = spawn(move || try_to_sleep(&sleeper, normal(0), normal(0)));
    eventually("calm", || fake.steps().contains(&Step::Set(Pressure::Calm)));
    eventually("the sleep", || fake.post.queue().has_sleeper());
    fake.post.queue().wake_all();
    thread.join().unwrap();
}

#[test]
fn nobody_sleeps_on_a_request() {
    let fake = Fake::idle(ALWAYS);
    fake.post.put_back(normal(2));
    let start = clock::now();
    try_to_sleep(&fake, normal(0), normal(0));
    assert!(clock::now().saturating_duration_since(start) < NAP);
    assert_eq!(fake.steps(), [Step::Count(HIGH_QUICKLY)]);
    assert_eq!(fake.post.take(), normal(2), "it is still to be served");
}

/// Spec 4.8: in v5.0 the request that came between nap and sleep is slept on.
#[test]
fn a_request_between_nap_and_sleep_keeps_the_thread_awake() {
    // Nobody is on the queue while the test itself posts, as in that window.
    let fake = Fake::idle(ALWAYS);
    let posts = Arc::clone(&fake);
    let late = spawn(move || {
        eventually("the nap", || posts.post.queue().has_sleeper());
        // Without a wake: as a waker that saw nobody.
        posts.post.put_back(normal(2));
    });
    try_to_sleep(&fake, normal(0), normal(0));
    late.join().unwrap();
    assert_eq!(fake.counted(), [HIGH_QUICKLY]);
}

#[test]
fn an_interrupted_thread_neither_naps_nor_counts() {
    for ask in [DaemonPost::ask_to_stop, DaemonPost::ask_to_freeze] {
        let fake = Fake::idle(ALWAYS);
        ask(&fake.post);
        try_to_sleep(&fake, normal(3), normal(3));
        assert_eq!(fake.steps(), []);
    }
}

#[test]
fn a_stop_ends_the_nap_and_counts_as_nothing() {
    let fake = Fake::idle(ALWAYS);
    let sleeper = Arc::clone(&fake);
    let thread = spawn(move || try_to_sleep(&sleeper, normal(3), normal(0)));
    eventually("a nap", || fake.post.queue().has_sleeper());
    fake.post.ask_to_stop();
    thread.join().unwrap();
    assert_eq!(fake.counted(), []);
}

#[test]
fn whoever_is_throttled_is_woken_before_a_sleep_even_if_there_will_be_none() {
    let fake = Fake::idle(0);
    let waiting = Arc::clone(&fake);
    let throttled = spawn(move || {
        let woken = AtomicUsize::new(0);
        waiting
            .throttled
            .wait_until(patience(), || woken.fetch_add(1, Relaxed) == 2)
    });
    eventually("throttled", || fake.throttled.has_sleeper());
    try_to_sleep(&fake, normal(0), normal(0));
    assert!(throttled.join().unwrap());
}

#[test]
fn blocks_are_asked_for_only_once_there_is_room_to_build_them() {
    let fake = Fake::idle(0);
    try_to_sleep(&fake, normal(3), normal(0));
    assert_eq!(fake.deeds(), []);
}

// ---- the loop ----

#[test]
fn erratum_2_a_thread_that_nobody_asked_begins_with_everybody_at_order_0() {
    let fake = Fake::new(0, |fake, left| {
        stop(fake);
        done(left)
    });
    run(&fake);
    let everybody = asked(&[(ZoneType::Movable, 0)]);
    assert_eq!(fake.deeds(), [Step::Balance(everybody)]);
}

#[test]
fn what_was_asked_before_the_first_run_is_served() {
    let fake = Fake::new(ALWAYS, |fake, left| {
        stop(fake);
        done(left)
    });
    fake.post.put_back(normal(4));
    run(&fake);
    assert_eq!(fake.deeds(), [Step::Balance(normal(4))]);
    assert!(fake.post.take().is_empty());
}

/// Spec 9.1: v5.0 fell back to the lowest zone.
#[test]
fn with_nothing_new_the_same_classes_count_at_order_0() {
    let both = asked(&[(ZoneType::Normal, 3), (ZoneType::Movable, 1)]);
    let fake = Fake::new(0, |fake, left| {
        if fake.deeds().len() == 3 {
            stop(fake);
        }
        Balanced {
            left,
            end: End::Exhausted,
        }
    });
    fake.post.put_back(both);
    run(&fake);
    let again = Step::Balance(both.at_order_zero());
    assert_eq!(fake.deeds(), [Step::Balance(both), again, again]);
}

#[test]
fn erratum_3_when_order_was_given_up_the_block_is_asked_for_at_its_order() {
    // The first run gives up the order; then the node is found balanced, once.
    let fake = Fake::new(0, |fake, left| {
        if fake.deeds().len() > 1 {
            stop(fake);
        } else {
            fake.balanced.store(1, Relaxed);
        }
        done(left.at_order_zero())
    });
    fake.post.put_back(normal(5));
    run(&fake);
    let expected = [
        Step::Balance(normal(5)),
        Step::HandOver(normal(5)),
        Step::Balance(normal(0)),
    ];
    assert_eq!(fake.deeds(), expected);
}

#[test]
fn erratum_4_after_success_the_loop_goes_on_with_new_requests() {
    let fake = Fake::new(0, |fake, left| {
        match fake.deeds().len() {
            1 => fake.post.put_back(normal(1)),
            _ => stop(fake),
        }
        done(left)
    });
    fake.post.put_back(normal(5));
    run(&fake);
    let expected = [Step::Balance(normal(5)), Step::Balance(normal(1))];
    assert_eq!(fake.deeds(), expected);
}

#[test]
fn what_an_interrupted_run_did_not_serve_is_still_asked() {
    let fake = Fake::new(0, |fake, left| {
        stop(fake);
        Balanced {
            left: left.at_order_zero(),
            end: End::Interrupted,
        }
    });
    fake.post.put_back(normal(5));
    run(&fake);
    assert_eq!(fake.post.take(), normal(5));
}

#[test]
fn requests_outlive_a_freeze() {
    let fake = Fake::new(0, |fake, left| {
        stop(fake);
        done(left)
    });
    fake.post.ask_to_freeze();
    let ward = Arc::clone(&fake);
    let thread = spawn(move || run(&ward));
    assert!(fake.post.control().wait_until_still(patience()));
    fake.post.put_back(normal(6));
    assert_eq!(fake.deeds(), []);
    fake.post.control().thaw();
    thread.join().unwrap();
    assert_eq!(fake.deeds(), [Step::Balance(normal(6))]);
}

#[test]
fn a_stop_asked_for_before_the_first_step_is_obeyed() {
    let fake = Fake::new(0, |_, left| done(left));
    fake.post.put_back(normal(6));
    stop(&fake);
    run(&fake);
    assert_eq!(fake.deeds(), []);
    assert_eq!(fake.post.take(), normal(6), "for the next thread");
}
