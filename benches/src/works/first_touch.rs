//! What does memory cost that the system has not given yet? We expect a huge page to cost a third of 512 small ones,
//! and next to nothing of what was asked for ahead.
//!
//! Each round begins with a pool that has given all its memory back. The first work allocates blocks of 2 MiB and
//! writes to each page; the yardstick does so with pages of 4 KiB, the others with huge ones where whole blocks get
//! memory at once, with memory that was prefaulted, and with both. The second is the prefaulting itself.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use pagepool::{Gfp, HugePages, PAGE_SIZE, PagePool, Pages};

use super::{huge_order, per_operation, timed};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const TOUCH: &[&str] = &["first_touch_2m"];
pub(crate) const PREFAULT: &[&str] = &["prefault_64m"];

/// What is touched, or prefaulted, in a round; the pool has twice as much.
const BYTES: usize = 64 << 20;

/// Longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Allocates blocks that have no memory, or some that was asked for ahead, and writes to each of their pages.
pub(crate) fn measure_touching(plan: &Plan) -> Result<Outcome, Failure> {
    let contestant = |name, huge_pages, is_ahead| {
        let pool = pool_with(huge_pages)?;
        let round = move || {
            pool.trim();
            if is_ahead {
                prefault(&pool)?;
            }
            touch(&pool).map(|ns| vec![ns])
        };
        Ok(Contestant::new(name, round))
    };
    let contestants = vec![
        contestant("4 KiB pages", HugePages::Never, false)?,
        contestant("huge when whole", HugePages::WhenWhole, false)?,
        contestant("4 KiB, prefaulted", HugePages::Never, true)?,
        contestant("huge, prefaulted", HugePages::WhenWhole, true)?,
    ];
    contest(TOUCH, contestants, plan, Placement::OneCpu)
}

/// Prefaults.
pub(crate) fn measure_prefaulting(plan: &Plan) -> Result<Outcome, Failure> {
    let contestant = |name, huge_pages| {
        let pool = pool_with(huge_pages)?;
        let round = move || {
            pool.trim();
            prefault(&pool).map(|ns| vec![ns])
        };
        Ok(Contestant::new(name, round))
    };
    let contestants = vec![
        contestant("4 KiB pages", HugePages::Never)?,
        contestant("huge when whole", HugePages::WhenWhole)?,
    ];
    contest(PREFAULT, contestants, plan, Placement::OneCpu)
}

fn pool_with(huge_pages: HugePages) -> Result<PagePool, Failure> {
    let builder = PagePool::builder().managed(2 * BYTES).movable_share(0);
    let built = builder.huge_pages(huge_pages).build();
    built.map_err(|error| Failure::broken(format!("a pool of {BYTES} bytes: {error}")))
}

/// Nanoseconds for each page that is made resident.
fn prefault(pool: &PagePool) -> Result<f64, Failure> {
    let begun = Instant::now();
    let cost = pool.prefault(BYTES, PATIENCE);
    let elapsed = begun.elapsed();
    match cost {
        Ok(cost) if cost.bytes == BYTES => Ok(per_operation(elapsed, BYTES / PAGE_SIZE)),
        Ok(cost) => Err(Failure::broken(format!("prefaulted {cost}"))),
        Err(error) => Err(Failure::broken(format!("prefault: {error}"))),
    }
}

/// Nanoseconds for each page of the blocks that are allocated and written to.
fn touch(pool: &PagePool) -> Result<f64, Failure> {
    let count = BYTES / huge_order().bytes();
    let mut held: Vec<Pages> = Vec::with_capacity(count);
    let ns = timed(BYTES / PAGE_SIZE, || {
        let blocks = (0..count).map_while(|_| pool.alloc_pages(huge_order(), Gfp::KERNEL).ok());
        held.extend(blocks.map(|mut block| {
            let pages = block.chunks_exact_mut(PAGE_SIZE);
            pages.for_each(|page| page[0] = black_box(1));
            block
        }));
    });
    match held.len() == count {
        true => Ok(ns),
        false => Err(Failure::broken(format!("{} of {count} blocks", held.len()))),
    }
}
