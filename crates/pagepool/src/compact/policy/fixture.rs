//! Pageblocks for tests.

use std::cell::RefCell;
use std::ops::Range;

use super::units::{BlockView, Blocks, Room, UnitView};
use crate::buddy::Geometry;
use crate::types::{Migratetype, Pfn};

/// Pages of a pageblock.
pub(super) const SIZE: usize = 512;

/// A zone with pageblocks of order 9, in which nothing else happens.
#[derive(Debug)]
pub(super) struct FakeZone {
    blocks: RefCell<Vec<BlockView>>,
    skipped: Vec<usize>,
}

/// A Movable pageblock with so many pages free.
pub(super) fn movable(free: usize) -> BlockView {
    BlockView {
        free,
        mt: Migratetype::Movable,
        isolated: false,
    }
}

/// One of another type.
pub(super) fn of_type(mt: Migratetype, free: usize) -> BlockView {
    BlockView {
        mt,
        ..movable(free)
    }
}

/// One whose free pages are withheld.
pub(super) fn isolated(free: usize) -> BlockView {
    BlockView {
        isolated: true,
        ..movable(free)
    }
}

impl FakeZone {
    pub(super) fn new(blocks: impl IntoIterator<Item = BlockView>) -> FakeZone {
        FakeZone {
            blocks: RefCell::new(blocks.into_iter().collect()),
            skipped: vec![],
        }
    }

    pub(super) fn skipping(self, blocks: impl IntoIterator<Item = usize>) -> FakeZone {
        FakeZone {
            skipped: blocks.into_iter().collect(),
            ..self
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        Geometry {
            start: Pfn::from_raw(0),
            pages: self.blocks.borrow().len() * SIZE,
        }
    }

    pub(super) fn set_free(&self, block: usize, free: usize) {
        self.blocks.borrow_mut()[block].free = free;
    }

    /// Its room, if enough is free above the minimum.
    pub(super) fn room(&self) -> Room {
        let is_target = |block: &&BlockView| {
            block.mt == Migratetype::Movable && !block.isolated && block.free < SIZE
        };
        Room {
            targets: self
                .blocks
                .borrow()
                .iter()
                .filter(is_target)
                .map(|block| block.free)
                .sum(),
            spare: usize::MAX,
        }
    }

    /// Empties a unit as the mechanism does: into the fullest pageblocks outside of it. Returns the pages
    /// moved.
    pub(super) fn empty(&self, view: &UnitView) -> usize {
        let mut blocks = self.blocks.borrow_mut();
        let mut left = view.occupied;
        while left > 0 {
            let fullest = fullest_outside(&blocks, &view.blocks).expect("there is room");
            let moved = left.min(blocks[fullest].free);
            blocks[fullest].free -= moved;
            left -= moved;
        }
        for block in view.blocks.clone() {
            blocks[block].free = SIZE;
        }
        view.occupied
    }
}

fn fullest_outside(blocks: &[BlockView], unit: &Range<usize>) -> Option<usize> {
    let is_target = |block: &BlockView| {
        block.mt == Migratetype::Movable && !block.isolated && (1..SIZE).contains(&block.free)
    };
    (0..blocks.len())
        .filter(|block| !unit.contains(block) && is_target(&blocks[*block]))
        .min_by_key(|block| blocks[*block].free)
}

impl Blocks for FakeZone {
    fn block(&self, block: usize) -> BlockView {
        self.blocks.borrow()[block]
    }

    fn is_skipped(&self, block: usize) -> bool {
        self.skipped.contains(&block)
    }
}
