//! R8: what is asked of kcompactd while it works is served, be it more, less, or the same again.
//!
//! *Threads:* kcompactd, which works for order 3; one who makes work for it and asks for it, at order 9 or
//! at order 3 again. *Property:* the 9 is served, and the work that the second request was for is found
//! (INV-1, INV-4). *The bug it would catch:* v5.0's reset after the work, which wipes what is not more than
//! was worked for, and is no single step; a request that is covered by one that was taken already, and so
//! publishes nothing. *The edits that make it fail:* mutant `request.store_anew`; reset after the work, the
//! negative twin below.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all, kcompactd};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Asks for `wanted` while kcompactd works for order 3; returns the order that each run was for, and whether
/// something was left.
fn ask_at_work(wanted: u8) -> (Vec<Option<u8>>, bool) {
    // A piece of work, which is done by whatever run finds it. Relaxed: the request must order it.
    let nr_pieces = Shared::new(AtomicUsize::new(0));
    let found = Shared::clone(&nr_pieces);
    let daemon = kcompactd::serving_until(move |order| {
        let is_wanted = order == Some(wanted);
        is_wanted && found.load(Relaxed) == 1
    });
    daemon.ask(ZoneType::Normal, 3);
    let kcompactd = kcompactd::live(&daemon);
    let a = daemon.clone();
    let asker = actor(move || {
        nr_pieces.store(1, Relaxed);
        a.ask(ZoneType::Normal, wanted);
    });
    // It ends once the work that was wanted is found; if the first run finds it, nobody takes the second
    // request.
    join_all([asker, kcompactd]);
    (daemon.site().orders(), !daemon.asked().is_empty())
}

#[test]
fn a_higher_order_asked_at_work_is_served() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r08_kcompactd_higher", 490, move || {
        seen.record(ask_at_work(9));
    });
    outcomes.assert_exactly([(vec![Some(9)], false), (vec![Some(3), Some(9)], false)]);
}

#[test]
fn the_same_order_asked_again_at_work_is_served_again() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r08_kcompactd_same", 850, move || {
        seen.record(ask_at_work(3));
    });
    // One run for both; one that finds the work before it is asked for; one for each.
    outcomes.assert_exactly([
        (vec![Some(3)], false),
        (vec![Some(3)], true),
        (vec![Some(3), Some(3)], false),
    ]);
}

#[test]
#[should_panic(expected = "the 9 is lost")]
fn twin_a_reset_after_the_work_loses_the_higher_order() {
    check_twin(|| {
        let max_order = Shared::new(AtomicU64::new(3));
        let (k, a) = (Shared::clone(&max_order), Shared::clone(&max_order));
        let kcompactd = actor(move || {
            let mine = k.load(Relaxed);
            if k.load(Relaxed) <= mine {
                k.store(0, Relaxed);
            }
            mine
        });
        let asker = actor(move || a.fetch_max(9, Relaxed));
        join(asker);
        let served = join(kcompactd);
        assert!(served.max(max_order.load(Relaxed)) == 9, "the 9 is lost");
    });
}
