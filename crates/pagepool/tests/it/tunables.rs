//! What is set and asked for while a pool runs: settings by name, caches dropped, memory reclaimed beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    Backing, BackingError, Folio, Freeable, Gfp, GroupLimits, Mapping, NodeId, Order, PAGE_SIZE,
    PagePool, Pages, ReclaimNodeError, Scanned, ShrinkControl, Shrinker, ShrinkerOptions, Stop,
    SwapFile, WriteOut,
};

use crate::locks::{Condvar, Mutex};
use crate::{StopOnDrop, assert_all_back, assert_filled, eventually, filled_folios, order, vmstat};

const PATIENCE: Duration = Duration::from_secs(20);

/// A store whose pages say their number, and which counts what is written to it.
#[derive(Clone, Default)]
struct Numbers(Arc<NumbersState>);

#[derive(Default)]
struct NumbersState {
    writes: AtomicUsize,
    /// Whether writes wait until it is opened.
    shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
}

impl Numbers {
    fn writes(&self) -> usize {
        self.0.writes.load(SeqCst)
    }

    fn set_shut(&self, shut: bool) {
        *self.0.shut.lock().unwrap() = shut;
        self.0.opened.notify_all();
    }
}

impl Backing for Numbers {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        for (page, bytes) in (page..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
            bytes.fill(page as u8);
        }
        Ok(())
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        self.0.writes.fetch_add(1, SeqCst);
        let mut shut = self.0.shut.lock().unwrap();
        while *shut {
            self.0.waiting.store(true, SeqCst);
            shut = self.0.opened.wait(shut).unwrap();
        }
        Ok(WriteOut::Written)
    }
}

fn pool() -> PagePool {
    let builder = PagePool::builder().managed(4 << 20).max_stores(1);
    builder.daemons(false).build().unwrap()
}

/// Folios of these pages, in memory and clean.
fn read_in(mapping: &Mapping, pages: std::ops::Range<u64>) -> Vec<Folio> {
    pages
        .map(|page| {
            let folio = mapping.folio(page, Order::ZERO).unwrap();
            assert_number(&folio, page);
            folio
        })
        .collect()
}

#[track_caller]
fn assert_number(folio: &Folio, page: u64) {
    let bytes = folio.read().unwrap();
    assert!(bytes.iter().all(|byte| *byte == page as u8), "page {page}");
}

#[test]
fn dropping_caches_takes_clean_folios_of_mappings_and_nothing_else() {
    let (pool, store) = (pool(), Numbers::default());
    let mapping = pool.map_backing(store.clone()).unwrap();
    let clean = read_in(&mapping, 0..100);
    let large = mapping.folio(128, order(4)).unwrap();
    drop(large.read().unwrap());
    let tenant = pool.create_group("tenant", GroupLimits::new()).unwrap();
    let of_group = read_in(&mapping.in_group(&tenant).unwrap(), 200..210);
    let mut kept = read_in(&mapping, 300..304);
    kept[0].write().unwrap().fill(9);
    let pinned = kept[1].pin().unwrap();
    kept[2].lock().unwrap();
    let held = kept[3].read().unwrap();
    let anon = filled_folios(&pool, 10, PAGE_SIZE);
    let refaults = vmstat(&pool, "workingset_refault_file");

    let bytes = pool.tunables().drop_caches(1, PATIENCE).unwrap();
    assert_eq!(bytes, (100 + 16 + 10) * PAGE_SIZE);
    let gone = clean.iter().chain(&of_group).chain([&large]);
    assert!({ gone }.all(|folio| !folio.is_resident()));
    assert!(kept.iter().chain(&anon).all(Folio::is_resident));
    assert_eq!((store.writes(), kept[0].is_dirty()), (0, true));
    assert!(!kept[3].is_dirty(), "a reader makes nothing dirty");
    assert_eq!(tenant.stats().file_bytes, 0);
    assert_eq!(vmstat(&pool, "drop_pagecache"), 1);
    assert_eq!(pool.tunables().drop_caches(1, PATIENCE), Ok(0));

    drop((pinned, held));
    kept[2].unlock();
    assert_eq!(pool.tunables().drop_caches(1, PATIENCE), Ok(3 * PAGE_SIZE));
    for (page, folio) in clean.iter().enumerate() {
        assert_number(folio, page as u64);
    }
    assert_eq!(
        kept[0].read().unwrap()[0],
        9,
        "the dirty one is what it was"
    );
    assert_eq!(
        vmstat(&pool, "workingset_refault_file"),
        refaults,
        "nobody was short"
    );
    pool.verify().unwrap();
    drop((kept, clean, large, of_group, anon));
    assert_all_back(&pool);
}

#[test]
fn dropping_caches_ends_when_patience_does() {
    let (pool, store) = (pool(), Numbers::default());
    let mapping = pool.map_backing(store).unwrap();
    let folios = read_in(&mapping, 0..10);
    assert_eq!(pool.tunables().drop_caches(1, Duration::ZERO), Ok(0));
    assert!(folios.iter().all(Folio::is_resident));
}

#[test]
fn readers_and_writers_go_on_while_caches_are_dropped() {
    let (pool, store) = (pool(), Numbers::default());
    let mapping = pool.map_backing(store).unwrap();
    let done = AtomicBool::new(false);
    let dropped = AtomicUsize::new(0);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&done);
        for thread in 0..2 {
            let (mapping, done) = (&mapping, &done);
            scope.spawn(move || {
                let first = thread * 64;
                let mut folios = read_in(mapping, first..first + 64);
                let mut n = 0_usize;
                while !done.load(SeqCst) {
                    n += 1;
                    let page = n % 64;
                    let folio = &mut folios[page];
                    if n.is_multiple_of(7) {
                        // What is dirty stays, so this is read again whatever happens.
                        folio.write().unwrap()[0] = !(first as u8 + page as u8);
                        assert_eq!(folio.read().unwrap()[0], !(first as u8 + page as u8));
                        folio.write().unwrap()[0] = first as u8 + page as u8;
                        folio.flush().unwrap();
                    }
                    assert_number(folio, first + page as u64);
                }
            });
        }
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end || dropped.load(SeqCst) == 0 {
            let bytes = pool.tunables().drop_caches(1, PATIENCE).unwrap();
            dropped.fetch_add(bytes, SeqCst);
        }
    });
    assert_all_back(&pool);
}

/// Blocks that can be had again.
struct Cache(Mutex<Vec<Pages>>);

impl Shrinker for Cache {
    fn count(&self, _: &ShrinkControl) -> Freeable {
        Freeable::Count(self.0.lock().unwrap().len())
    }

    fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
        let mut blocks = self.0.lock().unwrap();
        let nr = nr.min(blocks.len());
        blocks.drain(..nr).for_each(drop);
        Ok(Scanned {
            freed: nr,
            scanned: nr,
        })
    }
}

#[test]
fn each_bit_drops_its_own_kind_of_cache() {
    let (pool, store) = (pool(), Numbers::default());
    let mapping = pool.map_backing(store).unwrap();
    let cache = Arc::new(Cache(Mutex::default()));
    let handle = pool.register_shrinker(ShrinkerOptions::new("test"), cache.clone());
    let _handle = handle.unwrap();
    let fill = || {
        let page = || pool.alloc_pages(Order::ZERO, Gfp::KERNEL | Gfp::RECLAIMABLE);
        let blocks = (0..20).map(|_| page().unwrap());
        cache.0.lock().unwrap().extend(blocks);
    };
    let folios = read_in(&mapping, 0..30);
    let resident = || folios.iter().filter(|folio| folio.is_resident()).count();
    fill();
    let drop_caches = |what| pool.tunables().drop_caches(what, PATIENCE);
    assert_eq!(drop_caches(2), Ok(20 * PAGE_SIZE));
    assert_eq!(resident(), 30);
    fill();
    assert_eq!(drop_caches(1), Ok(30 * PAGE_SIZE));
    assert_eq!(cache.0.lock().unwrap().len(), 20);
    for (page, folio) in folios.iter().enumerate() {
        assert_number(folio, page as u64);
    }
    assert_eq!(drop_caches(3), Ok(50 * PAGE_SIZE));
    assert_eq!((resident(), cache.0.lock().unwrap().len()), (0, 0));
    for what in [0, 4, 5, u32::MAX] {
        let error = drop_caches(what).unwrap_err();
        assert_eq!((error.field(), error.accepted()), ("drop_caches", "1 to 3"));
        assert_eq!(error.value(), what.to_string());
    }
}

fn swapping(nodes: usize) -> PagePool {
    let swap = SwapFile::temporary(32 << 20).unwrap();
    let builder = PagePool::builder().managed(8 << 20).nodes(nodes);
    builder.daemons(false).swap(swap).build().unwrap()
}

#[test]
fn s9_24_what_is_asked_for_is_reclaimed_and_is_no_pressure() {
    let pool = swapping(1);
    let folios = filled_folios(&pool, 1024, PAGE_SIZE);
    let before = pool.pressure();
    let bytes = pool.reclaim(1 << 20, PATIENCE);
    assert!(
        (1 << 20..=(1 << 20) + (128 << 10)).contains(&bytes),
        "{bytes}"
    );
    let gone = folios.iter().filter(|folio| !folio.is_resident()).count();
    assert_eq!(gone * PAGE_SIZE, bytes);
    assert_eq!(pool.pressure().some.total, before.some.total);
    assert_eq!(pool.reclaim(0, PATIENCE), 0);
    let rest = pool.reclaim(usize::MAX, PATIENCE);
    assert_eq!(rest + bytes, 1024 * PAGE_SIZE);
    for (n, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), n as u64);
    }
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn s9_24_reclaim_in_vain_ends_by_itself() {
    let pool = swapping(1);
    let folios = filled_folios(&pool, 256, PAGE_SIZE);
    let pins: Vec<_> = folios.iter().map(|folio| folio.pin().unwrap()).collect();
    let begin = Instant::now();
    assert_eq!(pool.reclaim(1 << 20, PATIENCE), 0);
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    assert_eq!(
        pool.reclaim_node(NodeId::new(0).unwrap(), 1, PATIENCE),
        Ok(0)
    );
    drop(pins);
    assert_eq!(pool.reclaim(1 << 20, Duration::ZERO), 0);
}

#[test]
fn s9_24_a_node_is_reclaimed_from_alone() {
    let pool = swapping(2);
    let nodes = [0, 1].map(|n| NodeId::new(n).unwrap());
    // Groups do not choose nodes; the lists of the nodes tell where folios are.
    let folios = filled_folios(&pool, 1024, PAGE_SIZE);
    pool.verify().unwrap();
    let anon = |node: NodeId| {
        let stats = pool.stats();
        let lru = &stats.nodes[node.get()].lru;
        lru.inactive_anon + lru.active_anon
    };
    let before = nodes.map(anon);
    assert!(before[0].max(before[1]) >= 256, "{before:?}");
    let full = if before[0] >= before[1] { 0 } else { 1 };
    let bytes = pool.reclaim_node(nodes[full], 256 << 10, PATIENCE).unwrap();
    assert!(bytes >= 256 << 10, "{bytes}");
    let after = nodes.map(anon);
    assert!(
        after[1 - full] >= before[1 - full],
        "what waited in batches came"
    );
    assert!(after[full] < before[full]);
    let none = NodeId::new(5).unwrap();
    let error = ReclaimNodeError::NoSuchNode {
        node: none,
        nr_nodes: 2,
    };
    assert_eq!(pool.reclaim_node(none, 1, PATIENCE), Err(error));
    assert_eq!(
        error.to_string(),
        "node 5 does not exist: accepted is 0 to 1"
    );
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn s9_24_a_node_is_reclaimed_from_by_one_at_a_time() {
    let (pool, store) = (pool(), Numbers::default());
    let mapping = pool.map_backing(store.clone()).unwrap();
    let mut folios = read_in(&mapping, 0..64);
    folios
        .iter_mut()
        .for_each(|folio| folio.write().unwrap().fill(1));
    let node = NodeId::new(0).unwrap();
    store.set_shut(true);
    thread::scope(|scope| {
        let first = scope.spawn(|| pool.reclaim_node(node, 64 * PAGE_SIZE, PATIENCE));
        eventually("the first waits for the store", || {
            store.0.waiting.load(SeqCst)
        });
        let begin = Instant::now();
        let second = pool.reclaim_node(node, PAGE_SIZE, PATIENCE);
        assert_eq!(second, Err(ReclaimNodeError::Busy { node }));
        assert!(begin.elapsed() < PATIENCE / 4);
        store.set_shut(false);
        assert!(first.join().unwrap().unwrap() > 0);
    });
    assert!(pool.reclaim_node(node, PAGE_SIZE, PATIENCE).is_ok());
}

#[test]
fn memory_is_short_or_in_pieces_as_the_threshold_says() {
    let builder = PagePool::builder().managed(32 << 20).daemons(false);
    let pool = builder.deadline(Duration::from_secs(5)).build().unwrap();
    let gfp = Gfp::USER_MOVABLE | Gfp::NORETRY;
    let mut folios = Vec::new();
    while let Ok(mut folio) = pool.alloc_folio(PAGE_SIZE, gfp) {
        folio.write().unwrap()[0] = 1;
        folios.push(folio);
    }
    // One page in four of each pageblock.
    let folios: Vec<_> = folios.into_iter().step_by(4).collect();
    let huge = || pool.alloc_pages(order(9), gfp);
    pool.tunables().set_extfrag_threshold(1000).unwrap();
    assert!(huge().is_err());
    assert_eq!(
        vmstat(&pool, "pgmigrate_success"),
        0,
        "it is taken for short of memory"
    );
    pool.tunables().set("vm.extfrag_threshold", "500").unwrap();
    drop(huge().unwrap());
    assert!(vmstat(&pool, "pgmigrate_success") > 0);
    drop(folios);
}
