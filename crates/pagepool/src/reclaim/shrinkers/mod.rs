//! Users' caches that are trimmed when memory is short: who has registered one, and the calls of each.
//!
//! *Kernel counterpart:* `shrink_slab`, `register_shrinker`, `unregister_shrinker`, `shrinker_list` (v5.0).
//! There whoever reclaims calls each shrinker itself, and skips all of them while somebody registers one.
//! Here it would wait for locks of the application that its own caller may hold. So each shrinker has a
//! worker thread that calls it, whoever reclaims waits for that, though not for long, and what blocks is
//! left behind:
//!
//! ```text
//! who reclaims                        worker of the shrinker
//! ────────────                        ──────────────────────
//! for each shrinker, in turn:
//!   is it at rest? ask ─────────────→ count; how much is to be looked at (`policy::slab`)
//!   wait: for the end, its own        scan, a batch at a time; note what that freed
//!     deadline, or the shrinker's     anybody still there? go on
//! ←───────────────── what was freed   put off what is left
//! ```
//!
//! Key types: [`Shrinker`], what a user implements; [`ShrinkerHandle`], what he has of it; [`Shrinkers`], those
//! of a pool; [`ShrinkerMap`], which of them have something of a group; `Desk`, one of them with its
//! worker, its calls and its record.
//!
//! **Invariants**
//! - H1: a shrinker is called by one at a time. A call that nobody waits for any more is left to itself, and
//!   no other is begun before it has returned.
//! - H2: of each shrinker, what reclaim has asked for was paid, is deferred, or was forgiven (E1).
//! - H3: a place is taken until its handle was dropped and its worker has ended. So the bit of a place, in
//!   whatever map, is one shrinker's.
//! - H4: the user's part is touched by the worker, and by who drops the handle; so nobody else ends it.
//!
//! **Locking:** a lock for each place in the table, one for each shrinker's state. Each is taken with no
//! other lock held, none is taken under it, and nobody is called or woken meanwhile. Queues wait for what
//! changes under the lock of a shrinker's state, and a sleeper looks at it after it has published its entry,
//! so that they need no barrier of their own.
//!
//! Not here: how much is scanned (`policy::slab`), when a shrinker is left alone (`policy::trust`), and who
//! asks ([`Reclaimer::shrink_slab`](super::Reclaimer)).

#![forbid(unsafe_code)]

mod call;
mod desk;
mod handle;
pub(crate) mod map;
mod report;
mod run;
mod shrinker;
mod takings;
mod worker;

#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::backing::{PoolTag, Spawn, callback};
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NodeId};

use call::Job;
use desk::Desk;
use map::ShrinkerMap;

pub use handle::ShrinkerHandle;
pub(crate) use map::MAX_SHRINKERS;
pub use report::{ShrinkerReport, ShrinkerState, ShrinkerStats};
pub use shrinker::{
    Freeable, Scanned, ShrinkControl, Shrinker, ShrinkerError, ShrinkerOptions, Stop,
};
pub(crate) use takings::Takings;

// Places are bits of one word.
const _: () = assert!(MAX_SHRINKERS <= u64::BITS as usize);

/// What all shrinkers are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    /// The node that is short of memory.
    pub(crate) node: NodeId,
    /// The group that is to give some; of the root, also who knows nothing of groups.
    pub(crate) group: GroupId,
    /// How hard to look: at 1/2^priority of the objects.
    pub(crate) priority: u8,
    /// What counts count for, in percent.
    pub(crate) pressure: u32,
    /// When to stop waiting.
    pub(crate) deadline: Option<Instant>,
}

/// The shrinkers of a pool. Dropping it closes them: their workers end, but for those that do not return.
#[derive(Debug)]
pub(crate) struct Shrinkers(Arc<Table>);

/// What the pool, its handles and its workers share.
struct Table {
    places: Box<[CoreMutex<Option<Arc<Desk>>>]>,
    /// A bit for each place that is taken, so that nobody looks for what is not there.
    taken: AtomicU64,
    /// Who has objects of a group in a node: a map for each node of each group.
    maps: Box<[ShrinkerMap]>,
    nr_nodes: usize,
    /// Who is asked first.
    turn: AtomicUsize,
    pool: PoolTag,
    spawn: Spawn,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("places", &self.places.len())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Shrinkers {
    /// Returns a table for up to `most` shrinkers, for a pool of so many nodes, and groups beside the root.
    /// `spawn` is how they get their threads, when they are first called.
    pub(crate) fn new(
        most: usize,
        nr_nodes: usize,
        max_groups: usize,
        pool: PoolTag,
        spawn: Spawn,
    ) -> Shrinkers {
        assert!(most <= MAX_SHRINKERS, "the builder has checked it");
        Shrinkers(Arc::new(Table {
            places: (0..most).map(|_| CoreMutex::new(None)).collect(),
            taken: AtomicU64::new(0),
            maps: (0..nr_nodes * (max_groups + 1))
                .map(|_| ShrinkerMap::new())
                .collect(),
            nr_nodes,
            turn: AtomicUsize::new(0),
            pool,
            spawn,
        }))
    }

    /// Bytes that a table for `most` shrinkers comes to take, with them.
    pub(crate) fn bytes_for(most: usize, nr_nodes: usize, max_groups: usize) -> usize {
        let nr_maps = nr_nodes * (max_groups + 1);
        let place = size_of::<CoreMutex<Option<Arc<Desk>>>>() + Desk::bytes_for(nr_maps);
        size_of::<Table>() + most * place + nr_maps * size_of::<ShrinkerMap>()
    }

    /// The same of this table.
    pub(crate) fn bytes(&self) -> usize {
        let Table {
            places,
            maps,
            nr_nodes,
            ..
        } = &*self.0;
        Shrinkers::bytes_for(places.len(), *nr_nodes, maps.len() / nr_nodes - 1)
    }

    /// Registers a shrinker (kernel: `register_shrinker`).
    ///
    /// # Errors
    /// If an option is out of range, or every place is taken.
    pub(crate) fn register(
        &self,
        options: ShrinkerOptions,
        user: Arc<dyn Shrinker>,
    ) -> Result<ShrinkerHandle, ShrinkerError> {
        options.check()?;
        let table = &self.0;
        // Made before a lock is taken that reclaim takes too: making it may mean to reclaim.
        let mut desk = Arc::new(Desk::new(options, user, table));
        for idx in 0..table.places.len() {
            let unknown = Arc::get_mut(&mut desk).expect("nobody else knows of it");
            unknown.idx = idx;
            if table.take_place(&desk) {
                return Ok(ShrinkerHandle::new(desk, Arc::clone(table)));
            }
        }
        Err(ShrinkerError::TooMany {
            limit: table.places.len(),
            most: MAX_SHRINKERS,
        })
    }

    /// Has every shrinker free a share of its objects (kernel: `shrink_slab`). Returns what that brought, with
    /// what earlier calls looked at after they had been left alone.
    ///
    /// Nobody is asked from inside a call of the pool's users: it would wait for itself.
    pub(crate) fn shrink(&self, errand: Errand) -> Takings {
        let table = &self.0;
        let mut takings = Takings::default();
        if callback::is_inside(table.pool) {
            return takings;
        }
        for desk in table.in_turn() {
            if clock::is_over(errand.deadline) {
                break;
            }
            let node = if desk.is_numa_aware() {
                errand.node
            } else {
                NodeId::default()
            };
            let job = Job {
                node,
                group: errand.group,
                at: table.idx(errand.group, node),
                priority: errand.priority,
                pressure: errand.pressure,
                callers: callback::current(),
            };
            if table.may_have_objects(&desk, &job) {
                takings += desk.ask(table, job, errand.deadline);
            }
        }
        takings
    }

    /// Whether there is a shrinker that would be called if it were asked now.
    pub(crate) fn is_any_ready(&self) -> bool {
        self.0.in_order(0).any(|desk| desk.is_ready())
    }
}

impl Drop for Shrinkers {
    fn drop(&mut self) {
        for desk in self.0.in_order(0) {
            desk.close(&self.0);
        }
    }
}

impl Table {
    /// Puts a shrinker in its place, unless that is taken; returns whether it did.
    fn take_place(&self, desk: &Arc<Desk>) -> bool {
        let mut place = self.places[desk.idx].lock();
        if place.is_some() {
            return false;
        }
        if desk.is_group_aware() {
            // It may have objects already.
            self.maps.iter().for_each(|map| map.set(desk.idx));
        }
        *place = Some(Arc::clone(desk));
        // Relaxed: a hint; who looks too early finds the shrinker the next time.
        self.taken.fetch_or(1 << desk.idx, Ordering::Relaxed);
        true
    }

    /// Vacates the place of a shrinker that has no worker any more, and no handle (H3).
    fn vacate(&self, desk: &Arc<Desk>) {
        let mut place = self.places[desk.idx].lock();
        if !place.as_ref().is_some_and(|at| Arc::ptr_eq(at, desk)) {
            return;
        }
        self.maps.iter().for_each(|map| map.forget(desk.idx));
        // Relaxed: as in `take_place`.
        self.taken.fetch_and(!(1 << desk.idx), Ordering::Relaxed);
        let vacated = place.take();
        drop(place);
        drop(vacated);
    }

    /// The shrinkers by their places, from one on.
    fn in_order(&self, from: usize) -> impl Iterator<Item = Arc<Desk>> {
        // Relaxed: a hint, see `take_place`.
        let taken = self.taken.load(Ordering::Relaxed);
        let nr = self.places.len();
        let places = (0..nr).map(move |n| (from + n) % nr);
        places
            .filter(move |idx| taken >> idx & 1 != 0)
            .filter_map(|idx| self.places[idx].lock().clone())
    }

    /// The shrinkers, beginning with another each time: what a slow one leaves of the time is not always
    /// too little for the same ones.
    fn in_turn(&self) -> impl Iterator<Item = Arc<Desk>> {
        // Relaxed: a count by itself.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.in_order(turn % self.places.len().max(1))
    }

    /// The map of a group and a node, in which its shrinkers have bits.
    fn map(&self, group: GroupId, node: NodeId) -> &ShrinkerMap {
        &self.maps[self.idx(group, node)]
    }

    /// Where what is known of a group in a node is kept.
    fn idx(&self, group: GroupId, node: NodeId) -> usize {
        group.get() * self.nr_nodes + node.get()
    }

    /// Whether a group is one that this table is for.
    fn knows(&self, group: GroupId) -> bool {
        group.get() < self.maps.len() / self.nr_nodes
    }

    /// Whether a shrinker is worth asking for objects of a group in a node. Who knows nothing of groups has
    /// everything in the root.
    fn may_have_objects(&self, desk: &Desk, job: &Job) -> bool {
        if desk.is_group_aware() {
            self.map(job.group, job.node).is_set(desk.idx)
        } else {
            job.group.is_root()
        }
    }
}
