//! The state of one pageblock, packed into a word that may be read without the zone's lock.
//!
//! *Kernel counterpart:* the pageblock flags (`mm/page_alloc.c: get_pageblock_migratetype`, v5.0),
//! with what the kernel spreads over the frame descriptors of free blocks.
//!
//! | bits  | field    | meaning |
//! |-------|----------|---------|
//! | 0–9   | free     | pages of the block that are free, 0 to 512 |
//! | 10–19 | levels   | bit o: the block's tree holds a free block of order o |
//! | 20–21 | type     | its [`Migratetype`] |
//! | 22    | isolated | its free pages are withheld from every request |
//! | 23    | –        | |
//! | 24–25 | state    | see [`State`] |
//! | 26–29 | order    | of the whole free block that begins here ([`State::Head`]) |
//! | 30–31 | memory   | what stands behind it: see [`Residency`] |
//!
//! All zero is a pageblock that was never touched: fresh, of type Movable, vacant.

use std::fmt;

use crate::types::{Migratetype, NR_MIGRATETYPES, NR_ORDERS, Order, PAGEBLOCK_ORDER};

/// What a pageblock is to the buddy system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum State {
    /// Never entered the free lists; free, and counted as such.
    Fresh = 0,
    /// Handed out, wholly or in parts; what is free of it stands in its tree.
    Parts = 1,
    /// Wholly free, and the first of the free block whose order it records.
    Head = 2,
    /// Wholly free, and inside the free block of an earlier head.
    Tail = 3,
}

/// What stands behind a pageblock, in rising order: a free block that is made of several is what the highest
/// of them is. One that is half vacant and half blank is blank, since it reads as zeros as both do, and has memory
/// that can go back to the system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Residency {
    /// No memory: the next to touch it pays for that. It reads as zeros.
    Vacant = 0,
    /// Memory that nobody has used since the system gave it. It reads as zeros.
    Blank = 1,
    /// Memory with whatever its last owner left there, in some of its pages at least.
    Used = 2,
}

/// How many kinds of [`Residency`] there are.
pub(super) const NR_RESIDENCIES: usize = 3;

impl Residency {
    /// All of them, in the order in which requests take them: first what costs nobody a first touch, and of that
    /// what has to be cleared anyway.
    pub(super) const AS_TAKEN: [Residency; NR_RESIDENCIES] =
        [Residency::Used, Residency::Blank, Residency::Vacant];

    /// Its index.
    pub(super) const fn idx(self) -> usize {
        self as usize
    }

    /// Whether it is known to read as zeros.
    pub(crate) fn reads_as_zeros(self) -> bool {
        self != Residency::Used
    }
}

/// Where a pageblock is shelved: a function of its word alone. A number, of those for partly free ones in the first
/// place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shelf(u16);

impl Shelf {
    /// Shelves for partly free pageblocks.
    const NR_PARTS: usize = NR_MIGRATETYPES * NR_PART_ORDERS * FULLNESS_STEPS;

    /// Shelves, but for the one of those of which nothing is to be had.
    pub(super) const NR: usize = Self::NR_PARTS + NR_MIGRATETYPES * NR_ORDERS * NR_RESIDENCIES;

    /// Nothing to be had from it.
    pub(super) const NONE: Shelf = Shelf(Self::NR as u16);

    /// Partly free, with a largest free block of this order, and so full: 0 to 63.
    pub(super) const fn part(mt: Migratetype, largest: Order, fullness: usize) -> Shelf {
        debug_assert!(largest.idx() < NR_PART_ORDERS && fullness < FULLNESS_STEPS);
        Shelf(((mt.idx() * NR_PART_ORDERS + largest.idx()) * FULLNESS_STEPS + fullness) as u16)
    }

    /// The head of a wholly free block of this order, with that behind it.
    pub(super) const fn whole(mt: Migratetype, order: Order, residency: Residency) -> Shelf {
        let at = (mt.idx() * NR_ORDERS + order.idx()) * NR_RESIDENCIES + residency.idx();
        Shelf((Self::NR_PARTS + at) as u16)
    }

    /// All that something is to be had from.
    pub(super) fn all() -> impl Iterator<Item = Shelf> {
        (0..Self::NR as u16).map(Shelf)
    }

    /// Its number.
    #[inline]
    pub(super) const fn idx(self) -> usize {
        self.0 as usize
    }

    /// Of one for partly free pageblocks, how full these are.
    #[inline]
    pub(super) const fn fullness(self) -> Option<usize> {
        if self.idx() < Self::NR_PARTS {
            Some(self.idx() % FULLNESS_STEPS)
        } else {
            None
        }
    }

    /// All of one type and largest free block are in one row, by fullness: which of them.
    #[inline]
    pub(super) const fn row(self) -> usize {
        self.idx() / FULLNESS_STEPS
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = Migratetype::ALL;
        match (self.fullness(), self.idx().checked_sub(Self::NR_PARTS)) {
            (Some(fullness), _) => {
                let (mt, largest) = (self.row() / NR_PART_ORDERS, self.row() % NR_PART_ORDERS);
                write!(f, "{} of order {largest}, {fullness} full", types[mt])
            }
            (None, Some(whole)) if *self != Shelf::NONE => {
                let (of, residency) = (whole / NR_RESIDENCIES, whole % NR_RESIDENCIES);
                let (mt, order) = (of / NR_ORDERS, of % NR_ORDERS);
                write!(
                    f,
                    "{} whole of order {order}, memory {residency}",
                    types[mt]
                )
            }
            _ => f.write_str("none"),
        }
    }
}

// A number each, and a bit for each fullness.
const _: () = assert!(Shelf::NR <= u16::MAX as usize && FULLNESS_STEPS <= u64::BITS as usize);

/// Orders that a partly free pageblock can have as its largest free block.
pub(super) const NR_PART_ORDERS: usize = PAGEBLOCK_ORDER.get() as usize;

/// Steps in which fullness is told apart.
#[cfg(not(loom))]
pub(super) const FULLNESS_STEPS: usize = 64;
/// The same for models, whose zones are made on stacks of 32 KiB.
#[cfg(loom)]
pub(super) const FULLNESS_STEPS: usize = 2;

/// Whether a partly free pageblock, or several, with so many pages `used` of all, are worth emptying without
/// being asked: two thirds full at most.
pub(crate) const fn is_sparse(used: usize, pages: usize) -> bool {
    used * FULLNESS_STEPS / pages < SPARSE_BELOW
}

/// The step of fullness at which a pageblock is no longer sparse.
pub(super) const SPARSE_BELOW: usize = FULLNESS_STEPS * 2 / 3;

/// A pageblock's word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockWord(u32);

const FREE: (u32, u32) = (0, 10);
const LEVELS: (u32, u32) = (10, 10);
const TYPE: (u32, u32) = (20, 2);
const ISOLATED: (u32, u32) = (22, 1);
const STATE: (u32, u32) = (24, 2);
const ORDER: (u32, u32) = (26, 4);
const RESIDENCY: (u32, u32) = (30, 2);

/// Types are stored so that zero is Movable: what a pageblock is before anything happens to it.
const TYPE_ZERO: u32 = Migratetype::Movable as u32;

/// The smallest of these levels that holds a block of `order`.
pub(super) fn best_fit(levels: u32, order: Order) -> Option<Order> {
    let fitting = levels >> order.get() << order.get();
    (fitting != 0).then(|| Order::at(fitting.trailing_zeros() as usize))
}

impl BlockWord {
    pub(super) const fn from_raw(raw: u32) -> BlockWord {
        BlockWord(raw)
    }

    pub(super) const fn raw(self) -> u32 {
        self.0
    }

    const fn get(self, (shift, bits): (u32, u32)) -> u32 {
        (self.0 >> shift) & ((1 << bits) - 1)
    }

    const fn mask((shift, bits): (u32, u32)) -> u32 {
        ((1 << bits) - 1) << shift
    }

    const fn with(self, field: (u32, u32), value: u32) -> BlockWord {
        let (shift, bits) = field;
        debug_assert!(value < 1 << bits);
        BlockWord(self.0 & !Self::mask(field) | value << shift)
    }

    pub(super) const fn free(self) -> usize {
        self.get(FREE) as usize
    }

    pub(super) const fn with_free(self, pages: usize) -> BlockWord {
        self.with(FREE, pages as u32)
    }

    pub(super) const fn levels(self) -> u32 {
        self.get(LEVELS)
    }

    pub(super) const fn with_levels(self, levels: u32) -> BlockWord {
        self.with(LEVELS, levels)
    }

    pub(super) const fn migratetype(self) -> Migratetype {
        Migratetype::ALL[(self.get(TYPE) ^ TYPE_ZERO) as usize]
    }

    pub(super) const fn with_migratetype(self, mt: Migratetype) -> BlockWord {
        self.with(TYPE, mt as u32 ^ TYPE_ZERO)
    }

    pub(super) const fn is_isolated(self) -> bool {
        self.get(ISOLATED) != 0
    }

    pub(super) const fn with_isolated(self, isolated: bool) -> BlockWord {
        self.with(ISOLATED, isolated as u32)
    }

    pub(super) const fn residency(self) -> Residency {
        match self.get(RESIDENCY) {
            0 => Residency::Vacant,
            1 => Residency::Blank,
            _ => Residency::Used,
        }
    }

    pub(super) const fn with_residency(self, residency: Residency) -> BlockWord {
        self.with(RESIDENCY, residency as u32)
    }

    pub(super) const fn state(self) -> State {
        match self.get(STATE) {
            0 => State::Fresh,
            1 => State::Parts,
            2 => State::Head,
            _ => State::Tail,
        }
    }

    pub(super) const fn with_state(self, state: State) -> BlockWord {
        self.with(STATE, state as u32)
    }

    pub(super) const fn order(self) -> Order {
        Order::at(self.get(ORDER) as usize)
    }

    pub(super) const fn with_order(self, order: Order) -> BlockWord {
        self.with(ORDER, order.get() as u32)
    }

    /// The largest free block in the tree.
    pub(super) fn largest(self) -> Option<Order> {
        self.levels()
            .checked_ilog2()
            .map(|order| Order::at(order as usize))
    }

    /// The smallest free block in the tree that holds one of `order`.
    pub(super) fn best_fit(self, order: Order) -> Option<Order> {
        best_fit(self.levels(), order)
    }

    /// How full the block is, in steps from 0 to 63; a block in which nothing is free counts as 63.
    pub(super) fn fullness(self, block_order: Order) -> usize {
        let used = block_order.pages() - self.free();
        (used * FULLNESS_STEPS / block_order.pages()).min(FULLNESS_STEPS - 1)
    }

    /// Where the block is shelved, in a zone with pageblocks of `block_order`.
    #[inline]
    pub(super) fn shelf(self, block_order: Order) -> Shelf {
        if self.is_isolated() {
            return Shelf::NONE;
        }
        let mt = self.migratetype();
        match (self.state(), self.largest()) {
            (State::Parts, Some(largest)) => Shelf::part(mt, largest, self.fullness(block_order)),
            (State::Head, _) => Shelf::whole(mt, self.order(), self.residency()),
            (State::Parts, None) | (State::Fresh | State::Tail, _) => Shelf::NONE,
        }
    }
}

impl fmt::Debug for BlockWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} free {}",
            self.state(),
            self.migratetype(),
            self.free()
        )?;
        if self.state() == State::Head {
            write!(f, " {:?}", self.order())?;
        }
        if self.is_isolated() {
            f.write_str(" isolated")?;
        }
        match self.residency() {
            Residency::Vacant => Ok(()),
            Residency::Blank => f.write_str(" blank"),
            Residency::Used => f.write_str(" used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_fresh_and_movable() {
        let word = BlockWord::from_raw(0);
        assert_eq!(word.state(), State::Fresh);
        assert_eq!(word.migratetype(), Migratetype::Movable);
        assert!(!word.is_isolated());
        assert_eq!(word.residency(), Residency::Vacant);
    }

    #[test]
    fn each_shelf_has_a_number_and_says_where_it_is() {
        let part = Shelf::part(Migratetype::Movable, Order::at(3), 1);
        let fullest = Shelf::part(Migratetype::HighAtomic, Order::at(8), FULLNESS_STEPS - 1);
        let whole = Shelf::whole(Migratetype::Unmovable, Order::at(10), Residency::Blank);
        let texts = [part, whole, Shelf::NONE].map(|shelf| format!("{shelf:?}"));
        assert_eq!(texts[0], "Movable of order 3, 1 full");
        assert_eq!(texts[1], "Unmovable whole of order 10, memory 1");
        assert_eq!(texts[2], "none");
        assert_eq!((part.fullness(), whole.fullness()), (Some(1), None));
        assert_eq!(fullest.idx() + 1, Shelf::NR_PARTS);
        let parts = Migratetype::ALL.into_iter().flat_map(|mt| {
            let largest = (0..NR_PART_ORDERS).map(Order::at);
            largest.flat_map(move |order| {
                (0..FULLNESS_STEPS).map(move |fullness| Shelf::part(mt, order, fullness))
            })
        });
        let wholes = Migratetype::ALL.into_iter().flat_map(|mt| {
            Order::all().flat_map(move |order| {
                let kinds = [Residency::Vacant, Residency::Blank, Residency::Used];
                kinds.map(|residency| Shelf::whole(mt, order, residency))
            })
        });
        assert!(parts.chain(wholes).eq(Shelf::all()), "each has its own");
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        let word = BlockWord::from_raw(u32::MAX)
            .with_free(511)
            .with_levels(0b10_0000_0101)
            .with_migratetype(Migratetype::HighAtomic)
            .with_isolated(false)
            .with_residency(Residency::Blank)
            .with_state(State::Tail)
            .with_order(Order::MAX);
        assert_eq!(word.free(), 511);
        assert_eq!(word.levels(), 0b10_0000_0101);
        assert_eq!(word.migratetype(), Migratetype::HighAtomic);
        assert!(!word.is_isolated());
        assert_eq!(word.residency(), Residency::Blank);
        assert_eq!((word.state(), word.order()), (State::Tail, Order::MAX));
        assert_eq!(word.largest(), Some(Order::at(9)));
        assert_eq!(word.best_fit(Order::at(1)), Some(Order::at(2)));
    }
}
