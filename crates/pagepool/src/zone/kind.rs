//! Of which blocks of several pages a thread's [magazine](super::magazine) keeps one (pure).
//!
//! Those of orders that the caches of CPUs have, too: 1 to 3, as movable and as not, and whole pageblocks, which are
//! movable only where folios are, who do not come here.

#![forbid(unsafe_code)]

use crate::types::{COSTLY_ORDER, Migratetype, Order, PAGEBLOCK_ORDER};

/// Types that are kept, apart from each other: the first ones.
pub(super) const NR_TYPES: usize = 2;

const _: () = assert!(Migratetype::Unmovable.idx() == 0 && Migratetype::Movable.idx() == 1);

/// So many kinds there are. A model has one, since each is a word to look at for who drains.
pub(super) const NR_KINDS: usize = if cfg!(loom) { 1 } else { WHOLE + 1 };

/// The last kind: whole pageblocks.
const WHOLE: usize = COSTLY_ORDER.get() as usize * NR_TYPES;

/// The order and type of a block that may be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind(u8);

impl Kind {
    /// That of a block of this order and type; none, if such a block is not kept.
    #[inline]
    pub(crate) const fn of(order: Order, mobility: Migratetype) -> Option<Kind> {
        let column = mobility.idx();
        if column >= NR_TYPES {
            return None;
        }
        let kind = match order.get() {
            0 => return None,
            small if small <= COSTLY_ORDER.get() => (small as usize - 1) * NR_TYPES + column,
            whole if whole == PAGEBLOCK_ORDER.get() && column == 0 => WHOLE,
            _ => return None,
        };
        if kind < NR_KINDS {
            Some(Kind(kind as u8))
        } else {
            None
        }
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Kind> {
        (0..NR_KINDS as u8).map(Kind)
    }

    pub(super) const fn idx(self) -> usize {
        self.0 as usize
    }

    /// The order of such a block.
    pub(crate) const fn order(self) -> Order {
        if self.is_whole() {
            PAGEBLOCK_ORDER
        } else {
            Order::at(self.idx() / NR_TYPES + 1)
        }
    }

    /// Its type.
    pub(crate) const fn mobility(self) -> Migratetype {
        if self.is_whole() || self.idx().is_multiple_of(NR_TYPES) {
            Migratetype::Unmovable
        } else {
            Migratetype::Movable
        }
    }

    /// Whether it is a whole pageblock.
    pub(super) const fn is_whole(self) -> bool {
        self.idx() == WHOLE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_that_of_its_order_and_type() {
        assert_eq!(Kind::all().count(), NR_KINDS);
        for kind in Kind::all() {
            assert_eq!(Kind::of(kind.order(), kind.mobility()), Some(kind));
        }
    }

    #[test]
    fn every_other_block_is_of_none() {
        let kinds = Order::all()
            .flat_map(|order| Migratetype::ALL.map(|mobility| Kind::of(order, mobility)));
        assert_eq!(kinds.flatten().count(), NR_KINDS);
    }
}
