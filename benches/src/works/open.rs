//! What does a program pay before its first page? We expect no scan: all-zero means free.
//!
//! Each time a fresh process opens a pool of 8 GiB and takes one page. The time includes mapping
//! the arena and the frame table; growth of resident memory is measured over the same stretch.

#![forbid(unsafe_code)]

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use pagepool::Order;

use crate::Failure;
use crate::machine::{field, first_number};
use crate::pin::{allowed_cpus, pin_to};
use crate::plan::Plan;
use crate::report::{Outcome, Row};
use crate::spread::Spread;
use crate::subject::{POOL, Pool, Subject};

pub(crate) const ROWS: &[&str] = &["open_8gib"];

const POOL_BYTES: usize = 8 << 30;

/// Starts one process after another, each of which opens a pool [`once`].
pub(crate) fn measure_opening(plan: &Plan) -> Result<Outcome, Failure> {
    let openings = (0..plan.scale.opens)
        .map(|_| in_fresh_process())
        .collect::<Result<Vec<Opening>, Failure>>()?;
    let times = openings.iter().map(|opening| opening.ns).collect();
    let growth = |of: fn(&Opening) -> f64| Spread::of(openings.iter().map(of).collect()).median;
    let mut row = Row::new(ROWS[0], POOL, times);
    row.rss_growth_kib = Some(growth(|opening| opening.rss_kib));
    row.anonymous_growth_kib = Some(growth(|opening| opening.anonymous_kib));
    Ok(Outcome::Rows(vec![row]))
}

struct Opening {
    ns: f64,
    rss_kib: f64,
    anonymous_kib: f64,
}

/// In the fresh process: opens a pool, takes a page, and prints time and growth.
pub(crate) fn once() -> Result<(), Failure> {
    pin_to(allowed_cpus()?[0])?;
    let (rss_before, anonymous_before) = (rollup_kib("Rss")?, rollup_kib("Anonymous")?);
    let begun = Instant::now();
    let pool = Pool::open(POOL_BYTES).map_err(|why| cannot_open(&why))?;
    let mut page = pool
        .alloc(Order::ZERO)
        .ok_or_else(|| cannot_open("the first page was refused"))?;
    pool.touch(black_box(&mut page));
    let ns = begun.elapsed().as_nanos();
    let rss = rollup_kib("Rss")? - rss_before;
    println!("{ns} {rss} {}", rollup_kib("Anonymous")? - anonymous_before);
    Ok(())
}

fn in_fresh_process() -> Result<Opening, Failure> {
    let failed = |what: String| Failure::broken(format!("{} in a process: {what}", ROWS[0]));
    let program = env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .arg("--open-once")
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Result<Vec<f64>, _> = said.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[ns, rss_kib, anonymous_kib]) if output.status.success() => Ok(Opening {
            ns,
            rss_kib,
            anonymous_kib,
        }),
        _ => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

fn cannot_open(why: &str) -> Failure {
    Failure::broken(format!(
        "{POOL} cannot be opened with {POOL_BYTES} bytes: {why}"
    ))
}

/// A sum over the memory of this process, exact: the counters in `status` lag behind.
fn rollup_kib(sum: &str) -> Result<f64, Failure> {
    field("/proc/self/smaps_rollup", sum)
        .and_then(|text| first_number(&text))
        .ok_or_else(|| Failure::broken("cannot read /proc/self/smaps_rollup"))
}
