//! Nobody waits beside free memory: the protocol in the head of `zone`, on a real zone.
//!
//! *Threads:* a request that waits for memory as the slow path does: it publishes itself, empties
//! every cache, passes through the zone's lock, checks the mark, takes. Against it: a free into a
//! cache; a free into the zone; a request that refills its cache with more than it needs; a block
//! that is withdrawn and put back. All of them look for waiters by a bare load, under the lock of
//! what they change. *Property:* the request ends with a page. *The bug it would catch:* a page that
//! is free, in the zone or in a cache, while the request sleeps: loom reports the deadlock. *The
//! edits that make it fail:* mutants `freed.look_at_cache`, `freed.look_at_zone`,
//! `freed.look_at_refill`, `freed.look_at_return`, `freed.drain`, `freed.synchronize`; and a look
//! before the lock, the negative twin below.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{CoreMutex, FenceNames, Page, WaitQueue, Zone};

const PAGES: usize = 4;

/// A request waits in `zone` while another thread does `other`; both end, and nothing is lost. Returns what
/// became of the other, and how often the request slept.
fn wait_beside<T: 'static>(zone: Zone, other: impl FnOnce(&Zone) -> T + 'static) -> (T, u32) {
    let zone = Shared::new(zone);
    let (w, o) = (Shared::clone(&zone), Shared::clone(&zone));
    let waiter = actor(move || w.wait_for_page());
    let other = actor(move || other(&o));

    let other = join(other);
    let page = join(waiter);
    assert!(page.index() < PAGES);
    assert!(!zone.has_waiter());
    zone.verify();
    (other, zone.nr_waits())
}

/// A zone with all pages out; returns two of them.
fn empty_zone(batch: u16, high: u32) -> (Zone, [Page; 2]) {
    let zone = Zone::new(PAGES, 1, batch, high);
    let [a, b, _, _] = [(); PAGES].map(|()| zone.take().expect("there are so many"));
    assert_eq!(zone.free_pages(), 0);
    (zone, [a, b])
}

#[test]
fn a_page_freed_into_a_cache_is_found() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("freed_into_cache", 350, move || {
        let (zone, [page, _]) = empty_zone(1, 4);
        let (_, waits) = wait_beside(zone, move |zone| zone.put(page, || ()));
        seen.record(waits);
    });
    // The page was there; the request was woken for it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn a_page_freed_into_the_zone_is_found() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("freed_into_zone", 700, move || {
        let (zone, [page, _]) = empty_zone(1, 0);
        let (_, waits) = wait_beside(zone, move |zone| zone.put(page, || ()));
        seen.record(waits);
    });
    // The page was there; the request was woken for it.
    outcomes.assert_exactly([0, 1]);
}

/// A regression: two pages were free; another request moved both into its cache after the waiter had
/// emptied it and before the waiter looked, took one, and the waiter slept beside the other.
#[test]
fn a_refill_leaves_a_waiter_its_page() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("freed_and_refill", 2_700, move || {
        let (zone, pages) = empty_zone(2, 2);
        let (taken, waits) = wait_beside(zone, move |zone| {
            for page in pages {
                zone.put(page, || ()); // the second fills the cache, and both go to the zone
            }
            zone.take().is_some()
        });
        seen.record((taken, waits));
    });
    // The other may find nothing beside a request that was never seen waiting; one that waits takes no more than it
    // needs.
    outcomes.assert_exactly([(false, 0), (true, 0), (true, 1)]);
}

#[test]
fn a_block_that_is_put_back_is_found() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("freed_and_withdrawn", 1_100, move || {
        let (zone, [page, _]) = empty_zone(1, 0);
        let _ = zone.put(page, || ());
        let (_, waits) = wait_beside(zone, move |zone| zone.trim(|| ()));
        seen.record(waits);
    });
    outcomes.assert_exactly([0, 1]);
}

/// A zone that looks for waiters before it takes its lock.
struct HastyZone {
    nr_free: CoreMutex<usize>,
    nr_taken: AtomicUsize,
    freed: WaitQueue,
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_looking_before_the_lock_leaves_the_waiter_asleep() {
    check_twin(|| {
        let fences = FenceNames {
            waker: "freed.waker",
            sleeper: "freed.sleeper",
        };
        let zone = Shared::new(HastyZone {
            nr_free: CoreMutex::new(0),
            nr_taken: AtomicUsize::new(0),
            freed: WaitQueue::new(fences),
        });
        let w = Shared::clone(&zone);
        let waiter = actor(move || {
            w.freed.wait_until(None, || {
                let mut nr_free = w.nr_free.lock();
                let found = *nr_free > 0;
                if found {
                    *nr_free -= 1;
                    w.nr_taken.fetch_add(1, Relaxed);
                }
                found
            })
        });
        let f = Shared::clone(&zone);
        let freer = actor(move || {
            let somebody_waits = f.freed.sleeper_hint();
            *f.nr_free.lock() += 1;
            if somebody_waits {
                f.freed.wake_all();
            }
        });
        join(freer);
        assert!(join(waiter));
    });
}
