//! R29: what a thread frees without the zone's lock is found by whoever has it.
//!
//! *Threads:* one or two whose depot has no room, so that a page of theirs is freed unmerged; somebody who takes a page, drains, or
//! closes the zone meanwhile. *Property:* each page is in one place, and what was written to it before is visible to
//! who has it next; a close counts each page on one side; once all are done, nothing is left that is not merged.
//! *The bug it would catch:* a bit that is set after whoever takes bits has looked, and that nobody says anything of
//! one level up, since there was another.

#![cfg(loom)]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom runs its threads one at a time, and checks what is not Sync"
)]

use loom::cell::UnsafeCell;
use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::Zone;

/// Fills a thread's depot, and puts one more page into its magazine: there is no room for it.
fn fill_depot(zone: &Zone, slot: usize) {
    for _ in 0..2 {
        let page = zone.take().expect("it is free");
        assert_eq!(zone.make_room(slot) + zone.put_at_hand(slot, page), 0);
    }
}

/// A page that one thread has written is freed unmerged, and another takes it.
#[test]
fn a_page_is_seen_as_it_was_left() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r29_handover", 40, move || {
        let zone = Shared::new(Zone::with_magazines(2, 1));
        let contents = Shared::new(UnsafeCell::new(()));
        let slot = zone.claim_magazine();
        fill_depot(&zone, slot);
        let (z, c) = (Shared::clone(&zone), Shared::clone(&contents));
        let from = actor(move || {
            c.with_mut(|_| ());
            z.make_room(slot)
        });
        let (z, c) = (Shared::clone(&zone), Shared::clone(&contents));
        let to = actor(move || {
            let Some(page) = z.take() else { return false };
            c.with_mut(|_| ());
            assert_eq!(z.put(page, || ()), 0);
            true
        });
        assert_eq!(join(from), 0);
        let got_it = join(to);
        assert_eq!((zone.free_pages(), zone.pages_at_hand()), (1, 1));
        zone.verify();
        seen.record(got_it);
    });
    outcomes.assert_exactly([false, true]);
}

/// Two threads free a page each, side by side, while somebody merges.
#[test]
fn no_page_is_lost_beside_another() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r29_beside", 400, move || {
        let zone = Shared::new(Zone::with_depots(4, 2));
        let owners = [(); 2].map(|()| {
            let slot = zone.claim_magazine();
            fill_depot(&zone, slot);
            let z = Shared::clone(&zone);
            actor(move || z.make_room(slot))
        });
        let merged = zone.take().map(|page| zone.put(page, || ()));
        for owner in owners {
            assert_eq!(join(owner), 0);
        }
        assert_eq!((zone.free_pages(), zone.pages_at_hand()), (2, 2));
        zone.verify();
        assert_eq!((zone.drain(), zone.free_pages()), (2, 4));
        seen.record(merged);
    });
    outcomes.assert_exactly([None, Some(0)]);
}

/// A page is freed unmerged while the zone begins to close.
#[test]
fn a_close_counts_what_is_unmerged() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r29_close", 100, move || {
        let zone = Shared::new(Zone::with_magazines(3, 1));
        let slot = zone.claim_magazine();
        fill_depot(&zone, slot);
        let page = zone.take().expect("it is free");
        let z = Shared::clone(&zone);
        let owner = actor(move || z.make_room(slot) + z.put(page, || ()));
        let z = Shared::clone(&zone);
        let closer = actor(move || z.begin_close());
        let (came_back, out) = (join(owner), join(closer));
        assert_eq!(came_back, out, "each page that is out comes back once");
        assert_eq!((zone.pages_at_hand(), zone.free_pages()), (0, 3));
        zone.verify();
        seen.record(out);
    });
    // 2: the one in the magazine, too, which was in use when the closer looked, and which its owner gave back.
    outcomes.assert_exactly([0, 1, 2]);
}
