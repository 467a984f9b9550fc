//! How much of the free memory is of use for a given order, and what would help.
//!
//! *Kernel counterpart:* `fragmentation_index`, `unusable_free_index`, `compaction_suitable`
//! (`mm/vmstat.c`, `mm/compaction.c`, v5.0). Pure.

#![forbid(unsafe_code)]

use super::watermark::{self, AllocFlags, FreeView};
use crate::types::{NR_ORDERS, Order};

/// Free blocks of each order.
pub(crate) type FreeCounts = [u64; NR_ORDERS];

/// At or below this index a refusal of a costly order is for lack of memory, not for fragmentation
/// (kernel: `extfrag_threshold`).
pub(crate) const DEFAULT_EXTFRAG_THRESHOLD: i64 = 500;

/// Free pages that compaction needs for a block of `order`, above the marks: twice the block, since it
/// holds as many targets as it moves.
pub(crate) const fn compact_gap(order: Order) -> usize {
    2 * order.pages()
}

fn pages(counts: &FreeCounts) -> u64 {
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

/// The marks that [`compaction_suitable`] looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuitabilityMarks {
    /// The minimum.
    pub(crate) min: usize,
    /// The low mark.
    pub(crate) low: usize,
    /// What is kept back from the class that asks.
    pub(crate) reserve: usize,
}

/// Judges a zone (spec 6.1): nothing to do if the order can be had, no use if too little is free to
/// move things around in, no use for a costly order if memory is short rather than in pieces.
pub(crate) fn compaction_suitable(
    view: FreeView,
    counts: &FreeCounts,
    order: Order,
    marks: SuitabilityMarks,
) -> Suitability {
    let none = AllocFlags::empty();
    if watermark::check(view, order, marks.min, marks.reserve, none).passes() {
        return Suitability::Success;
    }
    let base = if order.is_costly() {
        marks.low
    } else {
        marks.min
    };
    let room = base + compact_gap(order);
    if !watermark::check(view, Order::ZERO, room, marks.reserve, none).passes() {
        return Suitability::Skipped;
    }
    if order.is_costly() {
        let index = fragmentation_index(counts, order);
        if (0..=DEFAULT_EXTFRAG_THRESHOLD).contains(&index) {
            return Suitability::Skipped;
        }
    }
    Suitability::Continue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buddy::Availability;

    fn counts(blocks: &[(usize, u64)]) -> FreeCounts {
        let mut counts = [0; NR_ORDERS];
        for (order, nr) in blocks {
            counts[*order] = *nr;
        }
        counts
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
    }

    #[test]
    fn suitability_asks_for_room_and_for_fragmentation() {
        let order = Order::at(9);
        let marks = SuitabilityMarks {
            min: 100,
            low: 200,
            reserve: 0,
        };
        let judge = |blocks: &[(usize, u64)]| {
            let counts = counts(blocks);
            let bits = blocks.iter().fold(0, |bits, (order, _)| bits | 1 << order);
            let view = FreeView {
                free: pages(&counts) as usize,
                highatomic: 0,
                available: Availability::from_raw(bits),
            };
            compaction_suitable(view, &counts, order, marks)
        };
        assert_eq!(judge(&[(9, 2)]), Suitability::Success);
        assert_eq!(
            judge(&[(0, 1200)]),
            Suitability::Skipped,
            "no room: 200 + 1024"
        );
        assert_eq!(judge(&[(0, 1300)]), Suitability::Continue);
        assert_eq!(
            judge(&[(8, 5)]),
            Suitability::Skipped,
            "short rather than in pieces"
        );
    }
}
