//! The harness itself: that its arithmetic holds and that every work runs.

use std::time::Duration;

use crate::pin::allowed_cpus;
use crate::plan::{Plan, Scale};
use crate::report::{Outcome, Row};
use crate::spread::Spread;
use crate::subject::{NULL, POOL};
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
            mixed_bytes: 128 << 20,
            mixed_ops: 200,
            busy_bytes: 32 << 20,
            busy_ops: 20_000,
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
