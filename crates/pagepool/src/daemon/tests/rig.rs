//! Nodes with daemons, whose reclaimer and compactor do what a test says.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Weak};

use crate::compact::{CompactNode, Compacted, Proactive};
use crate::daemon::name::Kind;
use crate::daemon::{Daemons, Machine, Name, Stopped, spawn};
use crate::node::fixture::nodes;
use crate::node::{DaemonState, Node, Nodes, Starter};
use crate::reclaim::balance::Circumstances;
use crate::reclaim::{Reclaimed, ScanControl, Shrink};
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::sync::{CoreMutex, Requests, thread};
use crate::types::{Migratetype, NR_ZONES, NodeId, Order, Pfn};
use crate::zone::watermark::AllocFlags;
use crate::zone::{Zone, ZoneRequest};

/// What a pass does.
type Script = Box<dyn Fn(&Rig, &Node) -> usize + Send + Sync>;

/// What a compaction does.
type Compaction = Arc<dyn Fn(&Rig, &Node, Requests, &dyn Fn() -> bool) -> Compacted + Send + Sync>;

/// Nodes with a reclaimer that does what a test says; pages that were taken can be reclaimed.
pub(super) struct Rig {
    pub(super) nodes: Nodes,
    pub(super) daemons: Daemons,
    pub(super) taken: CoreMutex<Vec<Pfn>>,
    script: Script,
    compaction: CoreMutex<Compaction>,
    /// What was asked of compaction, by node.
    pub(super) compacted: CoreMutex<Vec<(usize, Requests)>>,
    pub(super) nr_looks: AtomicUsize,
    pub(super) nr_passes: AtomicUsize,
    pub(super) nr_resets: AtomicUsize,
}

impl Rig {
    pub(super) fn new(
        zones: &[[usize; NR_ZONES]],
        script: impl Fn(&Rig, &Node) -> usize + Send + Sync + 'static,
    ) -> Arc<Rig> {
        let nodes = nodes(zones, 16);
        Arc::new(Rig {
            daemons: Daemons::new(nodes.len(), spawn_unless_told),
            nodes,
            taken: CoreMutex::default(),
            script: Box::new(script),
            compaction: CoreMutex::new(Arc::new(|_, _, _, _| Compacted::Done)),
            compacted: CoreMutex::default(),
            nr_looks: AtomicUsize::new(0),
            nr_passes: AtomicUsize::new(0),
            nr_resets: AtomicUsize::new(0),
        })
    }

    /// Has the daemons started by who first asks something of them.
    pub(super) fn stand_by(self: &Arc<Rig>) {
        let starter_of = |name| -> Arc<dyn Starter> {
            let rig = Arc::downgrade(self);
            Arc::new(OnCall { rig, name })
        };
        self.daemons.stand_by(&self.nodes, starter_of).unwrap();
    }

    /// Has compactions do this from now on.
    pub(super) fn compacts_by(
        &self,
        f: impl Fn(&Rig, &Node, Requests, &dyn Fn() -> bool) -> Compacted + Send + Sync + 'static,
    ) {
        *self.compaction.lock() = Arc::new(f);
    }

    pub(super) fn node(&self, node: usize) -> &Node {
        self.nodes.node(NodeId::at(node))
    }

    pub(super) fn state(&self, node: usize) -> DaemonState {
        self.node(node).kswapd.state()
    }

    /// The states of a node's kcompactd and kswapd.
    pub(super) fn states(&self, node: usize) -> [DaemonState; 2] {
        Kind::ALL.map(|kind| kind.post(self.node(node)).state())
    }

    /// Takes all pages of a node but so many.
    pub(super) fn fill(&self, node: usize, left: usize) {
        let zone = self.nodes.normal(node);
        let request = ZoneRequest {
            order: Order::ZERO,
            want: Migratetype::Unmovable,
            flags: AllocFlags::NO_WATERMARKS,
        };
        while zone.free_pages() > left {
            let taken = zone.take(request).expect("there are more");
            self.taken.lock().push(taken.pfn());
        }
    }

    /// Gives back up to `nr` of the pages that were taken, those from the front.
    pub(super) fn reclaim(&self, nr: usize) -> usize {
        let pages: Vec<_> = {
            let mut taken = self.taken.lock();
            let nr = nr.min(taken.len());
            taken.drain(..nr).collect()
        };
        for pfn in &pages {
            self.nodes.give(*pfn, 0);
        }
        pages.len()
    }

    pub(super) fn is_asleep(&self, node: usize) -> bool {
        self.node(node).kswapd.queue().has_sleeper()
    }

    pub(super) fn all_asleep(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.all(|node| Kind::ALL.map(|kind| kind.post(node).queue().has_sleeper()) == [true; 2])
    }

    pub(super) fn stop(&self) {
        assert_eq!(self.daemons.stop_all(&self.nodes), Stopped::Ended);
    }
}

thread_local! {
    static HAS_THREADS: Cell<bool> = const { Cell::new(true) };
    static ATTEMPTS: Cell<usize> = const { Cell::new(0) };
}

/// Has the system give threads to this one, or not.
pub(super) fn give_threads(has_threads: bool) {
    HAS_THREADS.set(has_threads);
}

/// How often this thread has tried to start one.
pub(super) fn nr_attempts() -> usize {
    ATTEMPTS.get()
}

fn spawn_unless_told(
    name: &str,
    run: Box<dyn FnOnce() + Send>,
) -> io::Result<thread::JoinHandle<()>> {
    ATTEMPTS.set(ATTEMPTS.get() + 1);
    if HAS_THREADS.get() {
        spawn(name, run)
    } else {
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }
}

/// A daemon of a rig that has no thread yet.
struct OnCall {
    rig: Weak<Rig>,
    name: Name,
}

impl Starter for OnCall {
    fn start(&self) {
        let rig = self.rig.upgrade().expect("somebody asks its daemons");
        let _answer = rig.daemons.answer(&rig, self.name);
    }
}

impl Shrink for Rig {
    fn shrink_node(&self, node: &Node, sc: &mut ScanControl) -> Reclaimed {
        self.nr_passes.fetch_add(1, Relaxed);
        let reclaimed = (self.script)(self, node);
        sc.nr_scanned += 32;
        sc.nr_reclaimed += reclaimed;
        Reclaimed {
            scanned: 32,
            reclaimed,
        }
    }

    fn shrink_beyond_soft(&self, _node: &Node, _sc: &ScanControl) -> Reclaimed {
        Reclaimed::default()
    }

    fn age_active_anon(&self, _node: &Node, _sc: &ScanControl) {}

    fn snapshot_refaults(&self, _node: &Node) {}

    fn reclaimable_pages(&self, _zone: &Zone) -> usize {
        1
    }

    fn has_swap(&self) -> bool {
        false
    }
}

impl CompactNode for Rig {
    fn compact_node(
        &self,
        node: &Node,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Compacted {
        self.compacted.lock().push((node.id().get(), asked));
        let compaction = Arc::clone(&self.compaction.lock());
        compaction(self, node, asked, is_interrupted)
    }

    fn compact_proactively(&self, _node: &Node, _is_interrupted: &dyn Fn() -> bool) -> Proactive {
        self.nr_looks.fetch_add(1, Relaxed);
        Proactive::Satisfied
    }
}

impl Machine for Arc<Rig> {
    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    fn with_shrinker(&self, f: &mut dyn FnMut(&dyn Shrink)) {
        f(&**self);
    }

    fn with_compactor(&self, f: &mut dyn FnMut(&dyn CompactNode)) {
        f(&**self);
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances {
            laptop_mode: false,
            metadata_over_limit: false,
        }
    }

    fn binds_to_cpus(&self) -> bool {
        true
    }

    fn reset_isolation_hints(&self, _node: &Node) {
        self.nr_resets.fetch_add(1, Relaxed);
    }
}

/// Reclaims eight pages a pass.
pub(super) fn reclaims(rig: &Rig, _node: &Node) -> usize {
    rig.reclaim(8)
}

pub(super) fn finds_nothing(_rig: &Rig, _node: &Node) -> usize {
    0
}
