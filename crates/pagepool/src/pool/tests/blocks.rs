//! Blocks: what they are, what becomes of a pool that has some out, many at once, and many threads.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_types, reason = "these threads are not modelled")]

use std::sync::Barrier;
use std::thread;

use super::*;

#[test]
fn a_block_is_zeroed_aligned_and_its_own() {
    let pool = small_pool(256);
    for o in 0..6 {
        let mut block = pool.alloc_pages(order(o), Gfp::KERNEL).unwrap();
        assert_eq!(block.len(), order(o).bytes());
        assert_eq!(block.as_ptr().addr() % block.len(), 0);
        assert!(block.iter().all(|byte| *byte == 0));
        block.fill(0xa5);
    }
    pool.verify().unwrap();
}

#[test]
fn every_page_of_a_tiny_pool_can_be_had() {
    let pool = small_pool(16);
    let blocks = take_all(&pool, Order::ZERO);
    assert!(blocks.len() >= 15, "{}", blocks.len());
    pool.verify().unwrap();
    drop(blocks);
    pool.verify().unwrap();
    assert_eq!(pool.stats().free_pages, 16);
}

#[test]
fn a_block_outlives_its_pool() {
    let pool = small_pool(64);
    let mut block = pool.alloc_pages(order(2), Gfp::KERNEL).unwrap();
    let other = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    drop(pool);
    block.fill(1);
    drop(other);
    assert!(block.iter().all(|byte| *byte == 1));
}

#[test]
fn blocks_dropped_by_many_threads_end_a_pool_once() {
    for _ in 0..50 {
        let pool = PagePool::builder().memory(32 << 20).build().unwrap();
        let blocks: Vec<_> = (0..64)
            .map(|_| pool.alloc_pages(order(0), Gfp::KERNEL).unwrap())
            .collect();
        let mut shares: Vec<Vec<Pages>> = (0..4).map(|_| vec![]).collect();
        for (n, block) in blocks.into_iter().enumerate() {
            shares[n % 4].push(block);
        }
        let barrier = Barrier::new(5);
        thread::scope(|scope| {
            for share in shares {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    drop(share);
                });
            }
            barrier.wait();
            drop(pool);
        });
    }
}

#[test]
fn a_pool_with_blocks_out_names_them_when_it_is_closed() {
    let pool = small_pool(64);
    let block = pool.alloc_pages(order(3), Gfp::KERNEL).unwrap();
    let held = pool.close(Duration::from_millis(10)).unwrap_err();
    assert_eq!(held.pages(), 8);
    assert_eq!(held.blocks(), [(block.pfn(), order(3))]);
    let message = held.to_string();
    assert!(message.contains("8 pages are still held"), "{message}");
    drop(block);
    held.into_pool().close(Duration::from_millis(10)).unwrap();
}

#[test]
fn closing_waits_for_blocks_that_come_back() {
    let pool = PagePool::builder().memory(64 << 20).build().unwrap();
    let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(30));
            drop(block);
        });
        pool.close(Duration::from_secs(20)).unwrap();
    });
}

#[test]
fn a_split_block_is_freed_in_parts() {
    let pool = small_pool(64);
    let mut block = pool.alloc_pages(order(4), Gfp::KERNEL).unwrap();
    block.fill(9);
    let mut parts = block.split(order(1));
    assert_eq!(parts.len(), 8);
    let kept = parts.nth(2).unwrap();
    drop(parts);
    pool.verify().unwrap();
    assert_eq!((kept.order(), kept.len()), (order(1), 8192));
    assert!(kept.iter().all(|byte| *byte == 9));
    assert_eq!(pool.stats().free_pages + pool.stats().cached_pages, 62);
    drop(kept);
    pool.verify().unwrap();
}

#[test]
#[should_panic(expected = "cannot be split")]
fn a_block_is_not_split_into_larger_ones() {
    let pool = small_pool(64);
    drop(
        pool.alloc_pages(order(1), Gfp::KERNEL)
            .unwrap()
            .split(order(2)),
    );
}

/// An order that is too large was noticed only when the handle was given up already.
#[test]
fn a_refused_split_frees_the_block() {
    let pool = small_pool(64);
    let block = pool.alloc_pages(order(1), Gfp::KERNEL).unwrap();
    let split = std::panic::AssertUnwindSafe(|| drop(block.split(order(2))));
    assert_panics("cannot be split", split);
    pool.close(Duration::ZERO).unwrap();
}

#[test]
fn bulk_stops_at_the_low_mark() {
    let pool = PagePool::builder()
        .memory(16 << 20)
        .watermark_boost_factor(0)
        .build()
        .unwrap();
    let mut blocks = vec![];
    let got = pool
        .alloc_bulk(Order::ZERO, Gfp::KERNEL, 1 << 20, &mut blocks)
        .unwrap();
    assert_eq!(got, blocks.len());
    let stats = pool.stats();
    let zone = &stats.nodes[0].zones[0];
    assert_eq!(zone.free, zone.low, "as far as the mark lets it");
    pool.verify().unwrap();
    pool.free_bulk(blocks);
    pool.verify().unwrap();
}

#[test]
fn a_bulk_request_for_everything_gets_what_there_is() {
    let pool = small_pool(64);
    let mut blocks = vec![];
    let got = pool.alloc_bulk(order(1), Gfp::KERNEL, usize::MAX, &mut blocks);
    assert_eq!((got.unwrap(), blocks.len()), (32, 32));
    pool.verify().unwrap();
}

#[test]
fn bulk_blocks_are_zeroed_and_those_that_are_not_are_as_many() {
    let pool = small_pool(64);
    let mut dirty = vec![];
    pool.alloc_bulk_uninit(order(0), Gfp::KERNEL, 64, &mut dirty)
        .unwrap();
    assert_eq!((dirty.len(), pool.stats().free_pages), (64, 0));
    for page in dirty {
        page.zeroed().fill(7);
    }
    let mut cleared = vec![];
    pool.alloc_bulk(order(0), Gfp::KERNEL, 64, &mut cleared)
        .unwrap();
    assert_eq!(cleared.len(), 64);
    let bytes = cleared.iter().flat_map(|page| page.iter());
    assert!(bytes.into_iter().all(|byte| *byte == 0));
    pool.verify().unwrap();
}

/// Only one pageblock of the urgent reserve was opened before a refusal, and that the one with least
/// to give: the same request succeeded when it was made again.
#[test]
fn every_reserved_block_is_opened_before_a_refusal() {
    let pool = PagePool::builder()
        .managed(400 << 20)
        .movable_share(0)
        .watermark_boost_factor(0)
        .build()
        .unwrap();
    let zone = || pool.stats().nodes[0].zones[0].clone();
    // Below the minimum, so that urgent requests are urgent.
    pool.tunables().set_min_free_kbytes(200 << 10).unwrap();
    let mut held = vec![];
    while zone().free > 40_000 {
        held.push(
            pool.alloc_pages_uninit(order(9), Gfp::NOWAIT | Gfp::MEMALLOC)
                .unwrap(),
        );
    }
    let mut urgent = vec![];
    while zone().reserved_highatomic < 1024 {
        urgent.push(pool.alloc_pages_uninit(order(1), Gfp::ATOMIC).unwrap());
    }
    // Now nothing is free but two pages in the first reserved pageblock, and most of the second.
    pool.tunables().set_min_free_kbytes(0).unwrap();
    for n in [9, 0] {
        held.extend(std::iter::from_fn(|| {
            pool.alloc_pages_uninit(order(n), Gfp::NOWAIT).ok()
        }));
    }
    drop(urgent.remove(0));
    pool.drain();
    assert!(
        pool.alloc_pages_uninit(order(4), Gfp::KERNEL | Gfp::NORETRY)
            .is_ok()
    );
    pool.verify().unwrap();
}

#[test]
fn threads_with_contended_caches_lose_nothing() {
    let pool = PagePool::builder()
        .memory(256 << 20)
        .nodes(2)
        .build()
        .unwrap();
    let free = |pool: &PagePool| {
        pool.drain();
        pool.stats().free_pages
    };
    let before = free(&pool);
    thread::scope(|scope| {
        for seed in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || hammer(pool, seed));
        }
        scope.spawn(|| {
            for _ in 0..200 {
                pool.drain();
                pool.trim();
                thread::yield_now();
            }
        });
    });
    pool.verify().unwrap();
    assert_eq!(free(&pool), before);
}

fn hammer(pool: &PagePool, seed: u64) {
    let mut rng = crate::sync::rng::Rng::new(seed);
    let mut live: Vec<(Pages, u8)> = vec![];
    for _ in 0..20_000 {
        if live.len() > 200 || (!live.is_empty() && rng.below(2) == 0) {
            let (block, mark) = live.swap_remove(rng.below(live.len() as u64) as usize);
            assert_eq!((block[0], block[block.len() - 1]), (mark, mark));
            continue;
        }
        let order = order([0, 0, 0, 1, 2, 3, 5, 9][rng.below(8) as usize]);
        let gfp = [Gfp::NOWAIT, Gfp::ATOMIC, Gfp::NOWAIT | Gfp::MOVABLE][rng.below(3) as usize];
        let Ok(block) = pool.alloc_pages_uninit(order, gfp) else {
            continue;
        };
        let mut block = block.zeroed();
        let mark = rng.below(256) as u8;
        let last = block.len() - 1;
        (block[0], block[last]) = (mark, mark);
        live.push((block, mark));
    }
}
