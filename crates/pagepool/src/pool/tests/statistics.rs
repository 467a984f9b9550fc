//! What a pool counts.

#![forbid(unsafe_code)]

use super::*;
use crate::pool::state::PoolState;
use crate::types::Migratetype;

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

/// 8 pageblocks, and the address of the first.
fn eight_pageblocks() -> (PagePool, usize) {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .movable_share(0)
        .daemons(false)
        .min_free_kbytes(0)
        .deadline(Duration::ZERO)
        .build()
        .unwrap();
    let all = take_all(&pool, order(9));
    assert_eq!(all.len(), 8);
    let first = all.iter().map(|block| block.as_ptr().addr()).min().unwrap();
    drop(all);
    pool.drain();
    (pool, first)
}

/// The types of all pageblocks, once nothing is in a cache; they must add up.
#[track_caller]
fn types_of(pool: &PagePool) -> Vec<Migratetype> {
    pool.drain();
    let stats = pool.stats();
    let zone = &stats.nodes[0].zones[0];
    let types = zone.pageblock_types.clone();
    assert_eq!(types.len(), zone.pageblocks.len());
    for (mt, nr) in Migratetype::ALL.into_iter().zip(zone.pageblocks_by_type) {
        let found = types.iter().filter(|found| **found == mt).count();
        assert_eq!(found as u64, nr, "{mt:?} of {types:?}");
    }
    types
}

#[test]
fn pageblocks_say_which_kind_of_memory_they_are_for() {
    let (pool, first) = eight_pageblocks();
    let before = types_of(&pool);
    let kinds = [
        (Gfp::KERNEL, Migratetype::Unmovable),
        (
            Gfp::KERNEL.union(Gfp::RECLAIMABLE),
            Migratetype::Reclaimable,
        ),
        (Gfp::USER_MOVABLE, Migratetype::Movable),
    ];
    let pages = kinds.map(|(flags, _)| pool.alloc_pages(order(0), flags).unwrap());
    let after = types_of(&pool);
    let at = pages
        .each_ref()
        .map(|page| (page.as_ptr().addr() - first) >> 21);
    for (block, (_, mt)) in at.into_iter().zip(kinds) {
        assert_eq!(after[block], mt, "pageblock {block}");
        assert_eq!(pool.stats().nodes[0].zones[0].pageblocks[block], 1);
    }
    for block in (0..8).filter(|block| !at.contains(block)) {
        assert_eq!(after[block], before[block], "nobody was there: {block}");
    }
}

/// Who finds nothing of its own kind takes a page here and there, and that makes it no other kind of pageblock; who
/// finds most of a pageblock free claims all of it.
#[test]
fn a_pageblock_changes_its_type_when_it_is_claimed_and_not_when_kinds_mix() {
    let (pool, first) = eight_pageblocks();
    let movable = |order_| pool.alloc_pages(order(order_), Gfp::USER_MOVABLE);
    let mut all: Vec<_> = std::iter::from_fn(|| movable(9).ok()).collect();
    assert_eq!(all.len(), 8);
    let shared = all.swap_remove(3);
    let block = (shared.as_ptr().addr() - first) >> 21;
    let mut pages: Vec<_> = shared.split(order(0)).collect();
    assert_eq!(types_of(&pool), [Migratetype::Movable; 8]);

    drop(pages.pop());
    let raw = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    assert_eq!(
        (raw.as_ptr().addr() - first) >> 21,
        block,
        "no other page is free"
    );
    assert_eq!(pool.mixed_pageblocks()[Migratetype::Movable.idx()], 1);
    assert_eq!(types_of(&pool), [Migratetype::Movable; 8]);

    pages.truncate(128);
    pool.drain();
    let claim = pool.alloc_pages(order(7), Gfp::KERNEL).unwrap();
    assert_eq!((claim.as_ptr().addr() - first) >> 21, block);
    let mut expected = [Migratetype::Movable; 8];
    expected[block] = Migratetype::Unmovable;
    assert_eq!(types_of(&pool), expected);
    drop((raw, claim, pages, all));
}

#[test]
fn a_pageblock_that_is_not_whole_has_a_type_too() {
    let pool = small_pool(1031);
    for zone in &pool.stats().nodes[0].zones {
        assert_eq!(zone.pageblock_types.len(), zone.pageblocks.len());
        let pages: usize = zone.pageblocks.len() << zone.pageblock_order.get();
        assert!(
            pages >= zone.present,
            "{} pageblocks",
            zone.pageblocks.len()
        );
    }
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
    assert_eq!(found(), [0_usize; 0]);
}
