//! Folios in several hands at once: owners, readers, reclaim, and stores that take their time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AccessError, Backing, BackingError, Folio, Gfp, Order, PAGE_SIZE, PagePool, SharedFolio,
    SwapFile, WriteOut,
};

use crate::locks::{Condvar, Mutex};
use crate::order;

/// A store in memory whose writes can be held up, made to fail, and slowed down.
#[derive(Default)]
struct Depot {
    pages: Mutex<HashMap<u64, Vec<u8>>>,
    /// While it is shut, writes stand still in the callback.
    is_shut: Mutex<bool>,
    opened: Condvar,
    /// Writes that have come to the callback.
    arrived: AtomicUsize,
    fails: AtomicBool,
    slow: AtomicBool,
}

#[derive(Clone, Default)]
struct Probe(Arc<Depot>);

impl Probe {
    fn page(&self, page: u64) -> Option<Vec<u8>> {
        self.0.pages.lock().unwrap().get(&page).cloned()
    }

    fn shut(&self) {
        *self.0.is_shut.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.0.is_shut.lock().unwrap() = false;
        self.0.opened.notify_all();
    }
}

impl Backing for Probe {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
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
        self.0.arrived.fetch_add(1, SeqCst);
        if self.0.slow.load(SeqCst) {
            thread::sleep(Duration::from_millis(2));
        }
        let shut = self.0.is_shut.lock().unwrap();
        drop(self.0.opened.wait_while(shut, |shut| *shut).unwrap());
        if self.0.fails.swap(false, SeqCst) {
            return Err(std::io::Error::other("told to").into());
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
        .managed(8 << 20)
        .max_stores(2)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap()
}

fn press(pool: &PagePool) {
    let blocks: Vec<_> = (0..4096)
        .map_while(|_| {
            pool.alloc_pages(Order::ZERO, Gfp::KERNEL | Gfp::NORETRY)
                .ok()
        })
        .collect();
    drop(blocks);
}

fn vmstat(pool: &PagePool, name: &str) -> u64 {
    pool.stats().vmstat.get(name).unwrap()
}

/// Reclaim takes the dirty mark off a folio before it writes. An owner that dropped the folio at that
/// time found it clean, and left; when the write then failed, nobody was there to write again, and the
/// loss was not even counted.
#[test]
fn a_folio_dropped_while_reclaim_writes_it_is_written_by_its_owner_if_that_fails() {
    let (pool, depot) = (pool(), Probe::default());
    let mapping = pool.map_backing(depot.clone()).unwrap();
    let mut folio = mapping.folio(0, Order::ZERO).unwrap();
    folio.write().unwrap().fill(1);
    depot.shut();
    depot.0.fails.store(true, SeqCst);
    let end = Instant::now() + Duration::from_secs(20);
    while depot.0.arrived.load(SeqCst) == 0 {
        assert!(Instant::now() < end, "kswapd writes");
        press(&pool);
    }
    thread::scope(|scope| {
        scope.spawn(|| drop(folio));
        thread::sleep(Duration::from_millis(50));
        depot.open();
    });
    assert_eq!(vmstat(&pool, "pagepool_lost_writes"), 0);
    assert_eq!(depot.page(0).map(|page| page[0]), Some(1));
    pool.verify().unwrap();
}

/// A write that a writer overtook before all of the folio was copied was given up, and reported as
/// done: what was written before the flush was then not in the store.
#[test]
fn a_flush_has_written_what_was_there_before_whoever_writes_meanwhile() {
    let (pool, depot) = (pool(), Probe::default());
    let mapping = pool.map_backing(depot.clone()).unwrap();
    let shared = mapping.folio(0, order(5)).unwrap().into_shared();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(SeqCst) {
                let mut bytes = shared.write().unwrap();
                bytes[31 * PAGE_SIZE] = bytes[31 * PAGE_SIZE].wrapping_add(1);
                drop(bytes);
                thread::yield_now();
            }
        });
        let mut missed = 0;
        for round in 0..2000_u32 {
            shared.write().unwrap()[..4].copy_from_slice(&round.to_ne_bytes());
            if shared.flush().is_ok() {
                missed += usize::from(depot.page(0).unwrap()[..4] != round.to_ne_bytes());
            }
        }
        ended.store(true, SeqCst);
        assert_eq!(missed, 0);
    });
}

/// Each of two writers of large folios held two of a store's four buffers for writing, whose transfers
/// had ended, and waited for a third.
#[test]
fn large_folios_are_written_at_once_without_waiting_for_each_others_buffers() {
    let (pool, depot) = (pool(), Probe::default());
    depot.0.slow.store(true, SeqCst);
    let mapping = pool.map_backing(depot.clone()).unwrap();
    let mut folios: Vec<_> = (0..4)
        .map(|n| mapping.folio(n * 256, order(8)).unwrap())
        .collect();
    folios
        .iter_mut()
        .for_each(|folio| folio.write().unwrap().fill(1));
    let barrier = Barrier::new(4);
    let begun = Instant::now();
    let flush = |folio: &Folio| {
        barrier.wait();
        folio.flush().unwrap();
    };
    let flush = &flush;
    thread::scope(|scope| {
        let writers: Vec<_> = { folios.iter() }
            .map(|folio| scope.spawn(move || flush(folio)))
            .collect();
        // The end of a scope alone is nothing to ThreadSanitizer: it is in code that comes built.
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
    });
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Of a folio larger than a buffer, what went beyond the first buffer was not written, and the folio
/// taken for clean.
#[test]
fn a_folio_larger_than_a_buffer_is_written_out_whole() {
    let (pool, depot) = (pool(), Probe::default());
    let mapping = pool.map_backing(depot.clone()).unwrap();
    for o in 5..=9 {
        let mut folio = mapping.folio(0, order(o)).unwrap();
        for (n, page) in folio.write().unwrap().chunks_mut(PAGE_SIZE).enumerate() {
            page.fill((n as u8).wrapping_add(o));
        }
        folio.flush().unwrap();
        for n in 0..1 << o {
            let page = depot.page(n).map(|page| page[0]);
            assert_eq!(
                page,
                Some((n as u8).wrapping_add(o)),
                "page {n} of order {o}"
            );
        }
    }
    pool.verify().unwrap();
}

/// The entry behind the last page was made although nobody needed it.
#[test]
fn a_store_is_read_and_written_up_to_its_last_page() {
    let (pool, depot) = (pool(), Probe::default());
    let mapping = pool.map_backing(depot.clone()).unwrap();
    let last = (1 << 27) - 1;
    let mut folio = mapping.folio(last, Order::ZERO).unwrap();
    assert_eq!(folio.read().unwrap()[0], 0);
    folio.write().unwrap()[0] = 1;
    folio.flush().unwrap();
    assert_eq!(depot.page(last).map(|page| page[0]), Some(1));
}

/// Writers counted a folio as dirty by what they had seen before they had it; `try_write` did not at
/// all.
#[test]
fn a_dirty_folio_is_counted_once_however_many_dirty_it() {
    let (pool, depot) = (pool(), Probe::default());
    let mapping = pool.map_backing(depot).unwrap();
    let mut folio = mapping.folio(0, Order::ZERO).unwrap();
    drop(folio.read().unwrap());
    folio.try_write().unwrap()[0] = 1;
    assert_eq!(vmstat(&pool, "nr_dirty"), 1);
    folio.flush().unwrap();
    assert_eq!(vmstat(&pool, "nr_dirty"), 0);
    let shared = folio.into_shared();
    let reading = shared.read().unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| shared.write().unwrap()[0] += 1);
        }
        thread::sleep(Duration::from_millis(50));
        drop(reading);
    });
    assert_eq!(vmstat(&pool, "nr_dirty"), 1);
    shared.flush().unwrap();
    assert_eq!(vmstat(&pool, "nr_dirty"), 0);
}

/// A flush waited for readers to go, also for the reader that called it.
#[test]
fn a_folio_is_flushed_while_it_is_read_and_pinned() {
    let (pool, depot) = (pool(), Probe::default());
    let mapping = pool.map_backing(depot.clone()).unwrap();
    let mut folio = mapping.folio(0, Order::ZERO).unwrap();
    folio.write().unwrap().fill(1);
    let begun = Instant::now();
    let (_reading, _pinned) = (folio.read().unwrap(), folio.pin().unwrap());
    assert_eq!(folio.flush(), Ok(()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(!folio.is_dirty());
    assert_eq!(depot.page(0).map(|page| page[0]), Some(1));
}

/// Copies of folios that had come back held all slots, so that nothing could go out for what was to
/// come in.
#[test]
fn what_fits_memory_and_swap_together_can_be_used_over_and_over() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .swap(SwapFile::temporary(8 << 20).unwrap())
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let mut folios: Vec<_> = (0..3200)
        .map(|n| {
            let mut folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
            folio.write().unwrap()[0] = n as u8;
            folio
        })
        .collect();
    for round in 0..3 {
        for (n, folio) in folios.iter_mut().enumerate() {
            let mut bytes = folio
                .write()
                .unwrap_or_else(|error| panic!("{round}, {n}: {error}"));
            assert_eq!(bytes[0], (n as u8).wrapping_add(round));
            bytes[0] = (n as u8).wrapping_add(round + 1);
        }
        for (n, folio) in folios.iter().enumerate() {
            let bytes = folio
                .read()
                .unwrap_or_else(|error| panic!("{round}, {n}: {error}"));
            assert_eq!(bytes[0], (n as u8).wrapping_add(round + 1));
        }
    }
    pool.verify().unwrap();
}

/// The last reader to leave let new readers in before the writer that it woke could run.
#[test]
fn a_writer_comes_in_while_readers_come_and_go_without_a_gap() {
    let pool = pool();
    let shared = pool
        .alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE)
        .unwrap()
        .into_shared();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(SeqCst) {
                    let reading = shared.read().unwrap();
                    for _ in 0..200 {
                        std::hint::spin_loop();
                    }
                    drop(reading);
                }
            });
        }
        thread::sleep(Duration::from_millis(20));
        let mut longest = Duration::ZERO;
        let mut late = 0;
        for _ in 0..50 {
            let begun = Instant::now();
            late += usize::from(shared.write_within(Duration::from_secs(2)).is_err());
            longest = longest.max(begun.elapsed());
        }
        ended.store(true, SeqCst);
        assert_eq!(late, 0, "longest {longest:?}");
        eprintln!("the longest wait was {longest:?}");
    });
}

/// What a thread remembers of a guard that it leaked was taken for a hold of the next folio in the same
/// slot.
#[test]
fn a_leaked_guard_says_nothing_about_the_next_folio() {
    let pool = pool();
    let shared = || -> SharedFolio {
        let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
        folio.into_shared()
    };
    let first = shared();
    std::mem::forget(first.read().unwrap());
    assert_eq!(first.write().unwrap_err(), AccessError::Deadlock);
    drop(first);
    let second = shared();
    second.write().unwrap()[0] = 1;
}
