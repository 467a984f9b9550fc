//! Where the next request is served from: pageblocks, sorted by what they have to give.
//!
//! *Kernel counterpart:* `free_area[].free_list[]` (v5.0). The kernel keeps free blocks in lists by
//! order and type and takes the most recently freed. Here the *pageblocks* are shelved: a partly
//! free one by type, largest free block and fullness, a wholly free one by type, order and what
//! stands behind it. A request takes from the **fullest** pageblock that can serve it, so
//! that sparsely used pageblocks empty themselves and whole blocks stay whole without moving a byte.
//! Since a free block has its pageblock's type, changing the type of a pageblock moves one entry
//! rather than every free block in it.
//!
//! **Invariants**
//! - B4: a pageblock stands on exactly the shelf that its word names, or on none if it names none.
//! - B5: bit f of a row of `part_bits` is set exactly when the row's shelf for fullness f is not empty.

use super::block::{NR_PART_ORDERS, Residency, SPARSE_BELOW, Shelf};
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::types::{Migratetype, NR_MIGRATETYPES, Order};

/// A shelf's first pageblock: its number plus one, 0 when the shelf is empty.
type Head = u32;

/// The shelves of one zone, and the links of its pageblocks.
#[derive(Debug)]
pub(super) struct Shelves {
    /// By the shelves' numbers.
    heads: Box<[Head; Shelf::NR]>,
    /// By the rows of shelves for partly free pageblocks: bit f is for fullness f.
    part_bits: [u64; NR_MIGRATETYPES * NR_PART_ORDERS],
    /// Of each type, pageblocks on the shelves of those that are at most two thirds full.
    nr_sparse: [u32; NR_MIGRATETYPES],
    /// Pageblocks that are whole, the first of all.
    nr_whole: usize,
    /// Per pageblock: next and previous on its shelf, plus one.
    links: ZeroedTable<[u32; 2]>,
}

const NEXT: usize = 0;
const PREV: usize = 1;

impl Shelves {
    /// For so many pageblocks, of which so many are whole: a short one at the end can never be free as a
    /// whole, and is not counted as sparse.
    pub(super) fn new(nr_blocks: usize, nr_whole: usize) -> Result<Shelves, BuildError> {
        Ok(Shelves {
            // In a box: a zone is moved a few times while its pool is built.
            heads: Box::new([0; Shelf::NR]),
            part_bits: [0; NR_MIGRATETYPES * NR_PART_ORDERS],
            nr_sparse: [0; NR_MIGRATETYPES],
            nr_whole,
            links: ZeroedTable::new(nr_blocks, "pageblock links")?,
        })
    }

    /// What [`bytes`](Self::bytes) is for so many pageblocks.
    pub(super) fn estimate(nr_blocks: usize) -> usize {
        size_of::<[Head; Shelf::NR]>() + ZeroedTable::<[u32; 2]>::bytes_for(nr_blocks)
    }

    /// Bytes that the shelves and the links take.
    pub(super) fn bytes(&self) -> usize {
        size_of::<[Head; Shelf::NR]>() + self.links.bytes()
    }

    /// Moves a pageblock from one shelf to another one.
    pub(super) fn reshelve(&mut self, block: usize, from: Shelf, to: Shelf) {
        debug_assert_ne!(from, to);
        if from != Shelf::NONE {
            self.count_sparse(block, from, -1);
            self.remove(block, from);
        }
        if to != Shelf::NONE {
            self.count_sparse(block, to, 1);
            self.insert(block, to);
        }
    }

    /// The fullest partly free pageblock of type `mt` that holds a free block of `order` or more.
    /// Among equally full ones, the one whose largest free block is smallest: it has least to lose.
    pub(super) fn fullest(&self, mt: Migratetype, order: Order) -> Option<usize> {
        let bits = self.rows(mt);
        let mut best = None;
        for (largest, bits) in bits.iter().enumerate().skip(order.idx()) {
            // None is less than any.
            let fullness = bits.checked_ilog2();
            if fullness > best.map(|(fullness, _)| fullness) {
                best = fullness.map(|fullness| (fullness, largest));
            }
        }
        let (fullness, largest) = best?;
        Some(self.first_part(mt, Order::at(largest), fullness))
    }

    /// The partly free pageblocks of type `mt`, the fullest ones first.
    pub(super) fn in_order(&self, mt: Migratetype) -> impl Iterator<Item = usize> {
        let mut left = self.rows(mt).iter().fold(0, |all, bits| all | bits);
        let fullness = std::iter::from_fn(move || {
            let fullness = left.checked_ilog2()?;
            left &= !(1 << fullness);
            Some(fullness as usize)
        });
        fullness.flat_map(move |fullness| {
            let shelves = { 0..NR_PART_ORDERS }
                .map(move |largest| Shelf::part(mt, Order::at(largest), fullness));
            shelves.flat_map(|shelf| self.on(shelf))
        })
    }

    /// The emptiest pageblock of type `mt` whose largest free block has exactly the order `largest`.
    pub(super) fn emptiest(&self, mt: Migratetype, largest: Order) -> Option<usize> {
        let bits = self.rows(mt)[largest.idx()];
        let emptiest = (bits != 0).then(|| bits.trailing_zeros())?;
        Some(self.first_part(mt, largest, emptiest))
    }

    /// Partly free pageblocks of type `mt` that are at most two thirds full.
    pub(super) fn nr_sparse(&self, mt: Migratetype) -> usize {
        self.nr_sparse[mt.idx()] as usize
    }

    /// Counts a pageblock that comes to a shelf, or leaves it.
    #[inline]
    fn count_sparse(&mut self, block: usize, shelf: Shelf, change: i32) {
        let is_sparse = { shelf.fullness() }.is_some_and(|fullness| fullness < SPARSE_BELOW);
        if is_sparse && block < self.nr_whole {
            let nr = &mut self.nr_sparse[shelf.row() / NR_PART_ORDERS];
            *nr = nr.wrapping_add_signed(change);
        }
    }

    /// The first wholly free block of type `mt` and exactly `order`; one with memory behind it
    /// if there is one.
    pub(super) fn whole(&self, mt: Migratetype, order: Order) -> Option<usize> {
        let mut kinds = Residency::AS_TAKEN.into_iter();
        kinds.find_map(|residency| self.whole_with(mt, order, residency))
    }

    /// The same, with exactly this behind it.
    pub(super) fn whole_with(
        &self,
        mt: Migratetype,
        order: Order,
        residency: Residency,
    ) -> Option<usize> {
        self.first_on(Shelf::whole(mt, order, residency))
    }

    /// By the largest free block of those on them, which shelves for partly free pageblocks of a type are not empty.
    fn rows(&self, mt: Migratetype) -> &[u64] {
        &self.part_bits[mt.idx() * NR_PART_ORDERS..][..NR_PART_ORDERS]
    }

    /// The first pageblock of a shelf of which the bit is set.
    fn first_part(&self, mt: Migratetype, largest: Order, fullness: u32) -> usize {
        let first = self.first_on(Shelf::part(mt, largest, fullness as usize));
        first.expect("B5: its bit is set")
    }

    fn first_on(&self, shelf: Shelf) -> Option<usize> {
        (self.heads[shelf.idx()] as usize).checked_sub(1)
    }

    #[inline]
    fn insert(&mut self, block: usize, shelf: Shelf) {
        let entry = block as u32 + 1;
        let next = std::mem::replace(&mut self.heads[shelf.idx()], entry);
        self.links[block] = [next, 0];
        if next != 0 {
            self.links[next as usize - 1][PREV] = entry;
        } else if let Some(fullness) = shelf.fullness() {
            self.part_bits[shelf.row()] |= 1 << fullness;
        }
    }

    #[inline]
    fn remove(&mut self, block: usize, shelf: Shelf) {
        let [next, prev] = self.links[block];
        if next != 0 {
            self.links[next as usize - 1][PREV] = prev;
        }
        if prev != 0 {
            self.links[prev as usize - 1][NEXT] = next;
            return;
        }
        let head = &mut self.heads[shelf.idx()];
        debug_assert_eq!(
            *head as usize,
            block + 1,
            "B4: the block is where its word says"
        );
        *head = next;
        if next == 0
            && let Some(fullness) = shelf.fullness()
        {
            self.part_bits[shelf.row()] &= !(1 << fullness);
        }
    }

    /// Every pageblock on every shelf, with the shelf it stands on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Shelf)> {
        Shelf::all().flat_map(move |shelf| {
            // A broken list could be circular: no more steps than there are pageblocks.
            let blocks = self.on(shelf).take(self.links.len() + 1);
            blocks.map(move |block| (block, shelf))
        })
    }

    /// The pageblocks of a shelf, from its first one on.
    fn on(&self, shelf: Shelf) -> impl Iterator<Item = usize> {
        std::iter::successors(self.first_on(shelf), move |block| {
            (self.links[*block][NEXT] as usize).checked_sub(1)
        })
    }

    /// Whether the bits and the heads of the part shelves agree (B5).
    pub(super) fn bits_agree(&self) -> bool {
        let mut parts = Shelf::all().filter_map(|shelf| Some((shelf, shelf.fullness()?)));
        parts.all(|(shelf, fullness)| {
            let is_set = self.part_bits[shelf.row()] >> fullness & 1 != 0;
            is_set == self.first_on(shelf).is_some()
        })
    }
}
