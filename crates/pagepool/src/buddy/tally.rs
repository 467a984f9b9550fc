//! How much is free: blocks by order and type, pages by type.
//!
//! *Kernel counterpart:* `free_area[].nr_free` and `NR_FREE_PAGES` (v5.0), by type as well, and
//! exact: they change only together with what they count.

use std::ops::Range;

use crate::types::{Migratetype, NR_MIGRATETYPES, NR_ORDERS, Order};

/// Which row a free block counts in: its pageblock's type, or withheld.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Row {
    /// Free for requests, in a pageblock of this type.
    Open(Migratetype),
    /// Free, but its pageblock is isolated.
    Isolated,
}

const NR_ROWS: usize = NR_MIGRATETYPES + 1;

impl Row {
    const fn idx(self) -> usize {
        match self {
            Row::Open(mt) => mt.idx(),
            Row::Isolated => NR_MIGRATETYPES,
        }
    }
}

/// Free blocks by order and row, free pages by row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    blocks: [[u32; NR_ORDERS]; NR_ROWS],
    pages: [usize; NR_ROWS],
    /// Pages free for requests in blocks of `whole_from` and up.
    whole: usize,
    whole_from: Order,
    available: Availability,
}

impl Tally {
    /// Of a zone with pageblocks of this order.
    pub(super) fn new(block_order: Order) -> Tally {
        Tally {
            whole_from: block_order,
            ..Tally::default()
        }
    }

    pub(super) fn add(&mut self, row: Row, order: Order, nr: usize) {
        self.blocks[row.idx()][order.idx()] += nr as u32;
        self.pages[row.idx()] += nr << order.idx();
        if self.is_whole(row, order) {
            self.whole += nr << order.idx();
        }
        self.note(row, order);
    }

    pub(super) fn sub(&mut self, row: Row, order: Order, nr: usize) {
        self.blocks[row.idx()][order.idx()] -= nr as u32;
        self.pages[row.idx()] -= nr << order.idx();
        if self.is_whole(row, order) {
            self.whole -= nr << order.idx();
        }
        self.note(row, order);
    }

    /// Adds so many blocks of an order, which are parts of a pageblock, or takes as many away if that is negative.
    #[inline]
    pub(super) fn change(&mut self, row: Row, order: Order, blocks: isize) {
        debug_assert!(order < self.whole_from);
        let (nr, pages) = (
            &mut self.blocks[row.idx()][order.idx()],
            &mut self.pages[row.idx()],
        );
        *nr = nr.wrapping_add_signed(blocks as i32);
        *pages = pages.wrapping_add_signed(blocks << order.idx());
        self.note(row, order);
    }

    /// Adds a block of each of these orders, which are parts of a pageblock: of one that was split.
    #[inline]
    pub(super) fn add_each(&mut self, row: Row, orders: Range<Order>) {
        let (first, end) = (orders.start.idx(), orders.end.idx());
        debug_assert!(first <= end && orders.end <= self.whole_from);
        for blocks in &mut self.blocks[row.idx()][first..end] {
            *blocks += 1;
        }
        self.pages[row.idx()] += (1 << end) - (1 << first);
        if let Row::Open(mt) = row {
            self.available = self.available.with_each(mt, orders);
        }
    }

    /// Takes a block of each of these orders away, which are parts of a pageblock: those that another merges with.
    #[inline]
    pub(super) fn sub_each(&mut self, row: Row, orders: Range<Order>) {
        let (first, end) = (orders.start.idx(), orders.end.idx());
        debug_assert!(first <= end && orders.end <= self.whole_from);
        self.pages[row.idx()] -= (1 << end) - (1 << first);
        let mut gone = 0;
        for (order, blocks) in (first..end).zip(&mut self.blocks[row.idx()][first..end]) {
            *blocks -= 1;
            gone |= u64::from(*blocks == 0) << order;
        }
        if let Row::Open(mt) = row {
            self.available = self.available.without(mt, gone);
        }
    }

    fn is_whole(&self, row: Row, order: Order) -> bool {
        row != Row::Isolated && order >= self.whole_from
    }

    fn note(&mut self, row: Row, order: Order) {
        if let Row::Open(mt) = row {
            let any = self.blocks[row.idx()][order.idx()] != 0;
            self.available = self.available.with(mt, order, any);
        }
    }

    pub(super) fn blocks(&self, row: Row, order: Order) -> usize {
        self.blocks[row.idx()][order.idx()] as usize
    }

    pub(super) fn pages(&self, row: Row) -> usize {
        self.pages[row.idx()]
    }

    /// Pages free for requests.
    pub(super) fn open_pages(&self) -> usize {
        self.pages[..NR_MIGRATETYPES].iter().sum()
    }

    /// Pages free for requests in whole pageblocks.
    pub(super) fn whole_pages(&self) -> usize {
        self.whole
    }

    pub(super) fn available(&self) -> Availability {
        self.available
    }
}

/// Of which type and order there is a free block: one bit each, so that a watermark check can
/// look without the zone's lock and see one consistent state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Availability(u64);

const _: () = assert!(NR_MIGRATETYPES * NR_ORDERS <= 64);

impl Availability {
    /// Returns the availability stored as `raw`.
    pub(crate) const fn from_raw(raw: u64) -> Availability {
        Availability(raw)
    }

    /// The bits, for storing.
    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    const fn with(self, mt: Migratetype, order: Order, any: bool) -> Availability {
        let bit = 1 << (mt.idx() * NR_ORDERS + order.idx());
        Availability(if any { self.0 | bit } else { self.0 & !bit })
    }

    /// Without these of a type, bit o for order o.
    const fn without(self, mt: Migratetype, orders: u64) -> Availability {
        Availability(self.0 & !(orders << (mt.idx() * NR_ORDERS)))
    }

    const fn with_each(self, mt: Migratetype, orders: Range<Order>) -> Availability {
        let bits = (1 << orders.end.idx()) - (1 << orders.start.idx());
        Availability(self.0 | bits << (mt.idx() * NR_ORDERS))
    }

    /// Whether a block of `order` or larger of type `mt` is free.
    #[must_use]
    pub(crate) const fn at_least(self, mt: Migratetype, order: Order) -> bool {
        let row = self.0 >> (mt.idx() * NR_ORDERS) & ((1 << NR_ORDERS) - 1);
        row >> order.idx() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn availability_follows_the_counts() {
        let mut tally = Tally::default();
        tally.add(Row::Open(Migratetype::Reclaimable), Order::at(4), 2);
        assert!(
            tally
                .available()
                .at_least(Migratetype::Reclaimable, Order::ZERO)
        );
        assert!(
            tally
                .available()
                .at_least(Migratetype::Reclaimable, Order::at(4))
        );
        assert!(
            !tally
                .available()
                .at_least(Migratetype::Reclaimable, Order::at(5))
        );
        assert!(
            !tally
                .available()
                .at_least(Migratetype::HighAtomic, Order::ZERO)
        );
        tally.sub(Row::Open(Migratetype::Reclaimable), Order::at(4), 2);
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn several_orders_at_once_are_one_after_the_other() {
        for row in [Row::Open(Migratetype::Unmovable), Row::Isolated] {
            let (mut tally, mut other) = (Tally::new(Order::at(9)), Tally::new(Order::at(9)));
            tally.add_each(row, Order::at(2)..Order::at(9));
            (2..9).for_each(|order| other.add(row, Order::at(order), 1));
            assert_eq!(tally, other);
            tally.sub_each(row, Order::at(4)..Order::at(6));
            (4..6).for_each(|order| other.sub(row, Order::at(order), 1));
            assert_eq!(tally, other);
            tally.sub_each(row, Order::at(6)..Order::at(6));
            assert_eq!(tally, other);
        }
    }

    #[test]
    fn isolated_pages_are_not_available() {
        let mut tally = Tally::default();
        tally.add(Row::Isolated, Order::at(3), 1);
        assert_eq!(tally.open_pages(), 0);
        assert_eq!(tally.pages(Row::Isolated), 8);
        assert_eq!(tally.available(), Availability::default());
    }
}
