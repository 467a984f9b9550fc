//! The public interface, from the outside.

#![expect(clippy::disallowed_types, reason = "these threads are not modelled")]

#[cfg(feature = "allocator-api2")]
mod collections;
mod budget;
mod compaction;
mod contention;
mod daemons;
mod device_faults;
mod diagnosis;
mod episode;
mod folio_threads;
mod folios;
mod groups;
mod locks;
mod mapping;
mod memory;
mod model;
mod movable;
mod observing;
mod on_call;
mod pressure;
mod processes;
mod recording;
mod shrinkers;
mod stress;
mod swap;
mod swap_areas;
mod tunables;
mod watchdog;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{Advice, Folio, Gfp, Order, PagePool};

fn order(n: u8) -> Order {
    Order::new(n).unwrap()
}

/// Writes a mark at both ends of each page.
fn mark(block: &mut [u8], mark: u8) {
    for page in block.chunks_mut(pagepool::PAGE_SIZE) {
        (page[0], page[pagepool::PAGE_SIZE - 1]) = (mark, mark);
    }
}

#[track_caller]
fn assert_marked(block: &[u8], mark: u8) {
    for page in block.chunks(pagepool::PAGE_SIZE) {
        assert_eq!((page[0], page[pagepool::PAGE_SIZE - 1]), (mark, mark));
    }
}

/// Writes a pattern that tells folios, and their words, apart.
fn fill(bytes: &mut [u8], seed: u64) {
    for (n, word) in bytes.chunks_exact_mut(8).enumerate() {
        let value = (seed << 32 | n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&value.to_ne_bytes());
    }
}

#[track_caller]
fn assert_filled(bytes: &[u8], seed: u64) {
    let mut expected = vec![0; bytes.len()];
    fill(&mut expected, seed);
    assert!(bytes == expected, "folio {seed} is not what was written");
}

/// Folios with the pattern of their number.
fn filled_folios(pool: &PagePool, count: usize, len: usize) -> Vec<Folio> {
    (0..count)
        .map(|n| {
            let mut folio = pool
                .alloc_folio(len, Gfp::USER_MOVABLE)
                .unwrap_or_else(|error| panic!("folio {n}: {error}\n{:#?}", pool.stats().vmstat));
            fill(&mut folio.write().unwrap(), n as u64);
            folio
        })
        .collect()
}

/// Uses up memory for a moment, so that what is not needed leaves.
fn press(pool: &PagePool) {
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let blocks: Vec<_> = (0..pool.stats().managed_pages)
        .map_while(|_| pool.alloc_pages(Order::ZERO, gfp).ok())
        .collect();
    drop(blocks);
}

/// Has these folios leave memory.
#[track_caller]
fn evict(pool: &PagePool, folios: &[Folio]) {
    eventually("all folios have left memory", || {
        for folio in folios {
            folio.advise(Advice::Cold).unwrap();
        }
        press(pool);
        folios.iter().all(|folio| !folio.is_resident())
    });
}

/// Waits for what other threads bring about.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came that {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Tells threads to end when it is dropped, also by a panic.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn vmstat(pool: &PagePool, name: &str) -> u64 {
    let vmstat = pool.stats().vmstat;
    vmstat
        .get(name)
        .unwrap_or_else(|| panic!("nothing is called {name}"))
}

/// Checks that nothing is in anybody's hands.
#[track_caller]
fn assert_all_back(pool: &PagePool) {
    pool.verify().unwrap();
    pool.drain();
    let stats = pool.stats();
    assert_eq!(stats.folios, 0);
    assert_eq!(stats.free_pages, stats.managed_pages);
    assert_eq!(stats.swap_free_pages, stats.swap_total_pages);
}
