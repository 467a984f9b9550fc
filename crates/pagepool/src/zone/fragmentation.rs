//! How much of the free memory is of use for a given order, and what would help.
//!
//! *Kernel counterpart:* `fragmentation_index`, `unusable_free_index`, `compaction_suitable`,
//! `compaction_zonelist_suitable` (`mm/vmstat.c`, `mm/compaction.c`, v5.0), with the caller's mark as in
//! later kernels (spec 9.12). Pure.

#![forbid(unsafe_code)]

use super::watermark::{self, AllocFlags, FreeView};
use crate::types::{NR_ORDERS, Order};

/// Free blocks of each order.
pub(crate) type FreeCounts = [u64; NR_ORDERS];

/// At or below which index a refusal of a costly order is for lack of memory, not for fragmentation, unless
/// it is set (kernel: `extfrag_threshold`): right in between.
pub(crate) const DEFAULT_EXTFRAG_THRESHOLD: u32 = 500;

/// The highest `extfrag_threshold`: no index is above.
pub(crate) const MAX_EXTFRAG_THRESHOLD: u32 = 1000;

/// Free pages that compaction needs for a block of `order`, above the marks: twice the block, since it
/// holds as many targets as it moves.
pub(crate) const fn compact_gap(order: Order) -> usize {
    2 * order.pages()
}

/// Pages of the free blocks.
pub(crate) fn pages(counts: &FreeCounts) -> u64 {
    counts
        .iter()
        .enumerate()
        .map(|(order, nr)| nr << order)
        .sum()
}

/// Blocks of `order` that the free blocks hold.
fn suitable(counts: &FreeCounts, order: Order) -> u64 {
    (order.idx()..NR_ORDERS)
        .map(|o| counts[o] << (o - order.idx()))
        .sum()
}

/// Why a request of `order` would fail: towards 0 for lack of memory, towards 1000 because free
/// memory is in pieces; -1000 if it would not fail; 0 if nothing is free (spec 6.1).
pub(crate) fn fragmentation_index(counts: &FreeCounts, order: Order) -> i64 {
    let blocks = counts.iter().sum::<u64>() as i64;
    if blocks == 0 {
        return 0;
    }
    if suitable(counts, order) > 0 {
        return -1000;
    }
    1000 - (1000 + pages(counts) as i64 * 1000 / order.pages() as i64) / blocks
}

/// Thousandths of the free memory that a request of `order` cannot use; 1000 if nothing is free.
pub(crate) fn unusable_index(counts: &FreeCounts, order: Order) -> u64 {
    match pages(counts) {
        0 => 1000,
        free => (free - (suitable(counts, order) << order.get())) * 1000 / free,
    }
}

/// Whether compacting a zone for `order` makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suitability {
    /// The block is there.
    Success,
    /// It would not help.
    Skipped,
    /// It would.
    Continue,
}

/// The marks that [`compaction_suitable`] looks at, and its threshold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuitabilityMarks {
    /// The mark that the request stops at.
    pub(crate) mark: usize,
    /// How far the low mark is above the minimum.
    pub(crate) gap: usize,
    /// What is kept back from the class that asks.
    pub(crate) reserve: usize,
    /// The fragmentation index up to which memory is short rather than in pieces, 0 to 1000.
    pub(crate) extfrag_threshold: u32,
}

impl SuitabilityMarks {
    /// What must be free for blocks of `order` to be made: so much above the mark that things can be
    /// moved around in it. For a costly order more, since that raises the chance of success.
    fn room(&self, order: Order) -> usize {
        let costly = if order.is_costly() { self.gap } else { 0 };
        self.mark + costly + compact_gap(order)
    }
}

/// Judges a zone for a request of these `flags` (spec 6.1): nothing to do if the order can be had, no use
/// if too little is free to move things around in, no use for a costly order if memory is short rather
/// than in pieces. Who has no order in mind need not ask.
pub(crate) fn compaction_suitable(
    view: FreeView,
    counts: &FreeCounts,
    order: Order,
    marks: SuitabilityMarks,
    flags: AllocFlags,
) -> Suitability {
    let suitability = suitable_with(view.free, view, order, marks, flags);
    if suitability == Suitability::Continue && order.is_costly() {
        let index = fragmentation_index(counts, order);
        if (0..=i64::from(marks.extfrag_threshold)).contains(&index) {
            return Suitability::Skipped;
        }
    }
    suitability
}

/// As [`compaction_suitable`], without the index, and with `available` pages to move things around in.
fn suitable_with(
    available: usize,
    view: FreeView,
    order: Order,
    marks: SuitabilityMarks,
    flags: AllocFlags,
) -> Suitability {
    if watermark::check(view, order, marks.mark, marks.reserve, flags).passes() {
        return Suitability::Success;
    }
    let enough = FreeView {
        free: available,
        ..view
    };
    // Not the request's own privileges: what may be taken to move things around in does not depend on
    // whom they are moved for.
    let none = AllocFlags::empty();
    let room = marks.room(order);
    if watermark::check(enough, Order::ZERO, room, marks.reserve, none).passes() {
        Suitability::Continue
    } else {
        Suitability::Skipped
    }
}

/// A zone that a request may use, and what reclaim might add to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prospect {
    /// What is free.
    pub(crate) view: FreeView,
    /// Pages that might be reclaimed.
    pub(crate) reclaimable: usize,
    /// The marks.
    pub(crate) marks: SuitabilityMarks,
}

/// Whether to go on reclaiming so that compaction can make a block of `order` in one of the zones (spec
/// 6.2). Of what might be reclaimed only a part counts, the less the larger the order: nobody's
/// memory is to be turned over for one block that may not come of it.
pub(crate) fn compaction_zonelist_suitable(
    zones: impl IntoIterator<Item = Prospect>,
    order: Order,
    flags: AllocFlags,
) -> bool {
    zones.into_iter().any(|zone| {
        let share = zone.reclaimable / order.idx().max(1);
        let available = zone.view.free + share;
        suitable_with(available, zone.view, order, zone.marks, flags) != Suitability::Skipped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buddy::Availability;
    use crate::types::Migratetype;

    fn counts(blocks: &[(usize, u64)]) -> FreeCounts {
        let mut counts = [0; NR_ORDERS];
        for (order, nr) in blocks {
            counts[*order] = *nr;
        }
        counts
    }

    /// What is free, all of it Movable.
    fn view(counts: &FreeCounts) -> FreeView {
        let bits = (0..NR_ORDERS).filter(|order| counts[*order] > 0);
        let row = bits.fold(0, |row, order| row | 1 << order);
        FreeView {
            free: pages(counts) as usize,
            highatomic: 0,
            available: Availability::from_raw(row << (Migratetype::Movable.idx() * NR_ORDERS)),
        }
    }

    const MARKS: SuitabilityMarks = SuitabilityMarks {
        mark: 100,
        gap: 100,
        reserve: 0,
        extfrag_threshold: DEFAULT_EXTFRAG_THRESHOLD,
    };

    fn judge(order: usize, blocks: &[(usize, u64)], marks: SuitabilityMarks) -> Suitability {
        let counts = counts(blocks);
        let (order, none) = (Order::at(order), AllocFlags::empty());
        compaction_suitable(view(&counts), &counts, order, marks, none)
    }

    mod tv {
        use super::*;

        #[test]
        fn s6_1_fragmentation_index() {
            let table = [
                (9, counts(&[(0, 4096)]), 998),
                (9, counts(&[(0, 100)]), 989),
                (9, counts(&[(8, 2)]), 0),
                (9, counts(&[(8, 4)]), 250),
                (9, counts(&[(0, 10), (8, 5)]), 766),
                (4, counts(&[(0, 3), (1, 2), (2, 1), (3, 1)]), 688),
                (9, counts(&[(9, 1)]), -1000),
                (9, counts(&[]), 0),
            ];
            for (order, counts, index) in table {
                assert_eq!(
                    fragmentation_index(&counts, Order::at(order)),
                    index,
                    "{counts:?}"
                );
            }
        }

        #[test]
        fn s6_1_unusable_index() {
            assert_eq!(unusable_index(&counts(&[]), Order::ZERO), 1000);
            assert_eq!(
                unusable_index(&counts(&[(0, 512), (9, 1)]), Order::at(9)),
                500
            );
            assert_eq!(unusable_index(&counts(&[(0, 512), (9, 1)]), Order::ZERO), 0);
            assert_eq!(unusable_index(&counts(&[(0, 7)]), Order::at(9)), 1000);
        }

        #[test]
        fn s6_1_nothing_to_do_if_the_order_can_be_had() {
            assert_eq!(judge(9, &[(9, 2)], MARKS), Suitability::Success);
            assert_eq!(judge(3, &[(3, 14)], MARKS), Suitability::Success);
            let atomic = AllocFlags::HIGH | AllocFlags::HARDER;
            let counts = counts(&[(3, 10)]);
            let judge =
                |flags| compaction_suitable(view(&counts), &counts, Order::at(3), MARKS, flags);
            assert_eq!(judge(atomic), Suitability::Success, "80 - 7 is above 38");
            assert_eq!(judge(AllocFlags::empty()), Suitability::Skipped);
        }

        #[test]
        fn s6_1_no_use_without_room_above_the_mark() {
            // 100 + 16, and for a costly order 100 + 100 + 1024.
            assert_eq!(judge(3, &[(0, 116)], MARKS), Suitability::Skipped);
            assert_eq!(judge(3, &[(0, 117)], MARKS), Suitability::Continue);
            assert_eq!(judge(9, &[(0, 1224)], MARKS), Suitability::Skipped);
            assert_eq!(judge(9, &[(0, 1225)], MARKS), Suitability::Continue);
        }

        #[test]
        fn s6_1_what_is_kept_back_from_the_class_does_not_count_as_room() {
            let marks = SuitabilityMarks {
                reserve: 50,
                ..MARKS
            };
            assert_eq!(judge(3, &[(0, 166)], marks), Suitability::Skipped);
            assert_eq!(judge(3, &[(0, 167)], marks), Suitability::Continue);
        }

        #[test]
        fn s6_1_privileges_do_not_help_to_move_things_around() {
            let counts = counts(&[(0, 110)]);
            let flags = AllocFlags::HIGH | AllocFlags::HARDER;
            let suitability =
                compaction_suitable(view(&counts), &counts, Order::at(3), MARKS, flags);
            assert_eq!(suitability, Suitability::Skipped);
        }

        #[test]
        fn s6_1_the_index_decides_for_costly_orders_only() {
            // Indexes of 996 and 300; at order 3 nobody looks.
            assert_eq!(judge(9, &[(0, 740), (8, 2)], MARKS), Suitability::Continue);
            assert_eq!(judge(9, &[(8, 5)], MARKS), Suitability::Skipped);
            assert_eq!(judge(3, &[(2, 30)], MARKS), Suitability::Continue);
        }

        #[test]
        fn s6_1_the_threshold_belongs_to_those_who_are_short_of_memory() {
            // An index of 300, and one of 0: the same memory in two blocks.
            let judge = |extfrag_threshold, blocks: u64| {
                let marks = SuitabilityMarks {
                    extfrag_threshold,
                    ..MARKS
                };
                judge(9, &[(8, blocks)], marks)
            };
            assert_eq!(judge(300, 5), Suitability::Skipped);
            assert_eq!(judge(299, 5), Suitability::Continue);
            assert_eq!(judge(0, 5), Suitability::Continue);
            assert_eq!(judge(MAX_EXTFRAG_THRESHOLD, 5), Suitability::Skipped);
        }

        #[test]
        fn s9_12_the_callers_mark_counts_and_costly_orders_add_the_gap_to_it() {
            let low = SuitabilityMarks { mark: 200, ..MARKS };
            assert_eq!(judge(3, &[(0, 216)], low), Suitability::Skipped);
            assert_eq!(judge(3, &[(0, 217)], low), Suitability::Continue);
            assert_eq!(judge(9, &[(0, 1324)], low), Suitability::Skipped);
            assert_eq!(judge(9, &[(0, 1325)], low), Suitability::Continue);
        }

        fn is_worth_reclaiming(order: usize, free: u64, reclaimable: usize) -> bool {
            let zone = Prospect {
                view: view(&counts(&[(0, free)])),
                reclaimable,
                marks: MARKS,
            };
            compaction_zonelist_suitable([zone], Order::at(order), AllocFlags::empty())
        }

        #[test]
        fn s6_2_of_what_might_be_reclaimed_a_part_counts_that_falls_with_the_order() {
            // 117 are needed at order 3, 1225 at order 9.
            assert!(!is_worth_reclaiming(3, 100, 50));
            assert!(is_worth_reclaiming(3, 100, 51));
            assert!(!is_worth_reclaiming(9, 1125, 899));
            assert!(is_worth_reclaiming(9, 1125, 900));
        }

        #[test]
        fn s6_2_one_zone_is_enough_and_the_index_is_not_asked() {
            let short = Prospect {
                view: view(&counts(&[(0, 10)])),
                reclaimable: 0,
                marks: MARKS,
            };
            let not_in_pieces = Prospect {
                view: view(&counts(&[(8, 5)])),
                ..short
            };
            let ask = |zones: &[Prospect]| {
                compaction_zonelist_suitable(
                    zones.iter().copied(),
                    Order::at(9),
                    AllocFlags::empty(),
                )
            };
            assert!(!ask(&[]) && !ask(&[short]));
            assert!(ask(&[short, not_in_pieces]));
        }
    }
}
