//! Threads that are started, stopped, and started again.
//!
//! *Kernel counterpart:* `kswapd_run`, `kswapd_stop`, `kcompactd_run`, `kcompactd_stop`, `kthread_stop`
//! (v5.0), with the lock of spec 9.9. There, requests made before a thread first ran are wiped by its
//! start; here the post is older than the thread, and what it was asked for stands.
//!
//! **Invariants**
//! - C1: a handle is there exactly from a successful start to the end of a stop; whoever changes that
//!   holds its lock, so that starts and stops have an order.
//! - C2: a thread's state is Running before it exists. Its last step but one is to say how it ended, its
//!   last to drop what the pool gave it.

use std::io;

use super::name::Name;
use crate::node::daemon_control::Ending;
use crate::node::{DaemonActivity, DaemonPost, identity};
use crate::sync::Mutex;
use crate::sync::thread::{self, JoinHandle};

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

    /// Starts the thread, unless it runs.
    pub(crate) fn run<D: Duty>(&self, duty: D) -> io::Result<()> {
        let mut handle = self.0.lock();
        if !duty.post().control().begin() {
            return Ok(());
        }
        if let Some(former) = handle.take() {
            // It has said that it ended.
            let _panicked = former.join();
        }
        let name = duty.name().to_string();
        let watch = OnWatch::new(duty);
        *handle = Some(thread::spawn(&name, move || watch.run())?);
        Ok(())
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
        Stopped::Ended
    }
}

/// A thread's work, and its end, however that comes about.
struct OnWatch<D: Duty> {
    duty: D,
    ending: Option<Ending>,
}

impl<D: Duty> OnWatch<D> {
    fn new(duty: D) -> OnWatch<D> {
        OnWatch { duty, ending: None }
    }

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
            self.duty.post().control().abandon();
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
