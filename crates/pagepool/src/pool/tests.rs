#![expect(clippy::disallowed_types, reason = "these threads are not modelled")]

use std::sync::Barrier;
use std::thread;

use super::*;
use crate::error::BuildError;
use crate::types::{NodeId, NodeMask};

fn order(n: u8) -> Order {
    Order::new(n).unwrap()
}

fn small_pool(pages: usize) -> PagePool {
    let builder = PagePool::builder().managed(pages * PAGE_SIZE);
    builder
        .min_free_kbytes(0)
        .deadline(Duration::ZERO)
        .build()
        .unwrap()
}

/// Everything that can be had at an order, without waiting.
fn take_all(pool: &PagePool, order: Order) -> Vec<Pages> {
    let take = || pool.alloc_pages(order, Gfp::NOWAIT).ok();
    std::iter::from_fn(take).collect()
}

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

#[test]
fn a_raw_block_comes_back() {
    let pool = small_pool(64);
    let mut block = pool.alloc_pages(order(2), Gfp::KERNEL).unwrap();
    block[0] = 7;
    let ptr = block.into_raw();
    // SAFETY: given up a line before.
    let block = unsafe { pool.from_raw(ptr) };
    assert_eq!((block[0], block.order()), (7, order(2)));
    drop(block);
    pool.verify().unwrap();
}

#[track_caller]
fn assert_panics(message: &str, f: impl FnOnce() + std::panic::UnwindSafe) {
    let panic = std::panic::catch_unwind(f).expect_err("a panic");
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(text.contains(message), "{text}");
}

#[test]
fn foreign_and_freed_pointers_are_reported() {
    let pool = small_pool(64);
    let on_the_stack = 0u8;
    let foreign = NonNull::from(&on_the_stack);
    let pool_ref = std::panic::AssertUnwindSafe(&pool);
    // SAFETY: not kept: that it is reported is what is tested.
    assert_panics("does not belong to this pool", || unsafe {
        pool_ref.free_raw(foreign);
    });

    let ptr = pool.alloc_raw(order(1), Gfp::KERNEL).unwrap();
    // SAFETY: an address inside the block; as above.
    let inside = unsafe { ptr.add(1) };
    // SAFETY: as above.
    assert_panics("not at its start", || unsafe { pool_ref.free_raw(inside) });
    // SAFETY: as above.
    let second_page = unsafe { ptr.add(PAGE_SIZE) };
    // SAFETY: as above.
    assert_panics("but it is free", || unsafe {
        pool_ref.free_raw(second_page);
    });
    // SAFETY: from `alloc_raw`, once.
    unsafe { pool.free_raw(ptr) };
    // SAFETY: as above.
    assert_panics("comes back from a raw pointer, but it is", || unsafe {
        pool_ref.free_raw(ptr);
    });
    pool.verify().unwrap();
}

#[test]
fn two_handles_to_one_raw_block_are_reported() {
    let pool = small_pool(64);
    let ptr = pool.alloc_raw(order(1), Gfp::KERNEL).unwrap();
    // SAFETY: just handed out.
    let first = unsafe { pool.from_raw(ptr) };
    // SAFETY: not kept, on purpose: the second handle must be found out.
    let second = unsafe { pool.from_raw(ptr) };
    drop(first);
    assert_panics(
        "is freed at o1, but it is free",
        std::panic::AssertUnwindSafe(|| drop(second)),
    );
    pool.verify().unwrap();
}

use std::ptr::NonNull;

#[test]
fn a_write_after_free_is_reported_when_hardened() {
    let pool = PagePool::builder()
        .managed(64 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    let (ptr, pfn) = (block.as_ptr().cast_mut(), block.pfn());
    drop(block);
    // SAFETY: the page is mapped as long as the pool lives; that it is not ours is what is tested.
    unsafe { *ptr.wrapping_add(100) = 1 };
    let take = || drop(take_all(&pool, Order::ZERO));
    let message = format!("{pfn} was written while it was free: byte 100");
    assert_panics(&message, std::panic::AssertUnwindSafe(take));
}

#[test]
fn hardened_blocks_are_zeroed_like_others() {
    let pool = PagePool::builder()
        .managed(4096 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut block = pool.alloc_pages(order(9), Gfp::KERNEL).unwrap();
        assert!(block.iter().all(|byte| *byte == 0));
        block.fill(3);
        drop(block);
        assert!(pool.trim() > 0);
    }
    pool.verify().unwrap();
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
fn trimmed_memory_leaves_and_comes_back_zeroed() {
    let pool = PagePool::builder()
        .memory(64 << 20)
        .trim_threshold(usize::MAX)
        .build()
        .unwrap();
    let mut blocks = take_all(&pool, order(9));
    blocks.iter_mut().for_each(|block| block.fill(1));
    let pages = blocks.len() * 512;
    drop(blocks);
    let resident = pool.stats().nodes[0].zones[0].resident_free_pages;
    assert!(resident >= pages);
    assert!(pool.trim() >= pages * PAGE_SIZE);
    assert_eq!(pool.stats().nodes[0].zones[0].resident_free_pages, 0);
    pool.verify().unwrap();
    let block = pool
        .alloc_pages_uninit(order(9), Gfp::KERNEL | Gfp::ZERO)
        .unwrap();
    // SAFETY: `ZERO` was asked for.
    assert!(unsafe { block.assume_init() }.iter().all(|byte| *byte == 0));
}

/// `trim` withdrew a block and looked only then whether its rounds were used up: where the system
/// refuses to take memory back, as it does for locked pages, the last block it withdrew was lost.
#[test]
fn a_trim_that_the_system_refuses_loses_nothing() {
    let pool = small_pool(16);
    let block = pool.alloc_pages(order(4), Gfp::NOWAIT).unwrap();
    // SAFETY: locking memory that is ours changes nothing about it.
    if unsafe { libc::mlock(block.as_ptr().cast(), block.len()) } != 0 {
        return; // the host does not let us lock 64 KiB
    }
    drop(block);
    assert_eq!(pool.trim(), 0);
    assert_eq!(pool.stats().free_pages, 16);
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

/// A setting that lets a waiting request pass did not wake it: it waited for somebody to free memory.
#[test]
fn a_lowered_minimum_wakes_who_waits_for_it() {
    let builder = PagePool::builder().managed(1 << 20).min_free_kbytes(256);
    let pool = builder.deadline(Duration::from_secs(20)).build().unwrap();
    let _held = take_all(&pool, Order::ZERO);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.alloc_pages(Order::ZERO, Gfp::KERNEL).is_ok());
        while !pool.inner.nodes.freed().has_sleeper() {
            thread::yield_now();
        }
        let start = crate::sync::clock::now();
        pool.tunables().set_min_free_kbytes(0).unwrap();
        assert!(waiter.join().unwrap());
        let took = crate::sync::clock::now().saturating_duration_since(start);
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn freeing_beyond_the_threshold_gives_memory_back() {
    let pool = PagePool::builder()
        .memory(128 << 20)
        .trim_threshold(8 << 20)
        .build()
        .unwrap();
    drop(take_all(&pool, order(10)));
    let zone = &pool.stats().nodes[0].zones[0];
    assert!(
        zone.resident_free_pages * PAGE_SIZE <= 8 << 20,
        "{}",
        zone.resident_free_pages
    );
    pool.verify().unwrap();
}

#[test]
fn the_budget_holds_for_every_size() {
    for bytes in [
        1 << 20,
        3 << 20,
        (16 << 20) + 12345,
        64 << 20,
        1 << 30,
        100 << 30,
    ] {
        for nodes in [1, 2, 5] {
            let pool = PagePool::builder()
                .memory(bytes)
                .nodes(nodes)
                .build()
                .unwrap();
            let stats = pool.stats();
            let used = stats.managed_pages * PAGE_SIZE + stats.metadata_bytes;
            assert!(used <= bytes, "{used} > {bytes}, {nodes} nodes");
            assert!(
                bytes - used < (64 << 10) * nodes + bytes / 10_000,
                "{} wasted",
                bytes - used
            );
        }
    }
}

#[test]
fn settings_out_of_range_name_field_value_and_range() {
    let error = |builder: Builder| match builder.build() {
        Err(BuildError::OutOfRange(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let b = PagePool::builder;
    assert_eq!(
        error(b().nodes(0)),
        "nodes = 0 is out of range: accepted is 1 to 16"
    );
    assert!(error(b().memory(5)).starts_with("memory = 5 is out of range: accepted is at least "));
    assert!(
        error(b().managed(4096))
            .starts_with("managed = 4096 is out of range: accepted is 65536 to")
    );
    assert!(error(b().managed(usize::MAX)).starts_with("managed = 18446744073709551615 is"));
    assert!(error(b().memory(usize::MAX)).starts_with("memory = 18446744073709551615 is"));
    assert!(error(b().movable_share(101)).contains("movable_share = 101"));
    assert!(b().daemons(false).build().is_ok());
    assert!(error(b().dma(1 << 40)).contains("dma = 1099511627776"));
    assert!(error(b().watermark_scale_factor(0)).contains("accepted is 1 to 1000"));
    assert!(error(b().percpu_pagelist_fraction(7)).contains("accepted is 0, or 8 and above"));
    assert!(error(b().min_free_kbytes(1 << 40)).contains("min_free_kbytes = 1099511627776"));
    assert!(error(b().nodes(2).distances(vec![vec![10]])).contains("2 rows of 2"));
    assert!(error(b().nodes(2).cpus(vec![vec![0]])).contains("one set for each of the 2 nodes"));
    assert!(error(b().cpus(vec![vec![0, 0]])).contains("each in one set at most"));
    assert!(error(b().cpus(vec![vec![1 << 20]])).contains("cpus = [[1048576]]"));
}

#[test]
fn tunables_are_read_back_and_refused_out_of_range() {
    let pool = PagePool::builder().memory(64 << 20).build().unwrap();
    let t = pool.tunables();
    let low = || pool.stats().nodes[0].zones[0].low;
    let before = low();
    t.set_min_free_kbytes(4096).unwrap();
    assert_eq!(pool.stats().nodes[0].zones[0].min, 1024);
    assert!(low() > before);
    t.set_watermark_scale_factor(1000).unwrap();
    t.set_watermark_boost_factor(0).unwrap();
    t.set_lowmem_reserve_ratio([1, 2, 3]).unwrap();
    t.set_percpu_pagelist_fraction(8).unwrap();
    t.set_trim_threshold(1 << 20).unwrap();
    assert_eq!(t.watermark_scale_factor(), 1000);
    assert_eq!(t.watermark_boost_factor(), 0);
    assert_eq!(t.lowmem_reserve_ratio(), [1, 2, 3]);
    assert_eq!(t.percpu_pagelist_fraction(), 8);
    assert_eq!(t.trim_threshold(), 1 << 20);
    assert!(t.set_percpu_pagelist_fraction(3).is_err());
    assert_eq!(t.percpu_pagelist_fraction(), 8, "the old value stays");
    assert!(t.set_min_free_kbytes(1 << 50).is_err());
    pool.verify().unwrap();
}

#[test]
fn each_node_is_reached_by_its_mask() {
    let pool = PagePool::builder()
        .memory(64 << 20)
        .nodes(3)
        .build()
        .unwrap();
    for n in 0..3 {
        let node = NodeId::new(n).unwrap();
        let only = NodeMask::only(node);
        let block = pool
            .request(order(0), Gfp::KERNEL)
            .nodes(only)
            .alloc()
            .unwrap();
        assert_eq!(block.node(), node);
        let block = pool
            .request(order(5), Gfp::KERNEL)
            .prefer(node)
            .alloc()
            .unwrap();
        assert_eq!(block.node(), node);
    }
    let none = pool
        .request(order(0), Gfp::KERNEL)
        .nodes(NodeMask::NONE)
        .alloc()
        .unwrap_err();
    assert_eq!(none, AllocError::NodeMask);
}

#[test]
fn small_raw_blocks_stay_out_of_the_movable_zone() {
    let pool = PagePool::builder()
        .managed(256 << 20)
        .movable_share(50)
        .build()
        .unwrap();
    let small = pool.alloc_pages(order(0), Gfp::USER_MOVABLE).unwrap();
    assert_eq!(small.zone(), ZoneType::Normal);
    let whole = pool.alloc_pages(order(9), Gfp::USER_MOVABLE).unwrap();
    assert_eq!(whole.zone(), ZoneType::Movable);
    let unmovable = pool.alloc_pages(order(9), Gfp::KERNEL).unwrap();
    assert_eq!(unmovable.zone(), ZoneType::Normal);
}

#[test]
fn the_dma_zone_is_locked_and_serves_its_flag() {
    let built = PagePool::builder().memory(32 << 20).dma(1 << 20).build();
    let pool = match built {
        Ok(pool) => pool,
        Err(BuildError::Place { .. }) => return, // the host does not let us lock a MiB
        Err(other) => panic!("{other}"),
    };
    let block = pool.alloc_pages(order(0), Gfp::KERNEL | Gfp::DMA).unwrap();
    assert_eq!(block.zone(), ZoneType::Dma);
    let zone = |pool: &PagePool, n: usize| pool.stats().nodes[0].zones[n].clone();
    assert_eq!((zone(&pool, 0).name, zone(&pool, 0).managed), ("DMA", 256));
    assert!(
        zone(&pool, 0).protection[1] > 0,
        "kept back from those who can use Normal"
    );
    drop(block);
    pool.trim();
    pool.verify().unwrap();
}

#[test]
fn statistics_count_pages_by_their_kernel_names() {
    let pool = PagePool::builder().memory(128 << 20).build().unwrap();
    let count = |name: &str| pool.stats().vmstat.get(name).unwrap();
    let block = pool.alloc_pages(order(3), Gfp::KERNEL).unwrap();
    let page = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    assert_eq!(count("pgalloc_normal"), 9);
    assert_eq!(count("numa_hit"), 2);
    drop((block, page));
    assert_eq!(count("pgfree"), 9);
    assert_eq!(count("pagepool_slowpath_entries"), 0);
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

#[test]
fn memory_leaves_service_and_comes_back() {
    let pool = PagePool::builder()
        .managed(32 << 20)
        .nodes(2)
        .build()
        .unwrap();
    let (first, second) = (NodeId::at(0), NodeId::at(1));
    let pages = |pool: &PagePool| pool.stats().managed_pages;
    let block = pool
        .request(order(0), Gfp::KERNEL)
        .prefer(first)
        .alloc()
        .unwrap();

    // One pageblock is in use, the other seven can go.
    assert_eq!(pool.offline(first, ZoneType::Normal, usize::MAX), 14 << 20);
    assert_eq!(pages(&pool), (18 << 20) / PAGE_SIZE);
    pool.verify().unwrap();
    let low = pool.stats().nodes[0].zones[0].low;
    drop(block);
    assert_eq!(pool.offline(first, ZoneType::Normal, usize::MAX), 2 << 20);
    pool.verify().unwrap();

    // The first node has no memory any more: its requests go to the second.
    assert!(pool.stats().nodes[0].zones.is_empty());
    let elsewhere = pool
        .request(order(0), Gfp::KERNEL)
        .prefer(first)
        .alloc()
        .unwrap();
    assert_eq!(elsewhere.node(), second);
    let only = NodeMask::only(first);
    let refused = pool
        .request(order(0), Gfp::KERNEL)
        .nodes(only)
        .alloc()
        .unwrap_err();
    assert_eq!(refused, AllocError::NodeMask);

    assert_eq!(
        pool.online(first, ZoneType::Normal, 3 << 20),
        2 << 20,
        "whole pageblocks"
    );
    assert_eq!(pool.online(first, ZoneType::Normal, usize::MAX), 14 << 20);
    assert_eq!(pages(&pool), (32 << 20) / PAGE_SIZE);
    assert!(pool.stats().nodes[0].zones[0].low > low);
    pool.verify().unwrap();
    let back = pool
        .request(order(9), Gfp::KERNEL)
        .nodes(only)
        .alloc()
        .unwrap();
    assert_eq!(back.node(), first);
    assert_eq!(pool.offline(NodeId::at(7), ZoneType::Normal, 1 << 30), 0);
}

#[test]
fn reclaimable_raw_pages_are_counted_while_they_are_out() {
    let pool = PagePool::builder().memory(64 << 20).build().unwrap();
    let count = || {
        pool.stats()
            .vmstat
            .get("nr_kernel_misc_reclaimable")
            .unwrap()
    };
    let other = pool.alloc_pages(order(3), Gfp::KERNEL).unwrap();
    let block = pool
        .alloc_pages(order(4), Gfp::KERNEL | Gfp::RECLAIMABLE)
        .unwrap();
    assert_eq!(count(), 16);
    let mut parts = block.split(order(0));
    drop(parts.next());
    assert_eq!(count(), 15);
    drop((parts, other));
    assert_eq!(count(), 0);
}

/// A pool that is no multiple of a pageblock ends in a short one, which never becomes a whole free
/// block. Its memory stayed resident for ever.
#[test]
fn the_last_short_pageblock_is_trimmed_as_well() {
    let pool = PagePool::builder()
        .managed((32 << 20) - (64 << 10))
        .build()
        .unwrap();
    let short = 512 - 16;
    let mut pages = take_all(&pool, Order::ZERO);
    pages.iter_mut().for_each(|page| page.fill(1));
    drop(pages);
    assert!(pool.trim() > (30 << 20) + short * PAGE_SIZE / 2);
    assert_eq!(pool.trim(), 0);
    pool.verify().unwrap();
    let inner = &pool.inner;
    let arena = inner.nodes.iter().next().unwrap().arena();
    assert_eq!(arena.resident_pages(0, arena.pages()).unwrap(), 0);
}

/// In a full pool without a reclaimer a boost could never end, and withheld what nobody could free.
#[test]
fn a_boost_that_nobody_answers_refuses_nothing() {
    let pages_until_refused = |factor| {
        let pool = PagePool::builder()
            .memory(64 << 20)
            .movable_share(0)
            .watermark_boost_factor(factor)
            .daemons(false)
            .build()
            .unwrap();
        // Short of whole pageblocks, types are mixed, and each time the marks are raised.
        let kinds = [
            Gfp::NOWAIT,
            Gfp::NOWAIT | Gfp::MOVABLE,
            Gfp::NOWAIT | Gfp::RECLAIMABLE,
        ];
        let mut blocks = vec![];
        for gfp in kinds.into_iter().cycle() {
            match pool.alloc_pages_uninit(order(3), gfp) {
                Ok(block) => blocks.push(block),
                Err(_) => break,
            }
        }
        blocks.len()
    };
    assert_eq!(pages_until_refused(15_000), pages_until_refused(0));
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

/// The check of one block's poison panicked while others were in nobody's hands.
#[test]
fn a_poisoned_block_in_a_bulk_request_loses_no_other() {
    let pool = PagePool::builder()
        .managed(64 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    let ptr = block.as_ptr().cast_mut();
    drop(block);
    // SAFETY: the page is mapped as long as the pool lives; that it is not ours is what is tested.
    unsafe { ptr.write(1) };
    let mut blocks = vec![];
    let take = std::panic::AssertUnwindSafe(|| {
        let _ = pool.alloc_bulk(Order::ZERO, Gfp::KERNEL, 32, &mut blocks);
    });
    assert_panics("was written while it was free", take);
    drop(blocks);
    pool.close(Duration::ZERO).unwrap();
}

/// The frames of a fault that panicked were in nobody's hands.
#[test]
fn a_poisoned_block_that_a_folio_was_to_have_is_not_lost() {
    let pool = PagePool::builder()
        .managed(64 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    let block = pool.alloc_pages(order(3), Gfp::USER_MOVABLE).unwrap();
    let ptr = block.as_ptr().cast_mut();
    drop(block);
    // SAFETY: the page is mapped as long as the pool lives; that it is not ours is what is tested.
    unsafe { ptr.write(1) };
    let mut folios = vec![];
    let take = std::panic::AssertUnwindSafe(|| {
        for _ in 0..64 {
            folios.push(pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap());
        }
    });
    assert_panics("was written while it was free", take);
    drop(folios);
    pool.drain();
    pool.verify().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.folios, stats.free_pages), (0, 64));
    pool.close(Duration::ZERO).unwrap();
}

/// Memory on its way to the system was missing for a request that was refused meanwhile.
#[test]
fn a_trim_makes_no_waiting_request_fail() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    let held: Vec<_> = (0..3)
        .map(|_| pool.alloc_pages(order(10), Gfp::KERNEL).unwrap())
        .collect();
    let done = crate::sync::atomic::AtomicBool::new(false);
    let relaxed = crate::sync::atomic::Ordering::Relaxed;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(relaxed) {
                pool.trim();
            }
        });
        for _ in 0..200 {
            for flags in [Gfp::KERNEL, Gfp::KERNEL | Gfp::NORETRY] {
                pool.alloc_pages(order(0), flags).unwrap().fill(1);
            }
        }
        done.store(true, relaxed);
    });
    drop(held);
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
