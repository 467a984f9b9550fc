//! Ends a process that hangs, and says first how its threads and its pools stand.
//!
//! A test that waits for ever ends by the test runner's hand, and leaves nothing behind but its name. Here a
//! thread waits beside it. If the guard is still there when the time is over, that thread prints what the system
//! knows of every thread of the process, then what the pools say of themselves, and aborts.
//!
//! This is for tests and tools, and so the one place below the daemons that starts a thread. With the feature
//! `__watched-tests`, which this crate's own tests turn on, whoever starts a thread by [`thread`](super::thread)
//! or builds a pool is watched over until its own thread ends; so no test can forget it.
//!
//! Nothing here knows of pools: what they say is a function that comes from there.

#![forbid(unsafe_code)]

mod threads;

use std::cell::RefCell;
use std::env;
use std::io::{self, Write};
use std::process;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use threads::threads;

/// For how long a test may run, unless [`LIMIT_VAR`] says otherwise. Less than a test runner waits for.
const LIMIT: Duration = Duration::from_secs(60);

/// The environment variable that says for how many seconds a test may run; with 0, for ever.
const LIMIT_VAR: &str = "PAGEPOOL_WATCHDOG_S";

/// For how long a report may take before the process ends without it.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// What the pools of this process say of themselves.
static REPORT: OnceLock<fn() -> String> = OnceLock::new();

/// From now on, reports say what `report` gives. It waits for no lock.
pub(crate) fn report_by(report: fn() -> String) {
    let _ = REPORT.set(report);
}

/// Watches over what happens while it exists: if that takes too long, the process ends, with a report on its
/// standard error of how each of its threads stands, and [every pool](crate::PoolState::of_all).
///
/// ```
/// use std::time::Duration;
///
/// use pagepool::Watchdog;
///
/// let _watchdog = Watchdog::over("the import", Duration::from_secs(600));
/// // ... what may hang
/// ```
#[derive(Debug)]
#[must_use = "nothing is watched after it was dropped"]
pub struct Watchdog(Arc<Watch>);

/// What the watched thread and the one that watches share.
#[derive(Debug, Default)]
struct Watch {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Watch {
    /// Returns whether what is watched was over within `limit`.
    fn wait(&self, limit: Duration) -> bool {
        let mut is_over = self.is_over.lock();
        self.changed
            .wait_while_for(&mut is_over, |is_over| !*is_over, limit);
        *is_over
    }
}

impl Watchdog {
    /// Watches over `what` from now on, which the report names: if the result is not dropped within `limit`, the
    /// process ends.
    ///
    /// # Panics
    /// If the system has no thread to give.
    pub fn over(what: impl Into<String>, limit: Duration) -> Watchdog {
        let what = what.into();
        let watch = Arc::new(Watch::default());
        let watched = Arc::clone(&watch);
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                if !watched.wait(limit) {
                    bite(&what, limit);
                }
            })
            .expect("the system has a thread for the watchdog");
        Watchdog(watch)
    }
}

impl Watchdog {
    /// What a watchdog prints before it ends the process: each thread's state, as the system has it, and every
    /// pool's.
    #[must_use]
    pub fn report() -> String {
        let pools = REPORT.get().map(|report| made_in_time(*report));
        threads() + &pools.unwrap_or_default()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.0.is_over.lock() = true;
        self.0.changed.notify_all();
    }
}

thread_local! {
    /// Over the test that this thread runs, until the thread ends.
    static OVER_THIS_THREAD: RefCell<Option<Watchdog>> = const { RefCell::new(None) };
}

/// Watches over the test that runs in this thread, until the thread ends; the first time only. The limit is
/// [`LIMIT`] or what [`LIMIT_VAR`] says.
///
/// # Panics
/// If that is set and no number.
#[cfg_attr(
    not(feature = "__watched-tests"),
    expect(dead_code, reason = "for tests")
)]
pub(crate) fn watch_this_test() {
    // In a thread that is about to end there is nothing to watch any more.
    let _ = OVER_THIS_THREAD.try_with(|watchdog| {
        let Ok(mut watchdog) = watchdog.try_borrow_mut() else {
            return;
        };
        if watchdog.is_some() {
            return;
        }
        let limit = limit();
        if !limit.is_zero() {
            let name = thread::current().name().map(str::to_owned);
            *watchdog = Some(Watchdog::over(name.unwrap_or("a test".into()), limit));
        }
    });
}

/// For how long a test may run, by the environment.
fn limit() -> Duration {
    let Ok(seconds) = env::var(LIMIT_VAR) else {
        // Under a test runner or cargo only: a program that was built with all features is nobody's test.
        let is_test = ["NEXTEST", "CARGO_MANIFEST_DIR"].map(|var| env::var_os(var).is_some());
        return if is_test.contains(&true) {
            LIMIT
        } else {
            Duration::ZERO
        };
    };
    match seconds.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => panic!("{LIMIT_VAR} is {seconds:?}: set it to seconds, 0 for no limit"),
    }
}

/// Says how everything stands, and ends the process.
fn bite(what: &str, limit: Duration) -> ! {
    let seconds = limit.as_secs_f32();
    say(&format!(
        "\nwatchdog: {what} is not over after {seconds} s\n"
    ));
    say(&Watchdog::report());
    say(&format!("watchdog: the process ends, since {what} hangs\n"));
    process::abort()
}

/// A report, made by a thread of its own: should it wait for a lock all the same, the process ends without it.
fn made_in_time(report: fn() -> String) -> String {
    let (sender, receiver) = mpsc::channel();
    let reporter = thread::Builder::new().spawn(move || sender.send(report()));
    match reporter {
        Err(error) => format!("no report: {error}\n"),
        Ok(_) => match receiver.recv_timeout(REPORT_LIMIT) {
            Ok(report) => report,
            Err(error) => format!("no report: {error}\n"),
        },
    }
}

/// Prints past what captures the output of tests, in one piece.
fn say(text: &str) {
    let mut out = io::stderr().lock();
    // There is nobody to tell that nothing can be told.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    /// Set in the process that is to hang, to how it hangs.
    const HANG: &str = "PAGEPOOL_HANGS";

    /// Hangs, in a process of its own.
    #[test]
    fn hangs_if_it_is_told_to() {
        let _watchdog = match env::var(HANG).as_deref() {
            Ok("with a report") => {
                report_by(|| "what it says of itself\n".into());
                Watchdog::over("a thing", Duration::from_millis(100))
            }
            Ok("in its report") => {
                report_by(|| {
                    loop {
                        thread::park();
                    }
                });
                Watchdog::over("a thing", Duration::from_millis(100))
            }
            _ => return,
        };
        thread::sleep(Duration::MAX);
    }

    fn hang(how: &str) -> Output {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "sync::watchdog::tests::hangs_if_it_is_told_to"])
            .env(HANG, how)
            .output()
            .unwrap()
    }

    #[test]
    fn what_hangs_is_ended_with_a_report() {
        let output = hang("with a report");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        for part in [
            "watchdog: a thing is not over after 0.1 s",
            "watchdog: running",
            ": sleeping",
            "what it says of itself",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }

    #[test]
    fn a_report_that_hangs_too_is_done_without() {
        let output = hang("in its report");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("no report: timed out"), "{said}");
    }

    #[test]
    fn what_is_over_in_time_is_left_alone() {
        drop(Watchdog::over("a thing", Duration::from_millis(50)));
        thread::sleep(Duration::from_millis(200));
    }
}
