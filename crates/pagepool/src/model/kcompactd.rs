//! A kcompactd on a node that a model makes up: the real loop, post and life.

use std::sync::Arc;

use crate::compact::{Compacted, Proactive};
use crate::daemon::kcompactd::{self, Kcompactd as Duty};
use crate::daemon::lifecycle::{self, Thread};
use crate::node::daemon_control::Ending;
use crate::node::{DaemonPost, DaemonState, StartBy};
use crate::sync::{FenceNames, Requests};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// What a model says of the node.
pub trait Site: Send + Sync + Sized + 'static {
    /// Serves what is asked.
    ///
    /// # Errors
    /// If it was interrupted: what is left.
    fn compact(
        &self,
        daemon: &Kcompactd<Self>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests>;

    /// Looks though nobody asked.
    fn look(&self, _daemon: &Kcompactd<Self>, _is_interrupted: &dyn Fn() -> bool) -> Look {
        Look::Satisfied
    }
}

/// What came of a look.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// There is nothing to do.
    Satisfied,
    /// It was in vain.
    NoBetter,
    /// Look again.
    Progress,
}

#[derive(Debug)]
struct Shared<S> {
    site: S,
    post: DaemonPost,
    thread: Thread,
}

/// A node, its kcompactd's post, and the thread if there is one. Clones are the same.
#[derive(Debug)]
pub struct Kcompactd<S>(Arc<Shared<S>>);

impl<S> Clone for Kcompactd<S> {
    fn clone(&self) -> Kcompactd<S> {
        Kcompactd(Arc::clone(&self.0))
    }
}

impl<S: Site> Kcompactd<S> {
    /// Returns a daemon that was not started.
    pub fn new(site: S) -> Kcompactd<S> {
        Kcompactd(Arc::new(Shared {
            site,
            post: DaemonPost::new(FenceNames {
                waker: "kcompactd.waker",
                sleeper: "kcompactd.sleeper",
            }),
            thread: Thread::default(),
        }))
    }

    /// What the model made up.
    pub fn site(&self) -> &S {
        &self.0.site
    }

    /// The thread's life, in the thread of the caller: for models that know who it is.
    pub fn run_here(&self) {
        self.0.post.control().begin();
        kcompactd::run(&mut self.clone());
        lifecycle::leave(&Duty(self.clone()), Ending::Stopped);
    }

    /// Says that there is a thread, which will call [`run_here`](Self::run_here).
    pub fn begin(&self) {
        self.0.post.control().begin();
    }

    /// Starts the thread, unless it runs.
    pub fn start(&self) {
        self.0
            .thread
            .run(&self.0.post, Duty(self.clone()), lifecycle::spawn)
            .expect("models have threads");
    }

    /// Stops the thread, and returns after it has ended.
    pub fn stop(&self) {
        self.0.thread.stop(&self.0.post);
    }

    /// Asks the thread to stop.
    pub fn ask_to_stop(&self) {
        self.0.post.ask_to_stop();
    }

    /// Asks the thread to stand still.
    pub fn ask_to_freeze(&self) {
        self.0.post.ask_to_freeze();
    }

    /// Asks the thread to stand still, and waits until it does.
    pub fn freeze(&self) {
        self.0.post.ask_to_freeze();
        self.0.post.control().wait_until_still(None);
    }

    /// Lets the thread go on.
    pub fn thaw(&self) {
        self.0.post.thaw();
    }

    /// What the thread is doing.
    pub fn state(&self) -> DaemonState {
        self.0.post.state()
    }

    /// Asks for a block of the Normal class, if that `is_worth_it`; returns whether it was recorded.
    pub fn ask_if(&self, order: u8, is_worth_it: impl FnOnce() -> bool) -> bool {
        let order = Order::at(usize::from(order));
        let asked = self
            .0
            .post
            .ask(ZoneType::Normal, order, StartBy::Another, is_worth_it);
        asked.is_some()
    }

    /// Asks for a block of a class.
    pub fn ask(&self, class: ZoneType, order: u8) {
        let order = Order::at(usize::from(order));
        self.0.post.post(class, order, StartBy::Another);
    }

    /// Has the thread look for itself.
    pub fn ring(&self) {
        self.0.post.ring(StartBy::Another);
    }

    /// What was asked and not taken.
    pub fn asked(&self) -> Requests {
        self.0.post.asked()
    }

    /// Lets a back-off run out: the one going on, or else the next.
    pub fn end_back_off(&self) {
        self.0.post.queue().fire_timeout();
    }

    /// Whether the thread sleeps and nobody has woken it.
    pub fn is_asleep(&self) -> bool {
        self.0.post.queue().has_sleeper()
    }

    /// How often the thread has slept until it was woken.
    pub fn nr_sleeps(&self) -> u32 {
        self.0.post.queue().nr_sleeps()
    }

    /// How often the thread has stood still, or a controller waited for that.
    pub fn nr_waits_for_state(&self) -> u32 {
        self.0.post.control().nr_sleeps()
    }
}

impl<S: Site> kcompactd::Site for Kcompactd<S> {
    fn nid(&self) -> NodeId {
        NodeId::at(0)
    }

    fn post(&self) -> &DaemonPost {
        &self.0.post
    }

    fn compact(&self, asked: Requests, is_interrupted: &dyn Fn() -> bool) -> Compacted {
        match self.0.site.compact(self, asked, is_interrupted) {
            Ok(()) => Compacted::Done,
            Err(left) => Compacted::Interrupted { left },
        }
    }

    fn compact_proactively(&self, is_interrupted: &dyn Fn() -> bool) -> Proactive {
        match self.0.site.look(self, is_interrupted) {
            Look::Satisfied => Proactive::Satisfied,
            Look::NoBetter => Proactive::NoBetter,
            Look::Progress => Proactive::Progress,
        }
    }

    fn settle_on_cpus(&mut self) {}

    fn count(&self, _event: VmEvent) {}
}
