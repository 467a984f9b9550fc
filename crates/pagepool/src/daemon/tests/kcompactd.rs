//! The steps of kcompactd, on a site whose answers a test scripts.

use std::sync::Arc;
use std::time::Duration;

use super::{asked, eventually, patience, spawn};
use crate::compact::{Compacted, Proactive};
use crate::daemon::kcompactd::{self, FIRST_PAUSE, Site};
use crate::node::{DaemonPost, StartBy};
use crate::sync::{CoreMutex, FenceNames, Requests, clock, thread};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// What the thread did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Compact(Requests),
    Look,
    Count(VmEvent),
}

use Step::{Compact, Look};

/// What comes of a step; it is noted already.
type OnCompact = Box<dyn Fn(&Fake, Requests) -> Compacted + Send + Sync>;
type OnLook = Box<dyn Fn(&Fake) -> Proactive + Send + Sync>;

struct Fake {
    post: DaemonPost,
    on_compact: OnCompact,
    on_look: OnLook,
    steps: CoreMutex<Vec<Step>>,
}

impl Fake {
    fn new(
        on_compact: impl Fn(&Fake, Requests) -> Compacted + Send + Sync + 'static,
        on_look: impl Fn(&Fake) -> Proactive + Send + Sync + 'static,
    ) -> Arc<Fake> {
        let fake = Fake {
            post: DaemonPost::new(FenceNames {
                waker: "kcompactd.waker",
                sleeper: "kcompactd.sleeper",
            }),
            on_compact: Box::new(on_compact),
            on_look: Box::new(on_look),
            steps: CoreMutex::default(),
        };
        fake.post.control().begin();
        Arc::new(fake)
    }

    /// One whose requests are done at once, and which stops after so many steps.
    fn stops_after(nr: usize, look: Proactive) -> Arc<Fake> {
        let stop_after = move |fake: &Fake| {
            if fake.deeds().len() == nr {
                fake.post.ask_to_stop();
            }
        };
        Fake::new(
            move |fake, _| {
                stop_after(fake);
                Compacted::Done
            },
            move |fake| {
                stop_after(fake);
                look
            },
        )
    }

    fn ask(&self, order: u8) {
        self.post.post(
            ZoneType::Normal,
            Order::at(usize::from(order)),
            StartBy::Caller,
        );
    }

    fn note(&self, step: Step) {
        self.steps.lock().push(step);
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }

    /// The steps but for counters.
    fn deeds(&self) -> Vec<Step> {
        let is_deed = |step: &Step| matches!(step, Compact(_) | Look);
        self.steps().into_iter().filter(is_deed).collect()
    }

    fn is_asleep(&self) -> bool {
        self.post.queue().has_sleeper()
    }
}

impl Site for Arc<Fake> {
    fn nid(&self) -> NodeId {
        NodeId::at(0)
    }

    fn post(&self) -> &DaemonPost {
        &self.post
    }

    fn compact(&self, asked: Requests, _is_interrupted: &dyn Fn() -> bool) -> Compacted {
        self.note(Compact(asked));
        (self.on_compact)(self, asked)
    }

    fn compact_proactively(&self, is_interrupted: &dyn Fn() -> bool) -> Proactive {
        assert!(!is_interrupted(), "requests are served first");
        self.note(Look);
        let outcome = (self.on_look)(self);
        if !self.post.asked().without_look().is_empty() {
            assert!(is_interrupted(), "a look ends for whoever asks");
        }
        outcome
    }

    fn settle_on_cpus(&mut self) {}

    fn count(&self, event: VmEvent) {
        self.note(Step::Count(event));
    }
}

fn normal(order: u8) -> Requests {
    asked(&[(ZoneType::Normal, order)])
}

/// Runs the loop in this thread until its script stops it.
fn run(fake: &Arc<Fake>) {
    kcompactd::run(&mut Arc::clone(fake));
}

fn start(fake: &Arc<Fake>) -> thread::JoinHandle<()> {
    let fake = Arc::clone(fake);
    spawn(move || run(&fake))
}

fn stop(fake: &Fake, thread: thread::JoinHandle<()>) {
    fake.post.ask_to_stop();
    thread.join().unwrap();
}

#[test]
fn what_was_asked_before_the_first_run_is_served_and_counted_once() {
    let fake = Fake::stops_after(1, Proactive::Satisfied);
    fake.ask(4);
    run(&fake);
    let counted = Step::Count(VmEvent::KcompactdWake);
    assert_eq!(fake.steps(), [counted, Compact(normal(4))]);
    assert!(fake.post.take().is_empty());
}

#[test]
fn a_thread_that_nobody_asks_sleeps_and_does_nothing() {
    let fake = Fake::stops_after(1, Proactive::Satisfied);
    let thread = start(&fake);
    eventually("asleep", || fake.is_asleep());
    // A wake without a reason changes nothing.
    fake.post.queue().wake_all();
    eventually("asleep again", || fake.is_asleep());
    stop(&fake, thread);
    assert_eq!(fake.steps(), [], "and there is no last work");
}

#[test]
fn a_sleeper_is_woken_by_what_it_is_asked() {
    let fake = Fake::stops_after(2, Proactive::Satisfied);
    let thread = start(&fake);
    eventually("asleep", || fake.is_asleep());
    fake.ask(3);
    eventually("asleep again", || {
        fake.is_asleep() && fake.deeds().len() == 1
    });
    fake.ask(1);
    thread.join().unwrap();
    assert_eq!(fake.deeds(), [Compact(normal(3)), Compact(normal(1))]);
}

/// R8: in v5.0 the reset after a run wipes what was asked meanwhile for no more than it worked for.
#[test]
fn whatever_is_asked_during_a_run_is_served_by_the_next() {
    for second in [1, 3, 9] {
        let fake = Fake::new(
            move |fake, _| {
                match fake.deeds().len() {
                    1 => fake.ask(second),
                    _ => fake.post.ask_to_stop(),
                }
                Compacted::Done
            },
            |_| Proactive::Satisfied,
        );
        fake.ask(3);
        run(&fake);
        assert_eq!(fake.deeds(), [Compact(normal(3)), Compact(normal(second))]);
    }
}

#[test]
fn what_an_interrupted_run_left_is_asked_still_beside_what_came_meanwhile() {
    let fake = Fake::new(
        |fake, _| {
            fake.post
                .post(ZoneType::Movable, Order::at(2), StartBy::Caller);
            fake.post.ask_to_stop();
            Compacted::Interrupted { left: normal(3) }
        },
        |_| Proactive::Satisfied,
    );
    fake.ask(3);
    fake.post.post(ZoneType::Dma, Order::at(5), StartBy::Caller);
    run(&fake);
    let left = asked(&[(ZoneType::Normal, 3), (ZoneType::Movable, 2)]);
    assert_eq!(fake.post.take(), left);
}

#[test]
fn a_stop_asked_for_before_the_first_step_is_obeyed_and_requests_stay() {
    let fake = Fake::stops_after(1, Proactive::Satisfied);
    fake.ask(6);
    fake.post.ring(StartBy::Caller);
    fake.post.ask_to_stop();
    run(&fake);
    assert_eq!(fake.steps(), []);
    assert_eq!(fake.post.take(), normal(6).union(Requests::LOOK));
}

#[test]
fn requests_and_rings_outlive_a_freeze() {
    let fake = Fake::stops_after(2, Proactive::Satisfied);
    fake.post.ask_to_freeze();
    let thread = start(&fake);
    assert!(fake.post.control().wait_until_still(patience()));
    fake.ask(6);
    fake.post.ring(StartBy::Caller);
    assert_eq!(fake.steps(), []);
    fake.post.control().thaw();
    thread.join().unwrap();
    assert_eq!(fake.deeds(), [Compact(normal(6)), Look]);
}

// ---- without a request ----

#[test]
fn a_ring_has_the_thread_look_once() {
    let fake = Fake::stops_after(usize::MAX, Proactive::Satisfied);
    let thread = start(&fake);
    for nr in 1..=2 {
        eventually("asleep", || fake.is_asleep());
        fake.post.ring(StartBy::Caller);
        eventually("looked", || fake.deeds().len() == nr);
    }
    eventually("asleep", || fake.is_asleep());
    stop(&fake, thread);
    assert_eq!(fake.steps(), [Look, Look], "a look is no wake");
}

#[test]
fn as_long_as_there_is_progress_the_thread_looks_again() {
    let fake = Fake::stops_after(4, Proactive::Progress);
    fake.post.ring(StartBy::Caller);
    run(&fake);
    assert_eq!(fake.deeds(), [Look; 4]);
    assert_eq!(fake.post.take(), Requests::LOOK, "it was not finished");
}

#[test]
fn requests_come_before_looks_and_between_them() {
    let fake = Fake::new(
        |_, _| Compacted::Done,
        |fake| match fake.deeds().len() {
            2 => {
                fake.ask(5);
                Proactive::Progress
            }
            _ => {
                fake.post.ask_to_stop();
                Proactive::Satisfied
            }
        },
    );
    fake.ask(3);
    fake.post.ring(StartBy::Caller);
    run(&fake);
    let expected = [Compact(normal(3)), Look, Compact(normal(5)), Look];
    assert_eq!(fake.deeds(), expected);
}

#[test]
fn after_a_look_in_vain_rings_wait_and_wake_nobody_twice() {
    let fake = Fake::stops_after(usize::MAX, Proactive::NoBetter);
    let thread = start(&fake);
    fake.post.ring(StartBy::Caller);
    eventually("looked", || fake.deeds() == [Look] && fake.is_asleep());
    // The first ring has the thread set a timer, the others are silent.
    fake.post.ring(StartBy::Caller);
    eventually("kept", || fake.is_asleep() && fake.post.asked().has_look());
    thread::sleep(Duration::from_millis(20));
    assert!(fake.is_asleep());
    fake.post.ring(StartBy::Caller);
    assert!(fake.is_asleep(), "it was not woken");
    assert_eq!(fake.deeds(), [Look]);
    stop(&fake, thread);
    assert_eq!(fake.post.take(), Requests::LOOK);
}

#[test]
fn a_request_ends_the_back_off() {
    let fake = Fake::stops_after(usize::MAX, Proactive::NoBetter);
    let thread = start(&fake);
    fake.post.ring(StartBy::Caller);
    eventually("looked", || fake.deeds() == [Look]);
    fake.post.ring(StartBy::Caller);
    fake.ask(2);
    let expected = [Look, Compact(normal(2)), Look];
    eventually("looked again", || fake.deeds() == expected);
    stop(&fake, thread);
}

#[test]
fn a_new_thread_knows_nothing_of_a_back_off() {
    let fake = Fake::stops_after(1, Proactive::NoBetter);
    fake.post.ring(StartBy::Caller);
    run(&fake);
    fake.post.ring(StartBy::Caller);
    fake.post
        .control()
        .end(crate::node::daemon_control::Ending::Stopped);
    fake.post.control().begin();
    let thread = start(&fake);
    eventually("looked again", || fake.deeds() == [Look; 2]);
    stop(&fake, thread);
}

#[test]
fn looks_that_move_nothing_come_more_and_more_rarely() {
    let fake = Fake::stops_after(usize::MAX, Proactive::NotNow);
    let thread = start(&fake);
    let enough = clock::deadline_after(15 * FIRST_PAUSE).unwrap();
    for looks in 1..=5 {
        fake.post.ring(StartBy::Caller);
        eventually("looked", || fake.deeds().len() == looks && fake.is_asleep());
    }
    // 8, 16, 32 and 64 ms lie between them.
    assert!(clock::now() >= enough);
    stop(&fake, thread);
}
