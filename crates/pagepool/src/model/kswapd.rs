//! A kswapd on a node that a model makes up: the real loop, post, throttling and life.

use std::io;
use std::sync::Arc;

use super::Zone;
use crate::daemon::kswapd::{self, Kswapd, Ward};
use crate::daemon::lifecycle::{self, Spawn, Thread};
use crate::node::daemon_control::{Ending, SafePoint};
use crate::node::{DaemonPost, DaemonState, Pressure, StartBy, Starter, throttle};
use crate::reclaim::balance::{Balanced, End};
use crate::sync::clock::Instant;
use crate::sync::{FenceNames, Requests, WaitQueue};
use crate::types::{NodeId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// What a model says of the node.
pub trait Node: Send + Sync + Sized + 'static {
    /// Whether enough is free.
    fn is_balanced(&self) -> bool;

    /// Serves what is asked; returns what is left, and whether the run was interrupted.
    fn balance(
        &self,
        daemon: &Daemon<Self>,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool);

    /// Hears that the thread looks on which CPUs it should run: when it begins, and after each sleep.
    fn settle(&self) {}

    /// Hears of what is counted.
    fn count(&self, _event: &'static str) {}
}

#[derive(Debug)]
struct Shared<N> {
    node: N,
    post: DaemonPost,
    pfmemalloc: WaitQueue,
    thread: Thread,
}

/// A node, its kswapd's post, and the thread if there is one. Clones are the same.
#[derive(Debug)]
pub struct Daemon<N>(Arc<Shared<N>>);

impl<N> Clone for Daemon<N> {
    fn clone(&self) -> Daemon<N> {
        Daemon(Arc::clone(&self.0))
    }
}

impl<N: Node> Daemon<N> {
    /// Returns a daemon that was not started.
    pub fn new(node: N) -> Daemon<N> {
        Daemon(Arc::new(Shared {
            node,
            post: DaemonPost::new(FenceNames {
                waker: "kswapd.waker",
                sleeper: "kswapd.sleeper",
            }),
            pfmemalloc: WaitQueue::new(FenceNames {
                waker: "pfmemalloc.waker",
                sleeper: "pfmemalloc.sleeper",
            }),
            thread: Thread::default(),
        }))
    }

    /// What the model made up.
    pub fn node(&self) -> &N {
        &self.0.node
    }

    /// Says that there is a thread, which will call [`run_here`](Self::run_here).
    pub fn begin(&self) {
        self.0.post.control().begin();
    }

    /// The thread's life, in the thread of the caller: for models that know who it is.
    pub fn run_here(&self) {
        self.0.post.control().begin();
        kswapd::run(&mut self.clone());
        self.leave();
    }

    /// Starts the thread, unless it runs.
    pub fn start(&self) {
        self.0
            .thread
            .run(&self.0.post, Kswapd(self.clone()), lifecycle::spawn)
            .expect("models have threads");
    }

    /// Has the thread started by who first asks for something.
    pub fn stand_by(&self) {
        self.stand_by_with(lifecycle::spawn);
    }

    /// The same where the system has no thread to give.
    pub fn stand_by_in_vain(&self) {
        self.stand_by_with(|_, _| Err(io::Error::from_raw_os_error(libc::EAGAIN)));
    }

    fn stand_by_with(&self, spawn: Spawn) {
        // The daemon has it.
        let daemon = Arc::downgrade(&self.0);
        let start = move || {
            let daemon = Daemon(daemon.upgrade().expect("somebody asks it"));
            let shared = &daemon.0;
            let duty = Kswapd(daemon.clone());
            let _answer = shared.thread.answer(&shared.post, duty, spawn);
        };
        self.0.post.stand_by(Arc::new(OnCall(start)));
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

    /// Stands still if that is asked for, as the thread does between runs; returns whether it did.
    pub fn safe_point(&self) -> bool {
        let point = self.0.post.control().safe_point(|| ());
        point == SafePoint::Thawed
    }

    /// Says that the thread has ended.
    pub fn leave(&self) {
        lifecycle::leave(&Kswapd(self.clone()), Ending::Stopped);
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

    /// Asks for a block, as an allocating thread that found the node short does.
    pub fn ask(&self, class: ZoneType, order: u8) {
        let order = Order::at(usize::from(order));
        self.0.post.post(class, order, StartBy::Caller);
    }

    /// What was asked and not taken.
    pub fn asked(&self) -> Requests {
        self.0.post.asked()
    }

    /// Takes what was asked.
    pub fn take(&self) -> Requests {
        self.0.post.take()
    }

    /// Naps and sleeps, as after a run for `asked` that ended with `left`.
    pub fn try_to_sleep(&self, asked: Requests, left: Requests) {
        kswapd::try_to_sleep(self, asked, left);
    }

    /// Lets a nap run out: the one going on, or else the next.
    pub fn end_nap(&self) {
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

    /// Waits until it may reclaim, as a thread does that is about to.
    pub fn throttle(&self, deadline: Option<Instant>, may_reclaim: impl Fn() -> bool) {
        let shared = &self.0;
        let class = ZoneType::Normal;
        throttle::wait(
            &shared.pfmemalloc,
            &shared.post,
            class,
            deadline,
            may_reclaim,
        );
    }

    /// Wakes those who wait to reclaim, as after a pass.
    pub fn release(&self, may_reclaim: impl FnOnce() -> bool) {
        throttle::release(&self.0.pfmemalloc, may_reclaim);
    }

    /// Whether somebody waits to reclaim.
    pub fn has_throttled(&self) -> bool {
        self.0.pfmemalloc.has_sleeper()
    }

    /// How often somebody has slept until it may reclaim.
    pub fn nr_throttled(&self) -> u32 {
        self.0.pfmemalloc.nr_sleeps()
    }

    /// Fruitless runs in a row.
    pub fn failures(&self) -> u32 {
        self.0.post.failures()
    }

    /// Notes a fruitless run over a zone, or over none.
    pub fn note_failure(&self, zone: Option<&Zone>, is_balanced: impl FnOnce() -> bool) {
        let zones = zone.into_iter().map(|zone| &zone.zone);
        self.0.post.note_failure(zones, is_balanced);
    }

    /// Notes that somebody has reclaimed from the node.
    pub fn note_progress(&self, is_balanced: impl FnOnce() -> bool) {
        self.0.post.note_progress(is_balanced);
    }

    /// Whether nobody should rely on the thread.
    pub fn is_hopeless_with(&self, zone: Option<&Zone>) -> bool {
        let zones = zone.into_iter().map(|zone| &zone.zone);
        self.0.post.is_hopeless(zones)
    }
}

/// A daemon that has no thread yet, and what starts it.
struct OnCall<F>(F);

impl<F: Fn() + Send + Sync> Starter for OnCall<F> {
    fn start(&self) {
        (self.0)();
    }
}

impl<N: Node> Ward for Daemon<N> {
    fn nid(&self) -> NodeId {
        NodeId::at(0)
    }

    fn post(&self) -> &DaemonPost {
        &self.0.post
    }

    fn throttled(&self) -> &WaitQueue {
        &self.0.pfmemalloc
    }

    fn is_balanced(&self, _asked: Requests) -> bool {
        self.0.node.is_balanced()
    }

    fn is_hopeless(&self) -> bool {
        self.is_hopeless_with(None)
    }

    fn balance(&self, asked: Requests, is_interrupted: &dyn Fn() -> bool) -> Balanced {
        let (left, interrupted) = self.0.node.balance(self, asked, is_interrupted);
        let end = if interrupted {
            End::Interrupted
        } else {
            End::Balanced
        };
        Balanced { left, end }
    }

    fn hand_over(&self, _asked: Requests) {}

    fn set_pressure(&self, _pressure: Pressure) {}

    fn settle_on_cpus(&mut self) {
        self.0.node.settle();
    }

    fn count(&self, event: VmEvent) {
        self.0.node.count(event.name());
    }
}
