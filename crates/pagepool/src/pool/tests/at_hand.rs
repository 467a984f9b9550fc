//! Single pages by way of threads' magazines: nothing in them is out of reach, whatever their owners do.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_types, reason = "these threads are not modelled")]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;
use crate::types::NodeId;

/// Large enough that its caches are on.
fn pool() -> PagePool {
    let pool = PagePool::builder().managed(64 << 20).daemons(false);
    let pool = pool.movable_share(0).min_free_kbytes(0);
    pool.deadline(Duration::ZERO).build().unwrap()
}

fn page(pool: &PagePool) -> PagesUninit {
    pool.alloc_pages_uninit(Order::ZERO, Gfp::NOWAIT).unwrap()
}

fn at_hand(pool: &PagePool) -> usize {
    let node = pool.inner.nodes.node(NodeId::at(0));
    node.zone(ZoneType::Normal).magazines().pages()
}

/// Uses the calling thread's magazine until there is something in it.
fn fill(pool: &PagePool) {
    for _ in 0..3 {
        drop([page(pool), page(pool), page(pool)]);
    }
}

#[test]
fn a_page_that_is_freed_is_the_next_to_be_handed_out() {
    let pool = pool();
    fill(&pool);
    let first = page(&pool);
    let pfn = first.pfn();
    drop(first);
    let before = at_hand(&pool);
    assert!(before > 0);
    assert_eq!(page(&pool).pfn(), pfn);
    assert_eq!(at_hand(&pool), before);
    pool.verify().unwrap();
}

#[test]
fn what_passed_through_is_counted_once() {
    let pool = pool();
    let counted = || {
        let vmstat = pool.stats().vmstat;
        (
            vmstat.get("pgalloc_normal").unwrap(),
            vmstat.get("pgfree").unwrap(),
        )
    };
    let before = counted();
    for _ in 0..1_000 {
        drop(page(&pool));
    }
    let held: Vec<_> = (0..100).map(|_| page(&pool)).collect();
    let after = counted();
    assert_eq!((after.0 - before.0, after.1 - before.1), (1_100, 1_000));
    drop(held);
    assert_eq!(counted().1 - before.1, 1_100);
    pool.verify().unwrap();
}

#[test]
fn statistics_say_whether_magazines_are_in_use_and_what_is_in_them() {
    let pool = pool();
    let stats = || {
        let stats = pool.stats();
        let zones = stats.nodes[0].zones.iter();
        let normal = zones.clone().find(|zone| zone.zone == ZoneType::Normal);
        let magazines = normal.unwrap().magazines;
        assert!(normal.unwrap().cached >= magazines.pages);
        let counted = zones.map(|zone| zone.free + zone.cached).sum::<usize>();
        assert_eq!(counted, stats.managed_pages, "nothing is out");
        magazines
    };
    let fresh = stats();
    assert!(fresh.slots > 0 && fresh.depth > 0);
    assert_eq!((fresh.threads, fresh.pages, fresh.allocated), (0, 0, 0));
    fill(&pool);
    let used = stats();
    assert_eq!((used.threads, used.pages), (1, at_hand(&pool)));
    assert!(used.pages > 0 && used.freed >= used.allocated);
    pool.tunables().set_percpu_pagelist_fraction(0).unwrap();
    pool.drain();
    assert_eq!(stats().pages, 0);
}

#[test]
fn a_drain_reaches_threads_that_sleep_and_threads_that_have_ended() {
    let pool = pool();
    let barrier = Arc::new(Barrier::new(2));
    let sleeper = {
        let (pool, barrier) = (pool.clone(), Arc::clone(&barrier));
        thread::spawn(move || {
            fill(&pool);
            barrier.wait();
            barrier.wait();
            fill(&pool);
        })
    };
    barrier.wait();
    thread::scope(|scope| scope.spawn(|| fill(&pool)).join().unwrap());
    assert!(at_hand(&pool) >= 2, "{}", at_hand(&pool));
    pool.drain();
    assert_eq!(at_hand(&pool), 0);
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
    barrier.wait();
    sleeper.join().unwrap();
    pool.drain();
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
    pool.verify().unwrap();
}

#[test]
fn nothing_is_refused_beside_pages_at_hand() {
    let pool = pool();
    thread::scope(|scope| scope.spawn(|| fill(&pool)).join().unwrap());
    assert!(at_hand(&pool) > 0);
    let all = take_all(&pool, Order::ZERO);
    let stats = pool.stats();
    assert_eq!((stats.free_pages, stats.cached_pages), (0, 0));
    assert_eq!(all.len(), stats.managed_pages);
    drop(all);
    pool.verify().unwrap();
}

#[test]
fn threads_that_come_and_go_use_the_same_slots() {
    let pool = pool();
    for _ in 0..2_000 {
        thread::scope(|scope| scope.spawn(|| fill(&pool)).join().unwrap());
    }
    // Had each taken a slot of its own, there would be none left, and this thread would have no magazine.
    fill(&pool);
    let first = page(&pool).pfn();
    assert_eq!(page(&pool).pfn(), first);
    pool.drain();
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
    pool.verify().unwrap();
}

#[test]
fn a_thread_uses_many_pools_and_outlives_them() {
    let kept = pool();
    for _ in 0..3 {
        let pools: Vec<_> = (0..6).map(|_| pool()).collect();
        for _ in 0..50 {
            pools.iter().for_each(|pool| drop(page(pool)));
            fill(&kept);
        }
        pools.iter().for_each(|pool| pool.verify().unwrap());
        let last: Vec<_> = pools.iter().map(page).collect();
        drop(pools);
        // Each ends with its last page, which finds a magazine that was emptied for good.
        drop(last);
    }
    kept.verify().unwrap();
}

#[test]
fn reclaimable_pages_take_the_long_way() {
    let pool = pool();
    fill(&pool);
    let before = at_hand(&pool);
    let page = pool.alloc_pages(Order::ZERO, Gfp::NOWAIT | Gfp::RECLAIMABLE);
    drop(page.unwrap());
    assert_eq!(at_hand(&pool), before);
    pool.verify().unwrap();
}

#[test]
fn hardened_pools_have_none() {
    let builder = PagePool::builder().managed(64 << 20).hardened(true);
    let pool = builder.build().unwrap();
    fill(&pool);
    assert_eq!(at_hand(&pool), 0);
}

/// Owners that allocate and free as fast as they can, beside somebody who drains all the time and takes
/// everything now and then.
#[test]
fn owners_and_drains_at_once_lose_nothing() {
    let pool = pool();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let owners: Vec<_> = (0..3)
            .map(|n| {
                let (pool, is_over) = (&pool, &is_over);
                scope.spawn(move || {
                    let mut held = Vec::new();
                    let mut turn: usize = n;
                    while !is_over.load(Relaxed) {
                        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        if turn >> 60 < 8 && held.len() < 64 {
                            let size = order((turn >> 40) as u8 % 5);
                            let page = pool.alloc_pages_uninit(size, Gfp::NOWAIT);
                            held.extend(page.ok().map(|page| {
                                let mut page = page.zeroed();
                                page[..8].copy_from_slice(&turn.to_le_bytes());
                                (page, turn)
                            }));
                        } else if let Some((page, mark)) = held.pop() {
                            assert_eq!(page[..8], mark.to_le_bytes());
                        }
                    }
                })
            })
            .collect();
        for round in 0..300 {
            pool.drain();
            if round % 50 == 0 {
                drop(take_all(&pool, order(3)));
            }
        }
        is_over.store(true, Relaxed);
        owners.into_iter().for_each(|owner| owner.join().unwrap());
    });
    pool.drain();
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
    pool.verify().unwrap();
}

/// What one thread frees another allocates, page by page the same ones, and nothing of it is out of reach.
#[test]
fn pages_go_from_thread_to_thread_by_the_depot() {
    let pool = pool();
    let exchanged = || {
        let zones = &pool.stats().nodes[0].zones;
        let normal = zones.iter().find(|zone| zone.zone == ZoneType::Normal);
        normal.unwrap().magazines.exchanged
    };
    let (to_free, freed) = std::sync::mpsc::sync_channel::<Vec<PagesUninit>>(2);
    thread::scope(|scope| {
        let freer = scope.spawn(move || freed.iter().map(|pages| pages.len()).sum::<usize>());
        for _ in 0..500 {
            to_free.send((0..8).map(|_| page(&pool)).collect()).unwrap();
        }
        drop(to_free);
        assert_eq!(freer.join().unwrap(), 4_000);
    });
    assert!(exchanged() >= 1_000, "{}", exchanged());
    pool.verify().unwrap();
    let cached = at_hand(&pool);
    assert!(cached > 0);
    pool.drain();
    assert_eq!(at_hand(&pool), 0);
    let stats = pool.stats();
    assert_eq!(stats.free_pages, stats.managed_pages);
}

/// A pool whose zone has as many whole pageblocks as it takes to keep some.
fn large_pool() -> PagePool {
    let pool = PagePool::builder().managed(512 << 20).daemons(false);
    let pool = pool
        .movable_share(0)
        .min_free_kbytes(0)
        .deadline(Duration::ZERO);
    pool.build().unwrap()
}

fn block(pool: &PagePool, o: u8, gfp: Gfp) -> PagesUninit {
    pool.alloc_pages_uninit(order(o), gfp).unwrap()
}

#[test]
fn a_block_that_is_freed_is_the_next_of_its_kind_to_be_handed_out() {
    let pool = large_pool();
    for (o, gfp) in [
        (1, Gfp::NOWAIT),
        (2, Gfp::NOWAIT),
        (3, Gfp::NOWAIT),
        (3, Gfp::NOWAIT | Gfp::MOVABLE),
        (9, Gfp::NOWAIT),
    ] {
        pool.drain();
        // The long way, which finds the thread its magazine; then the short one, which notes the source.
        drop(block(&pool, o, gfp));
        let first = block(&pool, o, gfp);
        let pfn = first.pfn();
        assert_eq!(at_hand(&pool), 0, "order {o}");
        drop(first);
        assert_eq!(at_hand(&pool), 1 << o, "order {o}");
        // One of its kind is kept, and no more; others do not get it.
        let (other_order, other) = (block(&pool, o + 1, gfp), block(&pool, o, gfp));
        assert_eq!((other.pfn(), at_hand(&pool)), (pfn, 0), "order {o}");
        let (a, b) = (block(&pool, o, gfp), block(&pool, o, gfp));
        drop((a, b));
        assert_eq!(at_hand(&pool), 1 << o, "order {o}");
        drop((other, other_order));
        pool.verify().unwrap();
        pool.drain();
        let stats = pool.stats();
        assert_eq!(stats.free_pages, stats.managed_pages);
    }
}

/// While any pageblock was isolated, as those are that are offline, no thread kept a block.
#[test]
fn blocks_are_kept_while_others_are_offline() {
    let pool = large_pool();
    let offline = pool.offline(NodeId::at(0), ZoneType::Normal, 4 << 20);
    assert_eq!(offline, 4 << 20);
    for o in [1, 9] {
        pool.drain();
        drop(block(&pool, o, Gfp::NOWAIT));
        let first = block(&pool, o, Gfp::NOWAIT);
        let pfn = first.pfn();
        drop(first);
        assert_eq!(at_hand(&pool), 1 << o, "order {o}");
        assert_eq!(block(&pool, o, Gfp::NOWAIT).pfn(), pfn, "order {o}");
    }
    pool.verify().unwrap();
}

#[test]
fn a_block_of_an_emptier_pageblock_is_not_kept() {
    let pool = large_pool();
    let kept = block(&pool, 8, Gfp::NOWAIT);
    drop([block(&pool, 3, Gfp::NOWAIT), block(&pool, 3, Gfp::NOWAIT)]);
    pool.drain();
    // The rest of the first pageblock, and more: what comes last is of another one, which little else is in.
    let mut blocks: Vec<_> = (0..40).map(|_| block(&pool, 3, Gfp::NOWAIT)).collect();
    let of = |block: &PagesUninit| block.pfn().index() >> 9;
    let last = blocks.pop().unwrap();
    assert_ne!(of(&last), of(&kept));
    pool.drain();
    // A refill brings blocks of the fuller one.
    drop(blocks.remove(0));
    pool.drain();
    let full = block(&pool, 3, Gfp::NOWAIT);
    assert_eq!(of(&full), of(&kept));
    drop(last);
    assert_eq!(at_hand(&pool), 0, "an emptier one");
    drop(full);
    assert_eq!(at_hand(&pool), 8, "the one that they come from");
    drop((blocks, kept));
    pool.verify().unwrap();
}

#[test]
fn few_threads_keep_whole_pageblocks() {
    let pool = large_pool();
    let barrier = Barrier::new(8);
    let most = pool.stats().managed_pages / 64 / 512;
    assert!((1..8).contains(&most), "{most}");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                drop(page(&pool));
                // Each has a magazine by now.
                barrier.wait();
                for _ in 0..3 {
                    drop(block(&pool, 9, Gfp::NOWAIT));
                }
                barrier.wait();
            });
        }
    });
    let wholes = at_hand(&pool) / 512;
    assert!((1..=most).contains(&wholes), "{wholes} of {most}");
    pool.verify().unwrap();
}

#[test]
fn what_blocks_passed_through_is_counted_once() {
    let pool = large_pool();
    let counted = || {
        let vmstat = pool.stats().vmstat;
        ["pgalloc_normal", "pgfree", "numa_hit", "numa_local"].map(|name| vmstat.get(name).unwrap())
    };
    let mut expected = counted();
    for o in [1, 2, 3, 4, 9, 10] {
        for _ in 0..100 {
            drop(block(&pool, o, Gfp::NOWAIT));
        }
        expected[0] += 100 << o;
        expected[1] += 100 << o;
        expected[2] += 100;
        expected[3] += 100;
        assert_eq!(counted(), expected, "order {o}");
    }
    pool.verify().unwrap();
}

#[test]
fn nothing_is_refused_beside_blocks_at_hand() {
    let pool = large_pool();
    thread::scope(|scope| {
        let keep = || {
            for o in [1, 2, 3, 9] {
                drop([block(&pool, o, Gfp::NOWAIT), block(&pool, o, Gfp::NOWAIT)]);
                drop(block(&pool, o, Gfp::NOWAIT));
            }
        };
        scope.spawn(keep).join().unwrap();
    });
    assert!(at_hand(&pool) > 512, "{}", at_hand(&pool));
    let all = take_all(&pool, Order::ZERO);
    let stats = pool.stats();
    assert_eq!((stats.free_pages, stats.cached_pages), (0, 0));
    drop(all);
    pool.verify().unwrap();
}

/// Blocks taken by a walk over zones, and all of them.
fn walked_and_all(pool: &PagePool) -> (u64, u64) {
    let hits = VmEvent::NumaHit;
    let walked = pool.inner.nodes.events().sum(hits);
    (walked, pool.stats().vmstat.get(hits.name()).unwrap())
}

#[test]
fn blocks_go_the_short_way_once_their_thread_has_the_zone_at_hand() {
    let pool = pool();
    for o in 1..=Order::MAX.get() {
        let block = || pool.alloc_pages_uninit(order(o), Gfp::NOWAIT).unwrap();
        // The first one may take from another type; of those that a refill brings, it is one.
        drop([block(), block()]);
        let (walked, all) = walked_and_all(&pool);
        drop([block(), block()]);
        assert_eq!(walked_and_all(&pool), (walked, all + 2), "order {o}");
    }
    pool.verify().unwrap();
}

#[test]
fn a_block_that_was_split_comes_back_in_parts_by_the_short_way() {
    let pool = pool();
    let block = pool.alloc_pages(order(4), Gfp::KERNEL).unwrap();
    drop(block);
    let block = pool.alloc_pages(order(4), Gfp::KERNEL).unwrap();
    block.split(order(2)).for_each(drop);
    pool.drain();
    pool.verify().unwrap();
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
}
