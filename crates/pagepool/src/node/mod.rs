//! The nodes of a pool: their zones, the order in which zones are tried, their lists of folios, and who
//! is woken.
//!
//! *Kernel counterpart:* `struct pglist_data`, `get_page_from_freelist`, `wakeup_kswapd`,
//! `wakeup_kcompactd`, `drain_all_pages` (v5.0). Nothing here sleeps but in [`throttle`], which says so,
//! so that reclaim, compaction and swap can take frames without the allocator above them.
//!
//! **Invariants**
//! - D1: every frame of a node's arena that belongs to a zone belongs to exactly one.
//! - D2: a node outside a request's mask is neither allocated from nor woken.
//! - D3: under AddressSanitizer a touch of a frame is an error unless somebody has it: of those on a free list,
//!   in a per-CPU cache and out of service alike. Who takes it ([`Frames`](crate::folio::Frames), a block of the
//!   pool) says so before the first touch, who gives it back after the last.
//!
//! **Locking:** the turn of those who drain all caches, which is taken with nothing else held, and the
//! lock of a node's LRU lists (see [`lru`]).

#![forbid(unsafe_code)]

mod custodian;
pub(crate) mod daemon_control;
pub(crate) mod daemon_post;
mod daemon_report;
pub(crate) mod daemon_start;
pub(crate) mod identity;
mod layout;
pub(crate) mod lru;
pub(crate) mod lru_list;
mod marks;
mod pressure;
mod stalls;
pub(crate) mod throttle;
mod vmstat;
mod walk;
mod wake;

#[cfg(all(test, not(loom)))]
pub(crate) mod fixture;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

use crate::arena::{Arena, Bases};
use crate::error::{BuildError, Violation, ensure};
use crate::group::Groups;
use crate::memmap::{FrameKind, Memmap};
use crate::psi::PsiState;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::fence::mutated;
use crate::sync::{CoreGuard, CoreMutex, DeltaCounters, FenceNames, Requests, WaitQueue};
use crate::types::{MAX_NODES, NR_ZONES, NodeId, Order, Pfn, ZoneType};
use crate::zone::Zone;
use crate::zone::vmstat::{NR_NODE_ITEMS, NodeItem, VmEvents};
use crate::zone::zonelist::{NodeShape, Zonelists};

pub(crate) use custodian::{CopySink, Custodian, FrameSink};
pub use daemon_control::DaemonState;
pub use daemon_post::DaemonActivity;
pub(crate) use daemon_post::DaemonPost;
pub use daemon_report::DaemonReport;
pub(crate) use daemon_start::{StartBy, Starter};
pub(crate) use layout::{NodePlan, ZonePlan};
pub(crate) use marks::{MarkSettings, Ratios};
pub(crate) use pressure::Pressure;
pub(crate) use walk::{Granted, Shortage, Walk};

/// One node: an arena, its frame table, its zones and its daemons' posts.
#[derive(Debug)]
pub(crate) struct Node {
    id: NodeId,
    arena: Arc<Arena>,
    map: Arc<Memmap>,
    zones: [Zone; NR_ZONES],
    /// Which CPUs belong to it.
    cpus: Vec<usize>,
    distances: Vec<u8>,
    counters: DeltaCounters<NR_NODE_ITEMS>,
    lru: lru::Lru,
    /// Where the background reclaimer is asked.
    pub(crate) kswapd: DaemonPost,
    /// Where the background compactor is asked.
    pub(crate) kcompactd: DaemonPost,
    /// Where threads sleep that must not reclaim before the background reclaimer has (see [`throttle`]).
    pfmemalloc: WaitQueue,
    /// For how long threads have waited for its memory.
    psi: PsiState,
}

impl Node {
    /// The node's number.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Its memory.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Its frame table.
    pub(crate) fn map(&self) -> &Memmap {
        &self.map
    }

    /// Its zones, lowest first; those without memory included.
    pub(crate) fn zones(&self) -> &[Zone; NR_ZONES] {
        &self.zones
    }

    /// The zone of a type.
    pub(crate) fn zone(&self, zone: ZoneType) -> &Zone {
        &self.zones[zone.idx()]
    }

    /// The highest zone with memory, up to `class`: where a request of that class looks first.
    pub(crate) fn preferred(&self, class: ZoneType) -> Option<&Zone> {
        self.managed_up_to(class).next_back()
    }

    /// The zone a frame belongs to.
    pub(crate) fn zone_of(&self, pfn: Pfn) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.contains(pfn))
    }

    /// Adds to one of the node's counters.
    pub(crate) fn count(&self, item: NodeItem, change: i64) {
        self.counters.add(item as usize, change);
    }

    /// How far each CPU's part of the node's counters may be from what the others know of it.
    pub(crate) fn stat_threshold(&self) -> u8 {
        self.counters.threshold()
    }

    /// The exact value of one of the node's counters.
    pub(crate) fn counter(&self, item: NodeItem) -> u64 {
        self.counters.snapshot(item as usize)
    }

    /// The CPUs that belong to it.
    pub(crate) fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// Zones with memory, up to `class`, lowest first.
    pub(crate) fn managed_up_to(&self, class: ZoneType) -> impl DoubleEndedIterator<Item = &Zone> {
        self.zones[..=class.idx()]
            .iter()
            .filter(|zone| zone.is_managed())
    }

    /// Whether one zone up to `class` stands above its high mark for `order`: one is enough, since
    /// to demand it of all would chase zones that can never get there (spec 4.10).
    pub(crate) fn is_balanced(&self, order: Order, class: ZoneType) -> bool {
        let mut zones = self.managed_up_to(class).peekable();
        // A node whose memory is out of service needs nothing.
        let is_empty = zones.peek().is_none() && !mutated("balanced.unmanaged");
        is_empty || zones.any(|zone| zone.is_balanced(order, class))
    }

    /// Whether the node is balanced for everybody who asked: for each class by the order that was
    /// asked for with it.
    pub(crate) fn is_balanced_for(&self, asked: Requests) -> bool {
        asked.iter().all(|(class_idx, order)| {
            self.is_balanced(Order::at(usize::from(order)), ZoneType::ALL[class_idx])
        })
    }

    /// Whether its background reclaimer is gone or has failed too often to be relied on.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.kswapd.is_hopeless(self.zones.iter())
    }

    /// Notes that somebody has reclaimed from the node.
    pub(crate) fn note_progress(&self, order: Order, class: ZoneType) {
        self.kswapd.note_progress(|| self.is_balanced(order, class));
    }

    /// Whether fragmentation has raised the marks of a zone up to `class`.
    pub(crate) fn is_boosted(&self, class: ZoneType) -> bool {
        self.managed_up_to(class)
            .rev()
            .any(|zone| zone.boost() != 0)
    }

    fn shape(&self) -> NodeShape {
        NodeShape {
            managed: std::array::from_fn(|zone| self.zones[zone].is_managed()),
            distances: self.distances.clone(),
            has_cpus: !self.cpus.is_empty(),
        }
    }

    fn metadata_bytes(&self) -> usize {
        let zones: usize = self.zones.iter().map(Zone::metadata_bytes).sum();
        self.map.bytes() + zones + Node::fixed_bytes(self.counters.nr_cpus(), self.lru.max_groups())
    }

    /// Bytes of a node that do not depend on its memory: itself with its zones, its counters, its
    /// zonelist, and what it knows of CPUs and distances.
    fn fixed_bytes(nr_cpus: usize, max_groups: usize) -> usize {
        let counters = DeltaCounters::<NR_NODE_ITEMS>::bytes(nr_cpus);
        let lists = Zonelists::bytes_per_node() + MAX_NODES + nr_cpus * size_of::<usize>();
        size_of::<Node>() + counters + lists + lru::Lru::bytes(nr_cpus, max_groups)
    }
}

/// All nodes of a pool.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    zonelists: Zonelists,
    /// The node of each CPU.
    cpu_nodes: Vec<NodeId>,
    events: VmEvents,
    freed: Arc<WaitQueue>,
    /// Whose turn it is to drain all caches.
    drain_turn: CoreMutex<()>,
    /// Whether somebody has it, for reports.
    is_draining: AtomicBool,
    /// For how long threads have waited for memory of any node.
    psi: PsiState,
}

impl Nodes {
    /// Maps and builds the nodes that were planned.
    pub(crate) fn build(plans: &[NodePlan], nr_cpus: usize) -> Result<Nodes, BuildError> {
        let freed = Arc::new(WaitQueue::new(FenceNames {
            waker: "freed.waker",
            sleeper: "freed.sleeper",
        }));
        let nodes = plans
            .iter()
            .enumerate()
            .map(|(id, plan)| plan.build(NodeId::at(id), nr_cpus, &freed))
            .collect::<Result<Vec<_>, _>>()?;
        let nodes = Nodes {
            zonelists: Zonelists::new(nodes.len()),
            cpu_nodes: cpu_nodes(&nodes, nr_cpus),
            nodes,
            events: VmEvents::new(nr_cpus),
            freed,
            drain_turn: CoreMutex::new(()),
            is_draining: AtomicBool::new(false),
            psi: PsiState::new(),
        };
        nodes.rebuild_zonelists();
        Ok(nodes)
    }

    /// Writes the zonelists anew, when a zone has received its first memory or lost its last.
    pub(crate) fn rebuild_zonelists(&self) {
        let shapes: Vec<_> = self.nodes.iter().map(Node::shape).collect();
        self.zonelists.rebuild(&shapes);
    }

    /// Every node.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Where the frames of each node are.
    pub(crate) fn bases(&self) -> Bases {
        Bases::new(
            self.nodes
                .iter()
                .map(|node| Arc::clone(&node.arena))
                .collect(),
        )
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Every zone of every node.
    pub(crate) fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.nodes.iter().flat_map(|node| node.zones.iter())
    }

    /// The node with the given number.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.get()]
    }

    /// The node with the given number, if there is one.
    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.get())
    }

    /// The node that `cpu` belongs to.
    pub(crate) fn of_cpu(&self, cpu: usize) -> NodeId {
        match self.cpu_nodes.get(cpu) {
            Some(node) => *node,
            None => self.cpu_nodes[cpu % self.cpu_nodes.len()],
        }
    }

    /// The node and page index of an address inside an arena.
    pub(crate) fn locate(&self, addr: *const u8) -> Option<Pfn> {
        self.nodes
            .iter()
            .find_map(|node| Some(Pfn::new(node.id, node.arena.index_of(addr)?)))
    }

    /// The event counters.
    pub(crate) fn events(&self) -> &VmEvents {
        &self.events
    }

    /// The class itself; Normal for DMA in a pool that has no such zone (spec 1.7).
    pub(crate) fn class_or_above(&self, class: ZoneType) -> ZoneType {
        let has_dma = || {
            self.zones()
                .any(|zone| zone.zone_type() == ZoneType::Dma && zone.present() > 0)
        };
        if class == ZoneType::Dma && !has_dma() {
            ZoneType::Normal
        } else {
            class
        }
    }

    /// The queue of those who wait for memory to be freed.
    pub(crate) fn freed(&self) -> &WaitQueue {
        &self.freed
    }

    /// Empties every cache of every CPU; returns how many pages that were. If somebody is at it
    /// already, returns at once: to queue up behind them would only make everybody late.
    pub(crate) fn drain_all(&self) -> usize {
        match self.drain_turn.try_lock() {
            Some(turn) => self.drain_under(turn, Zone::drain),
            None => 0,
        }
    }

    /// Whether a thread is emptying every cache of every CPU.
    pub(crate) fn is_draining(&self) -> bool {
        // Relaxed: for a report. The turn itself is not tried: who wants to drain would take a look at it for
        // somebody who does.
        self.is_draining.load(Ordering::Relaxed)
    }

    /// For reports, which models do not make: to them it would be one more thing to order.
    fn note_draining(&self, is_draining: bool) {
        if cfg!(not(loom)) {
            self.is_draining.store(is_draining, Ordering::Relaxed);
        }
    }

    /// Drains by `drain`, under the turn that is given.
    fn drain_under(&self, turn: CoreGuard<'_, ()>, drain: impl Fn(&Zone) -> usize) -> usize {
        self.note_draining(true);
        let drained = self.zones().map(drain).sum();
        self.note_draining(false);
        drop(turn);
        drained
    }

    /// Empties every cache of every CPU, after whoever is at it, and waits for every free that is
    /// under way: for a thread that has published that it waits for memory (see [`zone`](crate::zone)).
    pub(crate) fn drain_all_and_synchronize(&self) -> usize {
        if mutated("drain.wait") {
            return self.drain_all();
        }
        let turn = self.drain_turn.lock();
        self.drain_under(turn, Zone::drain_for_waiter)
    }

    /// Gives back the charges that wait at the caches of all CPUs, each for a single page.
    pub(crate) fn return_charges(&self, groups: &Groups) {
        for zone in self.zones() {
            zone.take_charges(|group, pages| groups.leave_raw(group, pages, pages));
        }
    }

    /// How many pages are out, and some of the blocks.
    pub(crate) fn outstanding(&self, max_blocks: usize) -> (usize, Vec<(Pfn, Order)>) {
        let pages = self.zones().map(Zone::outstanding).sum();
        let blocks = self.zones().flat_map(Zone::blocks_out);
        (pages, blocks.take(max_blocks).collect())
    }

    /// Bytes of everything that is not handed out: tables, caches, counters.
    pub(crate) fn metadata_bytes(&self) -> usize {
        let nodes: usize = self.nodes.iter().map(Node::metadata_bytes).sum();
        nodes + Nodes::fixed_bytes(self.cpu_nodes.len())
    }

    /// Bytes that do not depend on the memory there is.
    pub(crate) fn fixed_bytes(nr_cpus: usize) -> usize {
        VmEvents::bytes(nr_cpus) + size_of::<Nodes>() + nr_cpus * size_of::<NodeId>()
    }

    /// Checks every invariant of every node.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        self.nodes.iter().try_for_each(|node| node.map.verify())?;
        self.zones().try_for_each(Zone::verify)
    }

    /// Checks of each frame that AddressSanitizer was told whether it is somebody's (D3). Nothing in other
    /// builds.
    pub(crate) fn verify_asan(&self) -> Result<(), Violation> {
        if !cfg!(pagepool_asan) {
            return Ok(());
        }
        self.nodes.iter().try_for_each(Node::verify_asan)
    }
}

impl Node {
    fn verify_asan(&self) -> Result<(), Violation> {
        let mut index = 0;
        while index < self.map.frames() {
            let state = self.map.state(Pfn::new(self.id, index));
            let (pages, poisoned) = match state.kind() {
                FrameKind::Allocated { order, .. } => (order.pages(), false),
                FrameKind::Free | FrameKind::Cached { .. } | FrameKind::Special(_) => (1, true),
            };
            let unlike = self.arena.asan_first_unlike(index, pages, poisoned);
            ensure!(
                unlike.is_none(),
                "D3",
                "frame {unlike:?} of a block that is {state} is not as AddressSanitizer was told: poisoned \
                 should be {poisoned}"
            );
            index += pages;
        }
        Ok(())
    }
}

/// The node of each CPU: those that the plans name, the others in turn.
fn cpu_nodes(nodes: &[Node], nr_cpus: usize) -> Vec<NodeId> {
    (0..nr_cpus)
        .map(|cpu| {
            let owner = nodes.iter().find(|node| node.cpus.contains(&cpu));
            owner.map_or(NodeId::at(cpu % nodes.len()), Node::id)
        })
        .collect()
}
