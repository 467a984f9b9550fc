//! R26: what is in a thread's magazine is within reach of whoever drains, whatever that thread does.
//!
//! *Threads:* the owner of a magazine, who takes pages from it and puts pages into it without a lock; somebody
//! who drains the zone, waits for memory, isolates a pageblock, or closes the zone. *Property:* each page is in
//! one place, and what was written to it before is visible to who has it next; nobody sleeps beside a page in a
//! magazine; nothing stays there of a pageblock that is isolated; a close counts each page on one side. *The bug
//! it would catch:* a drain that takes a magazine while its owner uses it, or passes over what he puts in; a
//! revoked magazine that nobody empties.

#![cfg(loom)]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom runs its threads one at a time, and checks what is not Sync"
)]

use loom::cell::UnsafeCell;
use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::model::{Page, Zone};

const PAGES: usize = 2;

struct Memory {
    zone: Zone,
    /// One cell a page: loom reports an access that another may still be at.
    contents: [UnsafeCell<()>; PAGES],
}

impl Memory {
    fn new() -> Memory {
        Memory {
            zone: Zone::with_magazines(PAGES, 1),
            contents: std::array::from_fn(|_| UnsafeCell::new(())),
        }
    }

    fn take(&self) -> Page {
        self.used(self.zone.take().expect("there is a page for each"))
    }

    fn used(&self, page: Page) -> Page {
        self.contents[page.index()].with_mut(|_| ());
        page
    }
}

/// The owner puts a page in and takes it out again, while somebody drains and takes one from the zone.
#[test]
fn no_page_is_lost_or_in_two_hands() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r26_handover", 1_300, move || {
        let memory = Shared::new(Memory::new());
        let slot = memory.zone.claim_magazine();
        let page = memory.take();
        let _ = memory.zone.put_at_hand(slot, page);
        let m = Shared::clone(&memory);
        let owner = actor(move || {
            let page = m.zone.take_at_hand(slot);
            let was_there = page.is_some();
            if let Some(page) = page {
                let page = m.used(page);
                assert_eq!(m.zone.put_at_hand(slot, page), 0);
            }
            was_there
        });
        let m = Shared::clone(&memory);
        let drainer = actor(move || {
            let drained = m.zone.drain();
            for page in [m.zone.take(), m.zone.take()].into_iter().flatten() {
                let page = m.used(page);
                assert_eq!(m.zone.put(page, || ()), 0);
            }
            drained
        });
        let outcome = (join(owner), join(drainer));
        assert_eq!(
            memory.zone.free_pages() + memory.zone.pages_at_hand(),
            PAGES
        );
        memory.zone.verify();
        seen.record(outcome);
    });
    // (false, 0): the drain took the owner's look for a use, and he empties the magazine.
    outcomes.assert_exactly([(false, 0), (false, 1), (true, 0), (true, 1)]);
}

/// The same with a block of both pages.
#[test]
fn no_block_is_lost_or_in_two_hands() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r26_block", 500, move || {
        let memory = Shared::new(Memory::new());
        let slot = memory.zone.claim_magazine();
        let block = memory.zone.take_block().expect("all is free");
        assert_eq!(memory.zone.put_block_at_hand(slot, block), 0);
        assert_eq!(memory.zone.pages_at_hand(), PAGES);
        let m = Shared::clone(&memory);
        let owner = actor(move || {
            let block = m.zone.take_block_at_hand(slot);
            let was_there = block.is_some();
            if let Some(block) = block {
                m.contents[block.index()].with_mut(|_| ());
                assert_eq!(m.zone.put_block_at_hand(slot, block), 0);
            }
            was_there
        });
        let m = Shared::clone(&memory);
        let drainer = actor(move || {
            let drained = m.zone.drain();
            if let Some(block) = m.zone.take_block() {
                m.contents[block.index()].with_mut(|_| ());
                assert_eq!(m.zone.put_block(block), 0);
            }
            drained
        });
        let outcome = (join(owner), join(drainer));
        assert_eq!(
            memory.zone.free_pages() + memory.zone.pages_at_hand(),
            PAGES
        );
        memory.zone.verify();
        seen.record(outcome);
    });
    outcomes.assert_exactly([(false, 0), (false, PAGES), (true, 0), (true, PAGES)]);
}

/// A page moves from the cache of a CPU into a magazine, while somebody drains both.
#[test]
fn nothing_hides_from_a_drain_on_its_way_into_a_magazine() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r26_restock", 200, move || {
        let zone = Shared::new(Zone::new(PAGES, 1, 1, 2).and_magazines(1));
        let slot = zone.claim_magazine();
        let page = zone.take().expect("it is free");
        assert_eq!(zone.put(page, || ()), 0);
        let cached = zone.cached_pages();
        assert!(cached > 0, "the page is in the cache of the CPU");
        let z = Shared::clone(&zone);
        let owner = actor(move || z.restock(slot));
        let z = Shared::clone(&zone);
        let drainer = actor(move || z.drain() == cached);
        join(owner);
        seen.record((join(drainer), zone.pages_at_hand()));
        assert_eq!(zone.free_pages() + zone.cached_pages(), PAGES);
        zone.verify();
    });
    // (false, 0): the owner was in the middle of it, and emptied the magazine himself.
    outcomes.assert_exactly([(true, 0), (false, 0)]);
}

/// The only page goes into a magazine, or out of one, while somebody waits for it.
#[test]
fn nobody_sleeps_beside_a_page_in_a_magazine() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r26_waiter", 2_400, move || {
        let zone = Shared::new(Zone::with_magazines(1, 1));
        let slot = zone.claim_magazine();
        let page = zone.take().expect("it is free");
        assert_eq!(zone.put_at_hand(slot, page), 0);
        let z = Shared::clone(&zone);
        let owner = actor(move || {
            let page = z.take_at_hand(slot);
            page.map_or(0, |page| z.put_at_hand(slot, page))
        });
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

/// Somebody isolates the pageblock in which what `take` takes begins, at a page of this number, while it goes into a
/// magazine by `put`. He may see so many pages there: some, if its owner is about to empty it himself.
fn isolated_beside<T: 'static>(
    name: &str,
    take: impl Fn(&Zone) -> (T, usize) + Sync + Send + 'static,
    put: impl Fn(&Zone, usize, T) -> usize + Copy + Sync + Send + 'static,
    may_see: [usize; 2],
) {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check(name, 1_200, move || {
        let zone = Shared::new(Zone::with_magazines(PAGES, 1));
        let slot = zone.claim_magazine();
        let (taken, first) = take(&zone);
        let z = Shared::clone(&zone);
        let owner = actor(move || put(&z, slot, taken));
        let z = Shared::clone(&zone);
        let isolator = actor(move || {
            z.isolate(first);
            z.pages_at_hand()
        });
        assert_eq!(join(owner), 0);
        let seen_at_hand = join(isolator);
        assert_eq!(zone.pages_at_hand(), 0);
        assert_eq!(zone.free_pages(), PAGES - 1, "what is isolated is withheld");
        seen.record(seen_at_hand);
    });
    outcomes.assert_exactly(may_see);
}

/// A page goes into a magazine while its pageblock is isolated.
#[test]
fn nothing_of_an_isolated_pageblock_stays_in_a_magazine() {
    let take = |zone: &Zone| {
        let page = zone.take().expect("it is free");
        let index = page.index();
        (page, index)
    };
    isolated_beside("r26_isolation", take, Zone::put_at_hand, [0, 1]);
}

/// The same with a block of both pages, of which the first is in the pageblock that is isolated.
#[test]
fn no_block_that_begins_in_an_isolated_pageblock_stays_in_a_magazine() {
    let take = |zone: &Zone| {
        let block = zone.take_block().expect("all is free");
        let index = block.index();
        (block, index)
    };
    let put = Zone::put_block_at_hand;
    isolated_beside("r26_isolation_of_block", take, put, [0, PAGES]);
}

/// A page goes into a magazine while the zone begins to close.
#[test]
fn a_close_counts_each_page_on_one_side() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r26_close", 150, move || {
        let zone = Shared::new(Zone::with_magazines(PAGES, 1));
        let slot = zone.claim_magazine();
        let page = zone.take().expect("it is free");
        let z = Shared::clone(&zone);
        let owner = actor(move || z.put_at_hand(slot, page));
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
