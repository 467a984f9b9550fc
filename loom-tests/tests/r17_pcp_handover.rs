//! R17: pages pass through a per-CPU cache, and past it, one owner at a time.
//!
//! *Threads:* two on one CPU, each of which takes a page, writes to it and gives it back; the cache
//! moves two pages at once and returns a batch at two. Whoever finds it taken goes to the zone.
//! *Property:* no page is in two hands, what one owner wrote is visible to the next, and at the end
//! every page is in the cache or in the zone. *The bug it would catch:* a page that is lost when the
//! try-lock fails, or handed out from the cache and from the buddy. *The edit that makes it
//! fail:* the first of these, the negative twin below.

#![cfg(loom)]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom runs its threads one at a time, and checks what is not Sync"
)]

use loom::cell::UnsafeCell;
use loom_tests::{Outcomes, Shared, actor, check, check_twin, join_all};
use pagepool::model::{CoreMutex, Page, Zone, thread};

const PAGES: usize = 4;

struct Memory {
    zone: Zone,
    /// One cell a page: loom reports an access that another may still be at.
    contents: [UnsafeCell<()>; PAGES],
}

impl Memory {
    fn new() -> Memory {
        Memory {
            zone: Zone::new(PAGES, 1, 2, 2),
            contents: std::array::from_fn(|_| UnsafeCell::new(())),
        }
    }

    fn write(&self, page: &Page) {
        self.contents[page.index()].with_mut(|_| ());
    }

    fn take_and_put(&self) {
        let page = self.zone.take().expect("there is a page for each");
        self.write(&page);
        assert_eq!(self.zone.put(page, || ()), 0);
    }
}

#[test]
fn no_page_is_lost_or_in_two_hands() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r17_pcp_handover", 750, move || {
        let memory = Shared::new(Memory::new());
        let owners = [(); 2].map(|()| {
            let memory = Shared::clone(&memory);
            actor(move || memory.take_and_put())
        });
        join_all(owners);

        let cached: usize = memory.zone.cached_by_cpu().iter().sum();
        assert_eq!(memory.zone.free_pages() + cached, PAGES);
        memory.zone.verify();
        seen.record(cached);
    });
    outcomes.assert_exactly([0, 1]);
}

#[test]
#[should_panic(expected = "a page is lost")]
fn twin_that_gives_up_on_a_taken_cache_loses_a_page() {
    check_twin(|| {
        let (cache, zone) = (CoreMutex::new(0), CoreMutex::new(0));
        let lists = Shared::new([cache, zone]);
        let owners = [(); 2].map(|()| {
            let lists = Shared::clone(&lists);
            actor(move || {
                if let Some(mut cached) = lists[0].try_lock() {
                    thread::yield_now(); // meanwhile the other may find it taken
                    *cached += 1;
                }
            })
        });
        join_all(owners);
        let [cached, free] = lists.each_ref().map(|list| *list.lock());
        assert_eq!(cached + free, 2, "a page is lost");
    });
}
