//! A pool, all that was had from it, and what must be in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pagepool::{
    AccessError, AllocError, Faults, FaultyDevice, Folio, Group, GroupError, GroupLimits,
    Immovable, Mapping, MovableBlock, MovableOwner, PAGE_SIZE, PagePool, Pages, Relocation,
    SwapArea, ZoneType,
};

use super::script::Shape;

/// How long a request may wait.
pub(super) const PATIENCE: Duration = Duration::from_millis(2);

/// How long it may take that what is under way comes to its end.
const SETTLING: Duration = Duration::from_secs(10);

/// Pages of the store that the mapping is of.
pub(super) const STORE_PAGES: u64 = 256;

/// Something that holds bytes, and the bytes that it must hold.
pub(super) struct Kept<T> {
    pub(super) thing: T,
    pub(super) bytes: Vec<u8>,
}

impl<T> Kept<T> {
    /// What was just had, and reads as zeros.
    pub(super) fn blank(thing: T, len: usize) -> Kept<T> {
        Kept {
            thing,
            bytes: vec![0; len],
        }
    }
}

/// The pool and what is out of it.
pub(super) struct World {
    pub(super) pool: PagePool,
    pub(super) device: Arc<FaultyDevice>,
    pub(super) mapping: Mapping,
    pub(super) groups: Vec<Group>,
    pub(super) blocks: Vec<Kept<Pages>>,
    pub(super) folios: Vec<Kept<Folio>>,
    pub(super) movables: Vec<Kept<MovableBlock>>,
    pub(super) owner: Arc<Owner>,
    pub(super) second_area: Option<SwapArea>,
    /// Whether the device has only done as it was told, so far.
    pub(super) device_is_honest: bool,
    pub(super) nr_groups_made: usize,
}

impl World {
    pub(super) fn new(shape: &Shape) -> World {
        let bytes = shape.nodes * shape.pages_per_node * PAGE_SIZE;
        let device = FaultyDevice::in_memory(shape.swap_pages.max(2) * PAGE_SIZE, Faults::none());
        let device = Arc::new(device);
        let builder = PagePool::builder()
            .managed(bytes)
            .nodes(shape.nodes)
            .movable_share(shape.movable_share)
            .hardened(shape.hardened)
            .daemons(false)
            .max_folios(128)
            .max_groups(6)
            .max_stores(3)
            .swap_limit(3 << 20)
            .percpu_pagelist_fraction(if shape.has_caches { 8 } else { 0 })
            .deadline(PATIENCE);
        let builder = match shape.swap_pages {
            0 => builder,
            _ => builder.swap(Arc::clone(&device)),
        };
        let pool = builder.build().expect("every shape is one");
        let store = FaultyDevice::in_memory(STORE_PAGES as usize * PAGE_SIZE, Faults::none());
        World {
            mapping: pool.map_backing(store).expect("room for it"),
            pool,
            device,
            groups: vec![],
            blocks: vec![],
            folios: vec![],
            movables: vec![],
            owner: Arc::new(Owner(AtomicU8::new(0))),
            second_area: None,
            device_is_honest: true,
            nr_groups_made: 0,
        }
    }

    /// The group of this number; the root's is among them.
    pub(super) fn group(&self, whose: u8) -> Group {
        let n = usize::from(whose) % (self.groups.len() + 1);
        let group = self.groups.get(n).cloned();
        group.unwrap_or_else(|| self.pool.root_group())
    }

    /// Whether an access was had. Memory may be short, and a busy machine's workers late; of a device that has lied
    /// or failed, errors are all that may come.
    #[track_caller]
    pub(super) fn had<T>(&self, access: Result<T, AccessError>) -> Option<T> {
        match access {
            Ok(guard) => Some(guard),
            Err(AccessError::Alloc(error)) => {
                assert_ne!(error, AllocError::Reentrant);
                assert_ne!(error, AllocError::InvalidFlags);
                None
            }
            Err(AccessError::StoreStalled | AccessError::TimedOut) => None,
            Err(AccessError::StoreFailed | AccessError::Corrupt) if !self.device_is_honest => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Checks what holds between any two steps.
    pub(super) fn check(&self) {
        let verified = || self.pool.verify();
        // Workers may be at something: what is wrong stays wrong.
        let is_sound =
            verified().is_ok() || settles(Duration::from_millis(200), || verified().is_ok());
        assert!(is_sound, "{}", verified().expect_err("it was none"));
        let stats = self.pool.stats();
        assert_eq!(stats.folios, self.folios.len() + self.movables.len());
        assert_eq!(stats.movable_blocks, self.movables.len());
        let out: usize = { self.blocks.iter() }
            .map(|block| block.thing.order().pages())
            .sum();
        assert!(stats.free_pages + stats.cached_pages + out <= stats.managed_pages);
        for group in &self.groups {
            let stats = group.stats();
            let own = stats.anon_bytes + stats.file_bytes + stats.raw_bytes;
            assert!(own <= stats.current_bytes, "{stats:?}");
            assert!(stats.current_bytes <= stats.peak_bytes, "{stats:?}");
        }
    }

    /// Makes everything as it was before the first step, reads all folios, and has everything come back.
    pub(super) fn end(mut self) {
        self.device.set_faults(Faults::none());
        for block in self.blocks.drain(..) {
            assert!(
                *block.thing == block.bytes[..],
                "a block is not what was written"
            );
        }
        for block in self.movables.drain(..) {
            let read = block.thing.read().expect("it is in memory");
            assert!(
                *read == block.bytes[..],
                "a movable block is not what was written"
            );
        }
        let budget = self.pool.config().budget_bytes();
        self.pool
            .resize_budget(budget, SETTLING)
            .expect("what it was built with");
        for node in self.pool.stats().nodes {
            for zone in [ZoneType::Dma, ZoneType::Normal, ZoneType::Movable] {
                self.pool.online(node.id, zone, usize::MAX);
            }
        }
        for group in &self.groups {
            group
                .set_limits(GroupLimits::new())
                .expect("none is no contradiction");
        }
        self.read_all();
        self.folios.clear();
        let all_back = || {
            self.pool.drain();
            let stats = self.pool.stats();
            stats.folios == 0
                && stats.free_pages == stats.managed_pages
                && stats.swap_free_pages == stats.swap_total_pages
        };
        assert!(settles(SETTLING, all_back), "{:#?}", self.pool.stats());
        self.check();
        self.delete_groups();
        let World { pool, mapping, .. } = self;
        drop(mapping);
        if let Err(held) = pool.close(SETTLING) {
            panic!("{held}");
        }
    }

    /// Every folio is what was written, whatever happened to it.
    fn read_all(&self) {
        for folio in &self.folios {
            folio.thing.unlock();
        }
        for (n, folio) in self.folios.iter().enumerate() {
            let Some(read) = self.had(folio.thing.read_within(Duration::from_millis(50))) else {
                continue;
            };
            assert!(
                *read == folio.bytes[..],
                "folio {n} is not what was written"
            );
        }
    }

    fn delete_groups(&mut self) {
        let mut groups: Vec<Group> = self.groups.drain(..).collect();
        // Those below a group have a longer path, and go first.
        groups.sort_by_key(|group| group.path().len());
        while let Some(mut group) = groups.pop() {
            let start = Instant::now();
            while let Err((same, error)) = group.delete() {
                let is_late =
                    matches!(error, GroupError::InUse { .. }) && start.elapsed() < SETTLING;
                assert!(is_late, "{error}");
                std::thread::sleep(Duration::from_millis(1));
                group = same;
            }
        }
    }
}

/// Waits until something is so; returns whether it came to that.
fn settles(patience: Duration, is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Consents to moves, or does not.
pub(super) struct Owner(pub(super) AtomicU8);

impl MovableOwner for Owner {
    fn isolate(&self, _key: u64) -> bool {
        // Relaxed: whichever answer is as good.
        self.0.load(Relaxed) & 1 == 0
    }

    fn migrate(&self, _key: u64, relocation: &mut Relocation<'_>) -> Result<(), Immovable> {
        assert_ne!(relocation.from_addr(), relocation.to_addr());
        // Relaxed: as above.
        match self.0.load(Relaxed) & 2 {
            0 => Ok(()),
            _ => Err(Immovable),
        }
    }
}
