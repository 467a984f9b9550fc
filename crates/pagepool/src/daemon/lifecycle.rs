//! Threads that are started, stopped, and started again.
//!
//! *Kernel counterpart:* `kswapd_run`, `kswapd_stop`, `kthread_stop` (v5.0), with the lock of spec 9.9.
//! There, requests made before a thread first ran are wiped by its start; here the post is older than
//! the thread, and what it was asked for stands.
//!
//! **Invariants**
//! - C1: a handle is there exactly from a successful start to the end of a stop; whoever changes that
//!   holds its lock, so that starts and stops have an order.
//! - C2: a thread's state is Running before it exists. Its last step but one is to say how it ended, its
//!   last to drop what the pool gave it.

use std::io;

use super::affinity::CpuNews;
use super::kswapd::{self, Ward};
use super::ward::{Machine, NodeWard};
use crate::node::daemon_control::Ending;
use crate::node::{DaemonPost, Node, Nodes, identity};
use crate::sync::Mutex;
use crate::sync::thread::{self, JoinHandle};
use crate::types::NodeId;

/// How a stop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stopped {
    /// The threads have ended.
    Ended,
    /// One of them is the caller, and ends when it comes to its next safe point. What it uses must stay
    /// until it drops its [`Machine`].
    Itself,
}

/// A thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("kswapd{} could not be started", .node.get())]
pub(crate) struct StartError {
    /// The node that has none now.
    pub(crate) node: NodeId,
    /// What the system said.
    #[source]
    pub(crate) source: io::Error,
}

/// A daemon's thread, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Thread {
    /// Starts the thread, unless it runs.
    pub(crate) fn run<W>(&self, name: &str, ward: W) -> io::Result<()>
    where
        W: Ward + Send + 'static,
    {
        let mut handle = self.0.lock();
        if !ward.post().control().begin() {
            return Ok(());
        }
        if let Some(former) = handle.take() {
            // It has said that it ended.
            let _panicked = former.join();
        }
        let watch = OnWatch::new(ward);
        match thread::spawn(name, move || watch.run()) {
            Ok(thread) => {
                *handle = Some(thread);
                Ok(())
            }
            Err(error) => Err(error),
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
        Stopped::Ended
    }
}

/// A thread's work, and its end, however that comes about.
struct OnWatch<W: Ward> {
    ward: W,
    ending: Option<Ending>,
}

impl<W: Ward> OnWatch<W> {
    fn new(ward: W) -> OnWatch<W> {
        OnWatch { ward, ending: None }
    }

    fn run(mut self) {
        self.ending = Some(Ending::Dead);
        kswapd::run(&mut self.ward);
        self.ending = Some(Ending::Stopped);
    }
}

impl<W: Ward> Drop for OnWatch<W> {
    fn drop(&mut self) {
        if thread::is_model_over() {
            return;
        }
        let Some(ending) = self.ending else {
            // The system had no thread for it.
            self.ward.post().control().abandon();
            return;
        };
        kswapd::leave(&self.ward, ending);
        if ending == Ending::Dead {
            tracing::error!(
                target: "pagepool::daemon",
                nid = self.ward.nid().get(),
                "kswapd has panicked: nobody waits for it any more, and requests reclaim for themselves"
            );
        }
    }
}

/// The threads of a pool.
#[derive(Debug)]
pub(crate) struct Daemons {
    kswapds: Box<[Thread]>,
    news: CpuNews,
}

impl Daemons {
    /// Returns the daemons of a pool with so many nodes, none of them started.
    pub(crate) fn new(nr_nodes: usize) -> Daemons {
        Daemons {
            kswapds: (0..nr_nodes).map(|_| Thread::default()).collect(),
            news: CpuNews::default(),
        }
    }

    /// Starts what does not run of all nodes' daemons. If one cannot be started, those before it run.
    pub(crate) fn start<M: Machine + Clone>(&self, machine: &M) -> Result<(), StartError> {
        let ids = machine.nodes().iter().map(Node::id);
        ids.into_iter()
            .try_for_each(|node| self.run(machine.clone(), node))
    }

    /// Starts a node's daemons, if they do not run.
    pub(crate) fn run<M: Machine>(&self, machine: M, node: NodeId) -> Result<(), StartError> {
        let name = format!("kswapd{}", node.get());
        let ward = NodeWard::new(machine, node, self.news.clone());
        self.kswapds[node.get()]
            .run(&name, ward)
            .map_err(|source| StartError { node, source })
    }

    /// Ends a node's daemons, and returns after they have ended. They can be started again.
    pub(crate) fn stop(&self, nodes: &Nodes, node: NodeId) -> Stopped {
        self.kswapds[node.get()].stop(&nodes.node(node).kswapd)
    }

    /// Ends all daemons, and returns after they have ended.
    pub(crate) fn stop_all(&self, nodes: &Nodes) -> Stopped {
        // All are told first, so that they end at the same time.
        let running = |id: &NodeId| self.kswapds[id.get()].0.lock().is_some();
        let ids = || nodes.iter().map(Node::id);
        if !identity::is_daemon() {
            ids()
                .filter(running)
                .for_each(|id| nodes.node(id).kswapd.ask_to_stop());
        }
        ids().fold(Stopped::Ended, |outcome, id| match self.stop(nodes, id) {
            Stopped::Ended => outcome,
            Stopped::Itself => Stopped::Itself,
        })
    }

    /// Has the daemons bind themselves to their nodes' CPUs anew, after the system's have changed.
    pub(crate) fn cpus_changed(&self) {
        self.news.announce();
    }
}
