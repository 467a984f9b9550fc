//! Single pages that are free and not merged yet: bits that are set without the zone's lock, and that whoever has it
//! merges sixty-four at a time.
//!
//! *Kernel counterpart:* none; deferred coalescing (as in lazy buddy systems: Barkley and Lee, 1989), with bits that
//! several CPUs set at once (as in LLFree: Wrenger et al., 2023). To merge one page is several hundred instructions
//! under a lock that all threads of the zone share. To set a bit is one locked instruction on a line of the
//! pageblock's own, and two words, shifted and compared, say of sixty-four pages at once which buddies are both free.
//!
//! ```text
//!   who frees, without the zone's lock              who has the zone's lock
//!   put += pages
//!   the page's bit = 1                    (Release) the group's bit = 0    (Acquire)
//!    was no bit of that word set?                   all bits of its pageblocks taken
//!    └► the pageblock's bit = 1           (Release)  of each, all bits of its pages taken
//!        was no bit of that word set?               these pages are merged
//!        └► the group's bit = 1           (Release)
//!                                                   merged += pages
//! ```
//!
//! Whoever finds a bit set leaves it to who set it to say so one level up; whoever takes bits goes down. So a page whose
//! bit was set, and said so all the way, is found by the next who looks at all groups.
//!
//! What is unmerged is *free*: its state says so, the zone counts it, and nobody is refused, nor a type mixed with
//! another, before it was merged; some of it is before a whole pageblock is broken ([`take`](super::take)). Whoever
//! looks at the buddy as a whole merges all of it first.
//!
//! **Invariants**
//! - Q1: a page has its bit set only if its state is free, and it is in no tree. So its pageblock is not whole.
//! - Q2: a word of bits that is not zero has its bit set one level up, or somebody is about to set it, who has made
//!   the word nonzero.
//! - Q3: `put` - `merged` is how many bits are set, or about to be: a page is counted before its bit is set.
//!
//! **Locking:** bits are set by anybody, and taken under the zone's lock, under which `merged` is written.

use std::iter;

use crossbeam::utils::CachePadded;

use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::fence::{mutated, ordering_at};
use crate::types::{Order, PAGEBLOCK_ORDER};

/// Bits in a word.
const BITS: usize = u64::BITS as usize;

/// Words for the pages of a pageblock: a cache line. Those of models are small.
pub(super) const WORDS: usize = if cfg!(loom) {
    1
} else {
    PAGEBLOCK_ORDER.pages() / BITS
};

/// A bit for each page of a pageblock.
pub(super) type Pages = [u64; WORDS];

/// The pages of one zone that are free and not merged yet.
#[derive(Debug)]
pub(crate) struct Unmerged {
    block_order: Order,
    /// By pageblock, a bit for each page.
    pages: ZeroedTable<[AtomicU64; WORDS]>,
    /// A bit for each pageblock.
    blocks: ZeroedTable<AtomicU64>,
    /// A bit for each group of sixty-four pageblocks.
    groups: ZeroedTable<AtomicU64>,
    /// Pages that were ever put here; wraps.
    put: CachePadded<AtomicUsize>,
    /// Pages that were ever taken out; wraps. Written under the zone's lock.
    merged: AtomicUsize,
}

/// A group of pageblocks some of which have pages: those.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Group {
    first: usize,
    blocks: u64,
}

impl Unmerged {
    /// With room for the pages of so many pageblocks.
    pub(super) fn new(nr_blocks: usize, block_order: Order) -> Result<Unmerged, BuildError> {
        debug_assert!(block_order.pages() <= WORDS * BITS);
        let (blocks, groups) = Unmerged::words_above(nr_blocks);
        Ok(Unmerged {
            block_order,
            pages: ZeroedTable::new(nr_blocks, "bits of unmerged pages")?,
            blocks: ZeroedTable::new(blocks, "bits of pageblocks with unmerged pages")?,
            groups: ZeroedTable::new(groups, "bits of groups with unmerged pages")?,
            put: CachePadded::default(),
            merged: AtomicUsize::new(0),
        })
    }

    /// Words for so many pageblocks, and for their groups.
    const fn words_above(nr_blocks: usize) -> (usize, usize) {
        let blocks = nr_blocks.div_ceil(BITS);
        (blocks, blocks.div_ceil(BITS))
    }

    /// Bytes of the tables for so many pageblocks.
    pub(super) fn bytes_for(nr_blocks: usize) -> usize {
        let (blocks, groups) = Unmerged::words_above(nr_blocks);
        ZeroedTable::<[AtomicU64; WORDS]>::bytes_for(nr_blocks)
            + ZeroedTable::<AtomicU64>::bytes_for(blocks)
            + ZeroedTable::<AtomicU64>::bytes_for(groups)
    }

    /// Bytes of the tables.
    pub(super) fn bytes(&self) -> usize {
        Unmerged::bytes_for(self.pages.len())
    }

    /// Groups of pageblocks.
    pub(crate) fn nr_groups(&self) -> usize {
        self.blocks.len()
    }

    /// Puts so many free pages here, each by how many pages after the zone's first it is (Q1); returns how many there
    /// are now.
    pub(crate) fn put(&self, nr: usize, offsets: impl Iterator<Item = usize>) -> usize {
        // Relaxed: the bits order it before who takes them. Who must not miss these pages takes a lock that the
        // caller has.
        self.put.fetch_add(nr, Ordering::Relaxed);
        let done = offsets.map(|offset| self.put_one(offset)).count();
        debug_assert_eq!(done, nr, "Q3");
        self.nr_pages()
    }

    fn put_one(&self, offset: usize) {
        let block = offset >> self.block_order.get();
        let within = offset & (self.block_order.pages() - 1);
        let group = block / BITS;
        let is_said = mark(&self.pages[block][within / BITS], within % BITS)
            || mark(&self.blocks[group], block % BITS);
        if !is_said && !mutated("unmerged.say") {
            mark(&self.groups[group / BITS], group % BITS);
        }
    }

    /// Pages that are here, or about to be (Q3).
    pub(crate) fn nr_pages(&self) -> usize {
        // In this order: what is merged between counts as if it were not.
        let merged = self.nr_merged();
        (self.nr_put().wrapping_sub(merged) as isize).max(0) as usize
    }

    /// Pages that were ever put here; wraps.
    pub(crate) fn nr_put(&self) -> usize {
        // Relaxed: as in `put`.
        self.put.load(Ordering::Relaxed)
    }

    /// Pages that were ever taken out; wraps.
    pub(crate) fn nr_merged(&self) -> usize {
        // Relaxed: the zone's lock orders it.
        self.merged.load(Ordering::Relaxed)
    }

    /// Whether no bit is set, nor counted. Looks at each of them.
    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: exact when nothing else runs.
        let is_zero = |word: &AtomicU64| word.load(Ordering::Relaxed) == 0;
        let counts_agree = self.nr_put() == self.nr_merged();
        counts_agree && self.pages.iter().flatten().all(is_zero)
    }

    /// Counts pages that were taken out. Under the zone's lock.
    pub(super) fn note_merged(&self, pages: usize) {
        // Relaxed: written under the lock.
        self.merged
            .store(self.nr_merged().wrapping_add(pages), Ordering::Relaxed);
    }

    /// Takes the next group out that has any pages, from this one on. Under the zone's lock.
    pub(super) fn take_group(&self, from: usize) -> Option<Group> {
        let nr = self.nr_groups();
        let group = self.groups_from(from).find(|group| *group < nr)?;
        self.groups[group / BITS].fetch_and(!(1 << (group % BITS)), acquire());
        Some(Group {
            first: group * BITS,
            blocks: self.blocks[group].swap(0, acquire()),
        })
    }

    /// The groups that have any pages, from this one on, and then those before it.
    fn groups_from(&self, from: usize) -> impl Iterator<Item = usize> {
        let words = self.groups.len();
        let of = move |word: usize, mask: u64| {
            // Relaxed: it is taken with Acquire.
            let bits = self.groups[word].load(Ordering::Relaxed) & mask;
            ones(bits).map(move |bit| word * BITS + bit)
        };
        let (first, ahead) = (from / BITS, u64::MAX << (from % BITS));
        let next = (1..words).map(move |more| (first + more) % words);
        of(first, ahead)
            .chain(next.flat_map(move |word| of(word, u64::MAX)))
            .chain(of(first, !ahead))
    }

    /// Takes all pages of a pageblock out. Under the zone's lock.
    pub(super) fn take_block(&self, block: usize) -> Pages {
        std::array::from_fn(|at| {
            let word = &self.pages[block][at];
            // Relaxed: it is taken with Acquire, and what made the caller come is not older than this.
            match word.load(Ordering::Relaxed) {
                0 => 0,
                _ => word.swap(0, acquire()),
            }
        })
    }
}

impl Group {
    /// Its pageblocks that have pages.
    pub(super) fn blocks(self) -> impl Iterator<Item = usize> {
        ones(self.blocks).map(move |bit| self.first + bit)
    }

    /// The number of the group after it, if there is one.
    pub(super) fn next(self) -> usize {
        self.first / BITS + 1
    }
}

/// Sets a bit of a word; returns whether the word had any, whose owner is who says so one level up (Q2).
fn mark(word: &AtomicU64, bit: usize) -> bool {
    // Release: what was done to the page, and what was set below, is seen by who takes it: pairs with `acquire`.
    let before = word.fetch_or(1 << bit, ordering_at("unmerged.put", Ordering::Release));
    before != 0
}

/// What taking bits orders: pairs with the Release in `mark`.
fn acquire() -> Ordering {
    ordering_at("unmerged.take", Ordering::Acquire)
}

/// The numbers of the bits that are set, the lowest first.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(bit)
    })
}
