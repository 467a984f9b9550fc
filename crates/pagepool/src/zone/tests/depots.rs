//! What two threads leave to each other, in a zone that has a depot for each.

use super::super::exchange::FreedOfHalf;
use super::super::magazine::Opens;
use super::*;

const PAGES: usize = 128 << 20 >> 12;

/// A thread, as far as a zone knows it: the magazine in a slot.
struct Hand<'a> {
    zone: &'a Zone,
    slot: usize,
}

impl Hand<'_> {
    fn new(zone: &Zone) -> Hand<'_> {
        let slot = zone.magazines().claim().unwrap();
        Hand { zone, slot }
    }

    fn take(&self) -> Option<Pfn> {
        let magazine = self.zone.magazines().slot(self.slot).unwrap();
        let take = || self.zone.take_at_hand(magazine, MOVABLE, Opens::Unwatched);
        let taken = take().outcome.or_else(|| {
            self.zone.restock_by_depot(self.slot, MOVABLE)?;
            take().outcome
        });
        taken.map(|taken| taken.pfn())
    }

    fn put(&self, pfn: Pfn) {
        let magazine = self.zone.magazines().slot(self.slot).unwrap();
        let put = || {
            self.zone
                .put_at_hand(magazine, pfn, Opens::Unwatched, || ())
        };
        if !put().outcome {
            let mut freed = FreedOfHalf::new();
            let _ = self.zone.make_room(self.slot, MOVABLE, &mut freed);
            assert!(put().outcome);
        }
    }
}

fn two_hands(zone: &Zone) -> [Hand<'_>; 2] {
    [Hand::new(zone), Hand::new(zone)]
}

#[test]
fn what_one_thread_leaves_another_takes_over_before_it_asks_the_buddy() {
    let zone = cached_zone(PAGES, 8, 48);
    let [taker, giver] = two_hands(&zone);
    let taken: Vec<_> = (0..96).map(|_| taker.take().unwrap()).collect();
    taken.iter().for_each(|pfn| giver.put(*pfn));
    // Sixteen are in the magazine, and what is in the depot goes over.
    let came = |pfn: &Pfn| taken.contains(pfn);
    let again: Vec<_> = (0..120).map(|_| taker.take().unwrap()).collect();
    assert_eq!(again.iter().filter(|pfn| came(pfn)).count(), 80);
    assert_eq!(zone.magazines().events().exchanged, 80);
    let rest: Vec<_> = (0..16).map(|_| giver.take().unwrap()).collect();
    assert!(rest.iter().all(came));
    zone.verify().unwrap();
}

#[test]
fn two_threads_have_pages_of_pageblocks_of_their_own() {
    let zone = cached_zone(PAGES, 63, 378);
    let hands = two_hands(&zone);
    let mut blocks = [(); 2].map(|()| Vec::new());
    for _ in 0..1_000 {
        for (hand, blocks) in hands.iter().zip(&mut blocks) {
            blocks.push(hand.take().unwrap().index() / 512);
        }
    }
    let [mine, others] = blocks;
    assert!(mine.iter().all(|block| !others.contains(block)));
    zone.verify().unwrap();
}

#[test]
fn a_drain_gets_what_is_in_every_depot() {
    let zone = cached_zone(PAGES, 63, 378);
    let hands = two_hands(&zone);
    let taken = hands
        .each_ref()
        .map(|hand| [(); 60].map(|()| hand.take().unwrap()));
    for (hand, taken) in hands.iter().zip(taken) {
        taken.into_iter().for_each(|pfn| hand.put(pfn));
    }
    assert!(zone.magazines().pages() >= 120);
    zone.drain();
    assert_eq!((zone.magazines().pages(), zone.free_pages()), (0, PAGES));
    // And they say of themselves nothing that is not so.
    for hand in &hands {
        assert!(hand.take().is_some());
    }
    zone.verify().unwrap();
}
