//! Pageblocks that are isolated, and those in reserve for urgent requests.

use std::thread;

use super::*;
use crate::zone::watermark::Verdict;

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
    assert_eq!(zone.published.free_highatomic.load(Ordering::Relaxed), 510);
    drop(zone.push(0, pair, 1));
    assert_eq!(zone.cached(), 2);
    assert_eq!(zone.take_cached(0, request(1, UNMOVABLE)), None);
    zone.drain();
    assert_eq!(zone.published.free_highatomic.load(Ordering::Relaxed), 512);
    assert_eq!(zone.free_pages(), 51_200);
    zone.verify().unwrap();

    let urgent = ZoneRequest {
        flags: AllocFlags::HARDER,
        ..request(1, UNMOVABLE)
    };
    let block = zone.take(urgent).unwrap().pfn;
    assert_eq!(
        zone.published.free_highatomic.load(Ordering::Relaxed),
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
    assert_eq!(zone.published.free_highatomic.load(Ordering::Relaxed), 0);
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
