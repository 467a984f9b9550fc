//! The buddy system of one zone: which frames are free, and which of them to hand out.
//!
//! *Kernel counterpart:* `mm/page_alloc.c` (v5.0): `__free_one_page`, `__rmqueue_smallest`,
//! `__rmqueue_fallback`, `reserve_highatomic_pageblock`, `set_migratetype_isolate`. Three things
//! differ on purpose:
//! - A free block always has the type of its pageblock (spec 9.15), so a stolen block is taken from
//!   where it is or its whole pageblock is claimed; nothing is relinked one by one.
//! - Partly free pageblocks are filled fullest first ([`shelves`]).
//! - Memory that was never touched is a range, not a list: opening a zone of any size writes nothing.
//!
//! ```text
//!   Buddy ── tally     how many blocks are free, by order and type
//!    │────── shelves   pageblocks by what they have to give
//!    │────── blocks    one word a pageblock: type, state, free pages   (readable without the lock)
//!    │────── trees     one bit a free block inside a pageblock
//!    └────── unmerged  one bit a page that is free and in no tree yet  (set without the lock)
//! ```
//!
//! **Invariants** (B1 to B5 in [`tree`] and [`shelves`], Q in [`unmerged`])
//! - B6: the tally is the sum over all pageblocks; `free` and `levels` of a word are those of its tree.
//! - B7: no two mergeable buddies of equal order are free and unmerged below the zone's largest order.
//! - B8: `nr_reserved_highatomic` is the number of pages in pageblocks of type HighAtomic.
//! - B9: fresh pageblocks are exactly those in `fresh`; they are counted as free and Movable.
//!
//! **Locking:** none here; the zone's lock is around all of it. `blocks` is written under that lock
//! and may be read without, for a hint. Into `unmerged` pages are put without it.
//!
//! Not here: addresses, frame descriptors, watermarks, per-CPU lists.

#![forbid(unsafe_code)]

mod block;
mod evacuate;
mod fallback;
mod fill;
mod give;
mod highatomic;
mod hotplug;
mod idle;
mod isolation;
mod merge;
mod shelves;
mod take;
mod tally;
mod tree;
mod unmerged;
mod verify;
mod whole;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::types::{Migratetype, NR_MIGRATETYPES, Order, PAGEBLOCK_ORDER, Pfn};

use block::{BlockWord, NR_RESIDENCIES, State};
use fill::Begun;
use shelves::Shelves;
use tally::{Row, Tally};
use tree::Words;

pub(crate) use block::{Residency, is_sparse};
pub(crate) use fallback::{FallbackEvent, MovableCensus};
pub(crate) use fill::MAX_FILLERS;
pub(crate) use idle::IdleBlock;
pub(crate) use tally::Availability;
pub(crate) use unmerged::Unmerged;

/// The shape of a zone, as far as the buddy system is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// The first frame; aligned to the largest order of all.
    pub(crate) start: Pfn,
    /// Pages in the zone.
    pub(crate) pages: usize,
}

impl Geometry {
    /// The order of the zone's pageblocks: 9, or in a zone of fewer than four such blocks the
    /// largest order of which it holds four.
    pub(crate) fn block_order(self) -> Order {
        let quarter = (self.pages / 4).max(1).ilog2() as usize;
        Order::at(quarter.min(PAGEBLOCK_ORDER.idx()))
    }

    /// The largest order that can ever be free in the zone.
    pub(crate) fn max_order(self) -> Order {
        Order::within(self.pages)
    }
}

/// What a request may do when its own type has nothing free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fallback {
    /// Take nothing of other types: what is theirs stays so.
    Never,
    /// Take whole pageblocks of other types, but mix no types in one (kernel: `ALLOC_NOFRAGMENT`).
    WholeBlocks,
    /// Take what there is.
    Any,
}

/// What is asked of the buddy system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// The size of each block.
    pub(crate) order: Order,
    /// The type of pageblock it belongs in.
    pub(crate) want: Migratetype,
    /// What may be done otherwise.
    pub(crate) fallback: Fallback,
    /// Whether blocks reserved for urgent requests may be used.
    pub(crate) highatomic: bool,
}

/// A block handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// Its first frame.
    pub(crate) pfn: Pfn,
    /// What stood behind it when it was taken.
    pub(crate) residency: Residency,
    /// What had to be done to other types' pageblocks for it.
    pub(crate) fallback: Option<FallbackEvent>,
}

/// The words of a zone's pageblocks: written under the zone's lock, readable without.
#[derive(Clone)]
pub(crate) struct BlockTable {
    shared: Arc<BlockWords>,
    start: Pfn,
    block_order: Order,
}

struct BlockWords {
    words: ZeroedTable<AtomicU32>,
    /// Of these, how many say that their pageblock is isolated.
    nr_isolated: AtomicUsize,
}

impl BlockTable {
    /// The type of the pageblock that `pfn` lies in; a hint unless the zone's lock is held.
    pub(crate) fn migratetype(&self, pfn: Pfn) -> Migratetype {
        self.word_at(pfn).migratetype()
    }

    /// Pages of the pageblock that `pfn` lies in that are free; a hint unless the lock is held.
    pub(crate) fn free_pages(&self, pfn: Pfn) -> usize {
        self.free_pages_of(self.word_at(pfn))
    }

    /// Free pages of each pageblock, lowest first, counted without the lock: it would be held too long.
    pub(crate) fn free_pages_by_block(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.shared.words.len()).map(|block| self.free_pages_of(self.word(block)))
    }

    /// The type of each pageblock, lowest first, without the lock: each is of its own moment.
    pub(crate) fn types_by_block(&self) -> impl ExactSizeIterator<Item = Migratetype> {
        (0..self.shared.words.len()).map(|block| self.word(block).migratetype())
    }

    fn free_pages_of(&self, word: BlockWord) -> usize {
        match word.state() {
            State::Fresh | State::Head | State::Tail => self.block_order.pages(),
            State::Parts => word.free(),
        }
    }

    /// How full the pageblock that `pfn` lies in is, 0 to 63; a hint unless the lock is held.
    pub(crate) fn fullness(&self, pfn: Pfn) -> u8 {
        self.word_at(pfn).fullness(self.block_order) as u8
    }

    /// Whether what is free in the pageblock that `pfn` lies in is for everybody: it is neither isolated nor reserved. A
    /// hint unless the lock is held.
    #[inline]
    pub(crate) fn is_for_all(&self, pfn: Pfn) -> bool {
        let word = self.word_at(pfn);
        !word.is_isolated() && word.migratetype() != Migratetype::HighAtomic
    }

    /// Whether any pageblock is isolated; as with [`is_isolated`](Self::is_isolated).
    #[inline(always)]
    pub(crate) fn has_isolated(&self) -> bool {
        // Relaxed: as there.
        self.shared.nr_isolated.load(Ordering::Relaxed) != 0
    }

    /// Whether the pageblock that `pfn` lies in is isolated; a hint unless the lock is held.
    #[inline(always)]
    pub(crate) fn is_isolated(&self, pfn: Pfn) -> bool {
        // Relaxed: whoever isolates counts it first, and then empties the caches of who has not seen either.
        self.has_isolated() && self.word_at(pfn).is_isolated()
    }

    /// Pageblocks of each type, counted without the lock: it would be held too long.
    pub(crate) fn count_by_type(&self) -> [usize; NR_MIGRATETYPES] {
        let mut counts = [0; NR_MIGRATETYPES];
        for block in 0..self.shared.words.len() {
            counts[self.word(block).migratetype().idx()] += 1;
        }
        counts
    }

    #[inline(always)]
    fn word_at(&self, pfn: Pfn) -> BlockWord {
        self.word(pfn.offset_from(self.start) >> self.block_order.get())
    }

    fn word(&self, block: usize) -> BlockWord {
        // Relaxed: under the zone's lock the lock orders it; without, the word is a hint that
        // whoever acts on it checks again under the lock.
        BlockWord::from_raw(self.shared.words[block].load(Ordering::Relaxed))
    }

    fn set(&self, block: usize, word: BlockWord) {
        // Relaxed: as above; nothing else is published by it.
        self.shared.words[block].store(word.raw(), Ordering::Relaxed);
    }
}

impl fmt::Debug for BlockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries((0..self.shared.words.len()).map(|block| self.word(block)))
            .finish()
    }
}

/// The buddy system of one zone.
pub(crate) struct Buddy {
    start: Pfn,
    pages: usize,
    block_order: Order,
    max_order: Order,
    /// Whether pageblocks are told apart by type; off in pools too small for it (spec 1.6).
    grouping: bool,
    blocks: BlockTable,
    trees: ZeroedTable<Words>,
    unmerged: Arc<Unmerged>,
    /// Which group of pageblocks is merged next.
    next_group: usize,
    shelves: Shelves,
    begun: Begun,
    /// Pageblocks that were never entered into the lists (B9).
    fresh: Range<usize>,
    tally: Tally,
    /// Pages of whole free blocks by what stands behind them, isolated and fresh ones left out.
    whole_free: [usize; NR_RESIDENCIES],
    /// Pages in HighAtomic pageblocks (B8).
    nr_reserved_highatomic: usize,
}

impl Buddy {
    /// Builds the buddy system of a zone in which everything is free.
    pub(crate) fn new(geometry: Geometry) -> Result<Buddy, BuildError> {
        let Geometry { start, pages } = geometry;
        let (block_order, max_order) = (geometry.block_order(), geometry.max_order());
        debug_assert!(
            start.is_aligned(max_order),
            "buddies are found by exclusive or"
        );
        let nr_blocks = pages.div_ceil(block_order.pages());
        let shared = Arc::new(BlockWords {
            words: ZeroedTable::new(nr_blocks, "pageblock words")?,
            nr_isolated: AtomicUsize::new(0),
        });
        // Only whole blocks of the largest order stay fresh; what is left over at the end enters now.
        let nr_fresh = (pages >> max_order.get()) << (max_order.get() - block_order.get());

        let mut buddy = Buddy {
            start,
            pages,
            block_order,
            max_order,
            grouping: true,
            blocks: BlockTable {
                shared,
                start,
                block_order,
            },
            trees: ZeroedTable::new(nr_blocks, "pageblock trees")?,
            unmerged: Arc::new(Unmerged::new(nr_blocks, block_order)?),
            next_group: 0,
            shelves: Shelves::new(nr_blocks, pages >> block_order.get())?,
            begun: Begun::default(),
            fresh: 0..nr_fresh,
            tally: Tally::new(block_order),
            whole_free: [0; NR_RESIDENCIES],
            nr_reserved_highatomic: 0,
        };
        let nr_largest = pages >> max_order.get();
        buddy
            .tally
            .add(Row::Open(Migratetype::Movable), max_order, nr_largest);
        buddy.enter_remainder(nr_largest << max_order.get());
        Ok(buddy)
    }

    /// Enters the pages from `offset` on, less than one block of the largest order.
    fn enter_remainder(&mut self, mut offset: usize) {
        for block in offset >> self.block_order.get()..self.nr_blocks() {
            self.set_word(block, BlockWord::from_raw(0).with_state(State::Parts));
        }
        for order in (0..self.max_order.idx()).rev().map(Order::at) {
            if self.pages - offset >= order.pages() {
                self.free_at(offset, order);
                offset += order.pages();
            }
        }
        debug_assert_eq!(offset, self.pages);
    }

    /// Gives all free blocks of a pageblock another type (kernel: `move_freepages_block`).
    fn retype(&mut self, block: usize, mt: Migratetype) {
        let word = self.word(block);
        let new = word.with_migratetype(mt);
        match word.state() {
            State::Parts => {
                self.move_parts(block, word, new);
                self.change(block, word, new);
            }
            State::Head => {
                let order = word.order();
                self.tally.sub(self.row(word), order, 1);
                self.tally.add(self.row(new), order, 1);
                self.change(block, word, new);
                for tail in self.blocks_in(block, order).skip(1) {
                    self.set_word(tail, self.word(tail).with_migratetype(mt));
                }
            }
            State::Fresh | State::Tail => unreachable!("only what a request found is retyped"),
        }
    }

    /// Moves a pageblock's free blocks between rows of the tally.
    fn move_parts(&mut self, block: usize, from: BlockWord, to: BlockWord) {
        for order in (0..self.block_order.idx()).map(Order::at) {
            let nr = tree::count(&self.trees[block], self.block_order, order);
            self.tally.sub(self.row(from), order, nr);
            self.tally.add(self.row(to), order, nr);
        }
    }

    /// Changes a pageblock's word, and moves it to the shelf that the new one names (B4).
    #[inline]
    fn change(&mut self, block: usize, from: BlockWord, to: BlockWord) {
        debug_assert_eq!(self.word(block), from);
        self.set_word(block, to);
        let (from, to) = (from.shelf(self.block_order), to.shelf(self.block_order));
        if from != to {
            self.shelves.reshelve(block, from, to);
        }
    }

    fn row(&self, word: BlockWord) -> Row {
        if word.is_isolated() {
            Row::Isolated
        } else {
            Row::Open(word.migratetype())
        }
    }

    fn word(&self, block: usize) -> BlockWord {
        self.blocks.word(block)
    }

    fn set_word(&mut self, block: usize, word: BlockWord) {
        self.blocks.set(block, word);
    }

    fn nr_blocks(&self) -> usize {
        self.trees.len()
    }

    /// Pageblocks in a block of `order`, at least one.
    fn nr_blocks_in(&self, order: Order) -> usize {
        1 << (order.idx() - self.block_order.idx())
    }

    fn blocks_in(&self, block: usize, order: Order) -> Range<usize> {
        block..block + self.nr_blocks_in(order)
    }

    /// The head of the wholly free block that `block` lies in.
    fn head_of(&self, block: usize) -> usize {
        self.block_order
            .up_to(self.max_order)
            .map(|order| block & !(self.nr_blocks_in(order) - 1))
            .find(|head| {
                let word = self.word(*head);
                word.state() == State::Head && head + self.nr_blocks_in(word.order()) > block
            })
            .expect("a tail lies in the block of an earlier head")
    }

    fn block_of(&self, pfn: Pfn) -> usize {
        pfn.offset_from(self.start) >> self.block_order.get()
    }

    fn pfn(&self, block: usize) -> Pfn {
        self.start.add(block << self.block_order.get())
    }

    /// The order of the free block that `pfn` lies in, if it is free.
    pub(crate) fn free_order(&self, pfn: Pfn) -> Option<Order> {
        let block = self.block_of(pfn);
        match self.word(block).state() {
            State::Fresh => Some(self.max_order),
            State::Head => Some(self.word(block).order()),
            State::Tail => Some(self.word(self.head_of(block)).order()),
            State::Parts => {
                let within = pfn.offset_from(self.pfn(block));
                tree::covering(&self.trees[block], self.block_order, within)
            }
        }
    }

    /// Switches mobility grouping on or off; off, everything is Unmovable from now on.
    pub(crate) fn set_grouping(&mut self, grouping: bool) {
        self.grouping = grouping;
    }

    /// The table of pageblock words, for reading without the lock.
    pub(crate) fn block_table(&self) -> BlockTable {
        self.blocks.clone()
    }

    /// Where pages are put that are free, to be merged later.
    pub(crate) fn unmerged(&self) -> &Arc<Unmerged> {
        &self.unmerged
    }

    /// Pages free for requests, without those that are unmerged: exact.
    pub(crate) fn free_pages(&self) -> usize {
        self.tally.open_pages()
    }

    /// Pages of whole free pageblocks, alone or joined to larger blocks.
    pub(crate) fn whole_free_pages(&self) -> usize {
        self.tally.whole_pages()
    }

    /// Free pages in HighAtomic pageblocks, which ordinary requests cannot use.
    pub(crate) fn free_highatomic_pages(&self) -> usize {
        self.tally.pages(Row::Open(Migratetype::HighAtomic))
    }

    /// Pages in wholly free blocks that have memory behind them.
    pub(crate) fn resident_free_pages(&self) -> usize {
        self.free_pages_with(Residency::Used) + self.free_pages_with(Residency::Blank)
    }

    /// Pages in wholly free blocks with exactly this behind them; of vacant ones, those that were never entered
    /// into the lists are left out.
    pub(crate) fn free_pages_with(&self, residency: Residency) -> usize {
        self.whole_free[residency.idx()]
    }

    /// Of which type and order there is a free block.
    pub(crate) fn availability(&self) -> Availability {
        self.tally.available()
    }

    /// Free blocks of exactly `order` in pageblocks of type `mt`.
    pub(crate) fn nr_free(&self, mt: Migratetype, order: Order) -> usize {
        self.tally.blocks(Row::Open(mt), order)
    }

    /// Pageblocks of type `mt`.
    fn nr_blocks_of(&self, mt: Migratetype) -> usize {
        self.blocks.count_by_type()[mt.idx()]
    }

    /// What [`bytes`](Self::bytes) is for a zone of `pages`.
    pub(crate) fn estimate(pages: usize) -> usize {
        let geometry = Geometry {
            start: Pfn::from_raw(0),
            pages,
        };
        let nr_blocks = pages.div_ceil(geometry.block_order().pages());
        ZeroedTable::<AtomicU32>::bytes_for(nr_blocks)
            + ZeroedTable::<Words>::bytes_for(nr_blocks)
            + Unmerged::bytes_for(nr_blocks)
            + Shelves::estimate(nr_blocks)
    }

    /// Bytes of the tables: pageblock words, trees, bits of unmerged pages, and links.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.blocks.shared.words.bytes();
        words + self.trees.bytes() + self.unmerged.bytes() + self.shelves.bytes()
    }
}

impl fmt::Debug for Buddy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buddy")
            .field("start", &self.start)
            .field("pages", &self.pages)
            .field("free", &self.free_pages())
            .field("block_order", &self.block_order)
            .finish_non_exhaustive()
    }
}
