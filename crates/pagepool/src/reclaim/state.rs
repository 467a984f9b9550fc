//! What reclaim remembers between two runs, and the settings that it goes by.
//!
//! *Kernel counterpart:* `vm_swappiness`, `laptop_mode`, `vfs_cache_pressure`, `zone_reclaim_stat` (v5.0).

use super::policy::history::{DEFAULT_SWAPPINESS, History};
use super::policy::slab::DEFAULT_PRESSURE;
use super::policy::workingset::Buckets;
use super::policy::{Policy, TwoLists};
use crate::backing::{StoreError, StoreId};
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use crate::sync::fence::mutated;
use crate::types::{GroupId, NodeId};

/// Reclaim's memory of one node.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    /// Which kind of folio was cheaper to take, for each group.
    histories: CoreMutex<Box<[History]>>,
    /// Threads that reclaim for themselves.
    direct: AtomicUsize,
    /// Whether somebody reclaims from this node alone, on request.
    asked: AtomicBool,
}

impl NodeMemory {
    fn new(max_groups: usize) -> NodeMemory {
        let histories = (0..=max_groups).map(|_| History::default()).collect();
        NodeMemory {
            histories: CoreMutex::new(histories),
            direct: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
        }
    }

    /// Looks at the history of a group, or adds to it.
    pub(crate) fn history<T>(&self, group: GroupId, f: impl FnOnce(&mut History) -> T) -> T {
        f(&mut self.histories.lock()[group.get()])
    }

    /// A thread begins to reclaim for itself, unless `most` do so already.
    pub(crate) fn enter_direct(&self, most: usize) -> Option<Direct<'_>> {
        // Relaxed: a number by itself.
        let nr = self.direct.fetch_add(1, Ordering::Relaxed) + 1;
        let direct = Direct { memory: self, nr };
        (nr <= most).then_some(direct)
    }

    /// Somebody begins to reclaim from this node alone, on request, unless another does so already.
    pub(crate) fn enter_asked(&self) -> Option<Asked<'_>> {
        // Relaxed, both: who is first goes on, and nothing else is ordered by that.
        let first = if mutated("reclaim.asked_in_one") {
            let asked = self.asked.load(Ordering::Relaxed);
            self.asked.store(true, Ordering::Relaxed);
            !asked
        } else {
            !self.asked.swap(true, Ordering::Relaxed)
        };
        first.then_some(Asked { memory: self })
    }
}

/// A thread that reclaims for itself. Counted until this is dropped, also if the thread unwinds: else
/// nobody's turn would come any more.
#[derive(Debug)]
pub(crate) struct Direct<'a> {
    memory: &'a NodeMemory,
    nr: usize,
}

impl Direct<'_> {
    /// How many there were when it began, it included.
    pub(crate) fn nr(&self) -> usize {
        self.nr
    }
}

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        // Relaxed: as in `enter_direct`.
        self.memory.direct.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody who reclaims from a node alone, on request. Until this is dropped nobody else does.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    memory: &'a NodeMemory,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // Relaxed: as in `enter_asked`.
        self.memory.asked.store(false, Ordering::Relaxed);
    }
}

/// Failures of a store to write, so that each who holds something of it can learn of them once (kernel:
/// `errseq_t`).
#[derive(Debug, Default)]
pub(crate) struct WriteErrors {
    count: AtomicU32,
    last: CoreMutex<Option<StoreError>>,
}

impl WriteErrors {
    /// Notes a failure.
    pub(crate) fn note(&self, error: StoreError) {
        let mut last = self.last.lock();
        *last = Some(error);
        // Relaxed: written under the lock; who looks without sees it later at worst.
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u32 {
        // Relaxed: a count by itself.
        self.count.load(Ordering::Relaxed)
    }

    /// The last failure, if there was one since `seen` was brought up to date; brings it up to date.
    pub(crate) fn check(&self, seen: &AtomicU32) -> Result<(), StoreError> {
        let count = self.count();
        // Relaxed: of two who look at once, one reports.
        let before = if mutated("write_errors.one_step") {
            let before = seen.load(Ordering::Relaxed);
            seen.store(count, Ordering::Relaxed);
            before
        } else {
            seen.swap(count, Ordering::Relaxed)
        };
        if before == count {
            return Ok(());
        }
        match *self.last.lock() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What stood in the way of reclaim lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Obstacle {
    /// What could go is pinned or in use.
    Pinned = 1,
    /// A store does not answer.
    Stalled = 2,
}

/// Reclaim's memory of a pool, and its settings.
#[derive(Debug)]
pub(crate) struct ReclaimState {
    nodes: Box<[NodeMemory]>,
    write_errors: [WriteErrors; StoreId::MAX],
    /// How a shadow tells the time.
    pub(crate) buckets: Buckets,
    /// Which folios leave memory.
    pub(crate) policy: Box<dyn Policy>,
    /// The last [`Obstacle`], or 0 since something was reclaimed.
    obstacle: AtomicU8,
    swappiness: AtomicU8,
    laptop_mode: AtomicU32,
    vfs_cache_pressure: AtomicU32,
}

impl ReclaimState {
    /// Bytes that it remembers of so many groups of a node, the root not counted.
    pub(crate) fn bytes_for(max_groups: usize) -> usize {
        (max_groups + 1) * size_of::<History>()
    }

    /// For a pool of `nr_nodes` nodes and `pages` pages, and so many groups beside the root, with default
    /// settings.
    pub(crate) fn new(nr_nodes: usize, pages: usize, max_groups: usize) -> ReclaimState {
        ReclaimState {
            nodes: (0..nr_nodes).map(|_| NodeMemory::new(max_groups)).collect(),
            write_errors: std::array::from_fn(|_| WriteErrors::default()),
            buckets: Buckets::for_pages(pages),
            policy: Box::new(TwoLists::REFINED),
            obstacle: AtomicU8::new(0),
            swappiness: AtomicU8::new(DEFAULT_SWAPPINESS),
            laptop_mode: AtomicU32::new(0),
            vfs_cache_pressure: AtomicU32::new(DEFAULT_PRESSURE),
        }
    }

    /// The memory of one node.
    pub(crate) fn node(&self, id: NodeId) -> &NodeMemory {
        &self.nodes[id.get()]
    }

    /// Failures of a store to write.
    pub(crate) fn write_errors(&self, store: StoreId) -> &WriteErrors {
        &self.write_errors[store.idx()]
    }

    /// What stood in the way lately, if nothing was reclaimed since.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        // Relaxed, here and below: for a message.
        match self.obstacle.load(Ordering::Relaxed) {
            1 => Some(Obstacle::Pinned),
            2 => Some(Obstacle::Stalled),
            _ => None,
        }
    }

    /// Notes what stood in the way; nothing, if something was reclaimed.
    pub(crate) fn note_obstacle(&self, obstacle: Option<Obstacle>) {
        let number = obstacle.map_or(0, |obstacle| obstacle as u8);
        if self.obstacle.load(Ordering::Relaxed) != number {
            self.obstacle.store(number, Ordering::Relaxed);
        }
    }

    /// `swappiness`: the weight of anonymous folios against backed ones, 0 to 200.
    pub(crate) fn swappiness(&self) -> u8 {
        // Relaxed, here and below: a setting by itself.
        self.swappiness.load(Ordering::Relaxed)
    }

    pub(crate) fn set_swappiness(&self, swappiness: u8) {
        self.swappiness.store(swappiness, Ordering::Relaxed);
    }

    /// `laptop_mode`, in seconds: reclaim spares the device unless it is in trouble.
    pub(crate) fn laptop_mode(&self) -> u32 {
        self.laptop_mode.load(Ordering::Relaxed)
    }

    pub(crate) fn set_laptop_mode(&self, seconds: u32) {
        self.laptop_mode.store(seconds, Ordering::Relaxed);
    }

    /// `vfs_cache_pressure`: what the counts of shrinkers count for, in percent.
    pub(crate) fn vfs_cache_pressure(&self) -> u32 {
        self.vfs_cache_pressure.load(Ordering::Relaxed)
    }

    pub(crate) fn set_vfs_cache_pressure(&self, percent: u32) {
        self.vfs_cache_pressure.store(percent, Ordering::Relaxed);
    }
}
