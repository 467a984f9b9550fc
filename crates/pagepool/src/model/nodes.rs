//! A pool's one node with one zone, and the kswapd that looks after it.

use std::fmt;
use std::sync::Arc;

use crate::arena::ArenaOptions;
use crate::compact::CompactNode;
use crate::daemon::lifecycle;
use crate::daemon::ward::{Machine, NodeWard};
use crate::daemon::{kswapd, kswapd::Kswapd};
use crate::node::daemon_control::Ending;
use crate::node::{Node, NodePlan, StartBy, ZonePlan};
use crate::reclaim::balance::Circumstances;
use crate::reclaim::{Reclaimed, ScanControl, Shrink};
use crate::types::{Migratetype, NodeId, Order, Pfn, ZoneType};
use crate::zone::ZoneRequest;
use crate::zone::sizing::PcpSizes;
use crate::zone::watermark::{AllocFlags, Marks};

const CLASS: ZoneType = ZoneType::Movable;

/// What a model has happen when kswapd tries to reclaim.
type Pass = Box<dyn Fn(&Nodes) + Send + Sync>;

struct Shared {
    nodes: crate::node::Nodes,
    pass: Pass,
}

/// A node whose pages all are in its Movable zone. Clones are the same.
#[derive(Clone)]
pub struct Nodes(Arc<Shared>);

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nodes").field(&self.0.nodes).finish()
    }
}

impl Nodes {
    /// Returns a node of so many pages, all free, with marks at 0; each CPU's cache takes `batch` pages
    /// at once, and with 0 there are none. `pass` is what happens when kswapd tries to reclaim, in vain.
    pub fn new(
        pages: usize,
        nr_cpus: usize,
        batch: u16,
        pass: impl Fn(&Nodes) + Send + Sync + 'static,
    ) -> Nodes {
        let plan = NodePlan {
            zones: ZonePlan {
                pages: [0, 0, pages],
            },
            arena: ArenaOptions::default(),
            cpus: vec![0],
            distances: vec![10],
            max_groups: 0,
        };
        let nodes = crate::node::Nodes::build(&[plan], nr_cpus).expect("the heap has room");
        let nodes = Nodes(Arc::new(Shared {
            nodes,
            pass: Box::new(pass),
        }));
        nodes.zone().set_pcp_sizes(PcpSizes {
            batch,
            high: u32::from(batch) * 2,
            blocks: 0,
        });
        nodes
    }

    fn node(&self) -> &Node {
        self.0.nodes.node(NodeId::at(0))
    }

    fn zone(&self) -> &crate::zone::Zone {
        self.node().zone(CLASS)
    }

    /// Sets the minimum and the distance from one mark to the next.
    pub fn set_marks(&self, min: u32, gap: u32) {
        let raw = u64::from(gap) << 32 | u64::from(min);
        self.zone().set_marks(Marks::from_raw(raw));
    }

    /// Takes a page.
    pub fn take(&self) -> Option<usize> {
        let request = ZoneRequest {
            order: Order::ZERO,
            want: Migratetype::Movable,
            flags: AllocFlags::KSWAPD,
        };
        Some(self.zone().take(request)?.pfn().index())
    }

    /// Gives a page back.
    pub fn put(&self, page: usize) {
        let freed = self.zone().put(Pfn::new(NodeId::at(0), page), Order::ZERO);
        if let Some(waiters) = freed.waiters {
            waiters.wake_all();
        }
    }

    /// Pages free in the zone, and in caches.
    pub fn free_and_cached(&self) -> (usize, usize) {
        let cached = self.zone().cached_by_cpu();
        (self.zone().free_pages(), cached.iter().sum())
    }

    /// Empties all caches, or leaves that to whoever is at it; returns how many pages that were.
    pub fn drain_all(&self) -> usize {
        self.0.nodes.drain_all()
    }

    /// Empties all caches, after whoever is at it.
    pub fn drain_all_and_synchronize(&self) -> usize {
        self.0.nodes.drain_all_and_synchronize()
    }

    /// Takes all memory that is free out of service, as `offline_node` does; returns how many pages.
    pub fn offline(&self) -> usize {
        let blocks = self.zone().offline(usize::MAX);
        self.0.nodes.rebuild_zonelists();
        blocks.iter().map(|block| block.pages()).sum()
    }

    /// Whether any memory is in service.
    pub fn is_managed(&self) -> bool {
        self.zone().is_managed()
    }

    /// Whether the node is balanced for a single page.
    pub fn is_balanced(&self) -> bool {
        self.node().is_balanced(Order::ZERO, CLASS)
    }

    /// Asks kswapd for a page, as a request does that finds the node short; returns whether it had to.
    pub fn wake_kswapd(&self) -> bool {
        let is_short = !self.node().is_balanced(Order::ZERO, CLASS);
        let post = &self.node().kswapd;
        post.ask(CLASS, Order::ZERO, StartBy::Another, || is_short)
            .is_some()
    }

    /// The life of kswapd, in the thread of the caller, with a shrinker that finds nothing.
    pub fn run_kswapd(&self) {
        let ward = || NodeWard::new(self.clone(), NodeId::at(0), None);
        self.node().kswapd.control().begin();
        kswapd::run(&mut ward());
        lifecycle::leave(&Kswapd(ward()), Ending::Stopped);
    }

    /// Asks kswapd to end.
    pub fn stop_kswapd(&self) {
        self.node().kswapd.ask_to_stop();
    }

    /// Lets a nap of kswapd run out: the one going on, or else the next.
    pub fn end_nap(&self) {
        self.node().kswapd.queue().fire_timeout();
    }

    /// Whether kswapd sleeps, and nobody has woken it.
    pub fn is_kswapd_asleep(&self) -> bool {
        self.node().kswapd.queue().has_sleeper()
    }

    /// How often kswapd has slept, or napped, until it was woken or the nap ran out.
    pub fn nr_sleeps(&self) -> u32 {
        self.node().kswapd.queue().nr_sleeps()
    }

    /// Fruitless runs in a row.
    pub fn failures(&self) -> u32 {
        self.node().kswapd.failures()
    }

    /// Checks every invariant.
    ///
    /// # Panics
    /// If one is broken.
    pub fn verify(&self) {
        self.0.nodes.verify().expect("nothing is lost");
    }
}

/// Finds nothing to reclaim.
impl Shrink for Nodes {
    fn shrink_node(&self, _node: &Node, sc: &mut ScanControl) -> Reclaimed {
        (self.0.pass)(self);
        sc.nr_scanned += 1;
        Reclaimed::default()
    }

    fn shrink_beyond_soft(&self, _node: &Node, _sc: &ScanControl) -> Reclaimed {
        Reclaimed::default()
    }

    fn age_active_anon(&self, _node: &Node, _sc: &ScanControl) {}

    fn snapshot_refaults(&self, _node: &Node) {}

    fn reclaimable_pages(&self, _zone: &crate::zone::Zone) -> usize {
        1
    }

    fn has_swap(&self) -> bool {
        false
    }
}

impl Machine for Nodes {
    fn nodes(&self) -> &crate::node::Nodes {
        &self.0.nodes
    }

    fn with_shrinker(&self, f: &mut dyn FnMut(&dyn Shrink)) {
        f(self);
    }

    fn with_compactor(&self, _f: &mut dyn FnMut(&dyn CompactNode)) {
        unreachable!("nobody asks for a block");
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances {
            laptop_mode: false,
            metadata_over_limit: false,
        }
    }

    fn binds_to_cpus(&self) -> bool {
        false
    }

    fn reset_isolation_hints(&self, _node: &Node) {}
}
