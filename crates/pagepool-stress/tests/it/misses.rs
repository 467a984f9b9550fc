//! What is missed of a trace of references: by policies that need no pool, and by a pool of the same size.

use serde_json::Value;

use crate::support::{float, number, run, verified_json, write};

const SQLITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/sqlite.pages.zst");

fn policy<'a>(at: &'a Value, name: &str) -> &'a Value {
    let policies = at["policies"].as_array().expect("a list");
    let found = policies.iter().find(|policy| policy["policy"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {at}"))
}

/// A pool of a quarter of the footprint misses no less than the optimum, and about as much as the two lists that it has.
#[test]
fn a_pool_stands_beside_the_policies() {
    let report = verified_json(["replay", SQLITE, "--sizes", "25%", "--seed", "1"]);
    let found = &report["miss_ratios"][0];
    assert_eq!(found["trace"], "sqlite.pages");
    assert_eq!(
        (number(&found["references"]), number(&found["keys"])),
        (42_204, 2_663)
    );
    let at = &found["sizes"][0];
    assert_eq!((&at["size"], number(&at["pages"])), (&"25%".into(), 666));
    for (name, misses) in [
        ("opt", 9_114),
        ("lru", 14_328),
        ("clock", 14_509),
        ("two-lists", 14_756),
    ] {
        let policy = policy(at, name);
        assert_eq!(policy["misses"], misses, "{name}");
        let ratio = misses as f64 / 42_204.0;
        assert!((float(&policy["miss_ratio"]) - ratio).abs() < 1e-9);
    }
    let pool = &at["pool"];
    assert_eq!(number(&pool["references"]), 42_204);
    assert_eq!(number(&pool["misses"]), 2_663 + number(&pool["refaults"]));
    assert!(number(&pool["misses"]) > 9_114, "{pool}");
    assert!(number(&pool["misses"]) < 18_000, "{pool}");
    assert!(number(&pool["held_pages"]) <= number(&pool["managed_pages"]));
    assert_eq!(number(&pool["managed_pages"]), 666);
    // The pool's own counters say the same.
    let refaults = &report["vmstat"]["pgmajfault"];
    assert_eq!(refaults, &pool["refaults"]);
    assert_eq!(report["ops"], 42_204);
    let cache = &report["phases"][0]["cache"];
    assert_eq!(cache["misses"], pool["misses"]);
    assert_eq!(
        (
            number(&cache["footprint_pages"]),
            number(&cache["limit_pages"])
        ),
        (2_663, 666)
    );
    assert!(
        number(&cache["evictions"]) >= number(&pool["refaults"]),
        "{cache}"
    );
}

#[test]
fn policies_alone_need_no_pool() {
    let loop_of_ten: String = (0..100).map(|n| format!("{}\n", n % 10)).collect();
    let path = write("ten.key.txt", loop_of_ten.as_bytes());
    let report = verified_json([
        "replay",
        path.to_str().unwrap(),
        "--policies",
        "lru,opt",
        "--sizes",
        "90%,40K,4K",
    ]);
    assert_eq!(report["phases"], Value::Array(vec![]));
    let sizes = &report["miss_ratios"][0]["sizes"];
    assert_eq!(policy(&sizes[0], "lru")["misses"], 100);
    assert_eq!(policy(&sizes[0], "opt")["misses"], 20);
    assert_eq!(policy(&sizes[1], "lru")["misses"], 10);
    assert_eq!(policy(&sizes[2], "opt")["misses"], 100);
    assert!(sizes[0]["pool"].is_null());
}

/// An object is a folio of the order that holds it, and counts as so many pages.
#[test]
fn objects_become_folios_of_their_order() {
    let lines: String = (0..400)
        .map(|n| format!("1 {} {}\n", n % 40, 1 + n % 40 * 1000))
        .collect();
    let path = write("orders.obj.txt", lines.as_bytes());
    let report = verified_json(["replay", path.to_str().unwrap(), "--sizes", "50%"]);
    let found = &report["miss_ratios"][0];
    // 5 objects of one page, 4 of two, 8 of four, 16 of eight, 7 of sixteen.
    assert_eq!(found["footprint_pages"], 5 + 8 + 32 + 128 + 112);
    let pool = &found["sizes"][0]["pool"];
    assert_eq!(
        number(&pool["misses"]),
        40 + number(&pool["refaults"]) + number(&pool["refused"])
    );
    assert!(number(&pool["refaults"]) > 0, "{pool}");
}

#[test]
fn the_table_is_for_people_too() {
    let run = run(["replay", SQLITE, "--policies", "opt,clock"]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let rows: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for row in [
        ["memory", "1%", "10%", "25%"],
        ["opt", "0.540", "0.330", "0.216"],
        ["clock", "0.645", "0.450", "0.344"],
    ] {
        assert!(
            rows.iter().any(|found| found == &row),
            "{row:?} in {}",
            run.stdout
        );
    }
}
