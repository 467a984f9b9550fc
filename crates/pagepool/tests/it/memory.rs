//! What a pool costs and gives back, and what may cross threads.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{Gfp, PAGE_SIZE, PagePool, Pages};

use crate::{assert_marked, mark, order};

/// Memory of this process that is in RAM, in bytes.
fn rss() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * PAGE_SIZE
}

const MIB: usize = 1 << 20;

#[test]
#[cfg_attr(pagepool_asan, ignore = "the heap gives nothing to the system")]
fn resident_memory_falls_after_a_trim() {
    let pool = PagePool::builder()
        .managed(256 * MIB)
        .trim_threshold(usize::MAX)
        .build()
        .unwrap();
    let blocks: Vec<Pages> = std::iter::from_fn(|| pool.alloc_pages(order(8), Gfp::NOWAIT).ok())
        .map(|mut block| {
            mark(&mut block, 1);
            block
        })
        .collect();
    assert!(blocks.len() > 200, "most of 256 MiB in blocks of one");
    let bytes = blocks.len() * MIB;
    drop(blocks);
    let full = rss();
    let given_back = pool.trim();
    assert!(given_back >= bytes, "{given_back} of {bytes}");
    // Other tests of this process may use some memory meanwhile.
    let trimmed = rss();
    assert!(trimmed + bytes / 2 < full, "{full} before, {trimmed} after");
    assert_eq!(pool.trim(), 0, "nothing is left to give back");
    pool.verify().unwrap();
}

#[test]
#[cfg_attr(pagepool_asan, ignore = "the heap has no such sizes")]
fn a_hundred_gibibytes_open_at_once_and_cost_next_to_nothing() {
    let (before, start) = (rss(), Instant::now());
    let pool = PagePool::builder().managed(100 << 30).build().unwrap();
    let mut block = pool.alloc_pages(order(10), Gfp::KERNEL).unwrap();
    mark(&mut block, 1);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(pool.stats().managed_pages, 100 << 18);
    let cost = rss().saturating_sub(before);
    assert!(cost < 128 * MIB, "{cost} bytes");
}

#[test]
fn pools_of_every_size_hand_out_all_but_their_minimum() {
    for pages in [16, 17, 31, 64, 100, 511, 512, 513, 2047, 2048, 4097, 10_000] {
        let pool = PagePool::builder()
            .managed(pages * PAGE_SIZE)
            .build()
            .unwrap();
        let min: usize = pool.stats().nodes[0]
            .zones
            .iter()
            .map(|zone| zone.min)
            .sum();
        let blocks: Vec<_> =
            std::iter::from_fn(|| pool.alloc_pages(order(0), Gfp::NOWAIT).ok()).collect();
        assert_eq!(blocks.len(), pages - min, "of {pages} pages");
        pool.verify().unwrap();
        drop(blocks);
        pool.drain();
        pool.verify().unwrap();
        let stats = pool.stats();
        assert_eq!(stats.free_pages, pages);
        let largest = stats.nodes[0].zones[0]
            .nr_free
            .iter()
            .rposition(|nr| *nr > 0);
        assert_eq!(
            largest,
            Some((pages.ilog2() as usize).min(10)),
            "merged again"
        );
    }
}

#[test]
fn blocks_are_written_and_freed_by_other_threads() {
    let pool = PagePool::builder().memory(32 * MIB).build().unwrap();
    let blocks: Vec<_> = (0..8)
        .map(|n| pool.alloc_pages(order(n % 4), Gfp::KERNEL).unwrap())
        .collect();
    let workers = blocks.into_iter().enumerate().map(|(n, mut block)| {
        thread::spawn(move || {
            mark(&mut block, n as u8);
            (block, n as u8)
        })
    });
    let marked: Vec<_> = workers.map(|worker| worker.join().unwrap()).collect();
    thread::scope(|scope| {
        let readers: Vec<_> = { marked.iter() }
            .map(|(block, n)| scope.spawn(move || assert_marked(block, *n))) // shared
            .collect();
        // The end of a scope alone is nothing to ThreadSanitizer: it is in code that comes built.
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
    thread::spawn(move || drop(marked)).join().unwrap();
    pool.drain();
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
    pool.verify().unwrap();
}

#[test]
fn the_last_block_ends_a_pool_on_any_thread() {
    for _ in 0..20 {
        let pool = PagePool::builder().managed(64 * PAGE_SIZE).build().unwrap();
        let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
        let other = pool.clone();
        let a = thread::spawn(move || drop(block));
        let b = thread::spawn(move || drop(other));
        drop(pool);
        a.join().unwrap();
        b.join().unwrap();
    }
}
