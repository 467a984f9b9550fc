//! The free blocks inside one pageblock: a binary tree in a bit map.
//!
//! *Kernel counterpart:* the part of `free_area[].free_list[]` that lies in one pageblock (v5.0).
//! The kernel links free blocks through their frame descriptors, and finds a block's buddy by
//! reading the buddy's descriptor. Here a pageblock of order `n` owns a tree of 2^(n+1) - 1 nodes,
//! numbered as in a binary heap, one bit each: splitting, merging and finding a buddy stay inside
//! two cache lines, and nothing is written into memory that is free.
//!
//! ```text
//!            1                 order n     the whole pageblock
//!       2         3            order n-1   the buddy of node i is node i ^ 1,
//!     4   5     6   7          order n-2   its parent is i >> 1,
//!    8 9 10 11 12 13 14 15     ...         its lower half is i << 1
//! ```
//!
//! **Invariants**
//! - B1: a set bit is a free block of exactly that size: no ancestor or descendant of it is set.
//! - B2: two buddies are never both set: they would have been merged.
//! - B3: the root is never set: a wholly free pageblock is held by [`shelves`](super::shelves).

use std::ops::Range;

use super::unmerged::Pages;
use crate::types::{Order, PAGEBLOCK_ORDER};

/// Words in a tree of the largest pageblock: 1024 bits, of which bit 0 is unused.
pub(super) const WORDS: usize = (2 << PAGEBLOCK_ORDER.get()) / 64;

/// A tree's bits, as they lie in the table.
pub(super) type Words = [u64; WORDS];

/// Where a request was served from, and what that did to the levels of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    /// First page of the block, counted from the pageblock's start.
    pub(super) offset: usize,
    /// The order of the free block that was split to serve the request.
    pub(super) split_from: Order,
}

/// What became of a block that was given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Merged {
    /// The order that it has grown to with its buddies.
    pub(super) order: Order,
}

/// What many pages that were given back at once did to a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) order: Order,
    /// How many more free blocks of this order there are; negative, if they are fewer.
    pub(super) blocks: isize,
    /// Whether there is none now.
    pub(super) is_empty: bool,
}

/// One pageblock's tree, for reading and writing.
pub(super) struct Tree<'a> {
    words: &'a mut Words,
    root: Order,
}

impl<'a> Tree<'a> {
    pub(super) fn new(words: &'a mut Words, root: Order) -> Tree<'a> {
        Tree { words, root }
    }

    /// Takes the lowest free block of order `from` and splits it down to `order`: the lower half
    /// is kept each time, so that consecutive requests receive ascending frames.
    pub(super) fn take(&mut self, order: Order, from: Order) -> Option<Taken> {
        let node = first(self.words, self.root, from)?;
        self.clear(node);
        let node = self.split(node, from, order);

        Some(Taken {
            offset: offset_of(node, order),
            split_from: from,
        })
    }

    /// Takes the first block of `order` out of a pageblock that is wholly free.
    pub(super) fn take_first(&mut self, order: Order) {
        debug_assert!(
            self.words.iter().all(|word| *word == 0),
            "B3: nothing but the root is free"
        );
        let node = self.split(1, self.root, order);
        debug_assert_eq!(offset_of(node, order), 0);
    }

    /// Gives a block back and merges it with its buddies as far as they are free. A block that
    /// grows to the whole pageblock leaves the tree empty (B3).
    pub(super) fn put(&mut self, offset: usize, order: Order) -> Merged {
        let mut node = node_at(self.root, offset, order);
        let mut grown = order.idx();
        while grown < self.root.idx() && is_set(self.words, node ^ 1) {
            self.clear(node ^ 1);
            node >>= 1;
            grown += 1;
        }
        if grown < self.root.idx() {
            self.set(node);
        }
        Merged {
            order: Order::at(grown),
        }
    }

    /// Gives so many single pages back at once, each as by [`put`](Self::put): a word of each level at a time. Calls
    /// `on_level` with each level that this changes. Returns whether the pageblock is whole now, and the tree empty (B3).
    pub(super) fn put_pages(
        &mut self,
        pages: &Pages,
        nr: usize,
        mut on_level: impl FnMut(Change),
    ) -> bool {
        let (mut grown, mut more) = (*pages, nr as isize);
        for order in (0..self.root.idx()).map(Order::at) {
            if more == 0 {
                return false;
            }
            let level = Level::of(self.root, order);
            let (mut merged, mut left, mut parents) = (0, 0, Pages::default());
            let words = &mut self.words[level.first..][..level.nr];
            for (at, (word, new)) in words.iter_mut().zip(grown).enumerate() {
                let there = level.bits(*word);
                debug_assert_eq!(there & new, 0, "B1: free already");
                let pairs = pairs(there | new);
                let unmerged = (there | new) & !(pairs | pairs << 1);
                *word = level.with_bits(*word, unmerged);
                left |= unmerged;
                if pairs != 0 {
                    parents[at / 2] |= halved(pairs) << (at % 2 * 32);
                    merged += pairs.count_ones() as isize;
                }
            }
            on_level(Change {
                order,
                blocks: more - 2 * merged,
                is_empty: left == 0,
            });
            (grown, more) = (parents, merged);
        }
        more > 0
    }

    /// Splits the block `node` of order `from` down to `to` and returns the lowest part.
    fn split(&mut self, mut node: usize, from: Order, to: Order) -> usize {
        for _ in to.idx()..from.idx() {
            node <<= 1;
            self.set(node ^ 1);
        }
        node
    }

    fn set(&mut self, node: usize) {
        debug_assert!(!is_set(self.words, node), "B1: node {node} is free already");
        self.words[node / 64] |= 1 << (node % 64);
    }

    fn clear(&mut self, node: usize) {
        self.words[node / 64] &= !(1 << (node % 64));
    }
}

/// The lowest free block of exactly `order`, if any.
#[inline]
fn first(words: &Words, root: Order, order: Order) -> Option<usize> {
    let Level {
        first, nr, mask, ..
    } = Level::of(root, order);
    (first..first + nr).find_map(|at| {
        let word = words[at] & mask;
        (word != 0).then(|| at * 64 + word.trailing_zeros() as usize)
    })
}

/// How many free blocks of exactly `order` there are.
pub(super) fn count(words: &Words, root: Order, order: Order) -> usize {
    level(words, root, order)
        .map(|word| word.count_ones() as usize)
        .sum()
}

/// Whether there is a free block of exactly `order`.
#[inline]
pub(super) fn any(words: &Words, root: Order, order: Order) -> bool {
    first(words, root, order).is_some()
}

/// What is left of these `levels` (bit o: there is a free block of order o) once blocks of some `orders` are gone.
pub(super) fn levels_left(words: &Words, root: Order, levels: u32, orders: Range<Order>) -> u32 {
    let orders = (orders.start.idx()..orders.end.idx()).map(Order::at);
    let emptied = orders.filter(|order| !any(words, root, *order));
    emptied.fold(levels, |levels, order| levels & !(1 << order.get()))
}

/// The order of the free block that the page at `offset` lies in, if it is free.
pub(super) fn covering(words: &Words, root: Order, offset: usize) -> Option<Order> {
    (0..root.idx())
        .map(Order::at)
        .find(|order| is_set(words, node_at(root, offset & !(order.pages() - 1), *order)))
}

/// Whether none of these pages is free.
pub(super) fn has_none_of(words: &Words, root: Order, pages: &Pages) -> bool {
    let offsets = 0..root.pages();
    let mut of_these = offsets.filter(|offset| pages[offset / 64] >> (offset % 64) & 1 != 0);
    of_these.all(|offset| covering(words, root, offset).is_none())
}

/// The free blocks of exactly `order`, as offsets of their first pages.
pub(super) fn offsets(words: &Words, root: Order, order: Order) -> impl Iterator<Item = usize> {
    (0..1usize << (root.idx() - order.idx()))
        .map(move |idx| idx << order.idx())
        .filter(move |offset| is_free(words, root, order, *offset))
}

/// Whether the block at `offset` is free at exactly `order`.
pub(super) fn is_free(words: &Words, root: Order, order: Order, offset: usize) -> bool {
    is_set(words, node_at(root, offset, order))
}

/// Where the nodes of a level are.
#[derive(Clone, Copy)]
struct Level {
    /// The first word.
    first: usize,
    /// Words.
    nr: usize,
    /// Its bits in each word, and how many bits they are shifted by.
    mask: u64,
    shift: usize,
}

impl Level {
    #[inline]
    fn of(root: Order, order: Order) -> Level {
        let nodes = 1usize << (root.idx() - order.idx());
        let nr = nodes.div_ceil(64);
        // Levels of fewer than 64 nodes share word 0: nodes `nodes..2 * nodes` are this level's.
        let (first, mask, shift) = match nodes {
            ..64 => (0, ((1 << nodes) - 1) << nodes, nodes),
            _ => (nr, u64::MAX, 0),
        };
        Level {
            first,
            nr,
            mask,
            shift,
        }
    }

    /// Its bits in one of its words, from the lowest on.
    fn bits(self, word: u64) -> u64 {
        (word & self.mask) >> self.shift
    }

    /// The word with other bits of this level.
    fn with_bits(self, word: u64, bits: u64) -> u64 {
        word & !self.mask | bits << self.shift
    }
}

/// The words of one level, with the bits of other levels masked out.
#[inline]
fn level(words: &Words, root: Order, order: Order) -> impl Iterator<Item = u64> {
    let Level {
        first, nr, mask, ..
    } = Level::of(root, order);
    let words = words[first..].iter().take(nr);
    words.map(move |word| word & mask)
}

/// Of the lower one of each two buddies that are both set, the bit.
fn pairs(bits: u64) -> u64 {
    bits & bits >> 1 & 0x5555_5555_5555_5555
}

/// The bits with even numbers, moved together into the lower half.
fn halved(pairs: u64) -> u64 {
    const STEPS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    let pack = |bits: u64, (by, mask)| (bits | bits >> by) & mask;
    STEPS.into_iter().fold(pairs, pack)
}

fn node_at(root: Order, offset: usize, order: Order) -> usize {
    debug_assert!(order <= root);
    debug_assert_eq!(
        offset & (order.pages() - 1),
        0,
        "a block of {order:?} is aligned to its size"
    );
    (1 << (root.idx() - order.idx())) + (offset >> order.idx())
}

fn offset_of(node: usize, order: Order) -> usize {
    // A node's number without its leading one is its place in its level.
    (node ^ (1 << node.ilog2())) << order.idx()
}

fn is_set(words: &Words, node: usize) -> bool {
    words[node / 64] & (1 << (node % 64)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Order = PAGEBLOCK_ORDER;

    #[test]
    fn consecutive_requests_receive_ascending_frames() {
        let mut words = [0; WORDS];
        Tree::new(&mut words, ROOT).take_first(Order::ZERO);
        let mut offsets = vec![];
        for _ in 1..ROOT.pages() {
            let from = (0..9)
                .map(Order::at)
                .find(|o| any(&words, ROOT, *o))
                .unwrap();
            offsets.push(
                Tree::new(&mut words, ROOT)
                    .take(Order::ZERO, from)
                    .unwrap()
                    .offset,
            );
        }
        assert_eq!(offsets, (1..512).collect::<Vec<_>>());
        assert!(words.iter().all(|word| *word == 0));
    }

    #[test]
    fn free_merges_buddies_up_to_the_root() {
        let mut words = [0; WORDS];
        let mut tree = Tree::new(&mut words, ROOT);
        for offset in 0..511 {
            assert!(tree.put(offset, Order::ZERO).order < ROOT);
        }
        assert_eq!(tree.put(511, Order::ZERO), Merged { order: ROOT });
        assert!(
            words.iter().all(|word| *word == 0),
            "B3: the root is not in the tree"
        );
    }

    #[test]
    fn bits_with_even_numbers_are_moved_together() {
        for bits in [0, 1, 0x5555_5555_5555_5555, 0x4000_0001_0000_0104] {
            let expected = (0..32).fold(0, |all, bit| all | (bits >> (2 * bit) & 1) << bit);
            assert_eq!(halved(bits), expected, "{bits:#x}");
        }
    }

    #[test]
    fn many_pages_at_once_are_one_after_the_other() {
        let mut rng = fastrand::Rng::with_seed(7);
        for order in 0..=ROOT.idx() {
            let root = Order::at(order);
            // As one after the other would leave it.
            let (mut expected, mut words) = ([0; WORDS], [0; WORDS]);
            let mut left: Vec<usize> = (0..root.pages()).collect();
            rng.shuffle(&mut left);
            let mut is_whole = false;
            while !left.is_empty() {
                let batch = left.split_off(left.len() - rng.usize(1..=left.len()));
                let mut pages = Pages::default();
                let nr = batch.len();
                for offset in batch {
                    pages[offset / 64] |= 1 << (offset % 64);
                    Tree::new(&mut expected, root).put(offset, Order::ZERO);
                }
                let counts = |words: &Words| {
                    let orders = (0..root.idx()).map(Order::at);
                    orders
                        .map(|order| count(words, root, order))
                        .collect::<Vec<_>>()
                };
                let mut after = counts(&words);
                let mut empty = vec![];
                is_whole = Tree::new(&mut words, root).put_pages(&pages, nr, |change| {
                    let count = &mut after[change.order.idx()];
                    *count = count.strict_add_signed(change.blocks);
                    empty.push((change.is_empty, *count == 0));
                });
                assert_eq!((&words, &after), (&expected, &counts(&words)), "{root:?}");
                assert!(empty.iter().all(|(said, is)| said == is), "{root:?}");
                assert_eq!(is_whole, left.is_empty(), "{root:?}");
            }
            assert!(is_whole && words == [0; WORDS], "B3");
        }
    }

    #[test]
    fn small_trees_share_one_word() {
        let root = Order::at(2);
        let mut words = [0; WORDS];
        Tree::new(&mut words, root).take_first(Order::ZERO); // free: page 1, pages 2 and 3
        assert_eq!(count(&words, root, Order::ZERO), 1);
        assert_eq!(count(&words, root, Order::at(1)), 1);
        assert_eq!(covering(&words, root, 0), None);
        assert_eq!(covering(&words, root, 3), Some(Order::at(1)));
        assert_eq!(offsets(&words, root, Order::at(1)).collect::<Vec<_>>(), [2]);
    }
}
