//! R27: what one thread leaves in the depot to another is within reach of whoever drains.
//!
//! *Threads:* one that moves pages from its magazine to the depot and back; another that takes them from there;
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
