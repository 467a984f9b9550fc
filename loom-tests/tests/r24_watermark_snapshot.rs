//! R24: marks are read as they were set together, and a node that other marks make short is served.
//!
//! *Threads:* one that sets the marks twice and two that read them; kswapd, which decides to sleep while somebody
//! raises the marks, and who asks when it finds the node short. *Property:* every reader sees one of the triples
//! that were set, min ≤ low ≤ high; kswapd may sleep by the old marks, but the next who asks wakes it. *The bug it
//! would catch:* marks in separate words; a kswapd that has decided by old marks, and sleeps on. *The edits that make
//! it fail:* the negative twin, put into `Zone`; mutant `kswapd.waker`.

#![cfg(loom)]

use loom_tests::{
    Outcomes, Shared, actor, actor_on_large_stack, check, check_shallower, check_twin, join,
    join_all, on_large_stack,
};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{Nodes, Zone};

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
fn marks_that_are_raised_while_kswapd_decides_are_met() {
    const PAGES: u32 = 4;
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("r24_marks_raised", 1, 2_000, move || {
        // A pass of reclaim meets the marks, whatever they are, and is the last.
        let pass = |nodes: &Nodes| {
            nodes.set_marks(0, 0);
            nodes.stop_kswapd();
        };
        let nodes = on_large_stack(move || Nodes::new(PAGES as usize, 1, 0, pass));
        nodes.end_nap();
        let (k, s) = (nodes.clone(), nodes.clone());
        let kswapd = actor_on_large_stack(move || k.run_kswapd());
        let setter = actor(move || {
            s.set_marks(PAGES, 1);
            // Who asks next; unless kswapd has met the marks already.
            s.wake_kswapd()
        });
        join(setter);
        join(kswapd);
        assert!(nodes.is_balanced());
        seen.record(nodes.nr_sleeps());
    });
    // It saw the new marks or the request before it slept; it was woken.
    outcomes.assert_exactly([0, 1]);
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
