//! The thread that follows the memory limit of the process while its pool runs: `pool-limit`.
//!
//! *Kernel counterpart:* none in a process; what it answers to is `memory_max_write`, `memory_high_write` and
//! `mem_cgroup_resize_max` (v5.0), by which somebody outside cuts the limit.
//!
//! It looks at the limit four times a second, a small read a file. Being told would be cheaper, and cannot be had:
//! a container sees its limits through a mount of its own, and what the host writes through another is announced
//! there to nobody. So the thread exists only where somebody asks for it, and is the only one of a pool that
//! does anything while nothing happens.
//!
//! - [`LimitWatch`]: the thread, its start and its end, and what it has counted.
//! - [`Container`]: what it looks at, and what it acts on; given from above.
//! - `follower` (pure): when to act, and when to try again.
//!
//! **Invariants**
//! - T1: the handle is there from a successful start to the end of a stop; whoever changes that holds its lock.
//! - T2: a stop returns after the thread has ended. Between two steps of the work it sees that it is to stop; a
//!   step takes no longer than [`SLICE`] and what it waits for.
//! - T3: what cannot be read changes nothing: the limit that was read last stays in force.
//!
//! **Locking:** whether it is to stop stands under a lock of its own, which it takes for a look; the handle's lock
//! is held while the thread is waited for, and the thread never takes it.
//!
//! Not here: how a limit is found (`host`), and how a pool becomes smaller (`pool/budget`).

mod follower; // when to act (pure)

use std::io;
use std::sync::Arc;
use std::time::Duration;

use follower::Follower;

use crate::error::LimitError;
use crate::node::DaemonState;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::clock;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{CoreMutex, Mutex, WaitQueue};

pub(crate) use follower::Fit;

/// What the thread is called.
pub(crate) const NAME: &str = "pool-limit";

/// How long the work goes on before the limit is looked at again: so long a cut that comes during another may be
/// overlooked.
const SLICE: Duration = Duration::from_millis(200);

/// What the thread looks at and acts on.
pub(crate) trait Container: Send + 'static {
    /// The limit in force now, in bytes.
    fn look(&mut self) -> Result<u64, LimitError>;

    /// Has the pool have no more than its share of a limit, or as much again. Returns after `patience` at the
    /// latest, but for what it waits for then.
    fn fit(&self, limit: u64, patience: Duration) -> Fit;
}

/// What became of the thread, and of what it is to do.
#[derive(Debug)]
struct Standing {
    state: DaemonState,
    is_to_stop: bool,
    /// What was wrong with the limit when it was last looked at.
    error: Option<String>,
}

/// What the thread shares with who asks after it.
#[derive(Debug)]
struct Shared {
    standing: CoreMutex<Standing>,
    bell: WaitQueue,
    /// The limit that was read last, in bytes; 0 before a start.
    limit: AtomicU64,
    changes: AtomicU64,
    errors: AtomicU64,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            standing: CoreMutex::new(Standing {
                state: DaemonState::Absent,
                is_to_stop: false,
                error: None,
            }),
            bell: WaitQueue::unfenced(),
            limit: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }
}

/// The thread, if there is one.
#[derive(Debug, Default)]
pub(crate) struct LimitWatch {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread has seen so far.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What it is doing.
    pub(crate) state: DaemonState,
    /// The limit that was read last, in bytes.
    pub(crate) limit: u64,
    /// How often it was another than before.
    pub(crate) changes: u64,
    /// Looks that failed.
    pub(crate) errors: u64,
    /// Why the last look failed, if it did.
    pub(crate) error: Option<String>,
}

impl LimitWatch {
    /// Starts the thread, unless it runs. `known` is the limit that the pool goes by until then.
    pub(crate) fn start(&self, container: impl Container, known: u64) -> io::Result<()> {
        let mut handle = self.thread.lock();
        if self.shared.standing.lock().state == DaemonState::Running {
            return Ok(());
        }
        if let Some(former) = handle.take() {
            // It has said that it ended.
            let _panicked = former.join();
        }
        self.shared.stand(DaemonState::Running);
        // Relaxed: published by the start of the thread, which alone changes it from here on.
        self.shared.limit.store(known, Relaxed);
        let watch = OnWatch {
            shared: Arc::clone(&self.shared),
            ending: DaemonState::Dead,
        };
        let started = thread::spawn(NAME, move || watch.run(container));
        if started.is_err() {
            self.shared.stand(DaemonState::Absent);
        }
        *handle = Some(started?);
        Ok(())
    }

    /// Ends the thread, if there is one, and returns after it has ended (T2).
    pub(crate) fn stop(&self) {
        let mut handle = self.thread.lock();
        let Some(thread) = handle.take() else {
            return;
        };
        self.shared.standing.lock().is_to_stop = true;
        // The sleeper looks under the same lock once its entry is published: either it sees that it is to
        // stop, or it is seen here.
        if self.shared.bell.sleeper_hint() {
            self.shared.bell.wake_published();
        }
        // If it panicked, its state says so.
        let _panicked = thread.join();
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let shared = &self.shared;
        let (state, error) = {
            let standing = shared.standing.lock();
            (standing.state, standing.error.clone())
        };
        Seen {
            state,
            // Relaxed, all: numbers by themselves.
            limit: shared.limit.load(Relaxed),
            changes: shared.changes.load(Relaxed),
            errors: shared.errors.load(Relaxed),
            error,
        }
    }
}

impl Shared {
    fn stand(&self, state: DaemonState) {
        let mut standing = self.standing.lock();
        standing.state = state;
        standing.is_to_stop = false;
    }

    fn is_to_stop(&self) -> bool {
        self.standing.lock().is_to_stop
    }

    /// Takes notice of what was read, or of why nothing was; returns the limit to go by (T3). An error is reported
    /// when it comes, and not again before a look has succeeded.
    fn notice(&self, looked: Result<u64, LimitError>) -> u64 {
        // Relaxed, all: this thread alone stores them; whoever else looks takes them as they come.
        let before = self.limit.load(Relaxed);
        match looked {
            Ok(limit) => {
                let was_unreadable = self.standing.lock().error.take().is_some();
                if was_unreadable {
                    tracing::info!(target: "pagepool::limit", limit, "the memory limit can be read again");
                }
                if before != limit {
                    self.changes.fetch_add(1, Relaxed);
                }
                self.limit.store(limit, Relaxed);
                limit
            }
            Err(error) => {
                self.errors.fetch_add(1, Relaxed);
                let text = error.to_string();
                let is_news = { self.standing.lock().error.replace(text) }.is_none();
                if is_news {
                    tracing::warn!(
                        target: "pagepool::limit",
                        %error,
                        "the memory limit cannot be read: the pool stays as it is"
                    );
                }
                before
            }
        }
    }
}

/// The thread's work, and its end, however that comes about.
struct OnWatch {
    shared: Arc<Shared>,
    ending: DaemonState,
}

impl OnWatch {
    fn run(mut self, mut container: impl Container) {
        let mut follower = Follower::default();
        while !self.shared.is_to_stop() {
            let limit = self.shared.notice(container.look());
            if follower.is_due(limit, clock::now()) {
                follower.note(limit, container.fit(limit, SLICE), clock::now());
            }
            let next = follower.next_look(clock::now());
            let is_to_stop = || self.shared.is_to_stop();
            self.shared.bell.wait(next, is_to_stop);
        }
        self.ending = DaemonState::Stopped;
    }
}

impl Drop for OnWatch {
    fn drop(&mut self) {
        if thread::is_model_over() {
            return;
        }
        self.shared.stand(self.ending);
        if self.ending == DaemonState::Dead {
            tracing::error!(
                target: "pagepool::limit",
                "{NAME} has panicked: the pool no longer follows the memory limit"
            );
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Says what it is told, and tells what it is asked.
    struct Script {
        limits: Vec<Result<u64, LimitError>>,
        asked: Sender<u64>,
    }

    impl Container for Script {
        fn look(&mut self) -> Result<u64, LimitError> {
            match self.limits.len() {
                0 => panic!("nothing more is written"),
                1 => match &self.limits[0] {
                    Ok(limit) => Ok(*limit),
                    Err(_) => Err(junk()),
                },
                _ => self.limits.remove(0),
            }
        }

        fn fit(&self, limit: u64, _patience: Duration) -> Fit {
            // Whoever does not listen any more does not want to know.
            let _ = self.asked.send(limit);
            Fit::Met
        }
    }

    fn junk() -> LimitError {
        LimitError::NotUnderstood {
            file: "memory.max".into(),
            text: "junk".to_owned(),
        }
    }

    fn watch(limits: Vec<Result<u64, LimitError>>) -> (LimitWatch, Receiver<u64>) {
        let (asked, heard) = channel();
        let watch = LimitWatch::default();
        watch.start(Script { limits, asked }, 5).unwrap();
        (watch, heard)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn each_limit_is_acted_on_once_and_the_stop_is_prompt() {
        let (watch, heard) = watch(vec![Ok(5), Ok(5), Ok(3)]);
        assert_eq!(heard.recv_timeout(LONG), Ok(5));
        assert_eq!(heard.recv_timeout(LONG), Ok(3));
        watch.stop();
        assert!(heard.try_recv().is_err());
        let seen = watch.seen();
        assert_eq!(
            (seen.state, seen.limit, seen.changes),
            (DaemonState::Stopped, 3, 1)
        );
        watch.stop();
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_is_counted() {
        let (watch, heard) = watch(vec![Ok(5), Err(junk()), Err(junk()), Ok(5), Ok(7)]);
        assert_eq!(heard.recv_timeout(LONG), Ok(5));
        assert_eq!(heard.recv_timeout(LONG), Ok(7));
        let seen = watch.seen();
        assert_eq!((seen.errors, seen.error), (2, None));
        watch.stop();
    }

    #[test]
    fn one_that_panics_says_so_and_can_be_started_again() {
        let (watch, _heard) = watch(vec![]);
        let deadline = clock::deadline_after(LONG);
        while watch.seen().state != DaemonState::Dead {
            assert!(!clock::is_over(deadline));
            thread::yield_now();
        }
        let (asked, heard) = channel();
        let limits = vec![Ok(1)];
        watch.start(Script { limits, asked }, 5).unwrap();
        assert_eq!(heard.recv_timeout(LONG), Ok(1));
        watch.stop();
    }
}
