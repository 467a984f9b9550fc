//! R13: a node is not taken for hopeless while it is balanced.
//!
//! *Threads:* kswapd, whose sixteenth fruitless run just ended; an owner that frees a page, which lifts
//! the zone above its high mark; a third that asks whether there is hope. *Property:* in the end there
//! is: kswapd looks again after the zones were told to watch, or the zone notes that it rose. *The bug
//! it would catch:* a page freed between the run and the watch. *The edits that make it fail:* mutants
//! `failures.recheck`, `failures.watch`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::{self, Daemon, Requests, Zone};

struct Nothing;

impl model::Node for Nothing {
    fn is_balanced(&self) -> bool {
        false
    }

    fn balance(
        &self,
        _daemon: &Daemon<Nothing>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> (Requests, bool) {
        (asked, false)
    }
}

#[test]
fn a_balanced_node_is_not_hopeless() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r13_failures", 1000, move || {
        // A page of two is free, and the high mark is 1: one more balances the zone.
        let zone = Shared::new(Zone::new(2, 1, 0, 0));
        let page = zone.take().expect("two are free");
        zone.set_marks(1, 0);
        let daemon = Daemon::new(Nothing);
        for _ in 0..15 {
            daemon.note_failure(None, || false);
        }

        let (k, kz) = (daemon.clone(), Shared::clone(&zone));
        let kswapd = actor(move || k.note_failure(Some(&*kz), || kz.free_pages() > 1));
        let owner_zone = Shared::clone(&zone);
        let owner = actor(move || {
            owner_zone.put(page, || ());
        });
        let (w, wz) = (daemon.clone(), Shared::clone(&zone));
        let waker = actor(move || w.is_hopeless_with(Some(&*wz)));
        join_all([kswapd, owner]);
        seen.record(join(waker));
        assert!(!daemon.is_hopeless_with(Some(&*zone)));
    });
    outcomes.assert_exactly([false, true]);
}
