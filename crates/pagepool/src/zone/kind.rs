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

/// The number of the last kind: whole pageblocks.
const WHOLE: usize = COSTLY_ORDER.get() as usize * NR_TYPES;

/// The order and type of a block that may be kept, and what that is in a row: all three, so that whoever knows what he
/// asks for has computed them when he was compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    idx: u8,
    order: Order,
    mobility: Migratetype,
}

impl Kind {
    /// That of whole pageblocks.
    pub(crate) const WHOLE: Kind = Kind {
        idx: WHOLE as u8,
        order: PAGEBLOCK_ORDER,
        mobility: Migratetype::Unmovable,
    };

    /// That of a block of this order and type; none, if such a block is not kept.
    #[inline(always)]
    pub(crate) const fn of(order: Order, mobility: Migratetype) -> Option<Kind> {
        let column = mobility.idx();
        if column >= NR_TYPES {
            return None;
        }
        let kind = match order.get() {
            0 => return None,
            small if small <= COSTLY_ORDER.get() => Kind {
                idx: (small - 1) * NR_TYPES as u8 + column as u8,
                order,
                mobility,
            },
            whole if whole == PAGEBLOCK_ORDER.get() && column == 0 => Kind::WHOLE,
            _ => return None,
        };
        if kind.idx() < NR_KINDS {
            Some(kind)
        } else {
            None
        }
    }

    /// Whether there is any of blocks of this order.
    #[inline(always)]
    pub(crate) const fn is_any_of(order: Order) -> bool {
        Kind::of(order, Migratetype::Unmovable).is_some()
    }

    /// All of them, in their row.
    pub(super) fn all() -> impl Iterator<Item = Kind> {
        let orders = [1, 2, 3, PAGEBLOCK_ORDER.idx()].map(Order::at);
        let of =
            |order| [Migratetype::Unmovable, Migratetype::Movable].map(|mt| Kind::of(order, mt));
        orders.into_iter().flat_map(of).flatten()
    }

    pub(super) const fn idx(self) -> usize {
        self.idx as usize
    }

    /// The order of such a block.
    pub(crate) const fn order(self) -> Order {
        self.order
    }

    /// Its type.
    pub(crate) const fn mobility(self) -> Migratetype {
        self.mobility
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
        assert!(Kind::all().map(Kind::idx).eq(0..NR_KINDS));
        for kind in Kind::all() {
            assert_eq!(Kind::of(kind.order(), kind.mobility()), Some(kind));
        }
    }

    #[test]
    fn every_other_block_is_of_none() {
        let kinds = Order::all()
            .flat_map(|order| Migratetype::ALL.map(|mobility| Kind::of(order, mobility)));
        assert_eq!(kinds.flatten().count(), NR_KINDS);
        let orders = Order::all().filter(|order| Kind::is_any_of(*order));
        assert!(orders.eq([1, 2, 3, PAGEBLOCK_ORDER.idx()].map(Order::at)));
    }
}
