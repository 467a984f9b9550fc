//! How many pages are moved for each 2 MiB gained? We expect at most 1.1 times what an oracle would.
//!
//! The pageblocks of a pool are unevenly full, from a seventh to a half. The oracle knows how full each is, and
//! empties the cheapest: for as many blocks as were gained it moves what was in these, as long as that has
//! room in the others. All figures are pages, whatever the table calls them. Once everything is compacted on
//! request; once threads that need the blocks take them until one is refused.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use pagepool::{Gfp, PagesUninit};

use super::huge_order;
use super::pieces::Pieces;
use crate::Failure;
use crate::contest::{Figures, table};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["compact_oracle", "compact_oracle_direct"];

/// How long a compaction may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pages of a pageblock.
const BLOCK: usize = 512;

/// Breaks the plan's memory up and compacts it, in rounds.
pub(crate) fn measure_choosing(plan: &Plan) -> Result<Outcome, Failure> {
    let pieces = Pieces::open(plan.scale.compacted_bytes)?;
    let begun = Instant::now();
    let mut figures = Figures::new();
    while plan.has_another_round(figures.len(), begun) {
        let seed = figures.len() as u64 + 1;
        let on_request = gain(&pieces, seed, || {
            pieces.pool.compact(PATIENCE);
            Vec::new()
        })?;
        let direct = gain(&pieces, seed, || take_all(&pieces))?;
        figures.push(vec![
            vec![on_request.ideal, direct.ideal],
            vec![on_request.moved, direct.moved],
        ]);
    }
    Ok(Outcome::Rows(table(
        ROWS,
        &["oracle", "pagepool"],
        &figures,
    )))
}

/// Pages moved for each block gained.
struct Gain {
    moved: f64,
    ideal: f64,
}

/// Has `compact` gain blocks, some of which it may have taken.
fn gain(
    pieces: &Pieces,
    seed: u64,
    compact: impl FnOnce() -> Vec<PagesUninit>,
) -> Result<Gain, Failure> {
    let kept = pieces.break_up(seed, |block| 2 + (block * 5 + seed as usize) % 6)?;
    let before = pieces.pageblocks();
    let moved = pieces.moved();
    let taken = compact();
    let moved = pieces.moved() - moved;
    let whole = |pageblocks: &[usize]| pageblocks.iter().filter(|pages| **pages == 0).count();
    let after = whole(&pieces.pageblocks()) + taken.len();
    drop((taken, kept));
    let gained = after.saturating_sub(whole(&before));
    if gained == 0 || moved == 0 {
        return Err(Failure::broken(format!(
            "{gained} blocks were gained by moving {moved} pages"
        )));
    }
    Ok(Gain {
        moved: moved as f64 / gained as f64,
        ideal: ideal(before, gained)? as f64 / gained as f64,
    })
}

/// What the oracle moves to gain so many blocks.
fn ideal(mut in_use: Vec<usize>, gained: usize) -> Result<usize, Failure> {
    in_use.retain(|pages| *pages > 0);
    in_use.sort_unstable();
    let (emptied, others) = in_use.split_at(gained.min(in_use.len()));
    let moved: usize = emptied.iter().sum();
    let room: usize = others.iter().map(|pages| BLOCK - pages).sum();
    if emptied.len() < gained || moved > room {
        return Err(Failure::broken(format!(
            "{gained} blocks were gained: more than an oracle could"
        )));
    }
    Ok(moved)
}

fn take_all(pieces: &Pieces) -> Vec<PagesUninit> {
    let take = || {
        let flags = Gfp::USER_MOVABLE | Gfp::NORETRY;
        pieces.pool.alloc_pages_uninit(huge_order(), flags).ok()
    };
    std::iter::from_fn(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_empties_the_cheapest() {
        assert_eq!(ideal(vec![0, 300, 100, 200, 50], 2).unwrap(), 150);
        assert!(ideal(vec![500, 500], 1).is_err(), "no room");
        assert!(ideal(vec![5], 2).is_err(), "no such block");
    }
}
