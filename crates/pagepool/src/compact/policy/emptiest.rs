//! Which pageblock leaves service next.
//!
//! *Kernel counterpart:* none. `offline_pages` (v5.0) is told which memory goes; here any will do, so that the
//! one is chosen that costs the fewest moves.

use super::units::BlockView;
use crate::types::Migratetype;

/// The pageblock of which most is free, of those that may go. Not one
/// that is being emptied or out of service already, one that is reserved for urgent requests, or one that was
/// passed over. Of equals the last: the zone's end goes first.
pub(crate) fn emptiest(
    blocks: impl Iterator<Item = BlockView>,
    is_passed: impl Fn(usize) -> bool,
) -> Option<usize> {
    let may_go = |block: &BlockView| !block.isolated && block.mt != Migratetype::HighAtomic;
    let candidates = blocks
        .enumerate()
        .filter(|(n, block)| may_go(block) && !is_passed(*n));
    candidates
        .max_by_key(|(_, block)| block.free)
        .map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(free: usize) -> BlockView {
        BlockView {
            free,
            mt: Migratetype::Movable,
            isolated: false,
        }
    }

    fn chosen(blocks: &[BlockView], passed: &[usize]) -> Option<usize> {
        emptiest(blocks.iter().copied(), |n| passed.contains(&n))
    }

    #[test]
    fn what_has_the_least_to_move_goes_first_and_of_equals_the_last() {
        let blocks = [block(10), block(500), block(500), block(0)];
        assert_eq!(chosen(&blocks, &[]), Some(2));
        assert_eq!(chosen(&blocks, &[2]), Some(1));
        assert_eq!(chosen(&blocks, &[1, 2]), Some(0));
        assert_eq!(chosen(&blocks, &[0, 1, 2]), Some(3), "full ones too");
        assert_eq!(chosen(&blocks, &[0, 1, 2, 3]), None);
    }

    #[test]
    fn what_is_withheld_or_reserved_stays() {
        let isolated = BlockView {
            isolated: true,
            ..block(511)
        };
        let reserved = BlockView {
            mt: Migratetype::HighAtomic,
            ..block(510)
        };
        assert_eq!(chosen(&[isolated, reserved, block(1)], &[]), Some(2));
        assert_eq!(chosen(&[isolated, reserved], &[]), None);
    }
}
