//! R7: of two requests with one class, the greater order survives.
//!
//! *Threads:* two posters of orders 3 and 9, one class. *Property:* the word ends at order 9, and
//! at least the poster of 9 is told that it changed something. *The bug it would catch:* v5.0's
//! load, compare, store, where the 3 may overwrite the 9. *The edit that makes it fail:* a plain
//! store, the negative twin below.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join_all};
use pagepool::model::RequestWord;
use pagepool::model::atomic::{AtomicU64, Ordering::Relaxed};

#[test]
fn the_greater_order_survives() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r07_two_wakers", 30, move || {
        let word = Shared::new(RequestWord::new());
        let posters = [3, 9].map(|order| {
            let word = Shared::clone(&word);
            actor(move || word.post(1, order))
        });
        seen.record(join_all(posters));
        assert_eq!(word.peek().order(1), Some(9));
    });
    outcomes.assert_exactly([[true, true], [false, true]]);
}

#[test]
#[should_panic(expected = "the 9 is lost")]
fn twin_posting_by_load_and_store_loses_the_greater_order() {
    check_twin(|| {
        let word = Shared::new(AtomicU64::new(0));
        let posters = [3, 9].map(|order| {
            let word = Shared::clone(&word);
            actor(move || {
                if word.load(Relaxed) < order {
                    word.store(order, Relaxed);
                }
            })
        });
        join_all(posters);
        assert_eq!(word.load(Relaxed), 9, "the 9 is lost");
    });
}
