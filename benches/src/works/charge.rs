//! What does it cost that a page is charged to a group? We expect at most 3 ns on a pair: the charge of a
//! page that was freed on this CPU waits there for the next one.
//!
//! The yardstick allocates and frees a page of the pool itself.

use std::hint::black_box;

use pagepool::{Gfp, Group, GroupLimits, Order, PagePool};

use super::{pool_of, timed_on_cpu};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["charge_pair"];

pub(crate) fn measure(plan: &Plan) -> Result<Outcome, Failure> {
    let pairs = plan.scale.pairs;
    let pool = pool_of(64 << 20)?;
    let group = |parent: &Group, name| {
        let limits = GroupLimits::new().max(32 << 20);
        { parent.create_group(name, limits) }.map_err(|error| Failure::broken(error.to_string()))
    };
    let shallow = group(&pool.root_group(), "shallow")?;
    let mut deep = group(&pool.root_group(), "a")?;
    for name in ["b", "c", "d"] {
        deep = group(&deep, name)?;
    }
    let contestants = vec![
        Contestant::of_one("no group", || {
            timed_on_cpu(pairs, || repeat(pairs, || of_pool(&pool)))
        }),
        Contestant::of_one("group", || {
            timed_on_cpu(pairs, || repeat(pairs, || of_group(&shallow)))
        }),
        Contestant::of_one("group of 4 levels", || {
            timed_on_cpu(pairs, || repeat(pairs, || of_group(&deep)))
        }),
    ];
    contest(ROWS, contestants, plan, Placement::OneCpu)
}

fn repeat(times: usize, mut pair: impl FnMut()) {
    for _ in 0..times {
        pair();
    }
}

#[inline]
fn of_pool(pool: &PagePool) {
    let block = pool.alloc_pages_uninit(Order::ZERO, Gfp::KERNEL);
    drop(black_box(block));
}

#[inline]
fn of_group(group: &Group) {
    let block = group.alloc_pages_uninit(Order::ZERO, Gfp::KERNEL);
    drop(black_box(block));
}
