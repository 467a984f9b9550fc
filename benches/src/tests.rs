//! The harness itself: that its arithmetic holds and that every work runs.

use std::time::Duration;

use crate::pin::allowed_cpus;
use crate::plan::{Plan, Scale};
use crate::report::{Outcome, Report, Row};
use crate::scaling::{self, Rate, ScalingReport};
use crate::spread::Spread;
use crate::subject::{NULL, POOL};
use crate::table;
use crate::works::{self, open};

const GENERAL: [&str; 6] = [NULL, POOL, "jemalloc", "mimalloc", "rpmalloc", "libc"];
const ALONE: [&str; 5] = [
    "offset-alloc",
    "buddy_system",
    "buddy-alloc",
    "talc",
    "rlsf",
];
const LOCKED: [&str; 5] = [
    "offset-alloc, mutex",
    "buddy_system, mutex",
    "buddy-alloc, mutex",
    "talc, mutex",
    "rlsf, mutex",
];

/// As little of everything as makes sense.
fn tiny_plan() -> Plan {
    Plan {
        filter: String::new(),
        cpus: allowed_cpus().unwrap(),
        oversubscribes: true,
        directory: std::env::temp_dir(),
        scale: Scale {
            rounds: 2,
            limit: Duration::MAX,
            pairs: 200,
            huge_pairs: 20,
            held: 200,
            mixed_bytes: 32 << 20,
            mixed_ops: 200,
            busy_bytes: 32 << 20,
            busy_ops: 4_000,
            opens: 0,
            holds: 200,
            scattered: 1 << 10,
            swapped_bytes: 4 << 20,
            faults: 20,
            wakes: 20,
            compacted_bytes: 16 << 20,
            moved_reads: 1_000,
        },
    }
}

#[test]
fn spread_is_linear_between_samples() {
    let spread = Spread::of(vec![50.0, 10.0, 40.0, 20.0, 30.0]);
    assert_eq!(spread.median, 30.0);
    assert_eq!(spread.p10, 14.0);
    assert_eq!(spread.p90, 46.0);
    assert_eq!(Spread::of(vec![1.0, 2.0]).median, 1.5);
}

/// Also checks, through the harness (H2), that the pool counted every page and has all of them.
#[test]
fn every_work_yields_a_row_per_subject() {
    let plan = tiny_plan();
    for work in works::ALL {
        if work.rows == open::ROWS {
            continue; // It starts this program again, which is the test runner here.
        }
        let outcome = (work.run)(&plan).unwrap_or_else(|failure| panic!("{}", failure.message));
        let Outcome::Rows(rows) = outcome else {
            assert!(plan.cpus.len() < 2, "{} was skipped", work.name);
            continue;
        };
        if rows.iter().all(|row| row.subject != NULL) {
            assert_is_contest(work.rows, &rows);
            continue;
        }
        for &name in work.rows {
            let subjects: Vec<&str> = rows
                .iter()
                .filter(|row| row.work == name)
                .map(|row| row.subject)
                .collect();
            assert_eq!(subjects[..6], GENERAL);
            let is_shared = name.ends_with("_t2");
            assert_eq!(subjects[6..], if is_shared { LOCKED } else { ALONE });
        }
        for row in &rows {
            assert!(row.median_ns >= 0.0, "{row:?}");
            assert_eq!(row.ratio_to_best.is_some(), row.subject != NULL, "{row:?}");
        }
    }
}

/// More threads than there are CPUs, so that it is all run anywhere.
#[test]
fn scaling_has_every_subject_with_every_number_of_threads() {
    let plan = tiny_plan();
    for work in scaling::selected(&plan) {
        let mut shown = String::new();
        let mut show = |lines: &str| shown.push_str(lines);
        let rates = scaling::measure(work, &plan, &mut show).unwrap().rates;
        assert_eq!(shown.lines().count(), 3 + rates.len(), "{shown}");
        for threads in [1, 2, 4, 8, 16] {
            let of_threads: Vec<&Rate> = { rates.iter() }
                .filter(|rate| rate.threads == threads)
                .collect();
            let arenas = match threads {
                1 => &ALONE[..],
                2 => &LOCKED[..],
                _ => &[],
            };
            let subjects = of_threads.iter().map(|rate| rate.subject);
            let row: Vec<&str> = GENERAL.iter().chain(arenas).copied().collect();
            assert_eq!(of_threads.len(), work.rows().len() * row.len());
            assert!(subjects.eq(row.iter().cycle().take(of_threads.len()).copied()));
            for rate in of_threads {
                assert!(rate.operations_per_second > 0.0, "{rate:?}");
                assert!(threads > 1 || rate.efficiency == 1.0, "{rate:?}");
            }
        }
    }
}

#[test]
fn scaling_takes_no_more_threads_than_cpus_unless_asked() {
    let plan = Plan {
        cpus: allowed_cpus().unwrap()[..1].to_vec(),
        oversubscribes: false,
        filter: "pair".to_owned(),
        ..tiny_plan()
    };
    let works: Vec<_> = scaling::selected(&plan).collect();
    assert_eq!(works.len(), 1);
    let rates = scaling::measure(works[0], &plan, &mut |_| {})
        .unwrap()
        .rates;
    assert!(rates.iter().all(|rate| rate.threads == 1));
    assert_eq!(rates.len(), 11);
    let heading = ScalingReport::begin(true, &plan).heading();
    assert!(
        heading.contains("Not run: 2, 4, 8, 16 threads"),
        "{heading}"
    );
    let with_all = ScalingReport::begin(true, &tiny_plan()).heading();
    assert!(!with_all.contains("Not run"), "{with_all}");
}

/// `t2` beside `t1`, with a mutex beside without.
#[test]
fn two_threads_are_compared_with_one() {
    let mut report = Report::begin(true, &tiny_plan());
    report.add(Outcome::Rows(vec![
        Row::new("pair_o0_t1", POOL, vec![10.0]),
        Row::new("pair_o0_t1", "talc", vec![4.0]),
    ]));
    let mut outcome = Outcome::Rows(vec![
        Row::new("pair_o0_t2", POOL, vec![15.0]),
        Row::new("pair_o0_t2", "talc, mutex", vec![40.0]),
        Row::new("pair_o0_t2", "rlsf, mutex", vec![40.0]),
        Row::new("pair_o9_t1", POOL, vec![40.0]),
    ]);
    report.compare(&mut outcome);
    let Outcome::Rows(rows) = outcome else {
        unreachable!("they are rows")
    };
    let ratios: Vec<Option<f64>> = rows.iter().map(|row| row.ratio_to_one_thread).collect();
    assert_eq!(ratios, [Some(1.5), Some(10.0), None, None]);
}

/// Two lanes, one of which only serves in the second row.
#[test]
fn lanes_are_averaged_or_the_slowest_counts() {
    let lanes = [vec![vec![vec![10.0, 3.0]]], vec![vec![vec![20.0]]]];
    assert_eq!(table::of_rounds(&lanes, 0, 0, table::mean), [15.0]);
    assert_eq!(table::of_rounds(&lanes, 0, 0, table::slowest), [20.0]);
    assert_eq!(table::of_rounds(&lanes, 0, 1, table::mean), [3.0]);
}

/// Every row has a yardstick, which stands first, and something to compare with it.
#[track_caller]
fn assert_is_contest(names: &[&str], rows: &[Row]) {
    for &name in names {
        let of_name: Vec<&Row> = rows.iter().filter(|row| row.work == name).collect();
        assert!(of_name.len() > 1, "{name}: {rows:?}");
        assert_eq!(of_name[0].ratio_to_best, Some(1.0));
        assert_eq!(of_name[0].over_yardstick_ns, None);
        for row in &of_name[1..] {
            assert!(row.over_yardstick_ns.is_some(), "{row:?}");
            assert!(row.median_ns > 0.0, "{row:?}");
        }
    }
}

#[test]
fn filter_selects_by_row_name() {
    let plan = Plan {
        filter: "free_t2".to_owned(),
        ..tiny_plan()
    };
    let names: Vec<&str> = plan.works().map(|work| work.name).collect();
    assert_eq!(names, ["held, 2 threads"]);
}
