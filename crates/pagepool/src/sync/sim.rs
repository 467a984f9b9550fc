//! The world of a simulation: whose turn it is, what time it is, and which CPU a thread runs on, all of it
//! decided by a seed.
//!
//! Built with `--cfg shuttle`, the pool's threads are shuttle's tasks: they take turns on one real thread, and
//! whoever runs goes on until it waits or comes to a *point*, an access to an atomic or a lock, at which
//! shuttle's scheduler may choose another. So what happens depends on the scheduler and on this world only, and
//! the same seed gives the same history. Shuttle knows no weak memory: every access is sequentially consistent
//! here, and what rests on an order of memory is loom's to check.
//!
//! **Time** is a number. It passes a little with each look at the clock; and when everybody waits, a task of
//! its own, the [timekeeper](keep_time), moves it to the earliest deadline and rings there. A scheduler that
//! lets it run earlier makes deadlines pass early, as on a slow machine.
//!
//! **Density.** A point at every access is thorough and slow. With a density of n, one access in n is a point,
//! by chance.
//!
//! **Invariants**
//! - I1: a world belongs to one execution, and everything in it is a function of the seed and of the order in
//!   which tasks ran.
//! - I2: an alarm rings again until its sleeper has taken it away: a bell that rings before its sleeper
//!   listens is not lost.
//!
//! Not here: the scheduler, and what tasks do.

pub(super) mod lock;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::thread::{self, Thread};

use super::rng::Rng;

/// CPUs of a simulation, whatever the machine has.
pub const NR_CPUS: usize = 4;

/// Nanoseconds that pass with each look at the clock: what the work between two looks may well take.
const LOOK: u64 = 5_000;

/// A thread stays on its CPU for so many questions on average.
const MIGRATION: u64 = 32;

/// What rings at a point in time.
type Bell = Arc<dyn Fn()>;

/// A sleeper that is to be rung for.
struct Alarm {
    id: u64,
    at: u64,
    bell: Bell,
}

struct World {
    rng: Cell<u64>,
    density: Cell<u32>,
    now: Cell<u64>,
    is_over: Cell<bool>,
    next_alarm: Cell<u64>,
    alarms: RefCell<Vec<Alarm>>,
    timekeeper: RefCell<Option<Thread>>,
}

std::thread_local! {
    // Of the real thread, which runs one execution at a time.
    static WORLD: World = const {
        World {
            rng: Cell::new(0),
            density: Cell::new(1),
            now: Cell::new(1),
            is_over: Cell::new(false),
            next_alarm: Cell::new(0),
            alarms: RefCell::new(Vec::new()),
            timekeeper: RefCell::new(None),
        }
    };
    // Accesses until the next point. Apart, since it is asked at each of them.
    static UNTIL_POINT: Cell<u32> = const { Cell::new(1) };
    // Shuttle's own atomic: an access to it is a choice of the scheduler's.
    static CHOICE: AtomicBool = const { AtomicBool::new(false) };
}

shuttle::thread_local! {
    static CPU: Cell<usize> = Cell::new(random_below(NR_CPUS as u64) as usize);
}

/// Begins a world: the first thing that an execution does. With a `density` of n, one access to an atomic in
/// n is a point, by chance; 0 counts as 1.
pub fn begin(seed: u64, density: u32) {
    WORLD.with(|world| {
        world.rng.set(seed);
        world.density.set(density.max(1));
        UNTIL_POINT.set(1);
        world.now.set(1);
        world.is_over.set(false);
        world.next_alarm.set(0);
        world.alarms.borrow_mut().clear();
        *world.timekeeper.borrow_mut() = None;
    });
}

/// Moves time on when everybody waits, until the world [ends](end) and nobody sleeps in it: the whole life of
/// the task that an execution starts for it.
pub fn keep_time() {
    WORLD.with(|world| *world.timekeeper.borrow_mut() = Some(thread::current()));
    while WORLD.with(World::goes_on) {
        let bells = WORLD.with(World::next_bells);
        if bells.is_empty() {
            thread::park();
        }
        for bell in bells {
            bell();
        }
        thread::yield_now();
    }
}

/// Ends the world: the last thing that an execution does, before it waits for the timekeeper.
pub fn end() {
    let timekeeper = WORLD.with(|world| {
        world.is_over.set(true);
        world.timekeeper.borrow().clone()
    });
    if let Some(timekeeper) = timekeeper {
        timekeeper.unpark();
    }
}

/// Nanoseconds since the world began, a few more at each call.
pub(super) fn now() -> u64 {
    WORLD.with(|world| {
        let now = world.now.get() + LOOK;
        world.now.set(now);
        now
    })
}

/// Nanoseconds since the world began, without passing any: for who watches.
#[must_use]
pub fn time() -> Duration {
    Duration::from_nanos(WORLD.with(|world| world.now.get()))
}

/// The next number below `bound` of the world's own sequence.
pub(super) fn random_below(bound: u64) -> u64 {
    WORLD.with(|world| world.below(bound))
}

/// The CPU that this task runs on: the same as before, most of the time.
pub(super) fn current_cpu() -> usize {
    CPU.with(|cpu| {
        if random_below(MIGRATION) == 0 {
            cpu.set(random_below(NR_CPUS as u64) as usize);
        }
        cpu.get()
    })
}

/// Suspends this task until time has passed.
pub fn pause(duration: Duration) {
    let until = time().saturating_add(duration);
    let me = thread::current();
    let alarm = set_alarm(until, move || me.unpark());
    while time() < until {
        thread::park();
    }
    drop(alarm);
}

/// Has `bell` ring when `after` has passed, and again until the result is dropped.
pub(super) fn ring_after(after: Duration, bell: impl Fn() + 'static) -> AlarmSet {
    set_alarm(time().saturating_add(after), bell)
}

fn set_alarm(at: Duration, bell: impl Fn() + 'static) -> AlarmSet {
    let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    let (set, timekeeper) = WORLD.with(|world| {
        let id = world.next_alarm.get();
        world.next_alarm.set(id + 1);
        let bell = Arc::new(bell);
        world.alarms.borrow_mut().push(Alarm { id, at, bell });
        (AlarmSet(id), world.timekeeper.borrow().clone())
    });
    if let Some(timekeeper) = timekeeper {
        timekeeper.unpark();
    }
    set
}

/// An alarm that is set; dropping it takes it away.
#[must_use = "the alarm is taken away when this is dropped"]
pub(super) struct AlarmSet(u64);

impl Drop for AlarmSet {
    fn drop(&mut self) {
        WORLD.with(|world| world.alarms.borrow_mut().retain(|alarm| alarm.id != self.0));
    }
}

impl World {
    fn below(&self, bound: u64) -> u64 {
        let mut rng = Rng::new(self.rng.get());
        let number = rng.below(bound);
        self.rng.set(rng.state());
        number
    }

    /// Whether somebody may still wait for time to pass.
    fn goes_on(&self) -> bool {
        !self.is_over.get() || !self.alarms.borrow().is_empty()
    }

    /// Accesses from a point to the next: between 1 and twice the density less 1, the density on average.
    fn draw_interval(&self) -> u32 {
        let spread = u64::from(self.density.get()) * 2 - 1;
        1 + self.below(spread) as u32
    }

    /// The bells of all alarms that are due; if none is, of the earliest, to which time moves on.
    fn next_bells(&self) -> Vec<Bell> {
        let alarms = self.alarms.borrow();
        let Some(earliest) = alarms.iter().map(|alarm| alarm.at).min() else {
            return Vec::new();
        };
        let now = self.now.get().max(earliest);
        self.now.set(now);
        let due = alarms.iter().filter(|alarm| alarm.at <= now);
        due.map(|alarm| Arc::clone(&alarm.bell)).collect()
    }
}

/// A place where another thread may go on, unless this one unwinds.
#[inline]
pub(super) fn point() {
    let left = UNTIL_POINT.get();
    if left > 1 {
        UNTIL_POINT.set(left - 1);
    } else {
        choose();
    }
}

#[cold]
fn choose() {
    UNTIL_POINT.set(WORLD.with(World::draw_interval));
    if !std::thread::panicking() {
        CHOICE.with(|choice| choice.load(SeqCst));
    }
}

/// Runs `f` without points, so that others run only when it waits.
pub fn undisturbed<R>(f: impl FnOnce() -> R) -> R {
    let before = WORLD.with(|world| world.density.replace(u32::MAX >> 1));
    UNTIL_POINT.set(u32::MAX);
    let result = f();
    WORLD.with(|world| world.density.set(before));
    UNTIL_POINT.set(1);
    result
}

/// What stands beside each atomic, and takes no room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe;

impl Probe {
    pub(super) fn new() -> Probe {
        Probe
    }

    /// Comes before each access.
    #[inline]
    pub(super) fn touch(self) {
        point();
    }
}
