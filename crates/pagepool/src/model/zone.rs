//! Zones that hand out single pages, and the order in which requests walk over zones.

use std::sync::Arc;

use crate::buddy::{Geometry, Residency};
use crate::memmap::Memmap;
use crate::sync::{FenceNames, WaitQueue};
use crate::types::{Migratetype, NR_ZONES, NodeId, Order, Pfn, ZoneType};
use crate::zone::exchange::FreedOfHalf;
use crate::zone::kind::Kind;
use crate::zone::magazine::{Magazine, Opens};
use crate::zone::sizing::PcpSizes;
use crate::zone::watermark::{AllocFlags, Mark, Marks};
use crate::zone::zonelist::NodeShape;
use crate::zone::{Freed, ZoneRequest};

/// A page in an actor's hands.
#[derive(Debug)]
#[must_use = "a page that is dropped is lost"]
pub struct Page(pub(super) Pfn);

impl Page {
    /// Its index in the zone.
    pub fn index(&self) -> usize {
        self.0.index()
    }
}

/// A block of two pages, not movable, in an actor's hands.
#[derive(Debug)]
#[must_use = "a block that is dropped is lost"]
pub struct Block(Pfn);

impl Block {
    const ORDER: Order = Order::at(1);

    /// The index in the zone of its first page.
    pub fn index(&self) -> usize {
        self.0.index()
    }

    fn kind() -> Kind {
        Kind::of(Block::ORDER, Migratetype::Unmovable).expect("of this kind a model keeps one")
    }
}

/// A zone that starts at page 0 and hands out single pages.
#[derive(Debug)]
pub struct Zone {
    pub(super) zone: crate::zone::Zone,
    freed: Arc<WaitQueue>,
}

impl Zone {
    /// Returns a zone of `pages`, all free, with marks at 0. Each CPU's cache takes `batch` pages
    /// from the zone at once and returns as many when it holds `high`; with 0 there are no caches.
    pub fn new(pages: usize, nr_cpus: usize, batch: u16, high: u32) -> Zone {
        let freed = Arc::new(WaitQueue::new(FenceNames {
            waker: "freed.waker",
            sleeper: "freed.sleeper",
        }));
        let node = NodeId::at(0);
        let geometry = Geometry {
            start: Pfn::new(node, 0),
            pages,
        };
        let map = Arc::new(Memmap::new(node, pages).expect("the heap has room"));
        let id = (node, ZoneType::Normal);
        let zone = crate::zone::Zone::new(id, geometry, map, nr_cpus, Arc::clone(&freed))
            .expect("the heap has room");
        zone.set_pcp_sizes(PcpSizes {
            batch,
            high,
            blocks: 0,
        });
        Zone { zone, freed }
    }

    /// The same with room for single pages before each of `nr_threads` threads, up to two of a type.
    pub fn with_magazines(pages: usize, nr_threads: usize) -> Zone {
        Zone::new(pages, 1, 1, 0).and_magazines(nr_threads)
    }

    /// This zone with room for single pages before each of `nr_threads` threads, up to two of a type.
    pub fn and_magazines(mut self, nr_threads: usize) -> Zone {
        self.zone.give_magazines(nr_threads, 1);
        self
    }

    /// The same with a depot for each of the threads.
    pub fn with_depots(pages: usize, nr_threads: usize) -> Zone {
        let mut zone = Zone::new(pages, 1, 1, 0);
        zone.zone.give_magazines(nr_threads, nr_threads);
        zone
    }

    /// Gives the calling thread a magazine.
    pub fn claim_magazine(&self) -> usize {
        let magazines = self.zone.magazines();
        magazines.claim().expect("there is one for each")
    }

    /// Takes a page from the calling thread's magazine, as a pool does.
    pub fn take_at_hand(&self, slot: usize) -> Option<Page> {
        let magazine = self.magazine(slot);
        let used = { &self.zone }.take_at_hand(magazine, Migratetype::Movable, Opens::Unwatched);
        if used.is_revoked {
            self.empty_own(slot);
        }
        used.outcome.map(|taken| Page(taken.pfn()))
    }

    /// Fills the calling thread's magazine from the cache of its CPU, as a pool does.
    pub fn restock(&self, slot: usize) {
        let used = self.zone.restock(slot, Migratetype::Movable);
        if used.is_revoked {
            self.empty_own(slot);
        }
    }

    /// The same by the depot, from the buddy if need be, as a pool does for a request that found nothing at hand.
    pub fn restock_by_depot(&self, slot: usize) {
        let used = self.zone.restock_by_depot(slot, Migratetype::Movable);
        if used.is_some_and(|used| used.is_revoked) {
            self.empty_own(slot);
        }
    }

    /// Moves half of what is in the calling thread's magazine to where others find it, as a pool does. Returns the
    /// pages that came back to a closing zone.
    pub fn make_room(&self, slot: usize) -> usize {
        let mut all = FreedOfHalf::new();
        let used = self.zone.make_room(slot, Migratetype::Movable, &mut all);
        let mut closing = 0;
        if used.is_revoked {
            closing += self.empty_own(slot);
        }
        for freed in all {
            closing += self.settle(freed, || ());
        }
        closing
    }

    /// Pages in the caches of CPUs and in magazines.
    pub fn cached_pages(&self) -> usize {
        self.zone.cached_pages()
    }

    /// Puts a page into the calling thread's magazine, or if that cannot be, back into the zone, as a pool does.
    /// Returns the pages that came back to a closing zone.
    pub fn put_at_hand(&self, slot: usize, page: Page) -> usize {
        let magazine = self.magazine(slot);
        let used = { &self.zone }.put_at_hand(magazine, page.0, Opens::Unwatched, || ());
        let mut closing = 0;
        if used.is_revoked {
            closing += self.empty_own(slot);
        }
        if !used.outcome {
            closing += self.put(page, || ());
        }
        closing
    }

    /// Takes a block from the calling thread's magazine, as a pool does.
    pub fn take_block_at_hand(&self, slot: usize) -> Option<Block> {
        let used = { &self.zone }.take_block_at_hand(self.magazine(slot), Block::kind());
        if used.is_revoked {
            self.empty_own(slot);
        }
        used.outcome.map(|taken| Block(taken.pfn()))
    }

    /// Puts a block into the calling thread's magazine, or if that cannot be, back into the zone, as a pool does.
    /// Returns the pages that came back to a closing zone.
    pub fn put_block_at_hand(&self, slot: usize, block: Block) -> usize {
        let hand = (self.magazine(slot), slot);
        let used = { &self.zone }.put_block_at_hand(hand, block.0, Block::ORDER);
        let mut closing = 0;
        if used.is_revoked {
            closing += self.empty_own(slot);
        }
        if !used.outcome {
            closing += self.put_block(block);
        }
        closing
    }

    fn magazine(&self, slot: usize) -> &Magazine {
        let magazine = self.zone.magazines().slot(slot);
        magazine.expect("an actor has one of those that the zone was given")
    }

    fn empty_own(&self, slot: usize) -> usize {
        let mut pages = self.zone.magazines().take_own(slot);
        if pages.is_empty() {
            return 0;
        }
        self.settle(self.zone.give_to_buddy(&mut pages), || ())
    }

    /// Pages in threads' magazines.
    pub fn pages_at_hand(&self) -> usize {
        self.zone.magazines().pages()
    }

    /// Withholds the pageblock that a page lies in, and takes what caches hold of it.
    pub fn isolate(&self, index: usize) {
        assert!(self.zone.isolate(Pfn::new(NodeId::at(0), index)));
    }

    /// Takes a page of type Movable.
    pub fn take(&self) -> Option<Page> {
        self.take_of(Migratetype::Movable)
    }

    /// Takes a page of another type, if need be out of a pageblock of Movable ones: that raises the
    /// boost, and the reclaimer is to be told.
    pub fn take_unmovable(&self) -> Option<Page> {
        self.take_of(Migratetype::Unmovable)
    }

    /// Takes a block, out of pageblocks of Movable pages.
    pub fn take_block(&self) -> Option<Block> {
        self.take_from_buddy(Block::ORDER, Migratetype::Unmovable)
            .map(Block)
    }

    fn take_of(&self, want: Migratetype) -> Option<Page> {
        self.take_from_buddy(Order::ZERO, want).map(Page)
    }

    fn take_from_buddy(&self, order: Order, want: Migratetype) -> Option<Pfn> {
        let request = ZoneRequest {
            order,
            want,
            flags: AllocFlags::KSWAPD,
        };
        self.zone.take(request).map(|taken| taken.pfn())
    }

    /// Takes a page if the minimum allows it, as a walk over the zonelist does.
    pub fn check_and_take(&self) -> Option<Page> {
        self.zone
            .check(Order::ZERO, ZoneType::Normal, AllocFlags::empty())
            .passes()
            .then(|| self.take())
            .flatten()
    }

    /// Waits until there is a page, as a request on the slow path does.
    pub fn wait_for_page(&self) -> Page {
        let mut page = None;
        self.freed.wait_until(None, || {
            self.zone.drain_for_waiter();
            page = self.check_and_take();
            page.is_some()
        });
        page.expect("waits without a deadline")
    }

    /// Gives a page back and sees to what the zone says; `give_back` is what is done with the memory
    /// of an idle block. Returns the pages that came back to a closing zone.
    pub fn put(&self, page: Page, give_back: impl FnOnce()) -> usize {
        let freed = self.zone.put(page.0, Order::ZERO);
        self.settle(freed, give_back)
    }

    /// Gives a block back. Returns as [`put`](Self::put).
    pub fn put_block(&self, block: Block) -> usize {
        self.settle(self.zone.put(block.0, Block::ORDER), || ())
    }

    /// Withdraws an idle block and puts it back, if there is one. Returns as [`put`](Self::put).
    pub fn trim(&self, give_back: impl FnOnce()) -> usize {
        let freed = Freed {
            idle: self.zone.withdraw_idle(Residency::Used),
            ..Freed::default()
        };
        self.settle(freed, give_back)
    }

    /// The steps of `pool::lifetime::settle` but for the last, which is the caller's.
    fn settle(&self, freed: Freed, give_back: impl FnOnce()) -> usize {
        let Freed {
            mut waiters,
            idle,
            mut closing_pages,
        } = freed;
        if let Some(idle) = idle {
            give_back();
            let after = self.zone.return_idle(idle, Residency::Vacant);
            waiters = waiters.or(after.waiters);
            closing_pages += after.closing_pages;
        }
        if let Some(waiters) = waiters {
            waiters.wake_all();
        }
        closing_pages
    }

    /// Empties the caches of all CPUs; returns how many pages they held.
    pub fn drain(&self) -> usize {
        self.zone.drain()
    }

    /// Stops the caches; returns how many pages are out.
    pub fn begin_close(&self) -> usize {
        self.zone.begin_close()
    }

    /// Sets how many pages of whole free blocks may keep their memory.
    pub fn set_keep_resident(&self, pages: usize) {
        self.zone.set_keep_resident(pages);
    }

    /// Has each CPU's cache take `batch` pages at once, and return as many when it holds `high`.
    pub fn set_pcp_sizes(&self, batch: u16, high: u32) {
        self.zone.set_pcp_sizes(PcpSizes {
            batch,
            high,
            blocks: 0,
        });
    }

    /// Pages in each CPU's cache.
    pub fn cached_by_cpu(&self) -> Vec<usize> {
        self.zone.cached_by_cpu()
    }

    /// Pages free in the buddy.
    pub fn free_pages(&self) -> usize {
        self.zone.free_pages()
    }

    /// Whether somebody waits for memory.
    pub fn has_waiter(&self) -> bool {
        self.freed.has_sleeper()
    }

    /// How often somebody has slept until memory was freed.
    pub fn nr_waits(&self) -> u32 {
        self.freed.nr_sleeps()
    }

    /// Sets the minimum and the distance from one mark to the next, and ends a boost.
    pub fn set_marks(&self, min: u32, gap: u32) {
        let raw = u64::from(gap) << 32 | u64::from(min);
        self.zone.set_marks(Marks::from_raw(raw));
    }

    /// The three marks as they were set together, without boost.
    pub fn marks(&self) -> [usize; 3] {
        let marks = self.zone.marks();
        [Mark::Min, Mark::Low, Mark::High].map(|mark| marks.get(mark))
    }

    /// Sets how far events may raise the marks, in ten-thousandths of the high mark.
    pub fn set_boost_factor(&self, factor: u32) {
        self.zone.set_boost_factor(factor);
    }

    /// Pages by which the marks are raised.
    pub fn boost(&self) -> usize {
        self.zone.boost()
    }

    /// Lowers the boost by what was answered.
    pub fn lower_boost(&self, answered: usize) {
        self.zone.lower_boost(answered);
    }

    /// Whether the reclaimer is to be told of a boost; telling is then the caller's.
    pub fn consume_boosted(&self) -> bool {
        self.zone.consume_boosted()
    }

    /// Checks every invariant of the zone.
    ///
    /// # Panics
    /// If one is broken.
    #[track_caller]
    pub fn verify(&self) {
        if let Err(violation) = self.zone.verify() {
            panic!("{violation}");
        }
    }
}

/// The zonelists of a pool of one node.
#[derive(Debug)]
pub struct Zonelists(crate::zone::zonelist::Zonelists);

impl Zonelists {
    /// Returns the lists of a node of which only these zones have memory, lowest first.
    pub fn new(managed: [bool; NR_ZONES]) -> Zonelists {
        let lists = Zonelists(crate::zone::zonelist::Zonelists::new(1));
        lists.rebuild(managed);
        lists
    }

    /// Writes them anew.
    pub fn rebuild(&self, managed: [bool; NR_ZONES]) {
        self.0.rebuild(&[NodeShape {
            managed,
            distances: vec![10],
            has_cpus: true,
        }]);
    }

    /// The zones in the order in which they are tried.
    pub fn zones(&self) -> Vec<ZoneType> {
        let entries = self.0.of(NodeId::at(0), ZoneType::Movable);
        entries.map(|entry| entry.zone).collect()
    }

    /// A cookie for [`is_current`](Self::is_current).
    pub fn sequence(&self) -> u32 {
        self.0.sequence()
    }

    /// Whether no list was rewritten since the cookie was taken.
    pub fn is_current(&self, cookie: u32) -> bool {
        self.0.is_current(cookie)
    }
}
