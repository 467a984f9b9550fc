#![allow(
    unused_must_use,
    reason = "zones are thrown away with what was taken from them"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::pcp::{Home, PcpLists, Surplus};
use super::watermark::{Mark, Verdict};
use super::*;
use crate::sync::FenceNames;
use crate::sync::cpu::with_cpu;

const UNMOVABLE: Migratetype = Migratetype::Unmovable;
const MOVABLE: Migratetype = Migratetype::Movable;
const RECLAIMABLE: Migratetype = Migratetype::Reclaimable;

const NONE: AllocFlags = AllocFlags::empty();
const NORMAL: ZoneType = ZoneType::Normal;

const NR_CPUS: usize = 3;

/// A Normal zone of `pages` whose caches are off and whose marks are zero.
fn zone(pages: usize) -> Zone {
    let node = NodeId::at(0);
    let geometry = Geometry {
        start: Pfn::new(node, 1024),
        pages,
    };
    let map = Arc::new(Memmap::new(node, 1024 + pages).unwrap());
    let freed = Arc::new(WaitQueue::new(FenceNames {
        waker: "freed.waker",
        sleeper: "freed.sleeper",
    }));
    Zone::new((node, NORMAL), geometry, map, NR_CPUS, freed).unwrap()
}

fn sizes(batch: u16, high: u32) -> PcpSizes {
    PcpSizes {
        batch,
        high,
        blocks: 0,
    }
}

fn cached_zone(pages: usize, batch: u16, high: u32) -> Zone {
    let zone = zone(pages);
    zone.set_pcp_sizes(sizes(batch, high));
    zone
}

fn marks(min: u64, gap: u64) -> Marks {
    Marks::from_raw(gap << 32 | min)
}

fn request(order: usize, want: Migratetype) -> ZoneRequest {
    ZoneRequest {
        order: Order::at(order),
        want,
        flags: NONE,
    }
}

impl Zone {
    #[track_caller]
    fn pop(&self, cpu: usize, order: usize, want: Migratetype) -> Pfn {
        let taken = with_cpu(cpu, || self.take(request(order, want)));
        self.verify().unwrap();
        taken.expect("a block is free").pfn
    }

    #[track_caller]
    fn push(&self, cpu: usize, pfn: Pfn, order: usize) -> Freed {
        let freed = with_cpu(cpu, || self.put(pfn, Order::at(order)));
        self.verify().unwrap();
        freed
    }

    fn cached(&self) -> usize {
        self.cached_by_cpu().iter().sum()
    }

    /// Frames of a pageblock that are in a cache.
    fn cached_in_block_of(&self, pfn: Pfn) -> usize {
        let pages = self.block_order().pages();
        let first = pfn.offset_from(self.start()) / pages * pages;
        (first..first + pages)
            .filter(|offset| self.map.state(self.start().add(*offset)).is_cached())
            .count()
    }
}

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

// ---- isolation ----

#[test]
fn isolating_empties_the_caches_of_the_pageblock_and_keeps_it_out_of_them() {
    let zone = cached_zone(256, 4, 100);
    let taken: Vec<_> = (0..8).map(|_| zone.pop(0, 0, MOVABLE)).collect();
    taken[..4]
        .iter()
        .for_each(|pfn| drop(zone.push(1, *pfn, 0)));
    assert_eq!(zone.cached_in_block_of(taken[0]), 4);
    assert!(zone.isolate(taken[0]));
    assert!(!zone.isolate(taken[1]), "it is already");
    assert_eq!(zone.cached_in_block_of(taken[0]), 0);
    let free = zone.free_pages();
    assert_eq!(free, 256 - zone.block_order().pages());

    drop(zone.push(1, taken[4], 0));
    assert_eq!((zone.cached(), zone.free_pages()), (0, free), "withheld");
    for pfn in std::iter::from_fn(|| zone.take(request(0, MOVABLE))) {
        assert!(pfn.pfn.offset_from(zone.start()) >= zone.block_order().pages());
    }
    assert!(zone.unisolate(taken[0]) && !zone.unisolate(taken[0]));
    assert!(zone.free_pages() >= zone.block_order().pages() - 3);
    zone.verify().unwrap();
}

/// A free looked at the pageblock before it took its cache's lock; if the pageblock was isolated and
/// the caches were emptied in between, the page went into a cache all the same. The look comes under
/// the lock.
#[test]
fn no_page_enters_a_cache_after_its_pageblock_was_isolated() {
    let zone = cached_zone(64, 4, 1000);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let freeing = scope.spawn(|| {
            with_cpu(0, || {
                while !stop.load(Ordering::Relaxed) {
                    let taken: Vec<_> = (0..16)
                        .map_while(|_| zone.take(request(0, MOVABLE)))
                        .collect();
                    for Taken { pfn, .. } in taken {
                        drop(zone.put(pfn, Order::ZERO));
                    }
                }
            });
        });
        let mut nr_late = 0;
        for n in 0..20_000 {
            let pfn = zone.start().add(n % 4 * 16);
            assert!(zone.isolate(pfn));
            // Looks for a while: a free that is late arrives after the caches were emptied.
            nr_late += (0..20).map(|_| zone.cached_in_block_of(pfn)).sum::<usize>();
            assert!(zone.unisolate(pfn));
        }
        stop.store(true, Ordering::Relaxed);
        freeing.join().unwrap();
        assert_eq!(nr_late, 0);
    });
    zone.drain();
    assert_eq!(zone.free_pages(), 64);
    zone.verify().unwrap();
}

// ---- reserved blocks ----

#[test]
fn reserved_blocks_wait_among_the_movable_ones_and_drain_to_their_pageblock() {
    // The smallest zone of which one percent is a pageblock.
    let zone = cached_zone(51_200, 4, 100);
    let pair = zone.pop(0, 1, UNMOVABLE);
    zone.drain();
    zone.reserve_highatomic(pair);
    assert_eq!(zone.free_highatomic.load(Ordering::Relaxed), 510);
    drop(zone.push(0, pair, 1));
    assert_eq!(zone.cached(), 2);
    assert_eq!(zone.take_cached(0, request(1, UNMOVABLE)), None);
    zone.drain();
    assert_eq!(zone.free_highatomic.load(Ordering::Relaxed), 512);
    assert_eq!(zone.free_pages(), 51_200);
    zone.verify().unwrap();

    let urgent = ZoneRequest {
        flags: AllocFlags::HARDER,
        ..request(1, UNMOVABLE)
    };
    let block = zone.take(urgent).unwrap().pfn;
    assert_eq!(
        zone.free_highatomic.load(Ordering::Relaxed),
        510,
        "urgent first"
    );
    assert_eq!(zone.cached(), 0, "and past the caches");
    assert!(
        !zone.unreserve_highatomic(MOVABLE, Order::ZERO, false),
        "the last one stays"
    );
    assert!(zone.unreserve_highatomic(MOVABLE, Order::ZERO, true));
    assert!(!zone.unreserve_highatomic(MOVABLE, Order::ZERO, true));
    assert_eq!(zone.free_highatomic.load(Ordering::Relaxed), 0);
    drop(zone.push(0, block, 1));
}

#[test]
fn the_check_subtracts_what_is_free_in_the_reserve() {
    let zone = zone(51_200);
    zone.set_marks(marks(50_690, 10));
    let pair = zone.pop(0, 1, UNMOVABLE);
    assert!(zone.check(Order::ZERO, NORMAL, NONE).passes());
    zone.reserve_highatomic(pair);
    assert_eq!(zone.check(Order::ZERO, NORMAL, NONE), Verdict::BelowMark);
    assert!(zone.check(Order::ZERO, NORMAL, AllocFlags::HARDER).passes());
}

// ---- marks ----

#[test]
fn single_pages_are_taken_down_to_exactly_the_mark() {
    for (flags, left) in [
        (AllocFlags::WMARK_HIGH, 96),
        (AllocFlags::WMARK_LOW, 80),
        (NONE, 64),
        (AllocFlags::HARDER, 48),
        (AllocFlags::HIGH, 32),
        (AllocFlags::OOM, 32),
        (AllocFlags::HIGH | AllocFlags::HARDER, 24),
        (AllocFlags::HIGH | AllocFlags::OOM, 16),
    ] {
        let zone = zone(256);
        zone.set_marks(marks(64, 16));
        while zone.check(Order::ZERO, NORMAL, flags).passes() {
            zone.take(request(0, MOVABLE)).unwrap();
        }
        assert_eq!(zone.free_pages(), left, "{flags:?}");
    }
}

#[test]
fn what_is_kept_back_depends_on_the_class() {
    let zone = zone(256);
    zone.set_marks(marks(64, 16));
    zone.set_reserves([0, 0, 192]);
    assert_eq!(
        zone.check(Order::ZERO, ZoneType::Movable, NONE),
        Verdict::Reserved
    );
    assert!(zone.check(Order::ZERO, NORMAL, NONE).passes());
    assert_eq!(
        zone.check_with(1, Order::ZERO, ZoneType::Movable, NONE),
        Verdict::Pass
    );
    assert_eq!(zone.reserve(ZoneType::Movable), 192);
}

/// A zone in which movable memory occupies a little of every pageblock, and boosting is on.
fn mixed_zone() -> Zone {
    let zone = zone(2048);
    zone.set_marks(marks(100, 25));
    zone.set_boost_factor(15_000);
    let taken: Vec<_> = std::iter::from_fn(|| zone.take(request(0, MOVABLE))).collect();
    for Taken { pfn, .. } in taken {
        if pfn.offset_from(zone.start()) % 512 >= 8 {
            drop(zone.put(pfn, Order::ZERO));
        }
    }
    zone.verify().unwrap();
    zone
}

fn take_with(zone: &Zone, want: Migratetype, flags: AllocFlags) -> Option<Taken> {
    let taken = zone.take(ZoneRequest {
        flags,
        ..request(0, want)
    });
    zone.verify().unwrap();
    taken
}

#[test]
fn only_a_fragmentation_event_boosts() {
    let zone = mixed_zone();
    take_with(&zone, MOVABLE, AllocFlags::KSWAPD).unwrap();
    assert_eq!((zone.boost(), zone.events().extfrag), (0, 0));
    take_with(&zone, UNMOVABLE, AllocFlags::KSWAPD).unwrap();
    assert_eq!((zone.boost(), zone.events().extfrag), (512, 1));
    assert_eq!(zone.mark(Mark::Min), 612);
    assert_eq!(
        zone.marks().get(Mark::Min),
        100,
        "the marks themselves stand"
    );
    take_with(&zone, UNMOVABLE, AllocFlags::KSWAPD).unwrap();
    assert_eq!(zone.boost(), 512, "it has a pageblock of its own now");
    assert!(zone.consume_boosted());
    assert!(!zone.consume_boosted(), "told once");
}

#[test]
fn a_request_that_may_not_wake_boosts_in_silence() {
    let zone = mixed_zone();
    take_with(&zone, UNMOVABLE, NONE).unwrap();
    assert_eq!(zone.boost(), 512);
    assert!(!zone.consume_boosted());
}

#[test]
fn a_factor_of_zero_boosts_nothing() {
    let zone = mixed_zone();
    zone.set_boost_factor(0);
    take_with(&zone, UNMOVABLE, AllocFlags::KSWAPD).unwrap();
    assert_eq!((zone.boost(), zone.events().extfrag), (0, 1));
    assert!(!zone.consume_boosted());
}

#[test]
fn a_boost_falls_by_what_was_answered() {
    let zone = mixed_zone();
    take_with(&zone, UNMOVABLE, NONE).unwrap();
    let answered = zone.boost();
    // Another event between the reclaimer's look and its answer survives the answer (INV-8).
    take_with(&zone, RECLAIMABLE, NONE).unwrap();
    assert!(
        zone.boost() <= 512,
        "150 * 15000 / 10000 = 225, but at least a pageblock"
    );
    zone.lower_boost(100);
    assert_eq!(zone.boost(), answered - 100);
    zone.lower_boost(usize::MAX);
    assert_eq!(zone.boost(), 0);
    zone.lower_boost(7);
    assert_eq!(zone.boost(), 0);
}

/// Any change of any setting ended a boost, since all marks are written anew; only other marks do.
#[test]
fn a_boost_outlives_settings_that_leave_the_marks_alone() {
    let zone = mixed_zone();
    take_with(&zone, UNMOVABLE, NONE).unwrap();
    zone.set_marks(zone.marks());
    assert_eq!(zone.boost(), 512);
    zone.set_marks(marks(101, 25));
    assert_eq!(zone.boost(), 0);
}

#[test]
fn single_urgent_pages_need_not_respect_a_boost() {
    let zone = mixed_zone();
    take_with(&zone, UNMOVABLE, NONE).unwrap();
    while zone.free_pages() > 250 {
        zone.take(request(0, MOVABLE)).unwrap();
    }
    let check = |order, flags| zone.check(Order::at(order), NORMAL, flags);
    assert_eq!(
        check(0, NONE),
        Verdict::BelowMark,
        "min 100 and 512 of boost"
    );
    assert_eq!(check(0, AllocFlags::HARDER), Verdict::BelowMark);
    assert_eq!(check(0, AllocFlags::HIGH), Verdict::Pass);
    assert_eq!(check(1, AllocFlags::HIGH), Verdict::BelowMark);
    let high_at_low = AllocFlags::HIGH | AllocFlags::WMARK_LOW;
    assert_eq!(
        check(0, high_at_low),
        Verdict::BelowMark,
        "at the minimum only"
    );
}

#[test]
fn nofragment_takes_whole_pageblocks_but_mixes_none() {
    let zone = mixed_zone();
    assert_eq!(take_with(&zone, UNMOVABLE, AllocFlags::NOFRAGMENT), None);
    assert_eq!(zone.events().extfrag, 0);
    let fresh = self::zone(2048);
    assert!(take_with(&fresh, UNMOVABLE, AllocFlags::NOFRAGMENT).is_some());
    assert_eq!(fresh.events().extfrag, 0);
    assert_eq!(fresh.pageblocks_by_type()[UNMOVABLE.idx()], 1);
}

#[test]
fn bulk_stops_at_the_mark_under_one_hold_of_the_lock() {
    let zone = zone(256);
    zone.set_marks(marks(64, 16));
    let low = ZoneRequest {
        flags: AllocFlags::WMARK_LOW,
        ..request(1, MOVABLE)
    };
    let mut taken = vec![];
    let nr = zone.take_bulk(low, NORMAL, 1000, &mut |block| taken.push(block.pfn));
    assert_eq!((nr, taken.len()), (88, 88));
    assert_eq!(
        zone.free_pages(),
        80,
        "the last pair leaves one more than the mark"
    );
    assert!(taken.is_sorted(), "ascending");
    assert_eq!(zone.take_bulk(low, NORMAL, 0, &mut |_| panic!("none")), 0);
    zone.verify().unwrap();
}

// ---- memory for the system ----

#[test]
fn whole_blocks_beyond_the_threshold_are_handed_to_who_frees() {
    let zone = zone(4096);
    let taken: Vec<_> = (0..4).map(|_| zone.pop(0, 10, MOVABLE)).collect();
    zone.set_keep_resident(2048);
    assert!(zone.push(0, taken[0], 10).idle.is_none());
    assert!(
        zone.push(0, taken[1], 10).idle.is_none(),
        "at the threshold"
    );
    let idle = zone.push(0, taken[2], 10).idle.unwrap();
    assert_eq!(idle.order(), Order::at(10));
    assert_eq!(
        (zone.free_pages(), zone.resident_free_pages()),
        (2048, 2048)
    );
    assert_eq!(zone.outstanding(), 2048, "withdrawn counts as out");
    assert!(!zone.return_idle(idle, true).is_something());
    assert_eq!(
        (zone.free_pages(), zone.resident_free_pages()),
        (3072, 2048)
    );
    zone.verify().unwrap();

    // Vacant blocks are taken last.
    let vacant = |zone: &Zone| zone.take(request(10, MOVABLE)).unwrap().vacant;
    assert_eq!(
        [vacant(&zone), vacant(&zone), vacant(&zone)],
        [false, false, true]
    );
}

#[test]
fn a_block_that_could_not_be_given_back_stays_resident() {
    let zone = zone(4096);
    let pfn = zone.pop(0, 10, MOVABLE);
    assert!(
        zone.withdraw_idle().is_none(),
        "what was never used has no memory"
    );
    drop(zone.push(0, pfn, 10));
    let idle = zone.withdraw_idle().unwrap();
    let _ = zone.return_idle(idle, false);
    assert_eq!(zone.resident_free_pages(), 1024);
    assert!(!zone.take(request(10, MOVABLE)).unwrap().vacant);
    zone.verify().unwrap();
}

// ---- closing ----

#[test]
fn a_closing_zone_counts_what_is_out_and_what_comes_back() {
    let zone = cached_zone(4096, 4, 100);
    zone.set_keep_resident(0);
    let page = zone.pop(0, 0, MOVABLE);
    let block = zone.pop(0, 10, MOVABLE);
    let whole = zone.pop(0, 10, MOVABLE);
    let idle = zone.push(0, whole, 10).idle.unwrap();
    assert_eq!(zone.begin_close(), 1 + 1024 + 1024);
    assert_eq!(zone.cached(), 0);
    let freed = zone.push(0, page, 0);
    assert_eq!(
        (freed.closing_pages, zone.cached()),
        (1, 0),
        "nothing is cached any more"
    );
    let freed = zone.push(1, block, 10);
    assert_eq!(freed.closing_pages, 1024);
    assert!(freed.idle.is_none(), "the arena ends anyway");
    assert_eq!(zone.return_idle(idle, true).closing_pages, 1024);
    assert_eq!((zone.outstanding(), zone.free_pages()), (0, 4096));
    assert!(zone.blocks_out(9).is_empty());
    zone.verify().unwrap();
}

#[test]
fn blocks_that_are_out_are_named() {
    let zone = cached_zone(256, 4, 100);
    let pair = zone.pop(0, 1, MOVABLE);
    let block = zone.pop(0, 4, MOVABLE);
    let mut expected = [(pair, Order::at(1)), (block, Order::at(4))];
    expected.sort();
    assert_eq!(zone.blocks_out(9), expected);
    assert_eq!(zone.blocks_out(1).len(), 1);
    assert_eq!(zone.outstanding(), 18, "what is cached is not out");
}

// ---- what verify finds ----

#[test]
fn verify_names_a_page_that_is_nowhere() {
    let zone = zone(64);
    let pfn = zone.pop(0, 0, MOVABLE);
    zone.map.set_state(pfn, FrameState::FREE);
    assert_eq!(zone.verify().unwrap_err().invariant(), "N1");
}

#[test]
fn verify_names_a_frame_that_is_free_and_allocated() {
    let zone = zone(64);
    zone.map
        .set_state(zone.start(), FrameState::allocated(Order::ZERO, MOVABLE));
    assert_eq!(zone.verify().unwrap_err().invariant(), "N3");
}

#[test]
fn verify_names_a_count_that_was_not_published() {
    let zone = zone(64);
    zone.free.store(63, Ordering::Relaxed);
    assert_eq!(zone.verify().unwrap_err().invariant(), "N2");
}

#[test]
#[should_panic(expected = "is free at")]
fn a_block_that_is_free_is_not_freed_again() {
    let zone = zone(64);
    let pfn = zone.pop(0, 0, MOVABLE);
    drop(zone.put(pfn, Order::ZERO));
    drop(zone.put(pfn, Order::ZERO));
}

// ---- against a model ----

#[derive(Clone, Debug)]
enum Op {
    Take {
        cpu: usize,
        order: usize,
        want: Migratetype,
        urgent: bool,
        strict: bool,
    },
    Bulk {
        order: usize,
        want: Migratetype,
        count: usize,
    },
    Put {
        cpu: usize,
        which: prop::sample::Index,
    },
    /// The same block, taken past and put into another's cache.
    Contended {
        cpu: usize,
        which: prop::sample::Index,
    },
    Drain,
    Isolate(prop::sample::Index),
    Unisolate(prop::sample::Index),
    Reserve(prop::sample::Index),
    Unreserve {
        want: Migratetype,
        force: bool,
    },
    Idle {
        vacant: bool,
    },
    Keep(usize),
    Sizes {
        batch: u16,
        high: u32,
        blocks: u16,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let want = || prop::sample::select(vec![UNMOVABLE, MOVABLE, RECLAIMABLE]);
    let order = || prop_oneof![6 => 0..4usize, 2 => 4..11usize, 1 => Just(9)];
    let which = any::<prop::sample::Index>;
    prop_oneof![
        10 => (0..NR_CPUS, order(), want(), any::<bool>(), any::<bool>()).prop_map(
            |(cpu, order, want, urgent, strict)| Op::Take { cpu, order, want, urgent, strict }),
        2 => (order(), want(), 0..20usize)
            .prop_map(|(order, want, count)| Op::Bulk { order, want, count }),
        10 => (0..NR_CPUS, which()).prop_map(|(cpu, which)| Op::Put { cpu, which }),
        1 => (0..NR_CPUS, which()).prop_map(|(cpu, which)| Op::Contended { cpu, which }),
        1 => Just(Op::Drain),
        1 => which().prop_map(Op::Isolate),
        1 => which().prop_map(Op::Unisolate),
        1 => which().prop_map(Op::Reserve),
        1 => (want(), any::<bool>()).prop_map(|(want, force)| Op::Unreserve { want, force }),
        1 => any::<bool>().prop_map(|vacant| Op::Idle { vacant }),
        1 => (0..3000usize).prop_map(Op::Keep),
        2 => (1..16u16, 0..40u32, 0..2u16)
            .prop_map(|(batch, high, blocks)| Op::Sizes { batch, high, blocks }),
    ]
}

/// The blocks that are out, by their first page.
#[derive(Default)]
struct Model(BTreeMap<usize, usize>);

impl Model {
    fn insert(&mut self, zone: &Zone, pfn: Pfn, order: usize) {
        let offset = pfn.offset_from(zone.start());
        assert!(offset + (1 << order) <= zone.managed(), "inside the zone");
        assert_eq!(offset % (1 << order), 0, "aligned");
        let before = self.0.range(..offset + (1 << order)).next_back();
        if let Some((start, order)) = before {
            assert!(start + (1 << order) <= offset, "two blocks overlap");
        }
        self.0.insert(offset, order);
    }

    fn nth(&self, which: prop::sample::Index) -> Option<(usize, usize)> {
        let nth = (!self.0.is_empty()).then(|| which.index(self.0.len()))?;
        self.0
            .iter()
            .nth(nth)
            .map(|(offset, order)| (*offset, *order))
    }

    fn pages(&self) -> usize {
        self.0.values().map(|order| 1 << order).sum()
    }
}

fn settle(zone: &Zone, freed: Freed) {
    if let Some(idle) = freed.idle {
        settle(zone, zone.return_idle(idle, true));
    }
}

fn step(zone: &Zone, model: &mut Model, op: &Op) {
    let at = |which: &prop::sample::Index| zone.start().add(which.index(zone.managed()));
    match op {
        Op::Take {
            cpu,
            order,
            want,
            urgent,
            strict,
        } => {
            let mut request = request(*order, *want);
            request.flags.set(AllocFlags::HARDER, *urgent);
            request.flags.set(AllocFlags::NOFRAGMENT, *strict);
            if let Some(taken) = with_cpu(*cpu, || zone.take(request)) {
                model.insert(zone, taken.pfn, *order);
            }
        }
        Op::Bulk { order, want, count } => {
            let mut taken = vec![];
            let request = request(*order, *want);
            let nr = zone.take_bulk(request, NORMAL, *count, &mut |block| taken.push(block.pfn));
            assert_eq!(nr, taken.len());
            taken
                .iter()
                .for_each(|pfn| model.insert(zone, *pfn, *order));
        }
        Op::Put { cpu, which } => {
            if let Some((offset, order)) = model.nth(*which) {
                model.0.remove(&offset);
                let pfn = zone.start().add(offset);
                settle(zone, with_cpu(*cpu, || zone.put(pfn, Order::at(order))));
            }
        }
        Op::Contended { cpu, which } => {
            if let Some((offset, order)) = model.nth(*which) {
                model.0.remove(&offset);
                let slot = zone.pcp.try_of(*cpu);
                let pfn = zone.start().add(offset);
                let freed = with_cpu(*cpu, || zone.put(pfn, Order::at(order)));
                drop(slot);
                settle(zone, freed);
            }
        }
        Op::Drain => {
            zone.drain();
            assert_eq!(zone.cached(), 0);
        }
        Op::Isolate(which) => {
            zone.isolate(at(which));
            assert_eq!(zone.cached_in_block_of_checked(at(which)), 0);
        }
        Op::Unisolate(which) => drop(zone.unisolate(at(which))),
        Op::Reserve(which) => {
            if let Some((offset, _)) = model.nth(*which) {
                zone.reserve_highatomic(zone.start().add(offset));
            }
        }
        Op::Unreserve { want, force } => {
            let _ = zone.unreserve_highatomic(*want, Order::ZERO, *force);
        }
        Op::Idle { vacant } => {
            if let Some(idle) = zone.withdraw_idle() {
                zone.verify().unwrap();
                settle(zone, zone.return_idle(idle, *vacant));
            }
        }
        Op::Keep(pages) => zone.set_keep_resident(*pages),
        Op::Sizes {
            batch,
            high,
            blocks,
        } => zone.set_pcp_sizes(PcpSizes {
            batch: *batch,
            high: *high,
            // A cache of whole pageblocks makes sense where they have the full size.
            blocks: if zone.block_order() == PAGEBLOCK_ORDER {
                *blocks
            } else {
                0
            },
        }),
    }
}

impl Zone {
    /// As `cached_in_block_of`, for a last pageblock that the zone may end in.
    fn cached_in_block_of_checked(&self, pfn: Pfn) -> usize {
        let pages = self.block_order().pages();
        let first = pfn.offset_from(self.start()) / pages * pages;
        (first..(first + pages).min(self.managed()))
            .filter(|offset| self.map.state(self.start().add(*offset)).is_cached())
            .count()
    }
}

fn run(pages: usize, ops: &[Op]) {
    let zone = zone(pages);
    zone.set_boost_factor(15_000);
    let mut model = Model::default();
    for op in ops {
        step(&zone, &mut model, op);
        zone.verify()
            .unwrap_or_else(|violation| panic!("after {op:?}: {violation}"));
        let withheld = zone.core.lock().buddy.isolated_free_pages();
        let kept = zone.free_pages() + zone.cached() + withheld;
        assert_eq!(kept + model.pages(), pages, "after {op:?}");
        assert_eq!(zone.outstanding(), model.pages());
        let areas = zone.free_areas();
        let counted: u64 = areas
            .by_order()
            .iter()
            .enumerate()
            .map(|(o, nr)| nr << o)
            .sum();
        assert_eq!(counted as usize, zone.free_pages(), "nr_free");
    }
    for (offset, order) in std::mem::take(&mut model.0) {
        settle(&zone, zone.put(zone.start().add(offset), Order::at(order)));
    }
    zone.drain();
    for offset in 0..pages {
        zone.unisolate(zone.start().add(offset));
    }
    zone.verify().unwrap();
    assert_eq!(zone.free_pages(), pages, "everything came back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_small_zone_follows_its_model(
        pages in 16..300usize,
        ops in prop::collection::vec(op(), 1..100),
    ) {
        run(pages, &ops);
    }

    #[test]
    fn a_zone_of_full_pageblocks_follows_its_model(
        pages in 2048..5000usize,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(pages, &ops);
    }
}

/// Without a reclaimer nobody lowered a boost: once types were mixed in a zone its marks stayed raised
/// for ever, however much was freed.
#[test]
fn a_boost_lapses_once_the_raised_marks_are_met() {
    let boost_after = |min| {
        let zone = mixed_zone(); // 2,016 pages free, in pieces
        zone.set_marks(marks(min, 25));
        zone.set_boost_lapses(true);
        let stolen = take_with(&zone, UNMOVABLE, AllocFlags::NO_WATERMARKS).expect("it is stolen");
        assert!(zone.boost() > 0);
        drop(zone.put(stolen.pfn, Order::ZERO));
        zone.boost()
    };
    assert_eq!(boost_after(100), 0);
    assert!(boost_after(1900) > 0, "the raised marks are not met");
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
