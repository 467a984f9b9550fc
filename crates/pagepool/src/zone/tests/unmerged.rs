//! Pages that are free and not merged yet.

use super::*;
use crate::zone::exchange::FreedOfHalf;

const PAGES: usize = 2048;

/// A zone whose caches are off, all of it taken as single pages of a type.
fn taken(want: Migratetype) -> (Zone, Vec<Pfn>) {
    let zone = zone(PAGES);
    let pages = std::iter::from_fn(|| zone.take(request(0, want)));
    let pages: Vec<_> = pages.map(|taken| taken.pfn).collect();
    assert_eq!((pages.len(), zone.free_pages()), (PAGES, 0));
    (zone, pages)
}

/// Frees pages without the zone's lock.
fn free_unmerged(zone: &Zone, pages: &[Pfn]) -> Option<Freed> {
    let mut freed = FreedOfHalf::new();
    zone.put_unmerged(pages.len(), pages.iter().copied(), &mut freed);
    freed.pop()
}

#[test]
fn an_unmerged_page_counts_as_free_and_whoever_wants_one_gets_it() {
    let (zone, pages) = taken(MOVABLE);
    zone.set_marks(marks(10, 0));
    assert!(
        free_unmerged(&zone, &pages[..11]).is_none(),
        "nothing to see to"
    );
    assert_eq!((zone.free_pages(), zone.unmerged.nr_pages()), (11, 11));
    assert!(zone.check(Order::ZERO, NORMAL, NONE).passes());
    let again = zone.take(request(0, MOVABLE)).unwrap();
    assert!(pages[..11].contains(&again.pfn));
    assert_eq!((zone.free_pages(), zone.unmerged.nr_pages()), (10, 0));
    assert!(!zone.check(Order::ZERO, NORMAL, NONE).passes());
    zone.verify().unwrap();
}

#[test]
fn a_block_of_unmerged_pages_is_not_refused() {
    let (zone, pages) = taken(MOVABLE);
    free_unmerged(&zone, &pages[8..16]);
    assert!(
        !zone.check(Order::at(3), NORMAL, NONE).passes(),
        "not merged yet"
    );
    assert!(zone.may_take(Order::at(3), NORMAL, NONE));
    assert!(zone.is_balanced(Order::at(3), NORMAL));
    assert_eq!(zone.take(request(3, MOVABLE)).unwrap().pfn, pages[8]);
    assert!(!zone.may_take(Order::ZERO, NORMAL, NONE));
}

/// kswapd would go on although there is what it was woken for.
#[test]
fn a_zone_is_balanced_by_unmerged_pages() {
    let (zone, pages) = taken(MOVABLE);
    zone.set_marks(marks(4, 2));
    drop(free_unmerged(&zone, &pages[8..16]));
    assert!(!zone.is_balanced(Order::at(4), NORMAL));
    drop(free_unmerged(&zone, &pages[16..24]));
    drop(free_unmerged(&zone, &pages[24..32]));
    assert!(zone.is_balanced(Order::ZERO, NORMAL));
    assert!(zone.is_balanced(Order::at(4), NORMAL));
}

#[test]
fn no_type_is_mixed_with_another_while_pages_of_its_own_are_unmerged() {
    let (zone, pages) = taken(UNMOVABLE);
    for pfn in &pages[512..1024] {
        drop(zone.put(*pfn, Order::ZERO));
    }
    let other = zone.take(request(0, MOVABLE)).unwrap();
    assert!(
        pages[512..1024].contains(&other.pfn),
        "a whole pageblock became theirs"
    );
    drop(free_unmerged(&zone, &pages[..1]));
    assert_eq!(zone.take(request(0, UNMOVABLE)).unwrap().pfn, pages[0]);
    assert_eq!(zone.events().extfrag, 0);
    assert!(zone.take(request(0, UNMOVABLE)).is_some());
    assert_eq!(zone.events().extfrag, 1, "now there is none");
}

#[test]
fn no_whole_pageblock_is_broken_while_pages_are_unmerged() {
    let (zone, pages) = taken(MOVABLE);
    drop(free_unmerged(&zone, &pages[..1]));
    for pfn in &pages[512..1024] {
        drop(zone.put(*pfn, Order::ZERO));
    }
    assert_eq!(zone.take(request(0, MOVABLE)).unwrap().pfn, pages[0]);
    assert!(zone.may_take(Order::at(9), NORMAL, NONE));
    // And in batches, for threads.
    drop(free_unmerged(&zone, &pages[..1]));
    let mut got = vec![];
    let mut core = zone.core.lock();
    core.buddy
        .fill(MOVABLE, 0, 1, &mut |first, nr| got.push((first, nr)));
    assert_eq!(got, [(pages[0], 1)]);
}

#[test]
fn what_is_not_for_everybody_is_merged_at_once() {
    let (zone, pages) = taken(MOVABLE);
    zone.isolate(pages[0]);
    drop(free_unmerged(&zone, &[pages[0], pages[600], pages[1]]));
    assert_eq!((zone.free_pages(), zone.unmerged.nr_pages()), (1, 1));
    assert_eq!(zone.core.lock().buddy.isolated_free_pages(), 2);
    zone.verify().unwrap();
}

#[test]
fn blocks_in_bulk_are_made_of_unmerged_pages() {
    let (zone, pages) = taken(MOVABLE);
    drop(free_unmerged(&zone, &pages[..32]));
    let mut got = vec![];
    let nr = zone.take_bulk(request(3, MOVABLE), NORMAL, 9, &mut |run| {
        got.extend(run.pfns());
    });
    assert_eq!(
        (nr, got),
        (4, vec![pages[0], pages[8], pages[16], pages[24]])
    );
}

#[test]
fn many_are_merged_by_who_frees_the_next() {
    let (zone, pages) = taken(MOVABLE);
    let enough = PAGES / 32;
    assert!(free_unmerged(&zone, &pages[..enough - 1]).is_none());
    assert_eq!(zone.unmerged.nr_pages(), enough - 1);
    assert!(free_unmerged(&zone, &pages[enough - 1..enough]).is_some());
    assert_eq!((zone.unmerged.nr_pages(), zone.free_pages()), (0, enough));
    // While somebody has the lock, they stay unmerged.
    let core = zone.core.lock();
    assert!(free_unmerged(&zone, &pages[enough..2 * enough]).is_none());
    drop(core);
    assert_eq!(zone.unmerged.nr_pages(), enough);
    zone.verify().unwrap();
    assert_eq!(
        (zone.unmerged.nr_pages(), zone.free_pages()),
        (0, 2 * enough)
    );
}

#[test]
fn whoever_drains_isolates_or_closes_finds_them() {
    let (zone, pages) = taken(MOVABLE);
    drop(free_unmerged(&zone, &pages[..10]));
    assert_eq!(
        (zone.drain(), zone.unmerged.nr_pages()),
        (0, 0),
        "none was cached"
    );
    drop(free_unmerged(&zone, &pages[10..20]));
    zone.isolate(pages[0]);
    assert_eq!(zone.free_pages(), 0, "all are in that pageblock");
    drop(free_unmerged(&zone, &pages[20..30]));
    assert!(zone.unisolate(pages[0]));
    assert_eq!(zone.free_pages(), 30);
    drop(free_unmerged(&zone, &pages[30..40]));
    assert_eq!(zone.begin_close(), PAGES - 40);
    assert!(!zone.is_whole());
    pages[40..]
        .chunks(32)
        .for_each(|pages| drop(free_unmerged(&zone, pages)));
    assert!(zone.is_whole(), "{} are out", zone.outstanding());
    zone.verify().unwrap();
}

#[test]
fn pages_of_all_groups_of_pageblocks_are_found() {
    // Of the first and the last pageblock of each group, by threads side by side.
    let blocks = [0, 63, 64, 127, 128, 191];
    let zone = zone(192 * 512);
    let mut core = zone.core.lock();
    let all = Demand {
        order: Order::MAX,
        want: MOVABLE,
        fallback: Fallback::Any,
        highatomic: false,
    };
    while core.buddy.alloc(all, &|_, _| 0).is_some() {}
    zone.publish(&core);
    drop(core);
    std::thread::scope(|scope| {
        for block in blocks {
            let pages = block * 512..(block + 1) * 512;
            let zone = &zone;
            scope.spawn(move || {
                for page in pages {
                    drop(free_unmerged(zone, &[zone.start().add(page)]));
                }
            });
        }
    });
    assert_eq!(zone.free_pages(), blocks.len() * 512);
    for _ in blocks {
        let taken = zone.take(request(9, MOVABLE)).unwrap();
        assert!(blocks.contains(&(taken.pfn.offset_from(zone.start()) / 512)));
    }
    assert_eq!((zone.free_pages(), zone.unmerged.nr_pages()), (0, 0));
}
