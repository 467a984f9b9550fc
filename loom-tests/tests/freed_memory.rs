//! A thread that may not fail waits for freed memory, and gets it.
//!
//! *Threads:* two waiters that each need a page; one thread that frees two, a page at a time, and
//! wakes after each. *Property:* both waiters end with a page and none is left; never "a page is
//! free and somebody waits for it". *The bug it would catch:* a free that looks for waiters before
//! its page is visible; a waiter that looks for a page before it can be seen waiting, or that was
//! woken for a page that another took and sleeps on without looking again. *The edits that make it
//! fail:* mutants `freed.waker`, `freed.sleeper`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::atomic::{
    AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use pagepool::model::{FenceNames, WaitQueue};

struct Zone {
    nr_free: AtomicUsize,
    freed: WaitQueue,
}

impl Zone {
    fn new() -> Zone {
        let fences = FenceNames {
            waker: "freed.waker",
            sleeper: "freed.sleeper",
        };
        Zone {
            nr_free: AtomicUsize::new(0),
            freed: WaitQueue::new(fences),
        }
    }

    fn free(&self) {
        self.nr_free.fetch_add(1, Release);
        self.freed.wake_all();
    }

    fn allocate_nofail(&self) {
        let try_take = || {
            self.nr_free
                .fetch_update(Acquire, Relaxed, |nr_free| nr_free.checked_sub(1))
                .is_ok()
        };
        assert!(self.freed.wait_until(None, try_take));
    }
}

#[test]
fn a_waiter_sees_the_page_that_is_freed_for_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("freed_memory_one_waiter", 90, move || {
        let zone = Shared::new(Zone::new());
        let (w, f) = (Shared::clone(&zone), Shared::clone(&zone));
        let waiter = actor(move || w.allocate_nofail());
        let freer = actor(move || f.free());
        join(freer);
        join(waiter);
        assert_eq!(zone.nr_free.load(Relaxed), 0);
        assert!(!zone.freed.has_sleeper());
        seen.record(zone.freed.nr_sleeps());
    });
    // The page was there; the waiter was woken for it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn two_waiters_share_two_pages() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("freed_memory_two_waiters", 11_000, move || {
        let zone = Shared::new(Zone::new());
        let waiters = [(); 2].map(|()| {
            let w = Shared::clone(&zone);
            actor(move || w.allocate_nofail())
        });
        let f = Shared::clone(&zone);
        let freer = actor(move || {
            f.free();
            f.free();
        });
        join(freer);
        join_all(waiters);
        assert_eq!(zone.nr_free.load(Relaxed), 0);
        assert!(!zone.freed.has_sleeper());
        seen.record(zone.freed.nr_sleeps());
    });
    // Both pages found; one slept; both did, or one twice; both did, and one was woken for a page that the other took.
    outcomes.assert_exactly([0, 1, 2, 3]);
}
