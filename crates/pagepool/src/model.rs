//! What the models in the crate `loom-tests` are made of: the doors to parts of the crate that are
//! not public. Nothing here decides anything.

#![forbid(unsafe_code)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "who gives a page back has it no more"
)]

mod kswapd;

pub use kswapd::{Daemon, Node};

pub use crate::node::DaemonState;
pub use crate::sync::parker::{CorePark, DaemonPark, Park};
pub use crate::sync::{
    CoreMutex, DeltaCounters, FenceNames, PerCpu, RequestWord, Requests, SleepOutcome, WaitOutcome,
    WaitQueue, atomic, clock, cpu, fence, request, thread,
};

use std::sync::Arc;

use crate::backing::{
    Backing, BackingError, Direction, Outcome, PoolTag, Store, StoreId, StoreSpec, WriteOut,
    WriteWatch,
};
use crate::buddy::Geometry;
pub use crate::folio::{
    Courtesy, Custody, FolioSlot, FolioWord, Heir, Landing, Mark as FolioMark, Obstacle, Place,
    Released, follow_last_owner,
};
use crate::folio::{FolioId, Waited, Waiters};
use crate::memmap::Memmap;
pub use crate::pool::census::Census;
use crate::types::{Migratetype, NR_ZONES, NodeId, Order, Pfn, ZoneType};
use crate::zone::sizing::PcpSizes;
use crate::zone::watermark::{AllocFlags, Mark, Marks};
use crate::zone::zonelist::NodeShape;
use crate::zone::{Freed, ZoneRequest};

/// A page in an actor's hands.
#[derive(Debug)]
#[must_use = "a page that is dropped is lost"]
pub struct Page(Pfn);

impl Page {
    /// Its index in the zone.
    pub fn index(&self) -> usize {
        self.0.index()
    }
}

/// A zone that starts at page 0 and hands out single pages.
#[derive(Debug)]
pub struct Zone {
    zone: crate::zone::Zone,
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

    /// Takes a page of type Movable.
    pub fn take(&self) -> Option<Page> {
        self.take_of(Migratetype::Movable)
    }

    /// Takes a page of another type, if need be out of a pageblock of Movable ones: that raises the
    /// boost, and the reclaimer is to be told.
    pub fn take_unmovable(&self) -> Option<Page> {
        self.take_of(Migratetype::Unmovable)
    }

    fn take_of(&self, want: Migratetype) -> Option<Page> {
        let request = ZoneRequest {
            order: Order::ZERO,
            want,
            flags: AllocFlags::KSWAPD,
        };
        self.zone.take(request).map(|taken| Page(taken.pfn()))
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

    /// Withdraws an idle block and puts it back, if there is one. Returns as [`put`](Self::put).
    pub fn trim(&self, give_back: impl FnOnce()) -> usize {
        let freed = Freed {
            idle: self.zone.withdraw_idle(),
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
            let after = self.zone.return_idle(idle, true);
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

/// A folio's slot with the queue of those who wait for it.
#[derive(Debug)]
pub struct Folio {
    /// The word and all that can be done with it.
    pub slot: FolioSlot,
    waiters: Waiters,
}

impl Folio {
    const ID: FolioId = FolioId::from_raw(0);

    /// Returns a folio that is away.
    pub fn away() -> Folio {
        Folio {
            slot: FolioSlot::default(),
            waiters: Waiters::new(),
        }
    }

    /// Returns a folio in the frame `frame`, clean.
    pub fn resident(frame: u32) -> Folio {
        let folio = Folio::away();
        folio.slot.begin_fault().expect("a new folio is away");
        let released = folio.slot.end_fault(frame, Landing::Idle);
        assert!(!released.wake, "nobody waits for a new folio");
        folio
    }

    /// Sleeps until the word changes, if `is_blocked` says that there is something in the way; if
    /// `is_timed`, until the model fires the time-out. Returns whether the thread is to look again.
    pub fn wait(&self, is_timed: bool, is_blocked: impl Fn(FolioWord) -> bool) -> bool {
        let deadline = is_timed.then(clock::now);
        let waited = self
            .waiters
            .wait(Folio::ID, &self.slot, deadline, is_blocked);
        waited == Waited::LookAgain
    }

    /// Wakes those who wait, if the step that returned `wake` says so.
    pub fn wake_if(&self, wake: bool) {
        if wake {
            self.waiters.wake(Folio::ID);
        }
    }

    /// Lets one timed wait run out.
    pub fn fire_timeout(&self) {
        self.waiters.fire_timeout(Folio::ID);
    }

    /// Begins to read, and waits until that is possible.
    pub fn read_begin(&self) -> Result<FolioWord, Obstacle> {
        self.until_free(
            false,
            |slot| slot.begin_read(Courtesy::WaitersFirst),
            |word| word.begin_read(Courtesy::WaitersFirst),
        )
    }

    /// Begins to write, and waits until that is possible, or, if `is_timed`, until the model fires the
    /// time-out.
    pub fn write_begin(&self, is_timed: bool) -> Result<FolioWord, Obstacle> {
        let begin = |slot: &FolioSlot| slot.begin_write().map(|(word, _)| word);
        self.until_free(is_timed, begin, FolioWord::begin_write)
    }

    fn until_free(
        &self,
        is_timed: bool,
        begin: impl Fn(&FolioSlot) -> Result<FolioWord, Obstacle>,
        rule: impl Fn(FolioWord) -> Result<FolioWord, Obstacle>,
    ) -> Result<FolioWord, Obstacle> {
        loop {
            match begin(&self.slot) {
                Err(Obstacle::Taken) => {}
                other => return other,
            }
            if !self.wait(is_timed, |word| rule(word) == Err(Obstacle::Taken)) {
                return Err(Obstacle::Taken);
            }
        }
    }
}

/// Notes whether a write is under way in an [`Io`], and ends every transfer at once.
#[derive(Debug, Default)]
struct Device {
    nr_writing: atomic::AtomicUsize,
    nr_ended: atomic::AtomicUsize,
}

impl Backing for Device {
    fn read_in(&self, _page: u64, _bytes: &mut [u8]) -> Result<(), BackingError> {
        Ok(())
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        let nr_writing = self.nr_writing.load(atomic::Ordering::Relaxed);
        assert!(nr_writing > 0, "B4: a write that nobody was told of");
        Ok(WriteOut::Written)
    }
}

impl WriteWatch for Device {
    fn write_begins(&self, _page: u64, _nr: usize) {
        self.nr_writing.fetch_add(1, atomic::Ordering::Relaxed);
    }

    fn write_ends(&self, _page: u64, _nr: usize) {
        self.nr_writing.fetch_sub(1, atomic::Ordering::Relaxed);
        self.nr_ended.fetch_add(1, atomic::Ordering::Relaxed);
    }
}

/// A store with its worker threads.
#[derive(Debug)]
pub struct Io {
    store: Store,
    device: Arc<Device>,
}

impl Io {
    /// Returns a store that has not started a worker.
    #[expect(
        clippy::new_without_default,
        reason = "it allocates, and a default does not"
    )]
    pub fn new() -> Io {
        let device = Arc::new(Device::default());
        let store = Store::new(StoreSpec {
            id: StoreId::all().next().expect("there are numbers"),
            pool: PoolTag::of(&*device),
            backing: Arc::clone(&device) as _,
            in_file: None,
            watch: Some(Arc::clone(&device) as _),
            spawn: thread::spawn,
            stuck_after: StoreSpec::STUCK_AFTER,
        });
        Io {
            store: store.expect("the heap has room"),
            device,
        }
    }

    /// Writes `page` and waits for the end, however long it takes.
    pub fn write(&self, page: u64) {
        let buf = self.store.take_buf(Direction::Write, None).expect("waits");
        let done = self
            .store
            .submit_write(buf, page, 1)
            .wait(None)
            .expect("waits");
        assert_eq!(done.outcome, Outcome::DONE);
    }

    /// Writes a page and waits for nothing.
    pub fn abandon_write(&self) {
        let buf = self.store.take_buf(Direction::Write, None).expect("waits");
        drop(self.store.submit_write(buf, 1, 1));
    }

    /// Takes all buffers that writes may have and gives them back; returns how many.
    pub fn nr_buffers(&self) -> usize {
        let bufs = std::iter::from_fn(|| self.store.try_take_buf(Direction::Write));
        bufs.collect::<Vec<_>>().len()
    }

    /// Ends the workers, and returns how many writes have ended.
    pub fn shut_down(&self) -> usize {
        self.store.shut_down(None).expect("waits");
        self.device.nr_ended.load(atomic::Ordering::Relaxed)
    }
}
