//! All threads of a pool, and the order in which they come and go.
//!
//! *Kernel counterpart:* `kcompactd_init`, then `kswapd_init` (v5.0, spec 4.3): those who build blocks are
//! there before those who ask for them to be built. Neither relies on the other: a request to a daemon
//! that is not there stays in its word. A kcompactd that could not hear of the system's CPUs is not
//! started at all; a kswapd is, since nothing goes on without it.
//!
//! What differs: a pool's daemons are on call at first ([`Daemons::stand_by`]). Whoever asks something of one that
//! has no thread has it started ([`Daemons::answer`]), by what the pool has left at the daemon's post.

use std::io;
use std::sync::Arc;

use super::affinity::{CpuNews, NoPlace, Subscription};
use super::kcompactd::Kcompactd;
use super::kswapd::Kswapd;
use super::lifecycle::{Answer, Spawn, Stopped, Thread};
use super::name::{Kind, Name};
use super::ward::{Machine, NodeWard};
use crate::node::{DaemonPost, Node, Nodes, Starter, identity};
use crate::sync::Mutex;
use crate::types::NodeId;

/// Daemons could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// None of a kind was started.
    #[error("{kind} could not be started")]
    Kind {
        /// The kind.
        kind: Kind,
        /// Why.
        #[source]
        source: NoPlace,
    },
    /// There was no thread for one.
    #[error("{name} could not be started")]
    Thread {
        /// The daemon.
        name: Name,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The threads of one kind, by node.
#[derive(Debug)]
struct Troop {
    threads: Box<[Thread]>,
    /// From the first start on.
    subscription: Mutex<Option<Arc<Subscription>>>,
}

impl Troop {
    fn new(nr_nodes: usize) -> Troop {
        Troop {
            threads: (0..nr_nodes).map(|_| Thread::default()).collect(),
            subscription: Mutex::new(None),
        }
    }

    /// Registers for news of the CPUs, unless that was done.
    fn subscribe(&self, news: &CpuNews) -> Result<Arc<Subscription>, NoPlace> {
        let mut subscription = self.subscription.lock();
        if let Some(subscription) = &*subscription {
            return Ok(Arc::clone(subscription));
        }
        let new = Arc::new(news.subscribe()?);
        *subscription = Some(Arc::clone(&new));
        Ok(new)
    }
}

/// The threads of a pool.
#[derive(Debug)]
pub(crate) struct Daemons {
    kcompactds: Troop,
    kswapds: Troop,
    news: CpuNews,
    spawn: Spawn,
}

impl Daemons {
    /// Returns the daemons of a pool with so many nodes, none of them started; they get their threads by `spawn`.
    pub(crate) fn new(nr_nodes: usize, spawn: Spawn) -> Daemons {
        Daemons {
            spawn,
            kcompactds: Troop::new(nr_nodes),
            kswapds: Troop::new(nr_nodes),
            news: CpuNews::default(),
        }
    }

    fn troop(&self, kind: Kind) -> &Troop {
        match kind {
            Kind::Kcompactd => &self.kcompactds,
            Kind::Kswapd => &self.kswapds,
        }
    }

    /// Has what does not run of all nodes' daemons started by who first asks something of it: by what
    /// `starter_of` gives, which calls [`answer`](Self::answer). Costs no thread.
    ///
    /// # Errors
    /// As [`start`](Self::start), but that there is no thread.
    pub(crate) fn stand_by(
        &self,
        nodes: &Nodes,
        starter_of: impl Fn(Name) -> Arc<dyn Starter>,
    ) -> Result<(), StartError> {
        for kind in Kind::ALL {
            self.subscription(kind)?;
            for node in nodes.iter() {
                let name = Name {
                    kind,
                    node: node.id(),
                };
                kind.post(node).stand_by(starter_of(name));
            }
        }
        Ok(())
    }

    /// Starts a daemon that is on call and was asked for something, unless somebody else is about to. Does not
    /// wait; tells of a failure that is the first in a row.
    pub(crate) fn answer<M: Machine + Clone>(&self, machine: &M, name: Name) -> Answer {
        let thread = self.thread(name);
        let subscription = self.troop(name.kind).subscription.lock().clone();
        let ward = NodeWard::new(machine.clone(), name.node, subscription);
        let post = name.kind.post(machine.nodes().node(name.node));
        let answer = match name.kind {
            Kind::Kcompactd => thread.answer(post, Kcompactd(ward), self.spawn),
            Kind::Kswapd => thread.answer(post, Kswapd(ward), self.spawn),
        };
        if let Answer::Failed(error, 1) = &answer {
            tracing::warn!(
                target: "pagepool::daemon",
                daemon = %name,
                %error,
                "there is no thread for a daemon: requests do its work themselves, and one of them tries again"
            );
        }
        answer
    }

    /// Starts what does not run of all nodes' daemons. If one cannot be started, those before it run.
    pub(crate) fn start<M: Machine + Clone>(&self, machine: &M) -> Result<(), StartError> {
        let nodes: Vec<NodeId> = machine.nodes().iter().map(Node::id).collect();
        self.start_on(machine, &nodes)
    }

    /// Starts a node's daemons, if they do not run.
    pub(crate) fn run<M: Machine + Clone>(
        &self,
        machine: &M,
        node: NodeId,
    ) -> Result<(), StartError> {
        self.start_on(machine, &[node])
    }

    fn start_on<M: Machine + Clone>(
        &self,
        machine: &M,
        nodes: &[NodeId],
    ) -> Result<(), StartError> {
        for kind in Kind::ALL {
            let subscription = self.subscription(kind)?;
            for &node in nodes {
                let ward = NodeWard::new(machine.clone(), node, subscription.clone());
                let post = kind.post(machine.nodes().node(node));
                self.start_one(Name { kind, node }, post, ward)?;
            }
        }
        Ok(())
    }

    /// What the daemons of a kind hear the news by. A kswapd does without if it must, and stays where it
    /// was bound when it started.
    fn subscription(&self, kind: Kind) -> Result<Option<Arc<Subscription>>, StartError> {
        match (self.troop(kind).subscribe(&self.news), kind) {
            (Ok(subscription), _) => Ok(Some(subscription)),
            (Err(source), Kind::Kcompactd) => Err(StartError::Kind { kind, source }),
            (Err(error), Kind::Kswapd) => {
                tracing::warn!(
                    target: "pagepool::daemon",
                    %error,
                    "kswapd will not hear when the system's CPUs change"
                );
                Ok(None)
            }
        }
    }

    fn start_one<M: Machine>(
        &self,
        name: Name,
        post: &DaemonPost,
        ward: NodeWard<M>,
    ) -> Result<(), StartError> {
        let thread = self.thread(name);
        let started = match name.kind {
            Kind::Kcompactd => thread.run(post, Kcompactd(ward), self.spawn),
            Kind::Kswapd => thread.run(post, Kswapd(ward), self.spawn),
        };
        started.map_err(|source| StartError::Thread { name, source })
    }

    fn thread(&self, name: Name) -> &Thread {
        &self.troop(name.kind).threads[name.node.get()]
    }

    /// Ends a node's daemons, and returns after they have ended. They can be started again.
    pub(crate) fn stop(&self, nodes: &Nodes, node: NodeId) -> Stopped {
        let names = Kind::ALL.map(|kind| Name { kind, node });
        self.stop_each(nodes, names.into_iter())
    }

    /// Ends all daemons, and returns after they have ended.
    pub(crate) fn stop_all(&self, nodes: &Nodes) -> Stopped {
        // All are told first, so that they end at the same time.
        if !identity::is_daemon() {
            names(nodes)
                .filter(|name| self.thread(*name).is_there())
                .for_each(|name| name.kind.post(nodes.node(name.node)).ask_to_stop());
        }
        self.stop_each(nodes, names(nodes))
    }

    fn stop_each(&self, nodes: &Nodes, names: impl Iterator<Item = Name>) -> Stopped {
        let stop = |name: Name| {
            let post = name.kind.post(nodes.node(name.node));
            self.thread(name).stop(post)
        };
        names.map(stop).fold(Stopped::Ended, |all, one| match one {
            Stopped::Ended => all,
            Stopped::Itself => Stopped::Itself,
        })
    }

    /// Has the daemons bind themselves to their nodes' CPUs anew, after the system's have changed.
    pub(crate) fn cpus_changed(&self) {
        self.news.announce();
    }

    /// Takes a place among those who hear of CPUs from the daemons.
    #[cfg(all(test, not(loom)))]
    pub(super) fn take_place(&self) -> Option<Subscription> {
        self.news.subscribe().ok()
    }
}

/// Every daemon of these nodes, whether it runs or not.
pub(super) fn names(nodes: &Nodes) -> impl Iterator<Item = Name> {
    nodes.iter().flat_map(|node| {
        let node = node.id();
        Kind::ALL.map(|kind| Name { kind, node })
    })
}
