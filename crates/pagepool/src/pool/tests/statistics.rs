//! What a pool counts.

#![forbid(unsafe_code)]

use super::*;
use crate::pool::state::PoolState;

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

#[test]
fn pageblocks_say_how_many_of_their_pages_are_in_use() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .movable_share(0)
        .build()
        .unwrap();
    let pageblocks = || pool.stats().nodes[0].zones[0].pageblocks.clone();
    assert_eq!(pageblocks(), [0; 8]);
    let blocks = [3, 9].map(|o| pool.alloc_pages(order(o), Gfp::KERNEL).unwrap());
    pool.drain();
    let mut in_use = pageblocks();
    in_use.sort_unstable();
    assert_eq!(in_use, [0, 0, 0, 0, 0, 0, 8, 512]);
    drop(blocks);
    pool.drain();
    assert_eq!(pageblocks(), [0; 8]);
}

/// A folio in each pageblock, the rest of it raw: what cannot be moved has nowhere else to go in the end.
#[test]
fn mixed_pageblocks_are_those_with_movable_memory_and_other() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .movable_share(0)
        .daemons(false)
        .build()
        .unwrap();
    let mixed = || pool.mixed_pageblocks().iter().sum::<u64>();
    let movable = |order_| pool.alloc_pages(order(order_), Gfp::USER_MOVABLE);
    let folios: Vec<_> = std::iter::from_fn(|| movable(9).ok()).collect();
    assert!(folios.len() >= 6, "{}", folios.len());
    let mut halves: Vec<_> = folios
        .into_iter()
        .flat_map(|block| block.split(order(8)))
        .collect();
    assert_eq!(mixed(), 0);

    // One half of each is free now, and no pageblock is; then one half is taken by the other kind.
    let mut n = 0;
    halves.retain(|_| {
        n += 1;
        n % 2 == 0
    });
    pool.drain();
    let kept = halves.len() as u64;
    let raw: Vec<_> =
        std::iter::from_fn(|| pool.alloc_pages(order(8), Gfp::KERNEL | Gfp::NORETRY).ok())
            .collect();
    let found = mixed();
    assert!(0 < found && found <= kept, "{found} of {kept}");
    drop(halves);
    assert_eq!(mixed(), 0, "one kind is gone");
    drop(raw);
}

#[test]
fn every_pool_is_found_from_outside_until_it_ends() {
    let pages: Vec<usize> = (0..40).map(|n| 1031 + n).collect();
    let pools: Vec<PagePool> = pages.iter().map(|&pages| small_pool(pages)).collect();
    let sizes: Vec<usize> = pools.iter().map(|pool| pool.state().built_bytes).collect();
    // Others test beside this.
    let found = || {
        let all = PoolState::of_all().into_iter();
        let all = all.map(|state| state.built_bytes);
        all.filter(|size| sizes.contains(size)).collect::<Vec<_>>()
    };
    assert_eq!(found(), sizes, "the oldest first");
    drop(pools);
    assert_eq!(found(), []);
}
