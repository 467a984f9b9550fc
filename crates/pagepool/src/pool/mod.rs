//! The pool: the public face of everything below.
//!
//! **Invariants**
//! - K1: a pool lives as long as there is a [`PagePool`], or a block or folio that it handed out.
//! - K2: arena and metadata together are at most the budget; while that is smaller than at first, memory in
//!   service and metadata are (`budget`, U1).
//!
//! Unsafe is confined to [`lifetime`], which knows how long a pool lives, and to [`pages`] and
//! [`folio`], which turn frames into slices.

pub(crate) mod budget;
pub(crate) mod builder;
pub(crate) mod census;
mod at_hand;
mod block_ptr;
mod bulk;
mod compaction;
mod daemons;
mod explain;
mod failures;
pub(crate) mod folio;
pub(crate) mod groups;
mod hotplug;
mod husbandry;
mod out_of_memory;
pub(crate) mod swapping;
pub(crate) mod lifetime;
pub(crate) mod pages;
pub(crate) mod prefault;
pub(crate) mod pressure;
pub(crate) mod procfs;
pub(crate) mod reclaiming;
pub(crate) mod recording;
pub(crate) mod request;
mod short_way;
mod shrinking;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod tunables;

#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::alloc::at_hand::PoolId;
use crate::alloc::{Allocator, Placement};
use crate::arena::{Arena, Bases};
use crate::backing::{PoolTag, Stores};
use crate::buddy::{IdleBlock, Residency};
use crate::compact::state::CompactState;
use crate::daemon::Daemons;
use crate::daemon::limit::LimitWatch;
use crate::error::{AllocError, Violation};
use crate::folio::{FolioTable, PinRecords};
use crate::gfp::Gfp;
use crate::group::Groups;
use crate::node::{FrameSink, Granted, MarkSettings, Nodes};
use crate::oom::OomDesk;
use crate::reclaim::ReclaimState;
use crate::reclaim::shrinkers::Shrinkers;
use crate::reclaim::thrashing::ThrashingGauge;
use crate::record::{Cause, Happening, Recorder};
use crate::swap::{ReadAhead, SwapSpace};
use crate::sync::atomic::AtomicU32;
use crate::sync::{Mutex, thread};
use crate::types::{Order, PAGE_SIZE, Pfn, ZoneType};
use crate::zone::vmstat::{NodeItem, VmEvent};
use crate::zone::{Freed, Zone};

use budget::Budget;
use budget::container::Following;
use builder::{Builder, Config};
use failures::Failures;
use folio::mapping::Mapped;
use folio::movable::Movables;
use lifetime::PoolRef;
use pages::{Pages, PagesUninit, Paid};
use request::AllocRequest;
use stats::Stats;
use tunables::Tunables;

/// What a pool consists of.
#[derive(Debug)]
pub(crate) struct Inner {
    /// What threads know it by that have a magazine of it.
    id: PoolId,
    nodes: Nodes,
    /// Where the nodes' frames are.
    bases: Bases,
    folios: FolioTable,
    /// Since when folios are pinned.
    pins: PinRecords,
    groups: Groups,
    /// What contents are written to, and read from.
    stores: Arc<Stores>,
    max_stores: usize,
    /// A bit for each store that is asked before its folios are moved.
    stores_to_ask: AtomicU32,
    /// Whose turn it is to add a store.
    store_turn: Mutex<()>,
    swap: SwapSpace,
    read_ahead: ReadAhead,
    reclaim: ReclaimState,
    /// Users' caches that can be trimmed.
    shrinkers: Shrinkers,
    compact: CompactState,
    /// Ranges of users' stores that are in folios.
    mapped: Mapped,
    /// Blocks that users move themselves.
    movables: Movables,
    /// Where the owner is asked to give memory up.
    oom: OomDesk,
    /// The last reports of requests that failed.
    failures: Failures,
    /// What tells thrashing from hard work.
    thrashing: ThrashingGauge,
    /// Where what happens is written down, if it is.
    recorder: Recorder,
    daemons: Daemons,
    config: Config,
    budget: Budget,
    /// How the pool follows its container, if it does.
    following: Option<Following>,
    /// The thread that does.
    limit_watch: LimitWatch,
    settings: Mutex<MarkSettings>,
    /// Pageblocks out of service; held while some leave or come back.
    offline: Mutex<Vec<hotplug::OfflineEntry>>,
    patience: Duration,
    hardened: bool,
}

/// How stores get their threads.
fn spawn(name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<thread::JoinHandle<()>> {
    thread::spawn(name, run)
}

impl Inner {
    /// What tells this pool from others inside callbacks.
    fn tag(&self) -> PoolTag {
        PoolTag::of(&*self.stores)
    }

    fn allocator(&self) -> Allocator<'_> {
        Allocator {
            nodes: &self.nodes,
            groups: &self.groups,
            reclaimer: Some(self),
            compactor: Some(self),
            overseer: Some(self),
            patience: self.patience,
            pool: Some(self.tag()),
        }
    }

    fn zone_of(&self, pfn: Pfn) -> &Zone {
        self.nodes
            .node(pfn.node())
            .zone_of(pfn)
            .expect("D1: a block lies in a zone")
    }

    fn arena_of(&self, pfn: Pfn) -> &Arena {
        self.nodes.node(pfn.node()).arena()
    }

    fn count_reclaimable(&self, pfn: Pfn, pages: i64) {
        self.nodes
            .node(pfn.node())
            .count(NodeItem::KernelMiscReclaimable, pages);
    }

    fn note_alloc(&self, pages: &PagesUninit, gfp: Gfp) {
        self.recorder.note(|| Happening::Alloc {
            pfn: pages.pfn(),
            order: pages.order(),
            gfp,
            migratetype: gfp.migratetype(),
        });
    }

    fn note_refused(&self, order: Order, gfp: Gfp, error: AllocError) {
        self.recorder.note(|| Happening::Refused {
            order,
            gfp,
            cause: Cause::of_alloc(error),
        });
    }

    /// Gives the memory of all free blocks of a pageblock and more to the system; returns how many bytes. The
    /// caller has a handle, or is waited for by the last one.
    fn trim(&self) -> usize {
        self.nodes.drain_all_and_synchronize();
        let given_back = || self.nodes.events().sum(VmEvent::GivenBack);
        let before = given_back();
        { self.nodes.zones() }
            .filter(|zone| zone.zone_type() != ZoneType::Dma)
            .for_each(|zone| self.trim_zone(zone));
        (given_back() - before) as usize * PAGE_SIZE
    }

    fn trim_zone(&self, zone: &Zone) {
        self.trim_all_with(zone, Residency::Used);
        self.trim_all_with(zone, Residency::Blank);
        if let Some(tail) = zone.withdraw_tail() {
            self.vacate(zone, &tail);
            self.see_to(zone, zone.return_tail(tail));
        }
    }

    fn trim_all_with(&self, zone: &Zone, residency: Residency) {
        // A block that cannot be given back stays resident: then there is no end to look for.
        for _ in 0..zone.present() >> zone.block_order().get() {
            let Some(idle) = zone.withdraw_idle(residency) else {
                break;
            };
            let freed = Freed {
                idle: Some(idle),
                ..Freed::default()
            };
            self.see_to(zone, freed);
        }
    }

    /// Gives the memory of a withdrawn block to the system and puts the block back.
    fn give_back(&self, zone: &Zone, idle: IdleBlock) -> Freed {
        let pages = idle.order().pages();
        if !pages::give_back(self.arena_of(idle.pfn()), &idle) {
            let as_before = idle.residency();
            return zone.return_idle(idle, as_before);
        }
        self.nodes.events().add(VmEvent::GivenBack, pages as u64);
        zone.return_idle(idle, Residency::Vacant)
    }
}

/// A pool of pages with a fixed budget.
///
/// Cloning gives another handle to the same pool. Blocks keep the pool's memory alive: dropping the
/// last handle while some are out is fine.
///
/// ```
/// use pagepool::{Gfp, Order, PagePool};
///
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let mut block = pool.alloc_pages(Order::new(4)?, Gfp::KERNEL)?; // 64 KiB, zeroed
/// block[..5].copy_from_slice(b"hello");
/// assert_eq!(block.len(), 64 << 10);
/// drop(block);
/// pool.verify()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PagePool {
    inner: PoolRef,
}

/// How long [`PagePool::verify`] waits for the daemons to stand still.
const VERIFY_PATIENCE: Duration = Duration::from_secs(5);

impl PagePool {
    /// Returns a builder with every setting at its default.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn new(inner: Inner) -> PagePool {
        PagePool {
            inner: PoolRef::new(inner),
        }
    }

    pub(in crate::pool) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Returns what knows this pool without keeping it alive.
    #[cfg(all(feature = "serve", not(any(loom, shuttle))))]
    pub(crate) fn watch(&self) -> WeakPool {
        WeakPool(lifetime::PoolWatch::of(&self.inner))
    }

    /// Allocates a zeroed block of `order`: 2^order pages of 4 KiB, aligned to its own size.
    ///
    /// With [`Gfp::DIRECT_RECLAIM`] (part of [`Gfp::KERNEL`]) a request of order 3 or less waits for
    /// memory until the pool's [deadline](Builder::deadline); larger ones, and those with
    /// [`Gfp::NORETRY`] or [`Gfp::RETRY_MAYFAIL`], are refused once everything was tried. Raw blocks
    /// below 2 MiB never come from the Movable zone, whatever the flags.
    ///
    /// # Errors
    /// [`AllocError`], which names the cause. Nothing is refused before every per-CPU cache was
    /// emptied.
    pub fn alloc_pages(&self, order: Order, gfp: Gfp) -> Result<Pages, AllocError> {
        Ok(self.alloc_pages_uninit(order, gfp)?.zeroed())
    }

    /// As [`alloc_pages`](Self::alloc_pages), with the contents left as they are: see
    /// [`PagesUninit`].
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages).
    // Always: where it is not inlined, its `Result` comes through memory, two words that are written one by one and read
    // at once, which a CPU waits for longer than for the rest. An `Option` of them, as it gets it, comes in registers.
    #[inline(always)]
    pub fn alloc_pages_uninit(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        // Decided when the caller is compiled, if it knows what it asks for.
        match at_hand::wanted(order, gfp) {
            Some(want) => match self.alloc_at_hand(want) {
                Some(page) => Ok(page),
                None => self.alloc_page_the_long_way(gfp),
            },
            None => self.alloc_block(order, gfp),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_the_long_way(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        let granted = self.inner.allocator().alloc(order, gfp);
        let granted = granted.inspect_err(|error| self.inner.note_refused(order, gfp, *error))?;
        let pages = self.adopt(granted, Paid::ByNobody);
        self.inner.stock_at_hand(order, gfp);
        Ok(self.hand_out(pages, gfp))
    }

    fn alloc_placed(
        &self,
        order: Order,
        gfp: Gfp,
        placement: Placement,
    ) -> Result<PagesUninit, AllocError> {
        let allocated = self.try_alloc_placed(order, gfp, placement);
        allocated.inspect_err(|error| self.inner.note_refused(order, gfp, *error))
    }

    fn try_alloc_placed(
        &self,
        order: Order,
        gfp: Gfp,
        placement: Placement,
    ) -> Result<PagesUninit, AllocError> {
        let allocator = self.inner.allocator();
        let group = placement.group;
        if group.is_root() {
            let granted = allocator.alloc_placed(order, gfp, placement)?;
            return Ok(self.hand_out(self.adopt(granted, Paid::ByNobody), gfp));
        }
        if let Some(granted) = allocator.alloc_charged(order, gfp, placement) {
            return Ok(self.hand_out(self.adopt(granted, Paid::Before(group)), gfp));
        }
        let mut patience = placement.patience.unwrap_or(self.inner.patience);
        let charge = allocator.charge(group, order.pages(), gfp, &mut patience)?;
        let placement = Placement {
            patience: Some(patience),
            ..placement
        };
        let granted = allocator.alloc_placed(order, gfp, placement)?;
        Ok(self.hand_out(self.adopt(granted, Paid::Now(charge)), gfp))
    }

    /// Puts a block into the hands of its owner: from here on it is freed whatever happens.
    #[inline(always)]
    fn adopt(&self, granted: Granted, paid: Paid<'_>) -> Adopted {
        Adopted {
            is_vacant: granted.taken.residency() == Residency::Vacant,
            pages: PagesUninit::new(&self.inner, granted, paid),
        }
    }

    /// Makes an adopted block ready for use.
    #[inline(always)]
    fn hand_out(&self, adopted: Adopted, gfp: Gfp) -> PagesUninit {
        let Adopted { pages, is_vacant } = adopted;
        self.inner.note_alloc(&pages, gfp);
        if gfp.contains(Gfp::RECLAIMABLE) {
            self.inner
                .count_reclaimable(pages.pfn(), pages.order().pages() as i64);
        }
        pages.check_poison();
        if is_vacant {
            pages.back_hugely();
        }
        if gfp.contains(Gfp::ZERO) {
            pages.zero_in_place()
        } else {
            pages
        }
    }

    /// Returns a request that says more than order and flags: nodes, preferred node, deadline.
    pub fn request(&self, order: Order, gfp: Gfp) -> AllocRequest<'_> {
        AllocRequest::new(self, order, gfp)
    }

    /// Gives the memory of all free blocks of a pageblock (2 MiB) and more back to the system;
    /// returns how many bytes. They remain free, and are populated again on first use.
    pub fn trim(&self) -> usize {
        self.inner.trim()
    }

    /// Empties the caches of all CPUs, and what threads have at hand, into the zones; returns how many bytes they
    /// held. If another thread is at it already, leaves it to that one and returns 0. What a thread has at hand
    /// that is in the middle of an allocation or a free, it gives back itself in a moment, and it is not counted.
    pub fn drain(&self) -> usize {
        self.inner.nodes.drain_all() * PAGE_SIZE
    }

    /// Returns what the pool is made of and how it stands. Each number is exact when it is read; all
    /// together they are of one moment only if nothing else runs.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.inner)
    }

    /// Checks every invariant of every layer by walking all metadata.
    ///
    /// Meant for tests and for epochs at which nothing else runs: what moves meanwhile may be
    /// reported although nothing is wrong. The pool's own daemons stand still for the while, and its budget is
    /// not changed.
    ///
    /// # Errors
    /// The first [`Violation`] found: which invariant, at which frame.
    pub fn verify(&self) -> Result<(), Violation> {
        let _unresized = self.inner.keep_from_resizing(VERIFY_PATIENCE);
        let freeze = self.inner.freeze_for(VERIFY_PATIENCE);
        let verdict = self
            .inner
            .nodes
            .verify()
            .and_then(|()| self.inner.nodes.verify_asan())
            .and_then(|()| self.inner.verify_folios())
            .and_then(|()| self.inner.verify_groups())
            .and_then(|()| self.inner.swap.verify())
            .and_then(|()| self.inner.shrinkers.verify())
            .and_then(|()| self.inner.nodes.verify_psi(freeze.is_some()))
            .and_then(|()| self.inner.groups.verify_psi(freeze.is_some()));
        drop(freeze);
        verdict
    }

    /// Checks what holds only while every thread of the program and of the pool waits, which a simulation
    /// knows.
    #[cfg(shuttle)]
    #[doc(hidden)]
    pub fn verify_at_rest(&self) -> Result<(), Violation> {
        self.inner.nodes.iter().try_for_each(|node| {
            node.kswapd.verify_at_rest()?;
            node.kcompactd.verify_at_rest()
        })
    }

    /// Returns the settings the pool was built with, defaults filled in.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Returns the settings that can be changed while the pool runs.
    pub fn tunables(&self) -> Tunables<'_> {
        Tunables::new(&self.inner)
    }

    /// Waits until every block and every folio has come back, those in swap included, then gives up this
    /// handle; the last one ends the pool.
    ///
    /// # Errors
    /// [`StillHeld`] if any are out when `patience` ends; it names some, and returns the pool.
    pub fn close(self, patience: Duration) -> Result<(), StillHeld> {
        if self.wait_until_empty(patience) {
            return Ok(());
        }
        Err(StillHeld::new(self))
    }
}

/// Knows a pool, and does not keep it alive.
#[cfg(all(feature = "serve", not(any(loom, shuttle))))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeakPool(lifetime::PoolWatch);

#[cfg(all(feature = "serve", not(any(loom, shuttle))))]
impl WeakPool {
    /// A handle to the pool, if it still has one. Who holds it for a moment may be the one who ends the pool.
    pub(crate) fn upgrade(self) -> Option<PagePool> {
        let inner = self.0.pool()?;
        Some(PagePool { inner })
    }
}

impl Clone for PagePool {
    fn clone(&self) -> PagePool {
        PagePool {
            inner: self.inner.clone(),
        }
    }
}

impl fmt::Debug for PagePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagePool")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// A pool that could not be closed because blocks are still out.
#[derive(Debug, thiserror::Error)]
#[error("{pages} pages{} are still held, the first of them in {}", Beside(*.folios), Blocks(.first))]
pub struct StillHeld {
    pool: PagePool,
    pages: usize,
    folios: usize,
    first: Vec<(Pfn, Order)>,
}

/// How many holders a [`StillHeld`] names.
const MAX_NAMED: usize = 8;

impl StillHeld {
    fn new(pool: PagePool) -> StillHeld {
        let (pages, first) = pool.inner.nodes.outstanding(MAX_NAMED);
        let folios = pool.inner.folios.nr_open();
        StillHeld {
            pool,
            pages,
            folios,
            first,
        }
    }

    /// The pool, to be used on or closed later.
    #[must_use]
    pub fn into_pool(self) -> PagePool {
        self.pool
    }

    /// Pages that are out.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Folios that are out, in memory or away.
    #[must_use]
    pub fn folios(&self) -> usize {
        self.folios
    }

    /// Some of the blocks that are out: first frame and order.
    #[must_use]
    pub fn blocks(&self) -> &[(Pfn, Order)] {
        &self.first
    }
}

/// A block that has an owner, and is not ready for use yet.
struct Adopted {
    pages: PagesUninit,
    /// It has no memory yet.
    is_vacant: bool,
}

/// Folios, if there are any.
struct Beside(usize);

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            folios => write!(f, " and {folios} folios, in memory or away,"),
        }
    }
}

struct Blocks<'a>(&'a [(Pfn, Order)]);

impl fmt::Display for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, (pfn, order)) in self.0.iter().enumerate() {
            write!(f, "{}{pfn} at {order:?}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl PagePool {
    fn wait_until_empty(&self, patience: Duration) -> bool {
        let nodes = &self.inner.nodes;
        let deadline = crate::sync::clock::deadline_after(patience);
        nodes.freed().wait_until(deadline, || {
            nodes.drain_all_and_synchronize();
            self.inner.folios.nr_open() == 0 && nodes.zones().all(Zone::is_whole)
        })
    }
}
