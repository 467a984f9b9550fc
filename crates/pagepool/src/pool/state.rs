//! How a pool's threads stand, and who waits for whom: what to print when something hangs.
//!
//! *Kernel counterpart:* `show_state`, SysRq-t and SysRq-w (v5.0), which print every task.
//!
//! A report is made where something is wrong, so it waits for nobody: what is under a lock that somebody holds is
//! left out, and said to be held. Numbers are of one moment each, and need not agree.

#![forbid(unsafe_code)]

use std::fmt;

use super::{Inner, PagePool, lifetime};
use crate::backing::StoreReport;
use crate::node::{DaemonReport, Node};
use crate::reclaim::shrinkers::ShrinkerReport;
use crate::types::{NodeId, ZoneType};
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::Mark;

/// How a pool's threads stand at a moment, and who waits for whom. Prints as lines.
///
/// ```
/// use pagepool::{DaemonState, PagePool};
///
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let state = pool.state();
/// assert_eq!(state.nodes[0].kswapd.name, "kswapd0");
/// assert_eq!(state.nodes[0].kswapd.state, DaemonState::OnCall);
/// println!("{state}"); // ... kswapd0: on call; request word: empty ...
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolState {
    /// What tells it from other pools that live: its budget, in bytes, when it was built.
    pub built_bytes: usize,
    /// Every node's daemons, and who waits for them.
    pub nodes: Vec<NodeState>,
    /// Threads that wait until memory is freed.
    pub nr_waiting_for_memory: u32,
    /// Threads that wait until pages of their group are given back.
    pub nr_waiting_for_group: u32,
    /// Threads that wait for a folio: until it is there, or free to be written.
    pub nr_waiting_for_folio: u32,
    /// Whose turn it is to do what one thread does at a time.
    pub turns: Vec<TurnState>,
    /// Every store, swap areas included.
    pub stores: Vec<StoreReport>,
    /// Every shrinker.
    pub shrinkers: Vec<ShrinkerReport>,
    /// Whether the owner is being asked to give memory up, and how many threads wait for that; none if that is
    /// locked at this moment.
    pub out_of_memory: Option<(bool, u32)>,
    /// Counts by which progress shows, by the names of [`Vmstat`](crate::Vmstat): two reports tell what goes on.
    pub progress: Vec<(&'static str, u64)>,
}

/// A node's daemons at a moment, who waits for them, and why they might work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeState {
    /// The node.
    pub id: NodeId,
    /// The background reclaimer.
    pub kswapd: DaemonReport,
    /// The background compactor.
    pub kcompactd: DaemonReport,
    /// Threads that may not reclaim until the background reclaimer has.
    pub nr_throttled: u32,
    /// Each zone with memory: its type, pages free, and its marks, lowest first.
    pub zones: Vec<(ZoneType, usize, [usize; 3])>,
}

/// Whose turn something is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TurnState {
    /// What for.
    pub what: &'static str,
    /// Whether a thread has it, or holds it back.
    pub is_held: bool,
    /// The thread that has it, by the system's number, where that is known.
    pub holder: Option<u32>,
    /// How many threads wait for it, where that is known.
    pub nr_waiting: u32,
}

impl PagePool {
    /// Says how the pool's threads stand, and who waits for whom: for when something hangs. Waits for nobody; what
    /// is locked at this moment is said to be.
    #[must_use]
    pub fn state(&self) -> PoolState {
        self.inner.state()
    }
}

impl PoolState {
    /// The state of every pool of this process, the oldest first, though nobody has a handle at hand: for a thread
    /// that watches over the others.
    #[must_use]
    pub fn of_all() -> Vec<PoolState> {
        let mut all = Vec::new();
        lifetime::look_at_all(|pool| all.push(pool.state()));
        all
    }
}

/// How every pool stands, as lines.
#[cfg(all(feature = "watchdog", not(any(loom, shuttle))))]
pub(super) fn print_all() -> String {
    PoolState::of_all()
        .iter()
        .map(PoolState::to_string)
        .collect()
}

/// Events by which progress shows, of those that are counted under no lock.
const PROGRESS: [VmEvent; 8] = [
    VmEvent::SlowpathEntries,
    VmEvent::Pgfault,
    VmEvent::PgscanKswapd,
    VmEvent::PgstealKswapd,
    VmEvent::PgscanDirect,
    VmEvent::PgstealDirect,
    VmEvent::Pswpin,
    VmEvent::Pswpout,
];

impl Inner {
    fn state(&self) -> PoolState {
        PoolState {
            built_bytes: self.config.budget_bytes(),
            nodes: self.nodes.iter().map(NodeState::of).collect(),
            nr_waiting_for_memory: self.nodes.freed().nr_sleepers(),
            nr_waiting_for_group: self.groups.nr_sleepers(),
            nr_waiting_for_folio: self.folios.waiters().nr_sleepers(),
            turns: self.turns(),
            stores: self.stores.report(),
            shrinkers: self.shrinkers.report(),
            out_of_memory: self.oom.look(),
            progress: { PROGRESS.iter() }
                .map(|event| (event.name(), self.nodes.events().sum(*event)))
                .collect(),
        }
    }

    fn turns(&self) -> Vec<TurnState> {
        let resize = self.budget.turn().look();
        let plain = |what, is_held| TurnState {
            what,
            is_held,
            holder: None,
            nr_waiting: 0,
        };
        vec![
            TurnState {
                what: "to change the budget",
                is_held: resize.is_none_or(|turn| turn.holder.is_some() || turn.held_back),
                holder: resize.and_then(|turn| turn.holder),
                nr_waiting: resize.map_or(0, |turn| turn.nr_waiting),
            },
            plain("to empty all caches", self.nodes.is_draining()),
            plain(
                "to take memory out of service",
                self.offline.try_lock().is_none(),
            ),
            plain("to change settings", self.settings.try_lock().is_none()),
            plain("to add a store", self.store_turn.try_lock().is_none()),
        ]
    }
}

impl NodeState {
    fn of(node: &Node) -> NodeState {
        let id = node.id().get();
        let zones = node.zones().iter().filter(|zone| zone.is_managed());
        let marks = [Mark::Min, Mark::Low, Mark::High];
        NodeState {
            id: node.id(),
            kswapd: DaemonReport::of(format!("kswapd{id}"), &node.kswapd),
            kcompactd: DaemonReport::of(format!("kcompactd{id}"), &node.kcompactd),
            nr_throttled: node.pfmemalloc().nr_sleepers(),
            zones: zones
                .map(|zone| {
                    (
                        zone.zone_type(),
                        zone.free_pages(),
                        marks.map(|mark| zone.mark(mark)),
                    )
                })
                .collect(),
        }
    }
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pool of {} KiB", self.built_bytes >> 10)?;
        for node in &self.nodes {
            write!(f, "{node}")?;
        }
        writeln!(
            f,
            "threads that wait: {} for memory, {} for room in a group, {} for a folio",
            self.nr_waiting_for_memory, self.nr_waiting_for_group, self.nr_waiting_for_folio
        )?;
        for turn in &self.turns {
            writeln!(f, "{turn}")?;
        }
        for store in &self.stores {
            writeln!(f, "{store}")?;
        }
        for shrinker in &self.shrinkers {
            writeln!(f, "{shrinker}")?;
        }
        match self.out_of_memory {
            None => writeln!(f, "the owner's desk is locked")?,
            Some((false, 0)) => {}
            Some((is_asked, nr)) => {
                writeln!(
                    f,
                    "the owner is asked: {is_asked}; {nr} threads wait for that"
                )?;
            }
        }
        f.write_str("progress:")?;
        for (name, count) in &self.progress {
            write!(f, " {name} {count}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}; {} threads throttled",
            self.kswapd, self.nr_throttled
        )?;
        writeln!(f, "{}", self.kcompactd)?;
        for (zone, free, [min, low, high]) in &self.zones {
            writeln!(
                f,
                "node {}, zone {}: {free} pages free, marks {min}/{low}/{high}",
                self.id.get(),
                zone.name()
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for TurnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}: ", self.what)?;
        match (self.holder, self.is_held) {
            (Some(holder), _) => write!(f, "held by thread {holder}")?,
            (None, true) => f.write_str("held")?,
            (None, false) => f.write_str("free")?,
        }
        match self.nr_waiting {
            0 => Ok(()),
            nr => write!(f, "; {nr} threads wait"),
        }
    }
}
