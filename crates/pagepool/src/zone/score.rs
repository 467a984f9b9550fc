//! When to compact although nobody asked (spec 9.13).
//!
//! *Kernel counterpart:* `fragmentation_score_node`, `fragmentation_score_wmark`,
//! `should_proactive_compact_node` (5.9).
//!
//! A zone's *score* is the percentage of its free memory that is in pieces smaller than a pageblock. The
//! background compactor begins when the score of its node is above a high mark, and ends with a zone
//! whose score is at or below a low one; both follow from `proactiveness`.
//!
//! The kernel looks every half second. Here the same question is asked at the moment when the answer may
//! change: a score depends on two numbers that the buddy counts anyway, and [`ProactiveMarks`] compares
//! them without a division, so a free or an allocation that changes the number of whole free blocks can
//! afford to ask.
//!
//! Two things are added. Beside the marks stands a *target*: how many pages have to be in whole free
//! blocks for the score to be low. And a zone in which not even one block could be gained is not
//! fragmented but full, whatever its score: of 300 free pages none are in a whole block.

#[cfg(test)]
use crate::types::Order;
#[cfg(test)]
use crate::zone::fragmentation::FreeCounts;

/// `compaction_proactiveness`, 0 to 100, unless it is set. The kernel's default is 20: there a move costs
/// page tables and a shoot-down, and it is unknown beforehand how much it gains. Here a unit is emptied
/// without being asked only if a third of it is free, so that nothing is moved for little.
pub(crate) const DEFAULT_PROACTIVENESS: u8 = 90;

/// A zone's free memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FreeShape {
    /// Pages free.
    pub(crate) free: usize,
    /// Those of them in whole free pageblocks, alone or joined to larger blocks.
    pub(crate) whole: usize,
    /// Pages in a pageblock of the zone.
    pub(crate) block_pages: usize,
    /// Pageblocks for movable memory of which a third or more is free, but not all, and of which nothing is
    /// known to be in the way: to empty one moves at most two pages for each that it gains.
    pub(crate) sparse: usize,
}

impl FreeShape {
    /// From the free blocks of each order, in a zone with pageblocks of `block_order`.
    #[cfg(test)]
    pub(crate) fn of(counts: &FreeCounts, block_order: Order) -> FreeShape {
        let pages = |(order, nr): (usize, &u64)| (*nr as usize) << order;
        let blocks = counts.iter().enumerate();
        FreeShape {
            free: blocks.clone().map(pages).sum(),
            whole: blocks.skip(block_order.idx()).map(pages).sum(),
            block_pages: block_order.pages(),
            sparse: 1,
        }
    }

    /// The percentage of what is free that is in pieces; 0 if nothing is free, since then there is
    /// nothing to gain.
    pub(crate) fn score(self) -> usize {
        match self.free {
            0 => 0,
            free => self.in_pieces() * 100 / free,
        }
    }

    fn in_pieces(self) -> usize {
        self.free.saturating_sub(self.whole)
    }

    /// Whether what is in pieces would fill a pageblock, and one can be had at a fair price.
    pub(crate) fn could_gain(self) -> bool {
        self.sparse > 0 && self.in_pieces() >= self.block_pages
    }
}

/// The score of a node, from the score and the pages of each of its zones: small zones hardly count.
pub(crate) fn node_score(zones: impl Iterator<Item = (usize, usize)> + Clone) -> usize {
    let pages: usize = zones.clone().map(|(_, pages)| pages).sum();
    zones
        .map(|(score, zone_pages)| score * zone_pages / (pages + 1))
        .sum()
}

/// Between which scores proactive compaction keeps a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProactiveMarks {
    low: usize,
    high: usize,
}

impl ProactiveMarks {
    /// The marks for a `proactiveness` of 0 (never) to 100.
    pub(crate) fn of(proactiveness: u8) -> ProactiveMarks {
        let low = 100 - usize::from(proactiveness.min(100));
        ProactiveMarks {
            low,
            high: (low + (low / 2).min(10)).min(100),
        }
    }

    /// Whether a zone is to be compacted: its score is above the high mark, and anything can be gained.
    /// Cheap enough to be asked whenever a whole free block comes or goes.
    pub(crate) fn is_fragmented(self, shape: FreeShape) -> bool {
        // The quotient of `score` is above `high`, without dividing.
        shape.could_gain() && shape.in_pieces() * 100 >= (self.high + 1) * shape.free
    }

    /// Whether a zone need not be compacted further.
    pub(crate) fn is_settled(self, shape: FreeShape) -> bool {
        shape.score() <= self.low || !shape.could_gain()
    }

    /// Whole free pageblocks that a zone needs for its score to be low.
    pub(crate) fn target_blocks(self, shape: FreeShape) -> usize {
        // (free − whole) · 100 < (low + 1) · free, solved for whole.
        let scaled = (99 - self.low.min(99)) * shape.free;
        let whole = scaled / 100 + 1;
        let whole = if self.low >= 100 || shape.free == 0 {
            0
        } else {
            whole
        };
        whole.div_ceil(shape.block_pages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(free: usize, whole_blocks: usize) -> FreeShape {
        FreeShape {
            free,
            whole: whole_blocks * 512,
            block_pages: 512,
            sparse: 1,
        }
    }

    mod tv {
        use super::*;

        #[test]
        fn s9_13_marks() {
            let table = [
                (0, 100, 100),
                (10, 90, 100),
                (20, 80, 90),
                (50, 50, 60),
                (90, 10, 15),
                (100, 0, 0),
            ];
            for (proactiveness, low, high) in table {
                let marks = ProactiveMarks { low, high };
                assert_eq!(ProactiveMarks::of(proactiveness), marks);
            }
        }

        #[test]
        fn s9_13_small_zones_hardly_count() {
            let node = |zones: &[(usize, usize)]| node_score(zones.iter().copied());
            assert_eq!(node(&[(100, 1 << 20)]), 99);
            assert_eq!(node(&[(100, 4096), (0, 1 << 20)]), 0);
            assert_eq!(node(&[(50, 1000), (80, 999)]), 64);
            assert_eq!(node(&[(100, 0)]), 0);
            assert_eq!(node(&[]), 0);
        }
    }

    #[test]
    fn the_score_is_the_percentage_in_pieces() {
        assert_eq!(shape(1024, 0).score(), 100);
        assert_eq!(shape(1024, 1).score(), 50);
        assert_eq!(shape(1024, 2).score(), 0);
        assert_eq!(shape(0, 0).score(), 0);
    }

    #[test]
    fn what_is_free_at_the_order_of_a_pageblock_or_above_is_whole() {
        let counts = [7, 0, 3, 0, 0, 0, 0, 0, 1, 2, 4];
        let free = FreeShape::of(&counts, Order::at(9));
        assert_eq!(free, shape(7 + 12 + 256 + 2 * 512 + 4 * 1024, 10));
        let small = FreeShape::of(&counts, Order::at(2));
        assert_eq!((small.free - small.whole, small.block_pages), (7, 4));
    }

    #[test]
    fn a_zone_in_which_no_block_can_be_gained_is_full_and_not_fragmented() {
        let marks = ProactiveMarks::of(20);
        assert!(marks.is_fragmented(shape(512, 0)));
        assert!(!marks.is_fragmented(shape(511, 0)));
        assert!(marks.is_settled(shape(511, 0)));
        assert!(!marks.is_fragmented(shape(0, 0)));
    }

    #[test]
    fn a_zone_of_nearly_full_pageblocks_is_left_alone() {
        let marks = ProactiveMarks::of(60);
        let dear = FreeShape {
            sparse: 0,
            ..shape(100_000, 0)
        };
        assert!(!marks.is_fragmented(dear) && marks.is_settled(dear));
    }

    #[test]
    fn at_proactiveness_0_nothing_is_ever_fragmented() {
        let marks = ProactiveMarks::of(0);
        assert!(!marks.is_fragmented(shape(1 << 20, 0)));
        assert!(marks.is_settled(shape(1 << 20, 0)));
        assert_eq!(marks.target_blocks(shape(1 << 20, 0)), 0);
    }

    #[test]
    fn at_proactiveness_20_a_fifth_of_what_is_free_is_to_be_in_whole_blocks() {
        let marks = ProactiveMarks::of(20);
        assert_eq!(marks.target_blocks(shape(512_000, 0)), 191);
        assert_eq!(marks.target_blocks(shape(512, 0)), 1);
        assert_eq!(marks.target_blocks(shape(0, 0)), 0);
    }

    proptest! {
        #[test]
        fn the_cheap_question_has_the_answer_of_the_score(
            free in 0..20_000_usize,
            blocks in 0..40_usize,
            proactiveness in 0..=100_u8,
        ) {
            let shape = shape(free, blocks.min(free / 512));
            let marks = ProactiveMarks::of(proactiveness);
            prop_assert_eq!(
                marks.is_fragmented(shape),
                shape.could_gain() && shape.score() > marks.high
            );
            prop_assert!(!(marks.is_fragmented(shape) && marks.is_settled(shape)));
        }

        #[test]
        fn the_target_is_the_fewest_blocks_with_which_the_score_is_low(
            free in 1..1_000_000_usize,
            proactiveness in 0..=100_u8,
        ) {
            let marks = ProactiveMarks::of(proactiveness);
            let target = marks.target_blocks(shape(free, 0));
            let score = |blocks| shape(free, blocks).score();
            prop_assert!(score(target) <= marks.low);
            prop_assert!(target == 0 || score(target - 1) > marks.low);
        }
    }
}
