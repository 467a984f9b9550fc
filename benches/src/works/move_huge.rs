//! Is a folio of 2 MiB moved faster where it is a huge page? We expect so: there is less to look up on the way.
//!
//! Every other folio of 2 MiB of a full pool is dropped, and blocks of 4 MiB are asked for: for each, a folio is
//! moved by the thread that asks. The yardstick has pages of 4 KiB. Both have all their memory
//! before the clock starts.

#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::{Folio, Gfp, HugePages, Order, PagePool};

use super::{folio_of, huge_order, timed};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["move_2m"];

/// What the pool has.
const BYTES: usize = 64 << 20;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Moves folios with each kind of page.
pub(crate) fn measure_moving(plan: &Plan) -> Result<Outcome, Failure> {
    let contestant = |name, huge_pages| {
        let pool = pool_with(huge_pages)?;
        // All of it has had an owner, and so has memory.
        drop(fill(&pool)?);
        Ok(Contestant::new(name, move || Ok(vec![round(&pool)?])))
    };
    let contestants = vec![
        contestant("4 KiB pages", HugePages::Never)?,
        contestant("huge when whole", HugePages::WhenWhole)?,
    ];
    contest(ROWS, contestants, plan, Placement::OneCpu)
}

fn pool_with(huge_pages: HugePages) -> Result<PagePool, Failure> {
    let builder = PagePool::builder().managed(BYTES).movable_share(100);
    let builder = builder.daemons(false).deadline(PATIENCE);
    let built = builder
        .huge_pages(huge_pages)
        .trim_threshold(usize::MAX)
        .build();
    let broken = |error: &dyn std::error::Error| {
        Failure::broken(format!("a pool of {BYTES} bytes: {error}"))
    };
    let pool = built.map_err(|error| broken(&error))?;
    // Half of the memory is free, in halves of what is wanted: not in pieces enough, by the default.
    let tunables = pool.tunables();
    { tunables.set_extfrag_threshold(0) }.map_err(|error| broken(&error))?;
    Ok(pool)
}

/// As many folios as there is room for, but for what moves need.
fn fill(pool: &PagePool) -> Result<Vec<Folio>, Failure> {
    let count = BYTES / huge_order().bytes() - 2;
    (0..count)
        .map(|_| folio_of(pool, huge_order().bytes()))
        .collect()
}

/// Nanoseconds for each folio that is moved.
fn round(pool: &PagePool) -> Result<f64, Failure> {
    let mut keep = false;
    let mut folios = fill(pool)?;
    folios.retain(|_| {
        keep = !keep;
        keep
    });
    let before = moved(pool);
    // One block is there; of two folios one makes room for the other. Short of the last, which would be refused.
    let count = folios.len() / 2 - 1;
    let mut blocks = Vec::with_capacity(count);
    let ns = timed(1, || {
        let flags = Gfp::USER_MOVABLE | Gfp::RETRY_MAYFAIL;
        let take = || pool.alloc_pages_uninit(Order::MAX, flags).ok();
        blocks.extend(std::iter::from_fn(take).take(count));
    });
    match moved(pool) - before {
        0 => Err(Failure::broken("nothing was moved")),
        nr => Ok(ns / nr as f64),
    }
}

fn moved(pool: &PagePool) -> u64 {
    let vmstat = pool.stats().vmstat;
    vmstat.get("pgmigrate_success").unwrap_or(0)
}
