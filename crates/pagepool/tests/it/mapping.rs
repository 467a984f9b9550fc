//! Folios over a user's own store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use pagepool::{
    AccessError, Backing, BackingError, FileBacking, FlushError, MapError, Order, PAGE_SIZE,
    PagePool, WriteOut,
};

use crate::locks::Mutex;
use crate::{eventually, order, press, vmstat};

/// A store in memory that does as it is told.
#[derive(Default)]
struct Shelf {
    pages: Mutex<HashMap<u64, Vec<u8>>>,
    reads: AtomicUsize,
    writes: AtomicUsize,
    holds: AtomicBool,
    fails: AtomicBool,
    panics: AtomicBool,
}

/// A handle to it for the test.
#[derive(Clone, Default)]
struct Probe(Arc<Shelf>);

impl Probe {
    fn page(&self, page: u64) -> Option<u8> {
        let pages = self.0.pages.lock().unwrap();
        pages.get(&page).map(|bytes| bytes[0])
    }

    fn set(&self, switch: impl Fn(&Shelf) -> &AtomicBool, on: bool) {
        switch(&self.0).store(on, SeqCst);
    }
}

impl Backing for Probe {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        self.0.reads.fetch_add(1, SeqCst);
        assert!(!self.0.panics.load(SeqCst), "told to");
        if self.0.fails.load(SeqCst) {
            return Err(std::io::Error::other("told to").into());
        }
        let pages = self.0.pages.lock().unwrap();
        for (page, bytes) in (page..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
            match pages.get(&page) {
                Some(kept) => bytes.copy_from_slice(kept),
                None => bytes.fill(0),
            }
        }
        Ok(())
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        self.0.writes.fetch_add(1, SeqCst);
        assert!(!self.0.panics.load(SeqCst), "told to");
        if self.0.fails.load(SeqCst) {
            return Err(std::io::Error::other("told to").into());
        }
        if self.0.holds.load(SeqCst) {
            return Ok(WriteOut::Held);
        }
        let mut pages = self.0.pages.lock().unwrap();
        for (page, bytes) in (page..).zip(bytes.chunks_exact(PAGE_SIZE)) {
            pages.insert(page, bytes.to_vec());
        }
        Ok(WriteOut::Written)
    }
}

fn pool() -> PagePool {
    PagePool::builder()
        .managed(4 << 20)
        .max_stores(2)
        .build()
        .unwrap()
}

#[test]
fn a_folio_is_read_in_and_written_out() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf.clone()).unwrap();
    let mut folio = mapping.folio(8, order(3)).unwrap();
    assert!(!folio.is_resident() && !folio.is_dirty());
    assert!(folio.read().unwrap().iter().all(|byte| *byte == 0));
    folio.write().unwrap().fill(7);
    assert!(folio.is_dirty());
    assert_eq!(vmstat(&pool, "nr_dirty"), 8);
    assert_eq!(shelf.page(8), None, "nothing is written before it must be");
    folio.flush().unwrap();
    assert!(!folio.is_dirty());
    assert_eq!(vmstat(&pool, "nr_dirty"), 0);
    assert_eq!(
        (shelf.page(8), shelf.page(15), shelf.page(16)),
        (Some(7), Some(7), None)
    );
    let writes = shelf.0.writes.load(SeqCst);
    folio.flush().unwrap();
    assert_eq!(shelf.0.writes.load(SeqCst), writes, "it was clean");
    drop(folio);
    let again = mapping.folio(8, order(0)).unwrap();
    assert_eq!(again.read().unwrap()[0], 7);
    pool.verify().unwrap();
}

#[test]
fn dirty_folios_are_written_when_memory_is_short_and_clean_ones_dropped() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf.clone()).unwrap();
    let mut folios: Vec<_> = (0..512)
        .map(|page| mapping.folio(page, Order::ZERO).unwrap())
        .collect();
    for (page, folio) in folios.iter_mut().enumerate() {
        folio.write().unwrap().fill(page as u8);
    }
    // It is kswapd that writes to users' stores, when it comes to run.
    eventually("many have left memory", || {
        press(&pool);
        folios.iter().filter(|folio| !folio.is_resident()).count() > 100
    });
    for (page, folio) in folios.iter().enumerate() {
        assert!(folio.read().unwrap().iter().all(|byte| *byte == page as u8));
    }
    pool.verify().unwrap();
    drop(folios);
    assert_eq!(vmstat(&pool, "nr_dirty"), 0);
    assert_eq!(vmstat(&pool, "pagepool_lost_writes"), 0);
    for page in 0..512 {
        assert!(shelf.page(page).is_none_or(|byte| byte == page as u8));
    }
}

#[test]
fn a_store_holds_dirty_folios_back_until_its_log_is_durable() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf.clone()).unwrap();
    let mut folio = mapping.folio(0, Order::ZERO).unwrap();
    folio.write().unwrap().fill(1);
    shelf.set(|shelf| &shelf.holds, true);
    assert_eq!(folio.flush(), Err(FlushError::Held));
    press(&pool);
    assert!(folio.is_resident() && folio.is_dirty());
    assert_eq!(shelf.page(0), None);
    shelf.set(|shelf| &shelf.holds, false);
    folio.flush().unwrap();
    assert_eq!(shelf.page(0), Some(1));
}

#[test]
fn a_failed_write_keeps_the_folio_dirty_and_is_reported_once_to_each_holder() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf.clone()).unwrap();
    let mut folio = mapping.folio(0, Order::ZERO).unwrap();
    let other = mapping.folio(1, Order::ZERO).unwrap();
    folio.write().unwrap().fill(1);
    shelf.set(|shelf| &shelf.fails, true);
    for _ in 0..100 {
        press(&pool);
        if vmstat(&pool, "pagepool_write_errors") > 0 {
            break;
        }
    }
    assert!(vmstat(&pool, "pagepool_write_errors") > 0);
    assert!(folio.is_resident() && folio.is_dirty());
    shelf.set(|shelf| &shelf.fails, false);
    assert_eq!(folio.flush(), Err(FlushError::Failed), "what failed before");
    assert_eq!(shelf.page(0), Some(1), "and was written now");
    assert_eq!(folio.flush(), Ok(()));
    assert_eq!(other.flush(), Err(FlushError::Failed));
    assert_eq!(other.flush(), Ok(()));
}

#[test]
fn a_read_that_fails_is_that_readers_error_and_nothing_else() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf.clone()).unwrap();
    let folio = mapping.folio(0, Order::ZERO).unwrap();
    shelf.set(|shelf| &shelf.fails, true);
    assert_eq!(folio.read().unwrap_err(), AccessError::StoreFailed);
    shelf.set(|shelf| &shelf.fails, false);
    shelf.set(|shelf| &shelf.panics, true);
    assert_eq!(folio.read().unwrap_err(), AccessError::StoreFailed);
    shelf.set(|shelf| &shelf.panics, false);
    assert_eq!(folio.read().unwrap()[0], 0);
    pool.verify().unwrap();
}

#[test]
fn a_page_is_in_one_folio_at_a_time() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf).unwrap();
    let first = mapping.folio(8, order(2)).unwrap();
    for (page, order) in [(8, 0), (11, 0), (8, 3), (10, 1)] {
        let overlap = mapping.folio(page, crate::order(order));
        assert!(
            matches!(overlap, Err(MapError::AlreadyMapped { .. })),
            "{page} {order}"
        );
    }
    assert!(mapping.folio(12, order(2)).is_ok());
    assert!(mapping.folio(7, order(0)).is_ok());
    assert!(matches!(
        mapping.folio(2, order(2)),
        Err(MapError::OutOfRange { page: 2 })
    ));
    assert!(matches!(
        mapping.folio(1 << 27, order(0)),
        Err(MapError::OutOfRange { .. })
    ));
    drop(first);
    assert!(mapping.folio(8, order(3)).is_ok());
}

#[test]
fn mappings_beyond_the_plan_are_refused_by_name() {
    let pool = pool();
    let _kept = [
        pool.map_backing(Probe::default()),
        pool.map_backing(Probe::default()),
    ];
    let error = pool.map_backing(Probe::default()).unwrap_err();
    assert!(error.to_string().contains("max_stores = 2"), "{error}");
}

#[test]
fn a_dropped_folio_is_written_to_its_file() {
    let path = std::env::temp_dir().join(format!("pagepool-mapping-{}", std::process::id()));
    let pool = pool();
    let mapping = pool
        .map_backing(FileBacking::create(&path).unwrap())
        .unwrap();
    for page in 0..20 {
        let mut folio = mapping.folio(page, Order::ZERO).unwrap();
        folio.write().unwrap().fill(page as u8 + 1);
    }
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(bytes.len(), 20 * PAGE_SIZE);
    for (page, bytes) in bytes.chunks(PAGE_SIZE).enumerate() {
        assert!(bytes.iter().all(|byte| usize::from(*byte) == page + 1));
    }
    assert_eq!(vmstat(&pool, "pagepool_lost_writes"), 0);
}

#[test]
fn writers_and_flushes_at_once_lose_nothing() {
    let (pool, shelf) = (pool(), Probe::default());
    let mapping = pool.map_backing(shelf.clone()).unwrap();
    let shared = mapping.folio(0, order(2)).unwrap().into_shared();
    let reader = shared.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000_u32 {
                let mut bytes = shared.write_within(Duration::from_secs(5)).unwrap();
                for word in bytes.chunks_exact_mut(4) {
                    word.copy_from_slice(&round.to_ne_bytes());
                }
            }
        });
        for _ in 0..200 {
            reader.flush().unwrap();
            let pages = shelf.0.pages.lock().unwrap();
            let words: Vec<_> = (0..4)
                .filter_map(|page| pages.get(&page))
                .flat_map(|bytes| bytes.chunks_exact(4).map(<[u8]>::to_vec))
                .collect();
            assert!(
                words.windows(2).all(|pair| pair[0] == pair[1]),
                "half a write"
            );
        }
    });
    drop(reader);
    drop(shared);
    assert_eq!(
        shelf.0.pages.lock().unwrap()[&3][0..4],
        1999_u32.to_ne_bytes()
    );
}
