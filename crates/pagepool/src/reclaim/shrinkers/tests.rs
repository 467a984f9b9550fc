use std::io;
use std::thread;
use std::time::Duration;

use super::call::Stage;
use super::*;
use crate::reclaim::policy::trust::Conduct;
use crate::sync::atomic::{AtomicBool, AtomicUsize as Count, Ordering::SeqCst};
use crate::sync::thread::JoinHandle;

type Run = Box<dyn FnOnce() + Send>;

fn spawn(name: &str, run: Run) -> io::Result<JoinHandle<()>> {
    crate::sync::thread::spawn(name, run)
}

fn no_thread(_: &str, _: Run) -> io::Result<JoinHandle<()>> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Has as many objects as it says, and holds up its scans while it is told to.
#[derive(Default)]
struct Objects {
    left: Count,
    holds: AtomicBool,
    is_inside: AtomicBool,
    priorities: CoreMutex<Vec<u8>>,
}

impl Objects {
    fn new(left: usize) -> Arc<Objects> {
        Arc::new(Objects {
            left: Count::new(left),
            ..Objects::default()
        })
    }

    fn wait_until_inside(&self) {
        while !self.is_inside.load(SeqCst) {
            thread::yield_now();
        }
    }
}

impl Shrinker for Objects {
    fn count(&self, ctl: &ShrinkControl) -> Freeable {
        self.priorities.lock().push(ctl.priority);
        Freeable::Count(self.left.load(SeqCst))
    }

    fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
        self.is_inside.store(true, SeqCst);
        while self.holds.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        let nr = nr.min(self.left.load(SeqCst));
        self.left.fetch_sub(nr, SeqCst);
        Ok(Scanned {
            freed: nr,
            scanned: nr,
        })
    }
}

fn table(most: usize, spawn: Spawn) -> Shrinkers {
    Shrinkers::new(most, 1, 0, PoolTag::of(&most), spawn)
}

fn options() -> ShrinkerOptions {
    ShrinkerOptions::new("objects").deadline(Duration::from_secs(5))
}

fn errand(priority: u8, patience: Duration) -> Errand {
    Errand {
        group: GroupId::ROOT,
        node: NodeId::at(0),
        priority,
        pressure: 100,
        deadline: clock::deadline_after(patience),
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn an_errand_is_run_and_what_is_left_is_put_off() {
    let shrinkers = table(2, spawn);
    let objects = Objects::new(10_000);
    let handle = shrinkers.register(options(), objects.clone()).unwrap();
    let takings = shrinkers.shrink(errand(4, LONG));
    assert_eq!((takings.scanned, takings.freed), (9 * 128, 9 * 128));
    let stats = handle.stats();
    assert_eq!((stats.calls, stats.deferred), (1, 98));
    shrinkers.verify().unwrap();
}

#[test]
fn without_a_thread_a_shrinker_is_not_called_and_soon_not_asked() {
    let shrinkers = table(1, no_thread);
    let handle = shrinkers.register(options(), Objects::new(1000)).unwrap();
    for _ in 0..5 {
        assert_eq!(shrinkers.shrink(errand(0, LONG)), Takings::default());
        shrinkers.verify().unwrap();
    }
    let stats = handle.stats();
    assert_eq!((stats.calls, stats.failures), (3, 3));
    assert!(matches!(stats.state, ShrinkerState::Quarantined { .. }));
    assert!(!shrinkers.is_any_ready());
    drop(handle);
    assert!(shrinkers.register(options(), Objects::new(0)).is_ok());
}

#[test]
fn who_is_late_leaves_and_the_rest_is_put_off_and_counted_later() {
    let shrinkers = table(1, spawn);
    let objects = Objects::new(1000);
    objects.holds.store(true, SeqCst);
    let handle = shrinkers.register(options(), objects.clone()).unwrap();
    let takings = shrinkers.shrink(errand(0, Duration::from_millis(20)));
    assert_eq!(takings, Takings::default());
    assert_eq!(handle.stats().state, ShrinkerState::Busy);
    assert!(!shrinkers.is_any_ready(), "nobody waits for that call");
    assert_eq!(
        shrinkers.shrink(errand(0, LONG)),
        Takings::default(),
        "nor for another"
    );

    objects.holds.store(false, SeqCst);
    while handle.stats().state == ShrinkerState::Busy {
        thread::yield_now();
    }
    // It ended after the batch that it was in. No blame: it was within its own time.
    let stats = handle.stats();
    assert_eq!((stats.scanned, stats.deferred), (128, 2000 - 128));
    assert_eq!((stats.timeouts, stats.failures), (0, 0));
    shrinkers.verify().unwrap();

    let takings = shrinkers.shrink(errand(12, LONG));
    assert_eq!(takings.scanned, 128, "what came late");
    assert_eq!(takings.freed, 0, "but it is not this one's merit");
}

#[test]
fn a_callback_that_takes_too_long_is_a_failure_once_a_call() {
    let shrinkers = table(1, spawn);
    let objects = Objects::new(1000);
    objects.holds.store(true, SeqCst);
    let short = options().deadline(Duration::from_millis(10));
    let handle = shrinkers.register(short, objects.clone()).unwrap();
    for _ in 0..3 {
        shrinkers.shrink(errand(0, LONG));
        let stats = handle.stats();
        assert_eq!((stats.timeouts, stats.failures), (1, 1));
    }
    objects.holds.store(false, SeqCst);
    while handle.stats().state == ShrinkerState::Busy {
        thread::yield_now();
    }
    assert_eq!(
        handle.stats().failures,
        1,
        "that it freed something late is no merit"
    );
    // On a busy machine ten milliseconds may not be enough the first time, for what it does in no time.
    while shrinkers.shrink(errand(0, LONG)).freed == 0 {
        thread::yield_now();
    }
    assert_eq!(handle.stats().failures, 0);
}

#[test]
fn two_that_ask_are_served_one_after_the_other() {
    let shrinkers = table(1, spawn);
    let objects = Objects::new(1000);
    objects.holds.store(true, SeqCst);
    let handle = shrinkers.register(options(), objects.clone()).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| shrinkers.shrink(errand(1, LONG)));
        objects.wait_until_inside();
        let second = scope.spawn(|| shrinkers.shrink(errand(0, LONG)));
        thread::sleep(Duration::from_millis(20));
        assert_eq!(handle.stats().calls, 1);
        objects.holds.store(false, SeqCst);
        let freed = first.join().unwrap().freed + second.join().unwrap().freed;
        assert_eq!(freed, 1000 - objects.left.load(SeqCst));
    });
    assert_eq!(*objects.priorities.lock(), [1, 0]);
    shrinkers.verify().unwrap();
}

#[test]
fn a_shrinker_whose_turn_does_not_come_in_time_is_not_asked() {
    let shrinkers = table(1, spawn);
    let objects = Objects::new(1000);
    objects.holds.store(true, SeqCst);
    let handle = shrinkers.register(options(), objects.clone()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| shrinkers.shrink(errand(1, LONG)));
        objects.wait_until_inside();
        let takings = shrinkers.shrink(errand(0, Duration::from_millis(20)));
        assert_eq!(takings, Takings::default());
        objects.holds.store(false, SeqCst);
    });
    assert_eq!(handle.stats().calls, 1);
}

#[test]
fn each_errand_begins_with_another_shrinker() {
    let shrinkers = table(3, spawn);
    let all = [(); 3].map(|()| Objects::new(0));
    let _handles = all
        .each_ref()
        .map(|objects| shrinkers.register(options(), objects.clone()).unwrap());
    let order = |shrinkers: &Shrinkers| {
        let desks = shrinkers.0.in_turn();
        desks.map(|desk| desk.idx).collect::<Vec<_>>()
    };
    assert_eq!(order(&shrinkers), [0, 1, 2]);
    assert_eq!(order(&shrinkers), [1, 2, 0]);
    assert_eq!(order(&shrinkers), [2, 0, 1]);
}

#[test]
fn places_are_taken_and_vacated() {
    let shrinkers = table(2, spawn);
    let register = || shrinkers.register(options(), Objects::new(0));
    let (first, second) = (register().unwrap(), register().unwrap());
    let refused = register().unwrap_err();
    let expected = ShrinkerError::TooMany {
        limit: 2,
        most: MAX_SHRINKERS,
    };
    assert_eq!(refused, expected);
    drop(first);
    let third = register().unwrap();
    assert_eq!(shrinkers.stats().len(), 2);
    drop((second, third));
    assert!(shrinkers.stats().is_empty());
}

#[test]
fn what_was_asked_for_and_is_nowhere_is_a_violation() {
    let shrinkers = table(1, spawn);
    let handle = shrinkers.register(options(), Objects::new(1000)).unwrap();
    shrinkers.shrink(errand(6, LONG));
    shrinkers.verify().unwrap();
    let desk = shrinkers.0.in_order(0).next().unwrap();
    let deferred = desk.deferred[0].swap(0, SeqCst);
    assert!(deferred > 0);
    assert_eq!(shrinkers.verify().unwrap_err().invariant(), "H2");
    desk.deferred[0].store(deferred, SeqCst);
    shrinkers.verify().unwrap();

    let mut state = desk.state.lock();
    state.barred_until = Some(clock::now());
    drop(state);
    assert_eq!(shrinkers.verify().unwrap_err().invariant(), "Q1");
    let mut state = desk.state.lock();
    state.judge(Conduct::Freed, clock::now());
    state.barred_until = None;
    state.has_worker = false;
    let job = Job {
        node: NodeId::at(0),
        group: GroupId::ROOT,
        at: 0,
        priority: 0,
        pressure: 100,
        callers: callback::current(),
    };
    state.stage = Stage::Called(job);
    drop(state);
    assert_eq!(shrinkers.verify().unwrap_err().invariant(), "H1");
    let mut state = desk.state.lock();
    (state.stage, state.has_worker) = (Stage::Idle, true);
    drop(state);
    drop(handle);
}

#[test]
fn the_budget_covers_every_shrinker_and_its_name() {
    let (none, one) = (Shrinkers::bytes_for(0, 2, 3), Shrinkers::bytes_for(1, 2, 3));
    assert!(one - none < 1024, "{} bytes each", one - none);
    let name = "x".repeat(shrinker::MAX_NAME);
    let shrinkers = table(1, spawn);
    let handle = shrinkers.register(ShrinkerOptions::new(name), Objects::new(0));
    assert!(handle.is_ok());
}
