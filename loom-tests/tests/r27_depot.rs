//! R27: what one thread leaves in the depot to another, or the buddy gives it, is within reach of whoever drains.
//!
//! *Threads:* one that moves pages from its magazine or the buddy to the depot and back; another that takes them from there;
//! somebody who drains, waits for memory, or closes the zone. *Property:* each page is in one place, and what was
//! written to it before is visible to who has it next; nobody sleeps beside a page in the depot; a close counts
//! each page on one side. *The bug it would catch:* a drain that has emptied the depot when a page goes there from
//! a magazine that is not empty yet.

#![cfg(loom)]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom runs its threads one at a time, and checks what is not Sync"
)]

use loom::cell::UnsafeCell;
use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::Zone;

const PAGES: usize = 2;

/// A page that one thread has written goes by the depot to another, while somebody drains.
#[test]
fn a_page_goes_from_one_thread_to_another() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r27_handover", 4_000, move || {
        let zone = Shared::new(Zone::with_magazines(1, 2));
        let contents = Shared::new(UnsafeCell::new(()));
        let (giver, taker) = (zone.claim_magazine(), zone.claim_magazine());
        let page = zone.take().expect("it is free");
        let (z, c) = (Shared::clone(&zone), Shared::clone(&contents));
        let from = actor(move || {
            c.with_mut(|_| ());
            z.put_at_hand(giver, page) + z.make_room(giver)
        });
        let (z, c) = (Shared::clone(&zone), Shared::clone(&contents));
        let to = actor(move || {
            z.restock(taker);
            let Some(page) = z.take_at_hand(taker) else {
                return false;
            };
            c.with_mut(|_| ());
            assert_eq!(z.put(page, || ()), 0);
            true
        });
        let z = Shared::clone(&zone);
        let drained = z.drain();
        assert_eq!(join(from), 0);
        let got_it = join(to);
        assert_eq!(zone.free_pages() + zone.pages_at_hand(), 1);
        zone.verify();
        seen.record((got_it, drained));
    });
    outcomes.assert_exactly([(false, 0), (false, 1), (true, 0)]);
}

/// The only page goes by a magazine to the depot, while somebody waits for it.
#[test]
fn nobody_sleeps_beside_a_page_in_the_depot() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r27_waiter", 200, move || {
        let zone = Shared::new(Zone::with_magazines(1, 1));
        let slot = zone.claim_magazine();
        let page = zone.take().expect("it is free");
        let z = Shared::clone(&zone);
        let owner = actor(move || z.put_at_hand(slot, page) + z.make_room(slot));
        let z = Shared::clone(&zone);
        let waiter = actor(move || {
            let page = z.wait_for_page();
            z.put(page, || ())
        });
        assert_eq!((join(owner), join(waiter)), (0, 0));
        assert_eq!(zone.free_pages(), 1);
        zone.verify();
        seen.record(zone.nr_waits());
    });
    outcomes.assert_exactly([0, 1]);
}

/// A page goes to the depot while the zone begins to close.
#[test]
fn a_close_counts_what_is_in_the_depot() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r27_close", 200, move || {
        let zone = Shared::new(Zone::with_magazines(PAGES, 1));
        let slot = zone.claim_magazine();
        let page = zone.take().expect("it is free");
        assert_eq!(zone.put_at_hand(slot, page), 0);
        let z = Shared::clone(&zone);
        let owner = actor(move || z.make_room(slot));
        let z = Shared::clone(&zone);
        let closer = actor(move || z.begin_close());
        let (came_back, out) = (join(owner), join(closer));
        assert_eq!(came_back, out, "each page that is out comes back once");
        assert_eq!((zone.pages_at_hand(), zone.free_pages()), (0, PAGES));
        zone.verify();
        seen.record(out);
    });
    outcomes.assert_exactly([0, 1]);
}

/// The only page goes from the buddy to the depot, and on into a magazine, while somebody waits for it.
#[test]
fn nobody_sleeps_beside_a_page_that_comes_from_the_buddy() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r27_stock", 4_000, move || {
        let zone = Shared::new(Zone::with_magazines(1, 1));
        let slot = zone.claim_magazine();
        let page = zone.take().expect("it is free");
        let z = Shared::clone(&zone);
        let owner = actor(move || {
            let closing = z.put(page, || ());
            z.restock_by_depot(slot);
            closing
        });
        let z = Shared::clone(&zone);
        let waiter = actor(move || {
            let page = z.wait_for_page();
            z.put(page, || ())
        });
        assert_eq!((join(owner), join(waiter)), (0, 0));
        assert_eq!(zone.free_pages() + zone.pages_at_hand(), 1);
        zone.verify();
        seen.record((zone.nr_waits(), zone.pages_at_hand()));
    });
    outcomes.assert_exactly([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]);
}

/// A page goes from one thread's depot to another's, and on into a magazine, while somebody drains.
#[test]
fn a_drain_gets_what_goes_from_depot_to_depot() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r27_fetch", 100, move || {
        let zone = Shared::new(Zone::with_depots(1, 2));
        let (taker, giver) = (zone.claim_magazine(), zone.claim_magazine());
        let page = zone.take().expect("it is free");
        assert_eq!(zone.put_at_hand(giver, page) + zone.make_room(giver), 0);
        // In the depot that whoever drains looks into last.
        let z = Shared::clone(&zone);
        let owner = actor(move || z.restock(taker));
        let z = Shared::clone(&zone);
        let drainer = actor(move || z.drain());
        join(owner);
        let drained = join(drainer);
        assert_eq!((zone.pages_at_hand(), zone.free_pages()), (0, 1));
        zone.verify();
        seen.record(drained);
    });
    // 0: it was in the magazine, which was in use when the drain looked, and its owner gave it back.
    outcomes.assert_exactly([0, 1]);
}

/// What there is no room for in the depot goes to the buddy, while somebody drains, and somebody else waits.
#[test]
fn what_the_depot_spills_is_found() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r27_spill", 100, move || {
        let zone = Shared::new(Zone::with_magazines(PAGES, 1));
        let slot = zone.claim_magazine();
        let pages = [zone.take(), zone.take()].map(|page| page.expect("it is free"));
        let [first, second] = pages;
        assert_eq!(zone.put_at_hand(slot, first) + zone.make_room(slot), 0);
        assert_eq!(zone.put_at_hand(slot, second), 0);
        // One in the depot, which has no room for another, and one in the magazine.
        let z = Shared::clone(&zone);
        let owner = actor(move || z.make_room(slot));
        let z = Shared::clone(&zone);
        let drainer = actor(move || z.drain());
        assert_eq!(join(owner), 0);
        let drained = join(drainer);
        assert_eq!(zone.free_pages() + zone.pages_at_hand(), PAGES);
        zone.verify();
        seen.record((drained, zone.pages_at_hand()));
    });
    // (0, 0): all of it was in the buddy before the drain looked, or its owner gave it there after.
    outcomes.assert_exactly([(0, 0), (1, 0), (PAGES, 0)]);
}
