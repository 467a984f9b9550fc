//! Real threads and real deadlines; the orders of events that matter are in the models.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use crate::sync::clock::{deadline_after, now};
use crate::sync::parker::DaemonPark;
use crate::sync::{CoreMutex, Rank, thread};

const NAMES: FenceNames = FenceNames {
    waker: "test.waker",
    sleeper: "test.sleeper",
};
const SOON: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(60);

fn queue<P: Park>() -> WaitQueue<P> {
    WaitQueue::new(NAMES)
}

/// Waits until `nr` threads are on the queue.
fn await_sleepers<P: Park>(queue: &WaitQueue<P>, nr: u32) {
    while queue.nr_sleepers.load(Relaxed) != nr {
        thread::yield_now();
    }
}

#[test]
fn nobody_is_woken_where_nobody_sleeps() {
    let queue = queue::<CorePark>();
    assert!(!queue.has_sleeper());
    assert_eq!(queue.wake_all(), 0);
    assert_eq!(queue.park.lock().epoch, 0); // I2
}

#[test]
fn a_true_condition_does_not_sleep_and_leaves_no_entry() {
    let queue = queue::<CorePark>();
    let mut seen_on_queue = false;
    let outcome = queue.wait(None, || {
        seen_on_queue = queue.has_sleeper();
        true
    });
    assert_eq!(outcome, WaitOutcome::Ready);
    assert!(seen_on_queue);
    assert!(!queue.has_sleeper());
}

#[test]
fn a_wake_between_entry_and_sleep_is_not_lost() {
    let queue = queue::<CorePark>();
    let entry = queue.enqueue();
    assert_eq!(queue.wake_all(), 1);
    assert_eq!(entry.sleep(None), SleepOutcome::Woken);
}

#[test]
fn a_woken_thread_costs_later_wakers_nothing() {
    let queue = queue::<CorePark>();
    let woken = queue.enqueue();
    assert_eq!(queue.wake_all(), 1);
    assert!(!queue.has_sleeper()); // though `woken` has not run
    assert_eq!(queue.wake_all(), 0);

    let next = queue.enqueue();
    drop(woken); // of a past epoch: does not remove the other's entry
    assert!(queue.has_sleeper());
    drop(next);
    assert!(!queue.has_sleeper());
}

#[test]
fn a_condition_that_unwinds_leaves_no_entry() {
    let queue = queue::<CorePark>();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        queue.wait(None, || panic!("in the condition"))
    }));
    assert!(unwound.is_err());
    assert!(!queue.has_sleeper());
}

fn assert_times_out<P: Park>() {
    let queue = queue::<P>();
    let before = now();
    assert_eq!(
        queue.wait(deadline_after(SOON), || false),
        WaitOutcome::TimedOut
    );
    assert!(now().saturating_duration_since(before) >= SOON);
    assert!(!queue.has_sleeper()); // I3
}

#[test]
fn a_deadline_ends_the_sleep_of_an_application_thread() {
    assert_times_out::<CorePark>();
}

#[test]
fn a_deadline_ends_the_nap_of_a_daemon() {
    assert_times_out::<DaemonPark>();
}

fn assert_bell_alone_does_not_wake<P: Park>() {
    let queue = queue::<P>();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| queue.wait(deadline_after(4 * SOON), || false));
        await_sleepers(&queue, 1);
        for _ in 0..4 {
            thread::sleep(SOON / 4);
            queue.park.ring(); // what a spurious wake-up looks like
        }
        assert_eq!(sleeper.join().expect("no panic"), WaitOutcome::TimedOut);
    });
}

#[test]
fn a_spurious_wake_up_is_not_a_wake() {
    assert_bell_alone_does_not_wake::<CorePark>();
    assert_bell_alone_does_not_wake::<DaemonPark>();
}

fn assert_all_are_woken<P: Park>() {
    let queue = queue::<P>();
    std::thread::scope(|scope| {
        let sleepers = [(); 4].map(|()| {
            scope.spawn(|| {
                let before = now();
                let outcome = queue.wait(deadline_after(NEVER), || false);
                (outcome, now().saturating_duration_since(before))
            })
        });
        await_sleepers(&queue, 4);
        assert_eq!(queue.wake_all(), 4);
        for sleeper in sleepers {
            let (outcome, slept) = sleeper.join().expect("no panic");
            assert_eq!(outcome, WaitOutcome::Woken);
            assert!(slept < NEVER);
        }
    });
    assert!(!queue.has_sleeper());
}

#[test]
fn one_wake_wakes_all() {
    assert_all_are_woken::<CorePark>();
    assert_all_are_woken::<DaemonPark>();
}

#[test]
fn wait_until_looks_a_last_time_after_the_deadline() {
    let queue = queue::<CorePark>();
    let mut looks = 0;
    let said = queue.wait_until(deadline_after(SOON), || {
        looks += 1;
        looks == 3 // before the queue, on the queue, after the deadline
    });
    assert!(said);
    assert_eq!(looks, 3);
    assert!(!queue.wait_until(deadline_after(SOON), || false));
}

#[test]
fn a_baton_passed_between_two_threads_is_never_dropped() {
    const ROUNDS: u32 = 2_000;
    let queue = Arc::new(queue::<CorePark>());
    let ball = Arc::new(AtomicBool::new(false));
    let player = |mine: bool| {
        let (queue, ball) = (Arc::clone(&queue), Arc::clone(&ball));
        thread::spawn("player", move || {
            for _ in 0..ROUNDS {
                // Acquire pairs with the Release of the other player.
                assert!(queue.wait_until(deadline_after(NEVER), || ball.load(Acquire) == mine));
                ball.store(!mine, Release);
                queue.wake_all();
            }
        })
    };
    for thread in [player(false), player(true)] {
        thread
            .expect("threads are to be had")
            .join()
            .expect("no wake-up was lost");
    }
    assert!(!queue.has_sleeper());
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "lock order: waking")]
fn waking_under_a_zone_lock_panics() {
    let zone = CoreMutex::ranked(Rank::Zone, ());
    let _held = zone.lock();
    queue::<CorePark>().wake_all();
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "lock order: going to sleep")]
fn sleeping_under_a_zone_lock_panics() {
    let zone = CoreMutex::ranked(Rank::Zone, ());
    let _held = zone.lock();
    queue::<CorePark>().wait(deadline_after(SOON), || false);
}

/// A waiter that was woken between its look and its sleep each time never came to look at the clock:
/// somebody who frees all the time hid the deadline.
#[test]
fn a_steady_waker_does_not_hide_the_deadline() {
    let queue = queue::<CorePark>();
    let start = now();
    let made = queue.wait_until(deadline_after(Duration::from_millis(20)), || {
        queue.wake_all();
        now().saturating_duration_since(start) > Duration::from_secs(10)
    });
    assert!(!made);
}
