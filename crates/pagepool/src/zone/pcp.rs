//! A cache of free blocks for each CPU, in front of a zone.
//!
//! *Kernel counterpart:* `struct per_cpu_pages`, `free_pcppages_bulk`, `rmqueue_pcplist` (v5.0), with
//! a lock a cache as in later kernels (spec 9.16): whoever finds it taken goes straight to the zone,
//! and a drain of another CPU's cache takes it like anybody else. Orders 0 to 3 and whole pageblocks
//! are cached (9.17), each order and type in a list of its own.
//!
//! **Placement.** A cache that handed out again whatever was freed last would undo what the buddy's
//! choice of the fullest pageblock is for: pages would stay where they are, and no pageblock would
//! ever empty. So a freed block is kept for reuse only if its pageblock is at least as full as the
//! one that the list was last refilled from. Others wait in a bundle of outgoing blocks, which goes
//! back to the zone a batch at a time.
//!
//! The CPU number is a hint: a thread that has moved on uses another CPU's cache, which is slower
//! and as correct.
//!
//! **Invariants**
//! - P1: a frame is in a list of a cache exactly when its state says "cached", and then not free in
//!   the buddy.
//! - P2: `pages` is the number of pages in the lists of small orders, `blocks` that of whole
//!   pageblocks, `outgoing_pages` that of the bundle.
//! - P3: after a push the cache holds less than `high` pages, or a batch was returned.
//! - P4: a stopped cache is empty and stays so.
//!
//! **Locking:** a cache's lock is taken before the zone's. Here is the mechanism alone; when to
//! refill and what to return is [`Zone`](super::Zone)'s.

#![forbid(unsafe_code)]

use std::fmt;

use arrayvec::ArrayVec;
use crossbeam::utils::CachePadded;

use super::charges::Charges;
use super::sizing::PcpSizes;
use crate::error::{Violation, ensure};
use crate::memmap::{FrameState, Memmap, PfnList};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::fence::mutated;
use crate::sync::{CoreGuard, CoreMutex, Rank};
use crate::types::{COSTLY_ORDER, Migratetype, NR_PCP_TYPES, Order, PAGEBLOCK_ORDER, Pfn};

/// Cached orders: 0 to 3, and the pageblock.
const NR_PCP_ORDERS: usize = COSTLY_ORDER.get() as usize + 2;

const NR_LISTS: usize = NR_PCP_ORDERS * NR_PCP_TYPES;

/// Blocks that are returned to the zone under one hold of its lock.
pub(crate) const RETURN_BATCH: usize = 64;

/// Blocks on their way from a cache to the zone.
pub(crate) type Returned = ArrayVec<(Pfn, Order), RETURN_BATCH>;

/// Whether blocks of `order` are cached.
pub(crate) const fn is_cached(order: Order) -> bool {
    list_row(order).is_some()
}

const fn list_row(order: Order) -> Option<usize> {
    match order.get() {
        small if small <= COSTLY_ORDER.get() => Some(small as usize),
        block if block == PAGEBLOCK_ORDER.get() => Some(NR_PCP_ORDERS - 1),
        _ => None,
    }
}

/// Which list a block belongs in. Reserved blocks wait among the movable ones; their pageblock
/// remembers what they are.
fn list_idx(order: Order, mt: Migratetype) -> usize {
    let row = list_row(order).expect("the caller has asked whether the order is cached");
    let column = match mt {
        Migratetype::HighAtomic => Migratetype::Movable,
        regular => regular,
    };
    row * NR_PCP_TYPES + column.idx()
}

fn list_order(idx: usize) -> Order {
    match idx / NR_PCP_TYPES {
        row if row == NR_PCP_ORDERS - 1 => PAGEBLOCK_ORDER,
        row => Order::at(row),
    }
}

/// What passed through a cache.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PcpEvents {
    /// Pages handed out.
    pub(crate) pages_allocated: u64,
    /// Pages taken back.
    pub(crate) pages_freed: u64,
    /// Blocks handed out to a CPU of the zone's own node, without a walk over the zonelist.
    pub(crate) local_hits: u64,
}

/// The lists of one CPU, with its lock held.
#[derive(Debug, Default)]
pub(crate) struct PcpLists {
    lists: [PfnList; NR_LISTS],
    pages: usize,
    blocks: usize,
    /// Blocks of sparse pageblocks, on their way back.
    outgoing: Returned,
    outgoing_pages: usize,
    /// For each list, how full the emptiest pageblock was that it was last refilled from.
    fill_levels: [u8; NR_LISTS],
    stopped: bool,
    events: PcpEvents,
    /// Charges of pages that were freed here.
    pub(super) charges: Charges,
}

impl PcpLists {
    /// Whether nothing may be cached any more (P4).
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped && !mutated("pcp.stopped")
    }

    /// Takes the most recently cached block of the given order and type, to be handed out.
    pub(crate) fn pop(&mut self, map: &Memmap, order: Order, mt: Migratetype) -> Option<Pfn> {
        let pfn = self.withdraw(map, order, mt)?;
        self.events.pages_allocated += order.pages() as u64;
        Some(pfn)
    }

    /// Takes the most recently cached block, for another cache.
    pub(crate) fn withdraw(&mut self, map: &Memmap, order: Order, mt: Migratetype) -> Option<Pfn> {
        let pfn = self.lists[list_idx(order, mt)].pop_front(map)?;
        debug_assert!(
            map.state(pfn).is_cached(),
            "P1: {pfn} is {}",
            map.state(pfn)
        );
        self.count_out(order);
        Some(pfn)
    }

    /// Puts a [withdrawn](Self::withdraw) block back to where it was: the first to be handed out.
    pub(crate) fn put_back(&mut self, map: &Memmap, pfn: Pfn, order: Order, mt: Migratetype) {
        self.lists[list_idx(order, mt)].push_front(map, pfn);
        self.count_in(order);
    }

    /// Caches a block that its owner gave back.
    pub(crate) fn push(&mut self, map: &Memmap, pfn: Pfn, order: Order, home: Home) {
        self.events.pages_freed += order.pages() as u64;
        self.keep(map, pfn, order, home);
    }

    /// Caches a block. If its pageblock is full enough it is the first to be handed out again, being hot;
    /// else it is on its way out.
    pub(crate) fn keep(&mut self, map: &Memmap, pfn: Pfn, order: Order, home: Home) {
        debug_assert!(!self.stopped, "P4");
        map.set_state(pfn, FrameState::cached(order, home.mt));
        let idx = list_idx(order, home.mt);
        if order != PAGEBLOCK_ORDER && home.fullness < self.fill_levels[idx] {
            self.outgoing.push((pfn, order));
            self.outgoing_pages += order.pages();
        } else {
            self.lists[idx].push_front(map, pfn);
            self.count_in(order);
        }
    }

    /// Sets the level of a list after a refill: how full the emptiest pageblock was that served it,
    /// when its first block was out. Were it how full that is after the last, the first block to go
    /// back to the pageblock would send all others after it.
    pub(crate) fn set_fill_level(&mut self, order: Order, mt: Migratetype, fullness: u8) {
        self.fill_levels[list_idx(order, mt)] = fullness;
    }

    /// Caches a block that comes from the zone, behind those that are there, for requests of type
    /// `mt`; its pageblock may be of another.
    pub(crate) fn refill(&mut self, map: &Memmap, pfn: Pfn, order: Order, mt: Migratetype) {
        debug_assert!(!self.stopped, "P4");
        map.set_state(pfn, FrameState::cached(order, mt));
        self.lists[list_idx(order, mt)].push_back(map, pfn);
        self.count_in(order);
    }

    /// Counts a block handed out on the shortest path.
    pub(crate) fn count_local_hit(&mut self) {
        self.events.local_hits += 1;
    }

    /// Pages that should go back to the zone by now (P3).
    pub(crate) fn surplus(&self, sizes: PcpSizes) -> Surplus {
        // The bundle first: it must never be full when the next block comes.
        if self.outgoing_pages >= usize::from(sizes.batch) || self.outgoing.is_full() {
            Surplus::Outgoing
        } else if self.blocks > usize::from(sizes.blocks) {
            Surplus::Blocks(self.blocks - usize::from(sizes.blocks))
        } else if self.pages >= sizes.high as usize {
            Surplus::Pages(usize::from(sizes.batch).min(self.pages))
        } else {
            Surplus::None
        }
    }

    /// Takes the bundle of outgoing blocks.
    pub(crate) fn take_outgoing(&mut self, map: &Memmap) -> Returned {
        self.outgoing_pages = 0;
        let taken = std::mem::take(&mut self.outgoing);
        for (pfn, _) in &taken {
            map.set_state(*pfn, FrameState::FREE);
        }
        taken
    }

    /// Takes whole pageblocks out, the longest unused first.
    pub(crate) fn take_blocks(&mut self, map: &Memmap, nr: usize) -> Returned {
        let mut taken = Returned::new();
        for idx in NR_LISTS - NR_PCP_TYPES..NR_LISTS {
            while taken.len() < nr.min(RETURN_BATCH) && self.take_coldest(map, idx, &mut taken) {}
        }
        taken
    }

    /// Takes at least `nr` pages of small orders out, if there are so many and a return batch holds
    /// them: from each list in turn, and the more lists were passed by the more from the next, so
    /// that the full ones drain faster (spec 3.7). The longest unused go first.
    pub(crate) fn take_pages(&mut self, map: &Memmap, nr: usize) -> Returned {
        let mut taken = Returned::new();
        let target = self.pages.saturating_sub(nr);
        let mut idx = 0;
        let mut run = 0;
        while self.pages > target && !taken.is_full() {
            idx = (idx + 1) % (NR_LISTS - NR_PCP_TYPES);
            run += 1;
            if self.lists[idx].is_empty() {
                continue;
            }
            for _ in 0..run {
                let wanted = self.pages > target && !taken.is_full();
                if !wanted || !self.take_coldest(map, idx, &mut taken) {
                    break;
                }
            }
            run = 0;
        }
        taken
    }

    fn take_coldest(&mut self, map: &Memmap, idx: usize, taken: &mut Returned) -> bool {
        let Some(pfn) = self.lists[idx].pop_back(map) else {
            return false;
        };
        let order = list_order(idx);
        map.set_state(pfn, FrameState::FREE);
        self.count_out(order);
        taken.push((pfn, order));
        true
    }

    fn count_in(&mut self, order: Order) {
        if order == PAGEBLOCK_ORDER {
            self.blocks += 1;
        } else {
            self.pages += order.pages();
        }
    }

    fn count_out(&mut self, order: Order) {
        if order == PAGEBLOCK_ORDER {
            self.blocks -= 1;
        } else {
            self.pages -= order.pages();
        }
    }

    /// Pages in the cache.
    pub(crate) fn cached_pages(&self) -> usize {
        self.pages + self.blocks * PAGEBLOCK_ORDER.pages() + self.outgoing_pages
    }

    /// What passed through the cache.
    pub(crate) fn events(&self) -> PcpEvents {
        self.events
    }

    /// Checks P1 and P2.
    pub(crate) fn verify(&self, map: &Memmap) -> Result<(), Violation> {
        let mut pages = 0;
        for (idx, list) in self.lists.iter().enumerate() {
            list.verify(map)?;
            let order = list_order(idx);
            for pfn in list.iter(map) {
                verify_cached(map, pfn, order)?;
                pages += order.pages();
            }
        }
        for (pfn, order) in &self.outgoing {
            verify_cached(map, *pfn, *order)?;
            pages += order.pages();
        }
        ensure!(
            pages == self.cached_pages(),
            "P2",
            "{pages} pages in the lists, recorded {}",
            self.cached_pages()
        );
        ensure!(
            !self.stopped || pages == 0,
            "P4",
            "a stopped cache holds {pages} pages"
        );
        Ok(())
    }
}

/// Checks P1 of a frame.
pub(super) fn verify_cached(map: &Memmap, pfn: Pfn, order: Order) -> Result<(), Violation> {
    let state = map.state(pfn);
    let cached = state.is_cached() && state.block().is_some_and(|(o, _)| o == order);
    ensure!(
        cached,
        "P1",
        "{pfn} is in a cache at {order:?}, but its state is: {state}"
    );
    Ok(())
}

/// What a cache needs to know of a block's pageblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Home {
    /// The type of the list that the block belongs in.
    pub(crate) mt: Migratetype,
    /// How full the pageblock is, 0 to 63.
    pub(crate) fullness: u8,
}

/// What a cache has too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Surplus {
    /// Nothing.
    None,
    /// The bundle of outgoing blocks.
    Outgoing,
    /// So many pages of small orders.
    Pages(usize),
    /// So many whole pageblocks.
    Blocks(usize),
}

/// The caches of all CPUs in front of one zone.
pub(crate) struct Pcp {
    slots: Box<[CachePadded<CoreMutex<PcpLists>>]>,
    sizes: AtomicU64,
}

impl Pcp {
    /// Returns empty caches for `nr_cpus` CPUs, switched off until they are given sizes.
    pub(crate) fn new(nr_cpus: usize) -> Pcp {
        let slot = || CachePadded::new(CoreMutex::ranked(Rank::PcpSlot, PcpLists::default()));
        let sizes = PcpSizes {
            batch: 1,
            ..PcpSizes::default()
        };
        Pcp {
            slots: (0..nr_cpus).map(|_| slot()).collect(),
            sizes: AtomicU64::new(sizes.raw()),
        }
    }

    /// The cache of `cpu`, unless somebody else has it right now.
    pub(crate) fn try_of(&self, cpu: usize) -> Option<CoreGuard<'_, PcpLists>> {
        let slot = self
            .slots
            .get(cpu)
            .unwrap_or_else(|| &self.slots[cpu % self.slots.len()]);
        slot.try_lock()
    }

    /// The cache of `cpu`, waiting for whoever has it.
    pub(crate) fn of(&self, cpu: usize) -> CoreGuard<'_, PcpLists> {
        self.slots[cpu].lock()
    }

    /// The cache of each CPU, one after the other, waiting for whoever has it.
    pub(crate) fn each(&self) -> impl Iterator<Item = CoreGuard<'_, PcpLists>> {
        self.slots.iter().map(|slot| slot.lock())
    }

    /// Lets nothing be cached from now on in a cache that has been emptied.
    pub(crate) fn stop(lists: &mut PcpLists) {
        debug_assert_eq!(lists.cached_pages(), 0, "P4");
        lists.stopped = true;
    }

    /// How many CPUs have a cache.
    pub(crate) fn nr_cpus(&self) -> usize {
        self.slots.len()
    }

    /// The sizes in force.
    pub(crate) fn sizes(&self) -> PcpSizes {
        // Relaxed: one word, nothing else goes with it.
        PcpSizes::from_raw(self.sizes.load(Ordering::Relaxed))
    }

    /// Puts other sizes in force. Caches beyond them shrink as they are used; one that is
    /// switched off keeps what it holds until the shortest path takes it or a drain.
    pub(crate) fn set_sizes(&self, sizes: PcpSizes) {
        // Relaxed: as in `sizes`.
        self.sizes.store(sizes.raw(), Ordering::Relaxed);
    }

    /// Bytes of the caches of `nr_cpus` CPUs.
    pub(crate) fn bytes(nr_cpus: usize) -> usize {
        nr_cpus * size_of::<CachePadded<CoreMutex<PcpLists>>>()
    }
}

impl fmt::Debug for Pcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pcp")
            .field("cpus", &self.slots.len())
            .field("sizes", &self.sizes())
            .finish_non_exhaustive()
    }
}
