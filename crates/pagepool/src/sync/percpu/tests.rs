//! The rules, one at a time; then all of them against a plain sum.

use super::*;
use crate::sync::cpu::with_cpu;
use crate::sync::rng::Rng;

fn step(delta: i8, to_global: i64) -> Step {
    Step { delta, to_global }
}

#[test]
fn a_slot_is_found_for_any_cpu_number() {
    let slots = PerCpu::new(3, |idx| idx * 10);
    assert_eq!(with_cpu(2, || *slots.local()), 20);
    assert_eq!(with_cpu(1000, || slots.local_idx()), 1);
    assert_eq!(
        (slots.get(0), slots.get(3), slots.nr_slots()),
        (Some(&0), None, 3)
    );
    assert_eq!(slots.iter().sum::<usize>(), 30);
}

#[test]
fn add_moves_all_of_it_beyond_the_threshold() {
    assert_eq!(add_rule(0, 10, 10), step(10, 0));
    assert_eq!(add_rule(10, 1, 10), step(0, 11));
    assert_eq!(add_rule(-10, -1, 10), step(0, -11));
    assert_eq!(add_rule(5, 1024, 125), step(0, 1029));
    assert_eq!(
        add_rule(125, i64::from(i32::MIN), 125),
        step(0, i64::from(i32::MIN) + 125)
    );
}

#[test]
fn inc_and_dec_overstep_by_half_a_threshold() {
    assert_eq!(inc_rule(9, 10), step(10, 0));
    assert_eq!(inc_rule(10, 10), step(-5, 16));
    assert_eq!(dec_rule(-9, 10), step(-10, 0));
    assert_eq!(dec_rule(-10, 10), step(5, -16));
    assert_eq!(inc_rule(125, 125), step(-62, 188));
    assert_eq!(inc_rule(1, 1), step(0, 2)); // half of 1 is 0
}

#[test]
fn a_rule_loses_nothing_and_keeps_the_bound_for_every_delta_and_threshold() {
    for threshold in 1..=i64::from(MAX_THRESHOLD) {
        for delta in -(threshold as i8)..=threshold as i8 {
            let steps = [
                (1, inc_rule(delta, threshold)),
                (-1, dec_rule(delta, threshold)),
                (37, add_rule(delta, 37, threshold)),
                (-512, add_rule(delta, -512, threshold)),
            ];
            for (amount, step) in steps {
                assert_eq!(
                    i64::from(step.delta) + step.to_global,
                    i64::from(delta) + amount
                );
                assert!(
                    i64::from(step.delta).abs() <= threshold,
                    "{step:?} at {threshold}"
                ); // I2
            }
        }
    }
}

#[test]
fn a_delta_beyond_a_lowered_threshold_moves_at_its_next_update() {
    let counters = DeltaCounters::<1>::new(1, MAX_THRESHOLD);
    counters.add(0, 125);
    assert_eq!((counters.read(0), counters.snapshot(0)), (0, 125));

    counters.set_threshold(4);
    assert_eq!(counters.read(0), 0);
    counters.inc(0);
    assert_eq!((counters.read(0), counters.snapshot(0)), (128, 126)); // overstepped by 2
}

#[test]
fn a_negative_count_reads_as_zero() {
    let counters = DeltaCounters::<2>::new(2, 1);
    counters.add(1, -5);
    assert_eq!((counters.read(1), counters.snapshot(1)), (0, 0));
    counters.add(1, 7);
    assert_eq!((counters.read(1), counters.snapshot(1)), (2, 2));
    assert_eq!(counters.snapshot(0), 0);
}

#[test]
fn fold_makes_the_cached_value_exact() {
    let counters = DeltaCounters::<2>::new(4, 50);
    for cpu in 0..4 {
        with_cpu(cpu, || counters.add(0, 11));
    }
    assert_eq!(counters.read(0), 0);
    counters.fold();
    assert_eq!(
        (counters.read(0), counters.snapshot(0), counters.read(1)),
        (44, 44, 0)
    );
}

#[test]
#[should_panic(expected = "threshold 126 not in 1..=125")]
fn a_threshold_that_would_overflow_is_refused() {
    DeltaCounters::<1>::new(1, 126);
}

#[test]
fn any_sequence_sums_up_and_stays_within_the_bound() {
    const NR_CPUS: usize = 4;
    for seed in 0..64 {
        let mut rng = Rng::new(seed);
        let counters = DeltaCounters::<2>::new(NR_CPUS, 1 + rng.below(125) as u8);
        let mut highest_threshold = counters.threshold();
        let mut truth = [0_i64; 2];

        for _ in 0..500 {
            let item = rng.below(2) as usize;
            let amount = with_cpu(rng.below(NR_CPUS as u64) as usize, || match rng.below(16) {
                0 => {
                    counters.set_threshold(1 + rng.below(125) as u8);
                    highest_threshold = highest_threshold.max(counters.threshold());
                    0
                }
                1..5 => {
                    counters.dec(item);
                    -1
                }
                5..11 => {
                    counters.inc(item);
                    1
                }
                _ => {
                    let amount = rng.below(200) as i64 - 90;
                    counters.add(item, amount);
                    amount
                }
            });
            truth[item] += amount;

            assert_eq!(
                counters.snapshot(item),
                truth[item].max(0) as u64,
                "seed {seed}"
            ); // I1
            let error = counters.read(item).abs_diff(truth[item].max(0) as u64);
            let bound = NR_CPUS as u64 * u64::from(highest_threshold);
            assert!(
                error <= bound,
                "I2: off by {error}, at most {bound}, seed {seed}"
            );
        }
    }
}

#[test]
fn threads_that_meet_on_one_slot_lose_no_update() {
    const ROUNDS: i64 = 5_000;
    let counters = DeltaCounters::<1>::new(1, 8);
    std::thread::scope(|scope| {
        let threads = [
            scope.spawn(|| (0..ROUNDS).for_each(|_| counters.inc(0))),
            scope.spawn(|| (0..ROUNDS).for_each(|_| counters.add(0, 3))),
            scope.spawn(|| (0..ROUNDS).for_each(|_| counters.dec(0))),
        ];
        // The end of a scope alone is nothing to ThreadSanitizer: it is in code that comes built.
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(counters.snapshot(0), 3 * ROUNDS as u64);
}
