//! Runs one execution: shuttle's scheduler, with the rules of the simulated world on top.
//!
//! - The timekeeper runs when nobody else can, and once in a while before: then deadlines pass early, as for a
//!   thread that the system did not run for a time.
//! - While somebody [settles](settle), all others run until each of them waits.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use fastrand::Rng;
use pagepool::sim;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// The second task of an execution, after the one that begins it.
const TIMEKEEPER: usize = 1;

/// Choices after which one operation counts as hung.
const MAX_STEPS: usize = 30_000_000;

/// Bytes of a task's stack.
const STACK: usize = 4 << 20;

std::thread_local! {
    /// The task that waits for all others to wait.
    static SETTLING: Cell<Option<usize>> = const { Cell::new(None) };
    /// What went wrong first.
    static FIRST_PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// Any scheduler, with the rules of the world on top.
struct Director<S> {
    inner: S,
    dice: Rng,
    early: u64,
}

/// How an execution is decided, beside the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Of everything that is left to chance.
    pub seed: u64,
    /// See [`sim::begin`].
    pub density: u32,
    /// The timekeeper may run early at one choice in so many; never, if it is 0.
    pub early: u64,
}

impl<S: Scheduler> Scheduler for Director<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.inner.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let settling = SETTLING.get();
        let may_be_early = settling.is_none() && self.early > 0;
        let is_early = may_be_early && self.dice.u64(..self.early) == 0;
        let number = |task: &Task| usize::from(task.id());
        let plays = |task: &Task| {
            // A parked task may be run too, as if it woke for no reason; then time would never pass.
            task.runnable()
                && (is_early || number(task) != TIMEKEEPER)
                && Some(number(task)) != settling
        };
        let mut cast = [runnable[0]; 64];
        let mut nr = 0;
        // Far more than a small pool has; of more, the last wait for a later choice.
        let most = cast.len();
        for &task in runnable.iter().filter(|&&task| plays(task)).take(most) {
            cast[nr] = task;
            nr += 1;
        }
        if nr == 0 {
            let last = |wanted| {
                let mut able = runnable.iter().filter(|task| task.runnable());
                able.find(|task| Some(number(task)) == wanted)
            };
            let last = last(settling).or(last(Some(TIMEKEEPER)));
            return last.or(runnable.first()).map(|task| task.id());
        }
        self.inner.next_task(&cast[..nr], current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}

/// Lets all others run until each of them waits, then returns. No time passes but what they take.
pub fn settle() {
    SETTLING.set(Some(usize::from(shuttle::current::me())));
    shuttle::thread::yield_now();
    SETTLING.set(None);
}

/// Runs `program` as the first task of each execution that a scheduler of shuttle's wants. Returns what the
/// last one took on the simulation's clock.
///
/// # Errors
/// What one of them panicked with, or that it hangs.
pub fn run(
    scheduler: impl Scheduler + 'static,
    terms: Terms,
    program: impl Fn() + Send + Sync + 'static,
) -> Result<Duration, String> {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;

    let director = Director {
        inner: scheduler,
        dice: Rng::with_seed(terms.seed),
        early: terms.early,
    };
    SETTLING.set(None);
    note_panics();
    let runner = Runner::new(director, config);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            sim::begin(terms.seed, terms.density);
            let timekeeper = shuttle::thread::spawn(sim::keep_time);
            program();
            sim::end();
            timekeeper.join().expect("it does not panic");
        })
    }));
    match ran {
        // One that the pool has caught counts too: nothing here panics on purpose.
        Ok(_) => FIRST_PANIC.take().map_or(Ok(sim::time()), Err),
        Err(_) => Err(FIRST_PANIC.take().unwrap_or_default()),
    }
}

/// Has the first panic of an execution noted. An execution ends with it, and says no more than that it did.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string);
            let payload = info.payload();
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("a panic without a message");
            let mut told = format!("{text} (at {})", place.unwrap_or_default());
            if std::env::var_os("PAGEPOOL_SIM_BACKTRACE").is_some() {
                let trace = std::backtrace::Backtrace::force_capture();
                told.push_str(&format!("\n{trace}"));
            }
            let first = FIRST_PANIC.take().unwrap_or(told);
            FIRST_PANIC.set(Some(first));
        }));
    });
    FIRST_PANIC.set(None);
}
