//! Threads that are started, stopped, and started again.
//!
//! *Kernel counterpart:* `kswapd_run`, `kswapd_stop`, `kcompactd_run`, `kcompactd_stop`, `kthread_stop`
//! (v5.0), with the lock of spec 9.9. There, requests made before a thread first ran are wiped by its
//! start; here the post is older than the thread, and what it was asked for stands.
//!
//! A thread is started because somebody wants it to be there ([`Thread::run`]), or because a daemon on call was
//! asked for something ([`Thread::answer`]). Who only asks never waits: whoever is in his way starts the thread
//! himself, and it finds what was asked, or ends it, and then nobody is to serve it.
//!
//! ```text
//! asks                              asks at the same time        stops
//! ────                              ─────────────────────        ─────
//! record the request                record the request           lock
//! try the lock                      taken: leave                 a handle? ask to stop, join
//! OnCall, not told? Running                                      OnCall? Stopped
//! start the thread, or Failed                                    unlock
//! keep the handle, unlock
//! ```
//!
//! **Invariants**
//! - C1: a handle is there exactly from a successful start to the end of a stop; whoever changes that
//!   holds its lock, so that starts and stops have an order. After a stop nobody is answered.
//! - C2: a thread's state is Running before it exists. Its last step but one is to say how it ended, its
//!   last to drop what the pool gave it.
//! - C3: whoever waits for a daemon that is Running is let go when its thread could not be started.

use std::io;

use super::name::Name;
use crate::node::daemon_control::Ending;
use crate::node::{DaemonActivity, DaemonPost, DaemonState, identity};
use crate::sync::Mutex;
use crate::sync::fence::mutated;
use crate::sync::thread::{self, JoinHandle};

/// How a daemon gets its thread: [`spawn`], or what a test has in its place.
pub(crate) type Spawn = fn(&str, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>;

/// Starts a thread.
pub(crate) fn spawn(name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    thread::spawn(name, run)
}

/// What became of a daemon on call that was asked for something.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It has a thread now.
    Started,
    /// It is somebody else's business, or nobody's any more.
    Left,
    /// The system had no thread for it: what it said, and how often in a row.
    Failed(io::Error, u32),
}

/// How a stop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stopped {
    /// The threads have ended.
    Ended,
    /// One of them is the caller, and ends when it comes to its next safe point. What it uses must stay
    /// until it drops its [`Machine`](super::Machine).
    Itself,
}

/// What a thread does from its first step to its last, and what it does that on.
pub(crate) trait Duty: Send + 'static {
    /// Which daemon it is.
    fn name(&self) -> Name;

    /// Where it is asked for work, and told to stop.
    fn post(&self) -> &DaemonPost;

    /// Works until it is told to stop.
    fn work(&mut self);

    /// Lets go whoever waits for the daemon, whose state says by now that it has ended.
    fn release(&self);
}

/// Says that a daemon has ended, and lets go whoever waits for it.
pub(crate) fn leave<D: Duty>(duty: &D, ending: Ending) {
    duty.post().control().end(ending);
    duty.release();
}

/// A daemon's thread, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Thread {
    /// Whether there is one, or was one that nobody has stopped.
    pub(super) fn is_there(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Starts the thread, unless it runs. One that cannot be had is tried again by who asks, if it was on call.
    pub(crate) fn run<D: Duty>(&self, post: &DaemonPost, duty: D, spawn: Spawn) -> io::Result<()> {
        let mut handle = self.0.lock();
        let is_on_call = post.state().lacks_thread();
        if !post.control().begin() {
            return Ok(());
        }
        if let Some(former) = handle.take() {
            // It has said that it ended.
            let _panicked = former.join();
        }
        let fallback = if is_on_call {
            DaemonState::Failed
        } else {
            DaemonState::Absent
        };
        *handle = Some(start(duty, fallback, spawn)?);
        post.note_start();
        Ok(())
    }

    /// Starts the thread of a daemon on call that was asked for something. Does not wait.
    pub(crate) fn answer<D: Duty>(&self, post: &DaemonPost, duty: D, spawn: Spawn) -> Answer {
        // Who has it starts the thread, and that will look at what is asked, or ends it. Nor might a daemon wait
        // here for who waits for it.
        let Some(mut handle) = self.0.try_lock() else {
            return Answer::Left;
        };
        if !post.control().answer() {
            return Answer::Left;
        }
        match start(duty, DaemonState::Failed, spawn) {
            Ok(thread) => {
                *handle = Some(thread);
                post.note_start();
                Answer::Started
            }
            Err(error) => {
                let times = post.note_start_failure(&error);
                Answer::Failed(error, times)
            }
        }
    }

    /// Ends the thread, if there is one, and returns after it has ended.
    pub(crate) fn stop(&self, post: &DaemonPost) -> Stopped {
        if identity::is_daemon_of(post) {
            // Somebody else may hold the lock and wait for this very thread.
            post.ask_to_stop();
            return Stopped::Itself;
        }
        let mut handle = self.0.lock();
        if let Some(thread) = handle.take() {
            post.ask_to_stop();
            // If it panicked, its state says so.
            let _panicked = thread.join();
        }
        post.control().retire();
        Stopped::Ended
    }
}

/// Starts the thread of a daemon that is said to run. If the system has none, it is `fallback` instead.
fn start<D: Duty>(duty: D, fallback: DaemonState, spawn: Spawn) -> io::Result<JoinHandle<()>> {
    let name = duty.name().to_string();
    let watch = OnWatch {
        duty,
        fallback,
        ending: None,
    };
    spawn(&name, Box::new(move || watch.run()))
}

/// A thread's work, and its end, however that comes about.
struct OnWatch<D: Duty> {
    duty: D,
    /// What the daemon is if there is no thread for this.
    fallback: DaemonState,
    ending: Option<Ending>,
}

impl<D: Duty> OnWatch<D> {
    fn run(mut self) {
        self.ending = Some(Ending::Dead);
        self.duty.post().note(DaemonActivity::Working);
        self.duty.work();
        self.ending = Some(Ending::Stopped);
    }
}

impl<D: Duty> Drop for OnWatch<D> {
    fn drop(&mut self) {
        if thread::is_model_over() {
            return;
        }
        let Some(ending) = self.ending else {
            // The system had no thread for it.
            self.duty.post().control().abandon(self.fallback);
            if !mutated("first.release") {
                self.duty.release();
            }
            return;
        };
        leave(&self.duty, ending);
        if ending == Ending::Dead {
            tracing::error!(
                target: "pagepool::daemon",
                daemon = %self.duty.name(),
                "a daemon has panicked: nobody waits for it any more, and requests do its work themselves"
            );
        }
    }
}
