//! What does a page cost that comes with many others? We expect less than one that is asked for alone.
//!
//! Bulk blocks are zeroed, so the yardstick zeroes as many pages of plain memory, in order; what is over
//! that is the allocation. Where they are taken as they are, pages one by one are the yardstick. They are freed
//! outside the clock. No peer has such a call; what they take for a page is in the rows of pages that are held.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::hint::black_box;

use pagepool::{Gfp, Order, PAGE_SIZE, PagePool};

use super::timed_on_cpu;
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;
use crate::subject::{Events, Pool, Subject};

pub(crate) const ROWS: &[&str] = &["bulk_100k_alloc"];
pub(crate) const UNINIT_ROWS: &[&str] = &["bulk_100k_uninit"];

/// Takes zeroed pages at once, and one by one.
pub(crate) fn measure(plan: &Plan) -> Result<Outcome, Failure> {
    let count = plan.scale.held;
    in_pool(plan, |pool, taken| {
        let contestants = vec![
            zeroing(count),
            taking("one by one", count, taken, |into| {
                for _ in 0..count {
                    into.extend(pool.alloc_pages(Order::ZERO, Gfp::KERNEL));
                }
            }),
            taking("alloc_bulk", count, taken, |into| {
                // How many there are is looked at by the caller.
                let _ = pool.alloc_bulk(Order::ZERO, Gfp::KERNEL, count, into);
            }),
        ];
        contest(ROWS, contestants, plan, Placement::OneCpu)
    })
}

/// Takes pages as they are, one by one and at once.
pub(crate) fn measure_uninit(plan: &Plan) -> Result<Outcome, Failure> {
    let count = plan.scale.held;
    in_pool(plan, |pool, taken| {
        let contestants = vec![
            taking("one by one", count, taken, |into| {
                for _ in 0..count {
                    into.extend(pool.alloc_pages_uninit(Order::ZERO, Gfp::KERNEL));
                }
            }),
            taking("alloc_bulk_uninit", count, taken, |into| {
                // As above.
                let _ = pool.alloc_bulk_uninit(Order::ZERO, Gfp::KERNEL, count, into);
            }),
        ];
        contest(UNINIT_ROWS, contestants, plan, Placement::OneCpu)
    })
}

/// Has a contest in a pool, which must have counted in the end as many pages as were taken.
fn in_pool(
    plan: &Plan,
    run: impl FnOnce(&PagePool, &Cell<u64>) -> Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    let bytes = plan.scale.held * PAGE_SIZE * 5 / 4 + (64 << 20);
    let subject = Pool::open(bytes).map_err(Failure::broken)?;
    let taken = Cell::new(0);
    let outcome = run(subject.as_pool(), &taken)?;
    subject.check().map_err(Failure::broken)?;
    let pages = taken.get();
    let expected = Events {
        allocated: pages,
        freed: pages,
    };
    match subject.events() {
        Some(counted) if counted != expected => Err(Failure::broken(format!(
            "{pages} pages were taken, but the pool counted {counted:?}"
        ))),
        _ => Ok(outcome),
    }
}

/// The yardstick: zeroes as many pages of plain memory.
fn zeroing<'a>(count: usize) -> Contestant<'a> {
    let mut plain = vec![[1u8; PAGE_SIZE]; count];
    Contestant::of_one("zero a page", move || {
        timed_on_cpu(count, || {
            for page in &mut plain {
                black_box(page).fill(0);
            }
        })
    })
}

/// Has `take` put `count` pages into the vector, and frees them when the clock has stopped.
fn taking<'a, P: 'a>(
    name: &'static str,
    count: usize,
    taken: &'a Cell<u64>,
    take: impl Fn(&mut Vec<P>) + 'a,
) -> Contestant<'a> {
    let mut held: Vec<P> = Vec::with_capacity(count);
    Contestant::new(name, move || {
        let ns = timed_on_cpu(count, || take(&mut held));
        if held.len() != count {
            let got = held.len();
            return Err(Failure::broken(format!(
                "{name}: {got} of {count} pages, for which there is room"
            )));
        }
        taken.set(taken.get() + count as u64);
        held.clear();
        Ok(vec![ns])
    })
}
