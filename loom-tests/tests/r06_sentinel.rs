//! R6: a request that finds another there, and is merged in after that was taken, is not lost.
//!
//! *Threads:* a daemon that takes what is asked; one who asks for the same class as was asked for before, at a
//! higher order. *Property:* the higher order is in one of the takes, or left over (INV-1); the daemon's whole loop
//! serves it. *The bug it would catch:* v5.0's double read of the sentinel, where the asker reads the class once to
//! see whether there is one, and once to merge with: if the daemon takes it in between, the merge is with "none",
//! and gives none. *The edit that makes it fail:* mutant `request.one_look`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all, kcompactd};
use pagepool::ZoneType;
use pagepool::model::RequestWord;

#[test]
fn a_request_is_not_merged_with_one_that_is_gone() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r06_sentinel", 85, move || {
        let word = Shared::new(RequestWord::new());
        word.post(1, 3);
        let (d, a) = (Shared::clone(&word), Shared::clone(&word));
        let daemon = actor(move || [d.take(), d.take()]);
        let asker = actor(move || a.post(1, 5));

        join(asker);
        let [first, second] = join(daemon);
        let orders = [first, second, word.take()].map(|taken| taken.order(1));
        assert!(orders.contains(&Some(5)), "the request is lost: {orders:?}");
        seen.record(orders);
    });
    outcomes.assert_exactly([
        [Some(5), None, None],
        [Some(3), Some(5), None],
        [Some(3), None, Some(5)],
    ]);
}

#[test]
fn the_whole_loop_serves_what_was_merged_with_a_request_that_is_gone() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r06_sentinel_loop", 490, move || {
        let daemon = kcompactd::serving_until(|order| order == Some(5));
        daemon.ask(ZoneType::Normal, 3);
        let kcompactd = kcompactd::live(&daemon);
        let a = daemon.clone();
        let asker = actor(move || a.ask(ZoneType::Normal, 5));
        join_all([asker, kcompactd]);
        assert!(daemon.asked().is_empty());
        seen.record((daemon.site().orders(), daemon.nr_sleeps()));
    });
    // Merged before the take; or after it, and then found or woken for.
    outcomes.assert_exactly([
        (vec![Some(5)], 0),
        (vec![Some(3), Some(5)], 0),
        (vec![Some(3), Some(5)], 1),
    ]);
}
