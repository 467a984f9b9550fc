//! R24, R15, R16: marks are read as they were set together, and a boost is never lost.
//!
//! *Threads:* one that sets the marks twice and two that read them; a fragmentation event against a
//! reclaimer that lowers the boost by what it saw; an event against two requests that want to tell
//! the reclaimer. *Property:* every reader sees one of the triples that were set, min ≤ low ≤ high;
//! the boost ends at what was added after the reclaimer looked, and never below zero; the note
//! "boosted" may be told twice, or swallowed by a request that is telling anyway, but the boost
//! itself stands until it is answered. *The bug it would catch:* marks in separate words, the
//! negative twin below; a boost that is loaded and stored without the lock, the other one. *The edit
//! that makes it fail:* those, put into `Zone`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::Zone;
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};

/// Pages in a pageblock of the model's zone, which is what one event adds.
const STEP: usize = 2;

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

/// A zone in which one event has happened, and each unmovable page taken is another. Two pageblocks
/// are of movable pages but for one page each that is free.
fn boosted_zone() -> Zone {
    let zone = Zone::new(8, 1, 1, 0);
    zone.set_marks(0, 4);
    zone.set_boost_factor(10_000);
    let mut movable: Vec<_> = (0..8).filter_map(|_| zone.take()).collect();
    for idx in [6, 4, 2] {
        let _ = zone.put(movable.remove(idx), || ());
    }
    let _fragmenting = zone.take_unmovable();
    assert_eq!(zone.boost(), STEP);
    zone
}

#[test]
fn a_boost_added_meanwhile_remains() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r15_boost", 40, move || {
        let zone = Shared::new(boosted_zone());
        let (k, a) = (Shared::clone(&zone), Shared::clone(&zone));
        let reclaimer = actor(move || {
            let answered = k.boost();
            k.lower_boost(answered);
            answered
        });
        let allocator = actor(move || a.take_unmovable());

        let answered = join(reclaimer);
        let page = join(allocator);
        assert!(page.is_some());
        assert_eq!(zone.boost() + answered, 2 * STEP);
        zone.verify();
        seen.record(zone.boost());
    });
    outcomes.assert_exactly([0, STEP]);
}

#[test]
#[should_panic(expected = "a boost is lost")]
fn twin_lowering_without_the_lock_loses_a_boost() {
    check_twin(|| {
        let boost = Shared::new(AtomicUsize::new(STEP));
        let (k, a) = (Shared::clone(&boost), Shared::clone(&boost));
        let reclaimer = actor(move || k.store(k.load(Relaxed) - STEP, Relaxed));
        let allocator = actor(move || a.store(a.load(Relaxed) + STEP, Relaxed));
        join_all([reclaimer, allocator]);
        assert_eq!(boost.load(Relaxed), STEP, "a boost is lost");
    });
}

#[test]
fn a_swallowed_note_leaves_the_boost() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r16_boosted_note", 3_300, move || {
        let zone = Shared::new(boosted_zone());
        let tellers = [(); 2].map(|()| {
            let zone = Shared::clone(&zone);
            actor(move || zone.consume_boosted())
        });
        let a = Shared::clone(&zone);
        let allocator = actor(move || a.take_unmovable());

        let page = join(allocator);
        assert!(page.is_some());
        let mut told = join_all(tellers);
        assert_eq!(zone.boost(), 2 * STEP, "it stands until it is answered");
        told.sort_unstable();
        seen.record((told, zone.consume_boosted()));
    });
    let told_once_or_twice = [[false, true], [true, true]];
    outcomes.assert_exactly(
        told_once_or_twice
            .into_iter()
            .flat_map(|told| [(told, false), (told, true)]),
    );
}
