//! How fast are folios moved together? We expect at least 70 % of a plain copy of as many pages.
//!
//! Three quarters of a pool full of pages are freed at random, and all that is left is moved together on
//! request, by the thread that asks. The yardstick copies as many raw pages of a pool of the same size to
//! others, both at random. Before each of either a buffer is written that pushes everything out of the
//! caches. Both are timed by the time that the thread had a CPU.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use pagepool::{Gfp, Order, PAGE_SIZE, PagePool, Pages};

use super::pieces::{Pieces, pool_without_daemons};
use super::timed_on_cpu;
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["compact_move"];

/// What is written to have nothing cached.
const SWEPT: usize = 64 << 20;

/// How long a compaction may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One in so many pages is kept.
const KEPT_ONE_IN: usize = 4;

/// Moves what is in the plan's memory by each means.
pub(crate) fn measure_moving(plan: &Plan) -> Result<Outcome, Failure> {
    let bytes = plan.scale.compacted_bytes;
    let mut plain = Plain::open(bytes)?;
    let pieces = Pieces::open(bytes)?;
    let mut buffer = vec![0_u8; SWEPT];
    let mut another = buffer.clone();
    // About what will be moved, until something was.
    let moved = Cell::new(bytes / PAGE_SIZE / 8);
    let (mut plain_round, mut round) = (0, 0);
    let contestants = vec![
        Contestant::of_one("plain copy", || {
            plain_round += 1;
            plain.shuffle(plain_round);
            sweep(&mut buffer);
            let nr = moved.get().min(plain.pages.len() / 2);
            timed_on_cpu(nr, || plain.copy(nr))
        }),
        Contestant::new("compact", || {
            round += 1;
            let kept = pieces.break_up(round, |_| KEPT_ONE_IN)?;
            sweep(&mut another);
            let before = pieces.moved();
            let ns = timed_on_cpu(1, || pieces.pool.compact(PATIENCE));
            let nr = pieces.moved() - before;
            if nr == 0 {
                return Err(Failure::broken("nothing was moved"));
            }
            moved.set(nr);
            drop(kept);
            Ok(vec![ns / nr as f64])
        }),
    ];
    contest(ROWS, contestants, plan, Placement::OneCpu)
}

fn sweep(buffer: &mut [u8]) {
    for byte in buffer.iter_mut().step_by(64) {
        *byte = byte.wrapping_add(1);
    }
    black_box(buffer);
}

/// Pages that stay where they are.
struct Plain {
    _pool: PagePool,
    pages: Vec<Pages>,
}

impl Plain {
    fn open(bytes: usize) -> Result<Plain, Failure> {
        let pool = pool_without_daemons(bytes)?;
        let page = |_| pool.alloc_pages(Order::ZERO, Gfp::USER_MOVABLE | Gfp::NORETRY);
        let mut pages: Vec<Pages> = (0..bytes / PAGE_SIZE).map_while(|n| page(n).ok()).collect();
        for page in &mut pages {
            page.fill(1);
        }
        Ok(Plain { _pool: pool, pages })
    }

    /// Brings the handles into another order, so that those next to each other name pages far apart.
    fn shuffle(&mut self, round: u64) {
        fastrand::Rng::with_seed(round).shuffle(&mut self.pages);
    }

    fn copy(&mut self, nr: usize) {
        let (from, to) = self.pages.split_at_mut(nr);
        for (from, to) in from.iter().zip(to) {
            to.copy_from_slice(from);
        }
    }
}
