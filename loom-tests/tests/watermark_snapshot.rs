//! R24: marks are read as they were set together.
//!
//! *Threads:* one that sets the marks twice and two that read them. *Property:* every reader sees one of the
//! triples that were set, min ≤ low ≤ high. *The bug it would catch:* marks in separate words. *The edit that
//! makes it fail:* the negative twin, put into `Zone`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::Zone;
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn marks_are_read_as_they_were_set() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r24_watermark_snapshot", 1_300, move || {
        let zone = Shared::new(Zone::new(4, 1, 1, 0));
        zone.set_marks(1, 1);
        let readers = [(); 2].map(|()| {
            let zone = Shared::clone(&zone);
            actor(move || zone.marks())
        });
        let s = Shared::clone(&zone);
        let setter = actor(move || {
            s.set_marks(8, 0);
            s.set_marks(2, 9);
        });

        join(setter);
        for marks in join_all(readers) {
            assert!(marks.is_sorted(), "W1: {marks:?}");
            seen.record(marks);
        }
        assert_eq!(zone.marks(), [2, 11, 20]);
    });
    outcomes.assert_exactly([[1, 2, 3], [8, 8, 8], [2, 11, 20]]);
}

#[test]
#[should_panic(expected = "torn")]
fn twin_with_a_word_for_each_mark_tears() {
    check_twin(|| {
        let marks = Shared::new([AtomicUsize::new(1), AtomicUsize::new(3)]);
        let (s, r) = (Shared::clone(&marks), Shared::clone(&marks));
        let setter = actor(move || {
            s[0].store(8, Relaxed);
            s[1].store(8, Relaxed);
        });
        let reader = actor(move || [r[0].load(Relaxed), r[1].load(Relaxed)]);
        let read = join(reader);
        join(setter);
        assert!(read.is_sorted(), "torn: {read:?}");
    });
}
