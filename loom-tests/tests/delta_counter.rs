//! Counters with per-CPU deltas lose no update, and reads are off by no more than they say.
//!
//! *Threads:* two updaters that the scheduler put on one CPU, or on two; a reader. *Property:* at
//! rest, the snapshot is the sum (INV-9); meanwhile, a read lies between the least and the greatest
//! sum that could have been, give or take the thresholds. *The bug it would catch:* a delta that is
//! loaded, changed and stored, so that two threads on one slot lose an update. *The edits that make it
//! fail:* mutants `counter.one_step`, `counter.fold_in_one`, and the negative twin below.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::atomic::{AtomicI8, Ordering::Relaxed};
use pagepool::model::{DeltaCounters, cpu};

const THRESHOLD: u8 = 1;

fn update_from(cpus: [usize; 2]) -> u64 {
    let counters = Shared::new(DeltaCounters::<1>::new(2, THRESHOLD));
    let updaters = cpus.map(|cpu_idx| {
        let counters = Shared::clone(&counters);
        actor(move || {
            cpu::set_for_model(cpu_idx);
            counters.inc(0);
            counters.add(0, 2);
        })
    });
    let r = Shared::clone(&counters);
    let reader = actor(move || r.read(0));

    let read = join(reader);
    join_all(updaters);

    assert_eq!(counters.snapshot(0), 6);
    let error = 6 - counters.read(0);
    assert!(error <= 2 * u64::from(THRESHOLD), "at rest, off by {error}");
    counters.fold();
    assert_eq!(counters.read(0), 6);
    read
}

#[test]
fn two_threads_on_one_cpu_lose_no_update() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("delta_counter_one_cpu", 10_000, move || {
        seen.record(update_from([0, 0]));
    });
    // Both first steps move together, as 2, and each second by itself; or what one thread adds moves at once, as 3.
    outcomes.assert_exactly([0, 2, 3, 4, 6]);
}

#[test]
fn two_threads_on_two_cpus_lose_no_update() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("delta_counter_two_cpus", 900, move || {
        seen.record(update_from([0, 1]));
    });
    outcomes.assert_exactly([0, 3, 6]); // each CPU's 1 + 2 moves at once
}

#[test]
fn a_fold_takes_each_unit_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("delta_counter_fold", 150, move || {
        let counters = Shared::new(DeltaCounters::<1>::new(1, THRESHOLD));
        let (u, f) = (Shared::clone(&counters), Shared::clone(&counters));
        let updater = actor(move || {
            u.add(0, 1);
            u.add(0, 1);
        });
        let folder = actor(move || {
            f.fold();
            f.read(0)
        });
        join(updater);
        let read = join(folder);
        assert_eq!(counters.snapshot(0), 2);
        seen.record((read, counters.read(0)));
    });
    // Folded before the first unit or while both move, between the two, after both.
    outcomes.assert_exactly([(0, 2), (1, 1), (2, 2)]);
}

#[test]
#[should_panic(expected = "an update is lost")]
fn twin_updating_by_load_and_store_loses_an_update() {
    check_twin(|| {
        let delta = Shared::new(AtomicI8::new(0));
        let updaters = [(); 2].map(|()| {
            let delta = Shared::clone(&delta);
            actor(move || delta.store(delta.load(Relaxed) + 1, Relaxed))
        });
        join_all(updaters);
        assert_eq!(delta.load(Relaxed), 2, "an update is lost");
    });
}
