//! How many pages were moved out of each pageblock of a zone, and into each.
//!
//! *Kernel counterpart:* none. `pgmigrate_success` (v5.0) counts for the whole system, in folios as ours does; which
//! pageblocks are emptied and which are filled cannot be seen there.
//!
//! **Invariants**
//! - N4: as many pages were moved out of a zone's pageblocks as into them.
//!
//! **Locking and ordering:** written under the zone's lock, in the same hold in which the frames come back that were
//! left; read without. So nothing is counted where memory is allocated, and a block that is free by its word may
//! have its last moves counted a moment later.
//!
//! Counts have 64 bits and do not wrap: not in the life of a machine are so many pages copied.

#![forbid(unsafe_code)]

use crate::arena::ZeroedTable;
use crate::buddy::Geometry;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Order, Pfn};

/// Out of a pageblock.
const OUT: usize = 0;
/// Into it.
const IN: usize = 1;

/// Of a pageblock: pages moved out of it, and into it.
type Counts = [AtomicU64; 2];

/// What was moved between a zone's pageblocks so far.
#[derive(Debug)]
pub(super) struct BlockMoves {
    counts: ZeroedTable<Counts>,
    start: Pfn,
    block_order: Order,
}

impl BlockMoves {
    /// Of a zone in which nothing was moved yet.
    pub(super) fn new(geometry: Geometry) -> Result<BlockMoves, BuildError> {
        Ok(BlockMoves {
            counts: ZeroedTable::new(nr_blocks(geometry), "counts of moves")?,
            start: geometry.start,
            block_order: geometry.block_order(),
        })
    }

    /// Counts a block of `order` that was moved. The caller holds the zone's lock.
    pub(super) fn note(&self, from: Pfn, to: Pfn, order: Order) {
        self.add(OUT, from, order);
        self.add(IN, to, order);
    }

    /// A block that is larger than a pageblock counts in each that it spans.
    fn add(&self, way: usize, pfn: Pfn, order: Order) {
        let first = pfn.offset_from(self.start) >> self.block_order.get();
        let part = order.min(self.block_order);
        for counts in &self.counts[first..first + order.pages() / part.pages()] {
            // Relaxed: a number by itself, and the zone's lock keeps other writers away.
            let before = counts[way].load(Ordering::Relaxed);
            counts[way].store(before + part.pages() as u64, Ordering::Relaxed);
        }
    }

    /// Pages moved out of each pageblock, lowest first, each of its own moment.
    pub(super) fn pages_out(&self) -> impl ExactSizeIterator<Item = u64> {
        self.each(OUT)
    }

    /// Pages moved into each pageblock, lowest first, each of its own moment.
    pub(super) fn pages_in(&self) -> impl ExactSizeIterator<Item = u64> {
        self.each(IN)
    }

    fn each(&self, way: usize) -> impl ExactSizeIterator<Item = u64> {
        let counts = self.counts.iter();
        // Relaxed: as in `add`; exact under the zone's lock.
        counts.map(move |counts| counts[way].load(Ordering::Relaxed))
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    /// What [`bytes`](Self::bytes) is for a zone of `pages`.
    pub(super) fn estimate(pages: usize) -> usize {
        let start = Pfn::from_raw(0);
        ZeroedTable::<Counts>::bytes_for(nr_blocks(Geometry { start, pages }))
    }
}

fn nr_blocks(geometry: Geometry) -> usize {
    geometry.pages.div_ceil(geometry.block_order().pages())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Pageblocks of 4 pages: `0..4 4..8 8..12 12..16 16..17`, the last one not whole.
    fn moves() -> BlockMoves {
        let geometry = Geometry {
            start: Pfn::from_raw(0),
            pages: 17,
        };
        assert_eq!(geometry.block_order(), Order::at(2));
        BlockMoves::new(geometry).unwrap()
    }

    fn counted(moves: &BlockMoves) -> [Vec<u64>; 2] {
        [moves.pages_out().collect(), moves.pages_in().collect()]
    }

    #[test]
    fn pages_count_where_they_were_and_where_they_are() {
        let moves = moves();
        moves.note(Pfn::from_raw(5), Pfn::from_raw(15), Order::ZERO);
        moves.note(Pfn::from_raw(6), Pfn::from_raw(12), Order::at(1));
        moves.note(Pfn::from_raw(16), Pfn::from_raw(5), Order::ZERO);
        assert_eq!(counted(&moves), [vec![0, 3, 0, 0, 1], vec![0, 1, 0, 3, 0]]);
    }

    #[test]
    fn what_spans_several_pageblocks_counts_in_each() {
        let moves = moves();
        moves.note(Pfn::from_raw(0), Pfn::from_raw(8), Order::at(3));
        assert_eq!(counted(&moves), [vec![4, 4, 0, 0, 0], vec![0, 0, 4, 4, 0]]);
    }

    #[test]
    fn an_estimate_is_what_the_table_takes() {
        for pages in [1, 16, 17, 2048, 1 << 20] {
            let geometry = Geometry {
                start: Pfn::from_raw(0),
                pages,
            };
            let moves = BlockMoves::new(geometry).unwrap();
            assert_eq!(moves.bytes(), BlockMoves::estimate(pages));
        }
    }
}
