//! A zone: a buddy system behind a lock, with marks, reserves and per-CPU caches.
//!
//! *Kernel counterpart:* `struct zone`, `rmqueue`, `free_unref_page`, `free_one_page`,
//! `drain_pages_zone`, `wakeup boost` of `rmqueue` (v5.0).
//!
//! ```text
//!   take ──► cache of this CPU ──(empty)──► refill a batch ─┐
//!     └────(not cached, taken)──────────────────────────────┴──► lock ─► buddy
//!   put  ──► cache of this CPU ──(full)───► return a batch ─┬──► lock ─► buddy
//!     └────(not cached, taken, isolated, somebody waits)────┘
//! ```
//!
//! **Invariants** (B: [`buddy`](crate::buddy), P: [`pcp`], W: [`watermark`])
//! - N1: pages free in the buddy + withheld + cached + handed out + withdrawn = present pages; what is
//!   offline is withheld.
//! - N2: the published free counts are those of the buddy whenever the lock is free.
//! - N3: a block's state is "allocated" from before it is handed out until after it was given back.
//! - N4: what was moved out of its pageblocks was moved into its pageblocks ([`moves`]).
//!
//! **Locking and ordering:** the zone's lock guards the buddy, the boost and the reserve. The buddy's free
//! counts change only under it and are exact; they are published in atomics beside it, so that marks can be
//! checked without it. What is freed unmerged is counted without it, and beside them. A check that was passed on an
//! old count costs at most a vain attempt.
//! Nothing is woken here: a zone says what happened, and its caller wakes.
//!
//! Here is what a zone consists of; what can be done with it is in [`marks`], [`take`], [`put`], [`idle`]
//! and [`report`].
//!
//! **Nobody waits beside free memory.** A thread that waits for memory publishes itself on the queue
//! `freed`, and only then takes each cache's lock (to drain it) and the zone's. A thread that frees
//! looks at the queue while it holds the lock of the cache or zone that it frees into. Whoever holds
//! that lock first, the other sees: the waiter finds the memory, or the freeing thread the waiter.
//! The same goes for a thread that is about to move free blocks from the buddy into its cache: it
//! looks while it holds the cache's lock, and if somebody waits it takes the one block that it needs.

#![forbid(unsafe_code)]

pub(crate) mod at_hand;
pub(crate) mod charges;
mod depot;
mod depots;
pub(crate) mod evacuate;
pub(crate) mod exchange;
pub(crate) mod figure;
pub(crate) mod fragmentation;
pub(crate) mod hotplug;
pub(crate) mod idle;
pub(crate) mod kind;
pub(crate) mod lowmem;
pub(crate) mod magazine;
mod marks;
mod moves;
pub(crate) mod pcp;
mod put;
mod recovery;
mod report;
pub(crate) mod score;
pub(crate) mod sizing;
mod take;
pub(crate) mod vmstat;
pub(crate) mod watermark;
pub(crate) mod zonelist;

#[cfg(all(test, not(loom)))]
mod tests;

use std::mem::offset_of;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::buddy::{BlockTable, Buddy, Demand, Fallback, Geometry, IdleBlock, Residency, Unmerged};
use crate::error::BuildError;
use crate::memmap::{FrameState, Memmap};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{CoreMutex, Rank, WaitQueue};
use crate::types::{Migratetype, NR_ZONES, NodeId, Order, PAGEBLOCK_ORDER, Pfn, ZoneType};

use magazine::Magazines;
use moves::BlockMoves;
use pcp::Pcp;
use recovery::Recovery;
use sizing::PcpSizes;
use watermark::{AllocFlags, Marks};

/// What is asked of a zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneRequest {
    /// The size of the block.
    pub(crate) order: Order,
    /// Its type.
    pub(crate) want: Migratetype,
    /// How far to go.
    pub(crate) flags: AllocFlags,
}

impl ZoneRequest {
    fn demand(self) -> Demand {
        let fallback = if self.flags.contains(AllocFlags::UNMIXED) {
            Fallback::Never
        } else if self.flags.contains(AllocFlags::NOFRAGMENT) {
            Fallback::WholeBlocks
        } else {
            Fallback::Any
        };
        Demand {
            order: self.order,
            want: self.want,
            fallback,
            highatomic: self.flags.may_use_highatomic(),
        }
    }

    /// The state of a frame handed out for this request.
    fn state(self) -> FrameState {
        FrameState::allocated(self.order, self.want)
    }
}

/// A block taken from a zone: who has it owns the block, and has to see that it comes back.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the block is lost unless it is put back"]
pub(crate) struct Taken {
    pfn: Pfn,
    order: Order,
    residency: Residency,
}

impl Taken {
    /// Its first frame.
    pub(crate) fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Its order.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// What stood behind it when it was taken.
    pub(crate) fn residency(&self) -> Residency {
        self.residency
    }
}

/// Blocks taken from a zone that follow each other: as so many [`Taken`].
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the blocks are lost unless they are put back"]
pub(crate) struct TakenRun {
    first: Pfn,
    nr: usize,
    order: Order,
    residency: Residency,
}

impl TakenRun {
    /// The first frame of the first one.
    pub(crate) fn first(&self) -> Pfn {
        self.first
    }

    /// How many there are.
    pub(crate) fn nr(&self) -> usize {
        self.nr
    }

    /// The order of each.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// What stood behind each when it was taken.
    pub(crate) fn residency(&self) -> Residency {
        self.residency
    }

    /// The first frame of each.
    #[cfg(test)]
    pub(crate) fn pfns(&self) -> impl Iterator<Item = Pfn> {
        let (first, order) = (self.first, self.order);
        (0..self.nr).map(move |block| first.add(block << order.get()))
    }
}

/// What the caller of a zone has to see to, once no lock is held.
///
/// Nothing in it refers to the pool except what keeps the pool alive: an idle block is memory handed
/// out, and the queue is shared. Without either, the block that was put back may have been the last,
/// and the pool may be gone.
#[derive(Debug, Default)]
#[must_use = "somebody may be waiting"]
pub(crate) struct Freed {
    /// Somebody waits for memory on this queue.
    pub(crate) waiters: Option<Arc<WaitQueue>>,
    /// A block whose memory should go back to the system, and that then must be returned.
    pub(crate) idle: Option<IdleBlock>,
    /// Pages that left an owner although the pool is closing.
    pub(crate) closing_pages: usize,
}

impl Freed {
    /// Whether there is anything to see to.
    pub(crate) fn is_something(&self) -> bool {
        self.waiters.is_some() || self.idle.is_some() || self.closing_pages > 0
    }
}

/// Counts of what went past the caches.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZoneEvents {
    /// Pages handed out.
    pub(crate) pages_allocated: u64,
    /// Pages taken back.
    pub(crate) pages_freed: u64,
    /// Blocks handed out to a CPU of the zone's own node, without a walk.
    pub(crate) local_hits: u64,
    /// Pages that found their cache taken.
    pub(crate) contended: u64,
    /// Types mixed in a pageblock.
    pub(crate) extfrag: u64,
}

impl ZoneEvents {
    fn note(&mut self, Contended(contended): Contended, order: Order) {
        if contended {
            self.contended += order.pages() as u64;
        }
    }
}

/// Whether a block comes this way because its cache was taken.
#[derive(Clone, Copy, Debug)]
struct Contended(bool);

/// What the zone's lock guards; on other lines than the lock, at which those look again and again who find it taken.
#[derive(Debug)]
#[repr(align(64))]
struct Core {
    buddy: Buddy,
    events: ZoneEvents,
    /// Pages withdrawn to be given back to the system.
    withdrawn: usize,
    /// Pages out of service, in isolated pageblocks.
    offline: usize,
    closing: bool,
}

impl Core {
    /// Free pages that compaction withholds while it empties their pageblocks.
    fn aside(&self) -> usize {
        let withheld = self.buddy.isolated_free_pages();
        withheld.saturating_sub(self.offline)
    }
}

/// Published under the lock (N2).
#[derive(Debug)]
struct Published {
    /// In the buddy, less all that was ever merged: with all that ever came unmerged, what is free, whether it is
    /// merged meanwhile or not. Wraps.
    free: AtomicUsize,
    free_highatomic: AtomicUsize,
    available: AtomicU64,
    resident_free: AtomicUsize,
    withdrawn: AtomicUsize,
    /// Pages in pageblocks that are kept for urgent requests.
    reserved: AtomicUsize,
}

impl Published {
    /// What is published of a buddy that was just made.
    fn of(buddy: &Buddy) -> Published {
        Published {
            free: AtomicUsize::new(buddy.free_pages()),
            free_highatomic: AtomicUsize::new(0),
            available: AtomicU64::new(buddy.availability().raw()),
            resident_free: AtomicUsize::new(0),
            withdrawn: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
        }
    }
}

/// A zone of a node.
#[derive(Debug)]
pub(crate) struct Zone {
    node: NodeId,
    zone: ZoneType,
    start: Pfn,
    pages: usize,
    /// Pages in service; written under the lock.
    managed: AtomicUsize,
    map: Arc<Memmap>,
    blocks: BlockTable,
    moves: BlockMoves,
    /// On lines of its own, as is what is published: who is served elsewhere reads what is beside it.
    core: CachePadded<CoreMutex<Core>>,
    published: CachePadded<Published>,
    /// Free pages that were not merged yet, and that are put there without the lock.
    unmerged: Arc<Unmerged>,
    marks: AtomicU64,
    /// Pages added to every mark; written under the lock.
    boost: AtomicUsize,
    boost_factor: AtomicU32,
    /// Nobody answers a boost, so it ends by itself.
    boost_lapses: AtomicBool,
    /// A boost was added for a request that may wake the background reclaimer.
    boosted: AtomicBool,
    /// Between which scores the zone is to be kept, and whether it has risen above; the latter written
    /// under the lock.
    proactiveness: AtomicU8,
    fragmented: AtomicBool,
    /// It has, and nobody was told yet.
    fragmented_news: AtomicBool,
    /// Sparse pageblocks that could not be emptied; written under the lock.
    stuck: AtomicU32,
    /// Whether reclaim has given up on the node, and what came after; written under the lock.
    recovery: AtomicU8,
    reserve: [AtomicUsize; NR_ZONES],
    /// Pages of whole free blocks that may keep their memory once it was used.
    keep_resident: AtomicUsize,
    /// The fragmentation index up to which memory is short rather than in pieces.
    extfrag_threshold: AtomicU32,
    pcp: Pcp,
    magazines: Arc<Magazines>,
    freed: Arc<WaitQueue>,
}

/// Whether a field at `offset` is on a cache line of another, which is somewhere and has a size.
const fn are_on_one_line(offset: usize, (start, size): (usize, usize)) -> bool {
    const LINE: usize = 64;
    start / LINE <= offset / LINE && offset / LINE <= (start + size - 1) / LINE
}

// What each free of a single page reads, and each request of a zone that does not serve it, is on no line that is
// written under the lock.
const _: () = {
    let core = (offset_of!(Zone, core), size_of::<CoreMutex<Core>>());
    let published = (offset_of!(Zone, published), size_of::<Published>());
    let read = [
        offset_of!(Zone, start),
        offset_of!(Zone, pages),
        offset_of!(Zone, managed),
        offset_of!(Zone, map),
        offset_of!(Zone, magazines),
        offset_of!(Zone, freed),
    ];
    let mut field = 0;
    while field < read.len() {
        assert!(!are_on_one_line(read[field], core));
        assert!(!are_on_one_line(read[field], published));
        field += 1;
    }
};

impl Zone {
    /// Builds a zone in which everything is free. Marks and cache sizes are zero until set.
    pub(crate) fn new(
        (node, zone): (NodeId, ZoneType),
        geometry: Geometry,
        map: Arc<Memmap>,
        nr_cpus: usize,
        freed: Arc<WaitQueue>,
    ) -> Result<Zone, BuildError> {
        let buddy = Buddy::new(geometry)?;
        // Raw pages come from there; the others are asked for by folios, which are in no such hurry.
        let at_hand = match zone {
            ZoneType::Normal => geometry.pages,
            ZoneType::Dma | ZoneType::Movable => 0,
        };
        let zone = Zone {
            node,
            zone,
            start: geometry.start,
            pages: geometry.pages,
            managed: AtomicUsize::new(geometry.pages),
            map,
            blocks: buddy.block_table(),
            moves: BlockMoves::new(geometry)?,
            published: CachePadded::new(Published::of(&buddy)),
            unmerged: Arc::clone(buddy.unmerged()),
            core: CachePadded::new(CoreMutex::ranked(
                Rank::Zone,
                Core {
                    buddy,
                    events: ZoneEvents::default(),
                    withdrawn: 0,
                    offline: 0,
                    closing: false,
                },
            )),
            marks: AtomicU64::new(Marks::default().raw()),
            boost: AtomicUsize::new(0),
            boost_factor: AtomicU32::new(0),
            boost_lapses: AtomicBool::new(false),
            boosted: AtomicBool::new(false),
            proactiveness: AtomicU8::new(0),
            fragmented: AtomicBool::new(false),
            stuck: AtomicU32::new(0),
            fragmented_news: AtomicBool::new(false),
            recovery: AtomicU8::new(Recovery::Unwatched as u8),
            reserve: std::array::from_fn(|_| AtomicUsize::new(0)),
            keep_resident: AtomicUsize::new(usize::MAX),
            extfrag_threshold: AtomicU32::new(fragmentation::DEFAULT_EXTFRAG_THRESHOLD),
            pcp: Pcp::new(nr_cpus),
            magazines: Arc::new(Magazines::new(at_hand, nr_cpus)?),
            freed,
        };
        Ok(zone)
    }

    /// The node it belongs to.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// What it is for.
    pub(crate) fn zone_type(&self) -> ZoneType {
        self.zone
    }

    /// Pages that exist.
    pub(crate) fn present(&self) -> usize {
        self.pages
    }

    /// Pages in service.
    pub(crate) fn managed(&self) -> usize {
        // Relaxed: a number by itself.
        self.managed.load(Ordering::Relaxed)
    }

    /// Whether any memory is in service.
    pub(crate) fn is_managed(&self) -> bool {
        self.managed() > 0
    }

    /// Its first frame.
    pub(crate) fn start(&self) -> Pfn {
        self.start
    }

    /// Whether `pfn` is one of its frames.
    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        pfn >= self.start && pfn.offset_from(self.start) < self.pages
    }

    /// How many pages after the zone's first this frame of its is.
    #[inline(always)]
    pub(crate) fn offset_of(&self, pfn: Pfn) -> usize {
        pfn.offset_from(self.start)
    }

    /// The frame so many pages after the zone's first, if it has as many.
    #[inline(always)]
    pub(crate) fn frame_at(&self, offset: usize) -> Option<Pfn> {
        (offset < self.pages).then(|| self.start.add(offset))
    }

    /// Whether free blocks are missing for a moment: because their memory is being given back to the system,
    /// or because the pageblocks that they are in are being emptied.
    pub(crate) fn has_withdrawn(&self) -> bool {
        // Relaxed: published under the lock, which who looks here has taken since.
        self.published.withdrawn.load(Ordering::Relaxed) > 0
    }

    /// Puts other cache sizes in force.
    pub(crate) fn set_pcp_sizes(&self, sizes: PcpSizes) {
        self.pcp.set_sizes(sizes);
        self.magazines.set_depth(sizes.high as usize);
        self.magazines
            .set_wholes(sizes.wholes_at_hand(self.managed()));
    }

    /// The cache sizes in force.
    pub(crate) fn pcp_sizes(&self) -> PcpSizes {
        self.pcp.sizes()
    }

    /// Switches mobility grouping on or off.
    pub(crate) fn set_grouping(&self, grouping: bool) {
        self.core.lock().buddy.set_grouping(grouping);
    }

    /// Its shape.
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry {
            start: self.start,
            pages: self.pages,
        }
    }

    /// The words of its pageblocks, to be read without the lock.
    pub(crate) fn blocks(&self) -> &BlockTable {
        &self.blocks
    }

    /// The order of the zone's pageblocks.
    pub(crate) fn block_order(&self) -> Order {
        self.geometry().block_order()
    }

    /// The largest order that can ever be free here.
    pub(crate) fn max_order(&self) -> Order {
        self.geometry().max_order()
    }

    /// Whether blocks of `order` are cached in this zone.
    fn caches(&self, order: Order, sizes: PcpSizes) -> bool {
        match order {
            PAGEBLOCK_ORDER => sizes.blocks > 0,
            order => sizes.is_on() && pcp::is_cached(order),
        }
    }

    /// Publishes the free counts (N2).
    fn publish(&self, core: &Core) {
        let published = &*self.published;
        // Relaxed: see the head; the lock orders everything that must be.
        let free = { core.buddy.free_pages() }.wrapping_sub(self.unmerged.nr_merged());
        { &published.free }.store(free, Ordering::Relaxed);
        { &published.free_highatomic }.store(core.buddy.free_highatomic_pages(), Ordering::Relaxed);
        { &published.available }.store(core.buddy.availability().raw(), Ordering::Relaxed);
        { &published.resident_free }.store(core.buddy.resident_free_pages(), Ordering::Relaxed);
        { &published.withdrawn }.store(core.withdrawn + core.aside(), Ordering::Relaxed);
        let reserved = core.buddy.reserved_highatomic_pages();
        { &published.reserved }.store(reserved, Ordering::Relaxed);
        self.note_recovery(core);
        self.note_fragmentation(core);
    }
}
