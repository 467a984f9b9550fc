//! Marks: down to where a zone gives, what it keeps back, and boosts.

use super::*;
use crate::zone::magazine::Opens;
use crate::zone::watermark::{Mark, Verdict};

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
fn the_short_way_ends_at_the_low_mark() {
    let zone = zone(256);
    zone.set_marks(marks(64, 16));
    let taken: Vec<_> =
        std::iter::from_fn(|| zone.take_shortly(0, Order::at(4), MOVABLE)).collect();
    zone.verify().unwrap();
    assert_eq!(zone.free_pages(), 80, "as of a walk");
    assert!(
        !zone
            .check(Order::at(4), NORMAL, AllocFlags::WMARK_LOW)
            .passes()
    );
    let events = zone.events();
    assert_eq!(events.local_hits, taken.len() as u64);
    assert_eq!(events.pages_allocated, 16 * events.local_hits);
}

/// Everything that one thread gets by its magazine and the depot, of type Movable.
fn take_by_depot(zone: &Zone) -> usize {
    let magazines = Arc::clone(zone.magazines());
    let slot = magazines.claim().expect("one for each 4 MiB");
    let magazine = magazines.slot(slot).unwrap();
    let mut taken = 0;
    loop {
        let used = zone.take_at_hand(magazine, MOVABLE, Opens::Unwatched);
        taken += usize::from(used.outcome.is_some());
        let is_empty = used.outcome.is_none();
        if is_empty && zone.restock_by_depot(slot, MOVABLE).is_none() {
            return taken;
        }
    }
}

#[test]
fn what_the_depot_gets_from_the_buddy_leaves_the_low_mark_met() {
    for batch in [1, 7, 8, 63] {
        let zone = cached_zone(2048, batch, 6 * u32::from(batch));
        zone.set_marks(marks(64, 16));
        let taken = take_by_depot(&zone);
        let free = zone.free_pages();
        assert!(
            free >= 80 && free < 80 + usize::from(batch),
            "batch {batch}: {free}"
        );
        assert_eq!(taken + free + zone.cached_pages(), 2048);
        assert_eq!(zone.events().pages_allocated, taken as u64);
        zone.verify().unwrap();
    }
}

#[test]
fn what_the_depot_gets_from_the_buddy_is_of_the_type_alone() {
    let zone = mixed_zone();
    zone.set_pcp_sizes(sizes(8, 48));
    let slot = zone.magazines().claim().unwrap();
    assert!(zone.restock_by_depot(slot, UNMOVABLE).is_none());
    assert_eq!((zone.boost(), zone.events().extfrag), (0, 0));
}

#[test]
fn the_short_way_mixes_no_types() {
    let zone = mixed_zone();
    assert_eq!(zone.take_shortly(0, Order::at(4), UNMOVABLE), None);
    let taken = zone.take_shortly(0, Order::at(4), MOVABLE).unwrap();
    assert_eq!(zone.blocks().migratetype(taken.pfn()), MOVABLE);
    assert_eq!((zone.boost(), zone.events().extfrag), (0, 0));
    zone.verify().unwrap();
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
    let nr = zone.take_bulk(low, NORMAL, 1000, &mut |run| taken.extend(run.pfns()));
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

/// A reclaimer that was hopeless, stopped or frozen did not lower it either, and requests were refused beside
/// free memory.
#[test]
fn a_boost_is_forgone_before_a_refusal_whoever_was_to_answer_it() {
    let zone = mixed_zone(); // 2,016 pages free, in pieces
    zone.set_marks(marks(1900, 25));
    let stolen = take_with(&zone, UNMOVABLE, AllocFlags::NO_WATERMARKS).expect("it is stolen");
    assert!(zone.boost() > 0);
    assert!(zone.forgo_boost());
    assert_eq!(zone.boost(), 0);
    assert!(!zone.forgo_boost(), "there is none any more");
    drop(zone.put(stolen.pfn, Order::ZERO));
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
