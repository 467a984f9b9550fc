//! What a builder and the tunables take and refuse, and what comes of it: sizes, nodes, zones, marks.

#![forbid(unsafe_code)]

use std::thread;

use super::*;
use crate::error::BuildError;
use crate::types::{NodeId, NodeMask};

#[test]
#[cfg_attr(pagepool_asan, ignore = "the heap has no such sizes")]
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
