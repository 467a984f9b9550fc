//! Memory that is handed back to the system, and the end of a zone.

use super::*;
use crate::zone::idle::Vacancy;
use crate::zone::watermark::Mark;

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
    assert!(!zone.return_idle(idle, Residency::Vacant).is_something());
    assert_eq!(
        (zone.free_pages(), zone.resident_free_pages()),
        (3072, 2048)
    );
    zone.verify().unwrap();

    // Vacant blocks are taken last.
    let vacant =
        |zone: &Zone| zone.take(request(10, MOVABLE)).unwrap().residency == Residency::Vacant;
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
        zone.withdraw_idle(Residency::Used).is_none(),
        "what was never used has no memory"
    );
    drop(zone.push(0, pfn, 10));
    let idle = zone.withdraw_idle(Residency::Used).unwrap();
    let _ = zone.return_idle(idle, Residency::Used);
    assert_eq!(zone.resident_free_pages(), 1024);
    let taken = zone.take(request(10, MOVABLE)).unwrap();
    assert_eq!(taken.residency, Residency::Used);
    zone.verify().unwrap();
}

/// A block of the zone that has memory of which nobody has used anything.
fn populate(zone: &Zone) {
    let Vacancy::Block(idle) = zone.withdraw_vacant(1024) else {
        panic!("no vacant block can be spared");
    };
    let _ = zone.return_idle(idle, Residency::Blank);
}

#[test]
fn memory_that_nobody_has_used_stays_beyond_the_threshold() {
    let zone = zone(4096);
    populate(&zone);
    populate(&zone);
    zone.set_keep_resident(1024);
    let (used, other) = (zone.pop(0, 10, MOVABLE), zone.pop(0, 10, MOVABLE));
    populate(&zone);
    assert!(zone.push(0, used, 10).idle.is_none());
    assert_eq!(zone.resident_free_pages(), 2048);
    let idle = zone.push(0, other, 10).idle.unwrap();
    assert_eq!(idle.residency(), Residency::Used);
    let _ = zone.return_idle(idle, Residency::Vacant);
}

#[test]
fn a_threshold_of_nothing_gives_back_what_nobody_has_used_as_well() {
    let zone = zone(4096);
    zone.set_keep_resident(0);
    populate(&zone);
    populate(&zone);
    let [one, other] = [(); 2].map(|()| zone.pop(0, 0, MOVABLE));
    let idle = zone.push(0, one, 0).idle.unwrap();
    assert_eq!(
        (idle.order(), idle.residency()),
        (Order::at(10), Residency::Blank)
    );
    let _ = zone.return_idle(idle, Residency::Vacant);
    let idle = zone.push(0, other, 0).idle.unwrap();
    assert_eq!(
        (idle.order(), idle.residency()),
        (Order::at(10), Residency::Used)
    );
    let _ = zone.return_idle(idle, Residency::Vacant);
    assert_eq!(zone.resident_free_pages(), 0);
    zone.verify().unwrap();
}

#[test]
fn no_block_is_withdrawn_for_its_memory_below_the_high_mark() {
    let zone = zone(4096);
    zone.set_marks(marks(1024, 1024));
    assert_eq!(zone.mark(Mark::High), 3072);
    let block = zone.pop(0, 9, MOVABLE);
    let vacancy = zone.withdraw_vacant(1024);
    assert!(matches!(&vacancy, Vacancy::Block(idle) if idle.order() == Order::at(9)));
    assert!(matches!(zone.withdraw_vacant(1024), Vacancy::Short));
    zone.push(0, block, 9);
    assert!(
        matches!(zone.withdraw_vacant(1), Vacancy::Block(_)),
        "a pageblock at least"
    );
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
    assert_eq!(
        zone.return_idle(idle, Residency::Vacant).closing_pages,
        1024
    );
    assert_eq!((zone.outstanding(), zone.free_pages()), (0, 4096));
    assert_eq!(zone.blocks_out().next(), None);
    zone.verify().unwrap();
}

#[test]
fn blocks_that_are_out_are_named() {
    let zone = cached_zone(256, 4, 100);
    let pair = zone.pop(0, 1, MOVABLE);
    let block = zone.pop(0, 4, MOVABLE);
    let mut expected = [(pair, Order::at(1)), (block, Order::at(4))];
    expected.sort();
    assert_eq!(zone.blocks_out().collect::<Vec<_>>(), expected);
    assert_eq!(zone.outstanding(), 18, "what is cached is not out");
}
