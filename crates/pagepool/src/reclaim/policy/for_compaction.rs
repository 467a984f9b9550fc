//! Reclaim that makes room for compaction, and when there is enough (spec 5.8).
//!
//! *Kernel counterpart:* `in_reclaim_compaction`, `should_continue_reclaim` (v5.0), with
//! the fix of spec 9.10: a request that may fail is no longer told apart, and stops like any other
//! once nothing was reclaimed.

use crate::reclaim::control::DEF_PRIORITY;
use crate::types::Order;
use crate::zone::fragmentation::compact_gap;

/// Whether the aim of a reclaim is that compaction can make the block. Small orders come back by
/// themselves as long as reclaim is easy.
pub(crate) fn is_for_compaction(order: Order, priority: u8) -> bool {
    order > Order::ZERO && (order.is_costly() || priority < DEF_PRIORITY - 2)
}

/// How a pass over a node ended, for one who might want another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PassEnd {
    /// The order wanted.
    pub(crate) order: Order,
    /// The priority of the pass.
    pub(crate) priority: u8,
    /// Pages that the pass reclaimed.
    pub(crate) reclaimed: usize,
    /// Pages reclaimed since this reclaim began.
    pub(crate) total_reclaimed: usize,
    /// Inactive pages that could still be reclaimed: of files, and where swap has room, anonymous ones.
    pub(crate) inactive: usize,
    /// Whether compaction would find enough in a zone now, or the block itself is free.
    pub(crate) can_compact: bool,
}

/// Whether to go over the node again at the same priority.
pub(crate) fn should_continue(end: &PassEnd) -> bool {
    if !is_for_compaction(end.order, end.priority) || end.reclaimed == 0 {
        return false;
    }
    let gap = compact_gap(end.order);
    if end.total_reclaimed < gap && end.inactive > gap {
        return true;
    }
    !end.can_compact
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(order: usize) -> PassEnd {
        PassEnd {
            order: Order::at(order),
            priority: 12,
            reclaimed: 32,
            total_reclaimed: 32,
            inactive: 100_000,
            can_compact: true,
        }
    }

    #[test]
    fn single_pages_are_never_for_compaction_and_small_blocks_are_once_reclaim_is_hard() {
        assert!((0..=12).all(|priority| !is_for_compaction(Order::ZERO, priority)));
        assert!(!is_for_compaction(Order::at(3), 10));
        assert!(is_for_compaction(Order::at(3), 9));
        assert!(is_for_compaction(Order::at(4), 12));
    }

    #[test]
    fn a_pass_is_repeated_until_the_gap_is_filled() {
        assert!(should_continue(&end(9)), "32 pages of 1024");
        let filled = PassEnd {
            total_reclaimed: 1024,
            ..end(9)
        };
        assert!(!should_continue(&filled));
        let not_free = PassEnd {
            can_compact: false,
            ..filled
        };
        assert!(should_continue(&not_free), "others took what was freed");
    }

    #[test]
    fn a_pass_is_not_repeated_for_pages_that_are_not_there() {
        let short = PassEnd {
            inactive: 1024,
            ..end(9)
        };
        assert!(!should_continue(&short));
    }

    #[test]
    fn a_pass_without_progress_is_the_last() {
        let idle = PassEnd {
            reclaimed: 0,
            can_compact: false,
            ..end(9)
        };
        assert!(!should_continue(&idle));
    }

    #[test]
    fn a_pass_for_single_pages_is_not_repeated() {
        assert!(!should_continue(&end(0)));
        assert!(!should_continue(&end(3)), "easy, and not costly");
    }
}
