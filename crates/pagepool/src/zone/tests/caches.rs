//! The caches of CPUs: what is put into one, taken from it, and returned.

use std::collections::BTreeMap;

use super::*;
use crate::zone::pcp::{Home, PcpLists, Surplus};

// ---- caches ----

#[test]
fn a_refill_brings_a_batch_of_ascending_frames() {
    let zone = cached_zone(256, 4, 12);
    let first = zone.pop(0, 0, MOVABLE);
    assert_eq!(
        (zone.free_pages(), zone.cached_by_cpu()),
        (252, vec![3, 0, 0])
    );
    let next: Vec<_> = (0..3).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    assert_eq!(next, [1, 2, 3].map(|n| first.add(n)));
    assert_eq!((zone.free_pages(), zone.cached()), (252, 0));
}

#[test]
fn a_refill_of_larger_blocks_moves_as_many_pages() {
    let zone = cached_zone(256, 7, 100);
    zone.pop(0, 1, MOVABLE);
    assert_eq!(zone.free_pages(), 250, "three pairs");
    zone.pop(0, 3, MOVABLE);
    assert_eq!(zone.free_pages(), 242, "one block at least");
}

#[test]
fn freed_blocks_are_hot_and_handed_out_again_last_in_first_out() {
    let zone = cached_zone(256, 4, 100);
    let taken: Vec<_> = (0..4).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    taken.iter().for_each(|pfn| drop(zone.push(0, *pfn, 0)));
    let again: Vec<_> = (0..4).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    assert_eq!(again, taken.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn each_cpu_order_and_type_has_a_list_of_its_own() {
    let zone = cached_zone(1024, 4, 100);
    let page = zone.pop(0, 0, MOVABLE);
    let pair = zone.pop(0, 1, MOVABLE);
    assert_eq!(zone.cached_by_cpu(), [3 + 2, 0, 0]);
    zone.pop(1, 0, MOVABLE);
    zone.pop(0, 0, RECLAIMABLE);
    assert_eq!(zone.cached_by_cpu(), [3 + 2 + 3, 3, 0]);
    // Whoever frees it gets it.
    drop((zone.push(2, page, 0), zone.push(2, pair, 1)));
    assert_eq!(zone.cached_by_cpu(), [8, 3, 3]);
    assert_eq!(zone.pop(2, 1, MOVABLE), pair);
    // The type is that of the pageblock, whatever the block was asked for as.
    let foreign = zone.take_cached(2, request(0, RECLAIMABLE));
    assert_eq!(foreign, None);
    assert_eq!(zone.pop(2, 0, MOVABLE), page);
}

#[test]
fn orders_that_are_not_cached_go_past_the_caches() {
    let zone = cached_zone(1024, 4, 100);
    for order in [4, 7] {
        let pfn = zone.pop(0, order, MOVABLE);
        drop(zone.push(0, pfn, order));
        assert_eq!((zone.cached(), zone.free_pages()), (0, 1024));
    }
}

#[test]
fn a_cache_that_reaches_its_limit_returns_a_batch_of_the_coldest() {
    let zone = zone(256);
    let taken: Vec<_> = (0..8).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    zone.set_pcp_sizes(sizes(3, 8));
    for (n, pfn) in taken.iter().enumerate() {
        drop(zone.push(0, *pfn, 0));
        let expected = if n < 7 { n + 1 } else { 5 };
        assert_eq!(zone.cached(), expected, "P3");
    }
    let left: Vec<_> = (0..5).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    assert_eq!(left, taken[3..].iter().rev().copied().collect::<Vec<_>>());
}

#[test]
fn a_limit_of_zero_switches_caches_off() {
    let zone = cached_zone(256, 1, 0);
    let pfn = zone.pop(0, 0, MOVABLE);
    drop(zone.push(0, pfn, 0));
    assert_eq!((zone.cached(), zone.free_pages()), (0, 256));
}

#[test]
fn a_lowered_limit_takes_hold_at_the_next_free() {
    let zone = cached_zone(256, 4, 100);
    let taken: Vec<_> = (0..40).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    taken[1..]
        .iter()
        .for_each(|pfn| drop(zone.push(0, *pfn, 0)));
    zone.set_pcp_sizes(sizes(8, 10));
    drop(zone.push(0, taken[0], 0));
    assert_eq!(zone.cached(), 40 - 8, "a batch a free, until it is below");
}

#[test]
fn a_bulk_return_takes_from_the_lists_in_turn_and_more_the_more_were_empty() {
    // Ten single pages of each type; 9 lists of larger orders are empty.
    let zone = zone(4096);
    let mut lists = PcpLists::default();
    let mut types = BTreeMap::new();
    for n in 0..30 {
        let mt = [UNMOVABLE, MOVABLE, RECLAIMABLE][n % 3];
        let pfn = zone.start().add(n);
        types.insert(pfn, mt);
        lists.push(&zone.map, pfn, Order::ZERO, Home { mt, fullness: 0 });
    }
    let order: Vec<_> = lists
        .take_pages(&zone.map, 6)
        .iter()
        .map(|(pfn, _)| types[pfn])
        .collect();
    let u = UNMOVABLE;
    assert_eq!(order, [MOVABLE, RECLAIMABLE, u, u, u, u]);
    lists.verify(&zone.map).unwrap();

    let rest = lists.take_pages(&zone.map, usize::MAX);
    assert_eq!((rest.len(), lists.cached_pages()), (24, 0));
}

#[test]
fn a_bulk_return_takes_at_least_what_it_was_asked_for_and_at_most_what_it_can_carry() {
    let zone = zone(4096);
    let mut lists = PcpLists::default();
    for n in 0..200 {
        let home = Home {
            mt: MOVABLE,
            fullness: 0,
        };
        lists.push(&zone.map, zone.start().add(8 * n), Order::at(3), home);
    }
    assert_eq!(lists.take_pages(&zone.map, 9).len(), 2, "16 pages");
    assert_eq!(
        lists.take_pages(&zone.map, usize::MAX).len(),
        pcp::RETURN_BATCH
    );
    assert_eq!(lists.surplus(sizes(4, 2000)), Surplus::None);
    assert_eq!(lists.surplus(sizes(4, 100)), Surplus::Pages(4));
}

#[test]
fn whole_pageblocks_are_cached_one_by_one() {
    let zone = zone(8192);
    let taken: Vec<_> = (0..3).map(|_| zone.pop(0, 9, MOVABLE)).collect();
    zone.set_pcp_sizes(PcpSizes {
        blocks: 1,
        ..sizes(4, 100)
    });
    drop(zone.push(0, taken[0], 9));
    assert_eq!(zone.cached(), 512);
    drop(zone.push(0, taken[1], 9));
    assert_eq!((zone.cached(), zone.free_pages()), (512, 8192 - 1024));
    assert_eq!(zone.pop(0, 9, MOVABLE), taken[1], "the hot one stayed");
    drop((zone.push(1, taken[1], 9), zone.push(0, taken[2], 9)));
    assert_eq!(zone.cached_by_cpu(), [512, 512, 0]);
    assert_eq!((zone.drain(), zone.free_pages()), (1024, 8192));
}

#[test]
fn a_drain_empties_every_cache_and_merges_what_was_in_them() {
    let zone = cached_zone(1024, 8, 500);
    for cpu in 0..NR_CPUS {
        let taken: Vec<_> = (0..100).map(|_| zone.pop(cpu, 0, MOVABLE)).collect();
        taken.iter().for_each(|pfn| drop(zone.push(cpu, *pfn, 0)));
    }
    assert!(zone.cached() >= 300);
    zone.drain();
    assert_eq!((zone.cached(), zone.free_pages()), (0, 1024));
    assert_eq!(zone.free_areas().by_order()[10], 1);
    zone.verify().unwrap();
}

#[test]
fn a_cache_that_is_taken_is_passed_by_and_nothing_is_lost() {
    let zone = cached_zone(256, 4, 100);
    let pfn = zone.pop(0, 1, MOVABLE);
    let cached = zone.cached();
    let slot = zone.pcp.try_of(0).unwrap();
    let (freed, taken) = with_cpu(0, || {
        let freed = zone.put(pfn, Order::at(1));
        (freed, zone.take(request(0, MOVABLE)))
    });
    assert!(!freed.is_something() && taken.is_some());
    assert_eq!(
        with_cpu(0, || zone.take_cached(0, request(1, MOVABLE))),
        None
    );
    drop(slot);
    assert_eq!(zone.events().contended, 3);
    assert_eq!(zone.cached(), cached);
    assert_eq!(zone.free_pages(), 256 - cached - 1);
    zone.verify().unwrap();
}

#[test]
fn a_cpu_beyond_the_caches_uses_one_of_them() {
    let zone = cached_zone(256, 4, 100);
    let pfn = zone.pop(NR_CPUS + 1, 0, MOVABLE);
    assert_eq!(zone.cached_by_cpu(), [0, 3, 0]);
    drop(zone.push(usize::MAX, pfn, 0));
    assert_eq!(zone.cached(), 4);
}

#[test]
fn pages_count_as_allocated_and_freed_wherever_they_pass() {
    let zone = cached_zone(1024, 4, 100);
    let page = zone.pop(0, 0, MOVABLE);
    let block = zone.pop(0, 5, MOVABLE);
    drop((zone.push(1, page, 0), zone.push(1, block, 5)));
    zone.drain();
    let events = zone.events();
    assert_eq!((events.pages_allocated, events.pages_freed), (33, 33));
}

/// A cache that handed out whatever was freed last kept pages where they were: after ten generations
/// of churn not one pageblock had emptied.
#[test]
fn a_page_of_a_sparse_pageblock_is_not_reused_but_returned() {
    let zone = zone(4096);
    let mut lists = PcpLists::default();
    let home = |fullness| Home {
        mt: MOVABLE,
        fullness,
    };
    let page = |n: usize| zone.start().add(n);
    lists.refill(&zone.map, page(0), Order::ZERO, MOVABLE);
    lists.set_fill_level(Order::ZERO, MOVABLE, 40);
    lists.push(&zone.map, page(1), Order::ZERO, home(39)); // sparser than what is being filled
    lists.push(&zone.map, page(2), Order::ZERO, home(40));
    assert_eq!(lists.cached_pages(), 3);
    lists.verify(&zone.map).unwrap();

    let mut pop = || lists.pop(&zone.map, Order::ZERO, MOVABLE);
    assert_eq!([pop(), pop(), pop()], [Some(page(2)), Some(page(0)), None]);
    assert_eq!(lists.surplus(sizes(2, 10)), Surplus::None);
    assert_eq!(lists.surplus(sizes(1, 10)), Surplus::Outgoing);
    let returned: Vec<_> = lists.take_outgoing(&zone.map).into_iter().collect();
    assert_eq!(returned, [(page(1), Order::ZERO)]);
    assert_eq!(lists.cached_pages(), 0);
    lists.verify(&zone.map).unwrap();
}

/// With a batch beyond what the bundle holds, a cached pageblock too many was returned first, and the
/// next page found the bundle full.
#[test]
fn a_full_bundle_goes_before_anything_else() {
    let zone = zone(1 << 16);
    let mut lists = PcpLists::default();
    let home = |fullness| Home {
        mt: MOVABLE,
        fullness,
    };
    lists.refill(&zone.map, zone.start(), Order::ZERO, MOVABLE);
    lists.set_fill_level(Order::ZERO, MOVABLE, 40);
    lists.push(&zone.map, zone.start().add(512), PAGEBLOCK_ORDER, home(0));
    for n in 0..pcp::RETURN_BATCH {
        lists.push(&zone.map, zone.start().add(2048 + n), Order::ZERO, home(1));
    }
    let sizes = PcpSizes {
        batch: 96,
        high: 1000,
        blocks: 0,
    };
    assert_eq!(lists.surplus(sizes), Surplus::Outgoing);
    assert_eq!(lists.take_outgoing(&zone.map).len(), pcp::RETURN_BATCH);
    assert_eq!(lists.surplus(sizes), Surplus::Blocks(1));
}

// ---- waiting beside free memory ----

#[test]
fn nobody_caches_while_somebody_waits() {
    let zone = cached_zone(256, 4, 100);
    let (a, b) = (zone.pop(0, 0, MOVABLE), zone.pop(0, 0, MOVABLE));
    let cached = zone.cached();
    let sleeper = zone.freed.enqueue();
    let freed = with_cpu(0, || zone.put(a, Order::ZERO));
    assert!(freed.waiters.is_some());
    drop(sleeper);
    assert_eq!(zone.cached(), cached, "it went where the waiter looks");
    assert!(zone.push(0, b, 0).waiters.is_none());
    assert_eq!(zone.cached(), cached + 1);
}
