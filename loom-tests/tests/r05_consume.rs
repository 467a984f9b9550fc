//! R5, R6: what is posted while the daemon consumes is in this take or in the next.
//!
//! *Threads:* two posters with different classes and orders; a daemon that takes twice. *Property:*
//! the two takes and what is left make exactly what was posted, lane by lane: nothing lost, nothing
//! invented (INV-1), and the pair derived for reclaim is one that the kernel's rule makes of
//! requests posted. *The bug it would catch:* v5.0's "read the order, then clear it". *The edit
//! that makes it fail:* consume by load and store, which is the negative twin below.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check_deeper, check_twin, join, join_all};
use pagepool::model::atomic::{AtomicU64, Ordering::Relaxed};
use pagepool::model::{RequestWord, Requests};

#[test]
fn nothing_is_lost_and_nothing_invented() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_deeper("r05_consume", 3, 9000, move || {
        let word = Shared::new(RequestWord::new());
        let posters = [(0, 9), (2, 3)].map(|(class_idx, order)| {
            let word = Shared::clone(&word);
            actor(move || word.post(class_idx, order))
        });
        let consumer = Shared::clone(&word);
        let daemon = actor(move || [consumer.take(), consumer.take()]);

        assert_eq!(join_all(posters), [true, true]);
        let [first, second] = join(daemon);
        let takes = [first, second, word.take()];
        for (class_idx, order) in [(0, 9), (1, 0), (2, 3)] {
            let times = takes.iter().filter(|t| t.order(class_idx).is_some());
            assert_eq!(times.count(), usize::from(order > 0), "{takes:?}");
            assert!(
                takes
                    .iter()
                    .all(|t| t.order(class_idx).is_none_or(|o| o == order))
            );
        }
        for pair in takes.iter().filter_map(|t| t.for_reclaim()) {
            assert!(
                [(9, 0), (3, 2), (9, 2)].contains(&(pair.order, pair.class_idx)),
                "{pair:?}"
            );
        }
        seen.record(format!("{takes:?}"));
    });
    // Each of the two requests is in the first take, the second, or left over.
    outcomes.assert_exactly((0..9).map(|i| {
        let mut takes = [Requests::NONE; 3];
        for (at, class_idx, order) in [(i % 3, 0, 9), (i / 3, 2, 3)] {
            takes[at] = takes[at]
                .with(class_idx, order)
                .expect("each is posted once");
        }
        format!("{takes:?}")
    }));
}

#[test]
#[should_panic(expected = "the request is lost")]
fn twin_consuming_by_load_and_store_loses_a_request() {
    check_twin(|| {
        let word = Shared::new(AtomicU64::new(0));
        let (w, d) = (Shared::clone(&word), Shared::clone(&word));
        let poster = actor(move || w.fetch_max(5, Relaxed));
        let daemon = actor(move || {
            let order = d.load(Relaxed);
            d.store(0, Relaxed);
            order
        });
        join(poster);
        assert_eq!(
            join(daemon).max(word.load(Relaxed)),
            5,
            "the request is lost"
        );
    });
}
