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
//! - B5: bit f of `part_bits[t][o]` is set exactly when the shelf (t, o, f) is not empty.

use super::block::{FULLNESS_STEPS, NR_RESIDENCIES, Residency, SPARSE_BELOW, Shelf};
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::types::{Migratetype, NR_MIGRATETYPES, NR_ORDERS, Order, PAGEBLOCK_ORDER};

/// Orders that a partly free pageblock can have as its largest free block.
const NR_PART_ORDERS: usize = PAGEBLOCK_ORDER.get() as usize;

/// A shelf's first pageblock: its number plus one, 0 when the shelf is empty.
type Head = u32;

/// The first pageblock of each shelf, by type, largest free block and fullness.
type PartShelves = [[[Head; FULLNESS_STEPS]; NR_PART_ORDERS]; NR_MIGRATETYPES];

/// The shelves of one zone, and the links of its pageblocks.
#[derive(Debug)]
pub(super) struct Shelves {
    part: Box<PartShelves>,
    part_bits: [[u64; NR_PART_ORDERS]; NR_MIGRATETYPES],
    whole: [[[Head; NR_RESIDENCIES]; NR_ORDERS]; NR_MIGRATETYPES],
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
            part: Box::new([[[0; FULLNESS_STEPS]; NR_PART_ORDERS]; NR_MIGRATETYPES]),
            part_bits: [[0; NR_PART_ORDERS]; NR_MIGRATETYPES],
            whole: [[[0; NR_RESIDENCIES]; NR_ORDERS]; NR_MIGRATETYPES],
            nr_sparse: [0; NR_MIGRATETYPES],
            nr_whole,
            links: ZeroedTable::new(nr_blocks, "pageblock links")?,
        })
    }

    /// What [`bytes`](Self::bytes) is for so many pageblocks.
    pub(super) fn estimate(nr_blocks: usize) -> usize {
        size_of::<PartShelves>() + ZeroedTable::<[u32; 2]>::bytes_for(nr_blocks)
    }

    /// Bytes that the shelves and the links take.
    pub(super) fn bytes(&self) -> usize {
        size_of::<PartShelves>() + self.links.bytes()
    }

    /// Moves a pageblock from one shelf to another.
    pub(super) fn reshelve(&mut self, block: usize, from: Shelf, to: Shelf) {
        if from != to {
            self.count_sparse(block, from, -1);
            self.count_sparse(block, to, 1);
            self.remove(block, from);
            self.insert(block, to);
        }
    }

    /// The fullest partly free pageblock of type `mt` that holds a free block of `order` or more.
    /// Among equally full ones, the one whose largest free block is smallest: it has least to lose.
    pub(super) fn fullest(&self, mt: Migratetype, order: Order) -> Option<usize> {
        let bits = &self.part_bits[mt.idx()];
        let mut best = None;
        for (largest, bits) in bits.iter().enumerate().skip(order.idx()) {
            // None is less than any.
            let fullness = bits.checked_ilog2();
            if fullness > best.map(|(fullness, _)| fullness) {
                best = fullness.map(|fullness| (fullness, largest));
            }
        }
        let (fullness, largest) = best?;
        Some(self.first_part(mt, largest, fullness))
    }

    /// The partly free pageblocks of type `mt`, the fullest ones first.
    pub(super) fn in_order(&self, mt: Migratetype) -> impl Iterator<Item = usize> {
        let bits = &self.part_bits[mt.idx()];
        let mut left = bits.iter().fold(0, |all, bits| all | bits);
        let fullness = std::iter::from_fn(move || {
            let fullness = left.checked_ilog2()?;
            left &= !(1 << fullness);
            Some(fullness as usize)
        });
        fullness.flat_map(move |fullness| {
            let heads = self.part[mt.idx()]
                .iter()
                .map(move |shelves| shelves[fullness]);
            heads.flat_map(|head| self.successors(head))
        })
    }

    /// The emptiest pageblock of type `mt` whose largest free block has exactly the order `largest`.
    pub(super) fn emptiest(&self, mt: Migratetype, largest: Order) -> Option<usize> {
        let bits = self.part_bits[mt.idx()][largest.idx()];
        (bits != 0).then(|| self.first_part(mt, largest.idx(), bits.trailing_zeros()))
    }

    /// Partly free pageblocks of type `mt` that are at most two thirds full.
    pub(super) fn nr_sparse(&self, mt: Migratetype) -> usize {
        self.nr_sparse[mt.idx()] as usize
    }

    /// Counts a pageblock that comes to a shelf, or leaves it.
    fn count_sparse(&mut self, block: usize, shelf: Shelf, change: i32) {
        if let Shelf::Part { mt, fullness, .. } = shelf
            && fullness < SPARSE_BELOW
            && block < self.nr_whole
        {
            let nr = &mut self.nr_sparse[mt.idx()];
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
        (self.whole[mt.idx()][order.idx()][residency.idx()] as usize).checked_sub(1)
    }

    fn first_part(&self, mt: Migratetype, largest: usize, fullness: u32) -> usize {
        self.part[mt.idx()][largest][fullness as usize] as usize - 1
    }

    fn insert(&mut self, block: usize, shelf: Shelf) {
        let entry = block as u32 + 1;
        let Some(head) = self.head(shelf) else { return };
        let next = std::mem::replace(head, entry);
        self.links[block] = [next, 0];
        if next != 0 {
            self.links[next as usize - 1][PREV] = entry;
        }
        if let Shelf::Part {
            mt,
            largest,
            fullness,
        } = shelf
        {
            self.part_bits[mt.idx()][largest.idx()] |= 1 << fullness;
        }
    }

    fn remove(&mut self, block: usize, shelf: Shelf) {
        let [next, prev] = self.links[block];
        if let Shelf::None = shelf {
            return;
        }
        if next != 0 {
            self.links[next as usize - 1][PREV] = prev;
        }
        if prev != 0 {
            self.links[prev as usize - 1][NEXT] = next;
            return;
        }
        let head = self.head(shelf).expect("only the empty shelf has no head");
        debug_assert_eq!(
            *head as usize,
            block + 1,
            "B4: the block is where its word says"
        );
        *head = next;
        if let (
            0,
            Shelf::Part {
                mt,
                largest,
                fullness,
            },
        ) = (next, shelf)
        {
            self.part_bits[mt.idx()][largest.idx()] &= !(1 << fullness);
        }
    }

    fn head(&mut self, shelf: Shelf) -> Option<&mut Head> {
        match shelf {
            Shelf::None => None,
            Shelf::Part {
                mt,
                largest,
                fullness,
            } => Some(&mut self.part[mt.idx()][largest.idx()][fullness]),
            Shelf::Whole {
                mt,
                order,
                residency,
            } => Some(&mut self.whole[mt.idx()][order.idx()][residency.idx()]),
        }
    }

    /// Every pageblock on every shelf, with the shelf it stands on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Shelf)> {
        let parts = Migratetype::ALL.into_iter().flat_map(move |mt| {
            (0..NR_PART_ORDERS).flat_map(move |largest| {
                (0..FULLNESS_STEPS).flat_map(move |fullness| {
                    let shelf = Shelf::Part {
                        mt,
                        largest: Order::at(largest),
                        fullness,
                    };
                    self.walk(self.part[mt.idx()][largest][fullness], shelf)
                })
            })
        });
        let wholes = Migratetype::ALL.into_iter().flat_map(move |mt| {
            Order::all().flat_map(move |order| {
                Residency::AS_TAKEN.into_iter().flat_map(move |residency| {
                    let head = self.whole[mt.idx()][order.idx()][residency.idx()];
                    self.walk(
                        head,
                        Shelf::Whole {
                            mt,
                            order,
                            residency,
                        },
                    )
                })
            })
        });
        parts.chain(wholes)
    }

    fn walk(&self, head: Head, shelf: Shelf) -> impl Iterator<Item = (usize, Shelf)> {
        // A broken list could be circular: no more steps than there are pageblocks.
        let blocks = self.successors(head).take(self.links.len() + 1);
        blocks.map(move |block| (block, shelf))
    }

    /// The pageblocks of a shelf, from its first one on.
    fn successors(&self, head: Head) -> impl Iterator<Item = usize> {
        std::iter::successors((head as usize).checked_sub(1), move |block| {
            (self.links[*block][NEXT] as usize).checked_sub(1)
        })
    }

    /// Whether the bits and the heads of the part shelves agree (B5).
    pub(super) fn bits_agree(&self) -> bool {
        self.part.iter().zip(&self.part_bits).all(|(orders, bits)| {
            orders.iter().zip(bits).all(|(shelves, bits)| {
                shelves
                    .iter()
                    .enumerate()
                    .all(|(f, head)| (*head != 0) == (bits >> f & 1 != 0))
            })
        })
    }
}
