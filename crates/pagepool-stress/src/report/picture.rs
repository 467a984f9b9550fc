//! Pageblocks by how full they are: a character each, and a count for each tenth.
//!
//! ```text
//!   .  all of it is free        1  up to a tenth is in use
//!   #  all of it is in use      9  more than eight tenths are, and not all
//! ```
#![forbid(unsafe_code)]

use pagepool::Stats;
use serde::Serialize;

/// Characters in a line, and lines.
const WIDTH: usize = 64;
const HEIGHT: usize = 16;

/// What stands for a pageblock that is empty, partly full, or full.
const SIGNS: [char; 11] = ['.', '1', '2', '3', '4', '5', '6', '7', '8', '9', '#'];

/// All pageblocks of a pool, node by node and zone by zone.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Picture {
    pub(crate) pageblocks: u64,
    /// Pageblocks of which nothing is in use, up to a tenth, and so on; the last are full. In all, 11 numbers.
    pub(crate) by_tenth: Vec<u64>,
    /// Pageblocks that a character stands for: their mean, where there are too many to show each.
    pub(crate) per_sign: u64,
    pub(crate) lines: Vec<String>,
}

impl Picture {
    /// How a pool's pageblocks stand.
    pub(crate) fn of(stats: &Stats) -> Picture {
        let zones = stats.nodes.iter().flat_map(|node| &node.zones);
        let shares: Vec<f64> = zones
            .flat_map(|zone| {
                let pages = zone.pageblock_order.pages() as f64;
                let share = move |in_use: &u16| f64::from(*in_use) / pages;
                zone.pageblocks.iter().map(share)
            })
            .collect();
        Picture::draw(&shares)
    }

    fn draw(shares: &[f64]) -> Picture {
        let per_sign = shares.len().div_ceil(WIDTH * HEIGHT).max(1);
        let mean = |group: &[f64]| group.iter().sum::<f64>() / group.len() as f64;
        let signs: Vec<char> = shares
            .chunks(per_sign)
            .map(|group| SIGNS[level(mean(group))])
            .collect();
        let mut by_tenth = vec![0; SIGNS.len()];
        shares.iter().for_each(|share| by_tenth[level(*share)] += 1);
        Picture {
            pageblocks: shares.len() as u64,
            by_tenth,
            per_sign: per_sign as u64,
            lines: signs.chunks(WIDTH).map(String::from_iter).collect(),
        }
    }

    /// Pageblocks that are empty, partly full, and full.
    pub(super) fn summary(&self) -> [u64; 3] {
        match self.by_tenth[..] {
            [empty, .., full] => [empty, self.pageblocks - empty - full, full],
            _ => [0; 3],
        }
    }
}

/// The sign for a share: only what is empty or full looks like it.
fn level(share: f64) -> usize {
    match share {
        share if share <= 0.0 => 0,
        share if share >= 1.0 => 10,
        share => ((share * 10.0).ceil() as usize).clamp(1, 9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pageblock_has_a_sign() {
        let picture = Picture::draw(&[0.0, 0.001, 0.1, 0.11, 0.95, 1.0]);
        assert_eq!(picture.lines, [".1129#"]);
        assert_eq!(picture.by_tenth, [1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(picture.summary(), [1, 4, 1]);
    }

    #[test]
    fn the_picture_of_a_large_pool_is_no_larger() {
        let picture = Picture::draw(&vec![0.5; 8192]);
        assert_eq!((picture.per_sign, picture.lines.len()), (8, HEIGHT));
        assert!(picture.lines.iter().all(|line| line == &"5".repeat(WIDTH)));
    }

    #[test]
    fn a_pool_without_pageblocks_has_no_picture() {
        assert!(Picture::draw(&[]).lines.is_empty());
    }
}
