//! What is written into blocks, so that every byte read back can be told right from wrong.
//!
//! A block has a [`Tag`], unique in a run. Page `p` of the block holds the stream of random words
//! that begins at (tag, `p`): a page that moved, was mixed up with another, or was written by
//! somebody else shows. The parts of a split block keep the tag and know which page of the whole
//! they begin at.
#![forbid(unsafe_code)]

use std::fmt;

use pagepool::{PAGE_SIZE, Pages};

use crate::rng::{mix, nth};

const WORD: usize = size_of::<u64>();
const WORDS_PER_PAGE: usize = PAGE_SIZE / WORD;

/// Names a block's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Tag {
    /// The tag of block `id` of the player with the seed `seed`.
    pub(crate) fn new(seed: u64, id: u64) -> Tag {
        Tag(nth(seed, id))
    }

    fn page(self, page: u32) -> u64 {
        mix(self.0 ^ mix(u64::from(page)))
    }
}

/// How much of a page is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Every byte.
    Full,
    /// The first and the last word; the rest stays zero and is not looked at.
    Edges,
}

/// A block with its contents.
#[derive(Debug)]
pub(crate) struct Held {
    pages: Pages,
    tag: Tag,
    /// The page of the tagged block that this one begins at.
    first_page: u32,
}

/// Contents that are not what was written.
#[derive(Debug)]
pub(crate) struct Mismatch {
    order: u8,
    pfn: pagepool::Pfn,
    byte: usize,
    expected: u64,
    found: u64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch {
            order,
            pfn,
            byte,
            expected,
            found,
        } = self;
        write!(
            f,
            "corruption: {pfn} order {order}: byte {byte} holds {found:016x}, written was {expected:016x}"
        )
    }
}

impl Held {
    /// Writes the contents named `tag` into `pages`.
    pub(crate) fn fill(pages: Pages, tag: Tag, depth: Depth) -> Held {
        let mut held = Held {
            pages,
            tag,
            first_page: 0,
        };
        held.rewrite(tag, depth);
        held
    }

    /// Writes other contents.
    pub(crate) fn rewrite(&mut self, tag: Tag, depth: Depth) {
        (self.tag, self.first_page) = (tag, 0);
        fill_bytes(&mut self.pages, tag, depth);
    }

    /// Pages in the block.
    pub(crate) fn nr_pages(&self) -> usize {
        self.pages.order().pages()
    }

    pub(crate) fn order(&self) -> pagepool::Order {
        self.pages.order()
    }

    /// Reads the whole block and returns the number of bytes compared.
    pub(crate) fn check(&self, depth: Depth) -> Result<u64, Mismatch> {
        (0..self.nr_pages())
            .map(|page| self.check_page(page, depth))
            .sum()
    }

    /// Reads page `page` of the block and returns the number of bytes compared.
    pub(crate) fn check_page(&self, page: usize, depth: Depth) -> Result<u64, Mismatch> {
        let bytes = &self.pages[page * PAGE_SIZE..][..PAGE_SIZE];
        let start = self.tag.page(self.first_page + page as u32);
        match first_difference(bytes, start, depth) {
            None => Ok(depth.bytes()),
            Some(word) => {
                Err(self.mismatch(page * PAGE_SIZE + word * WORD, nth(start, word as u64)))
            }
        }
    }

    /// Gives the block up.
    pub(crate) fn into_pages(self) -> Pages {
        self.pages
    }

    /// Splits the block into parts of `order`, each with its part of the contents.
    pub(crate) fn split(self, order: pagepool::Order) -> impl ExactSizeIterator<Item = Held> {
        let Held {
            pages,
            tag,
            first_page,
        } = self;
        pages.split(order).enumerate().map(move |(n, pages)| {
            let first_page = first_page + (n * order.pages()) as u32;
            Held {
                pages,
                tag,
                first_page,
            }
        })
    }

    fn mismatch(&self, byte: usize, expected: u64) -> Mismatch {
        mismatch(&self.pages, byte, expected)
    }
}

/// Writes the contents named `tag` into the bytes of a folio.
pub(crate) fn fill_bytes(bytes: &mut [u8], tag: Tag, depth: Depth) {
    for (page, bytes) in (0..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
        fill_page(bytes, tag.page(page), depth);
    }
}

/// A word of a folio that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) byte: usize,
    pub(crate) expected: u64,
    pub(crate) found: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            byte,
            expected,
            found,
        } = self;
        write!(
            f,
            "byte {byte} holds {found:016x}, written was {expected:016x}"
        )
    }
}

/// Compares the bytes of a folio with the contents named `tag` and returns how many were compared.
pub(crate) fn check_bytes(bytes: &[u8], tag: Tag, depth: Depth) -> Result<u64, Difference> {
    let check = |(page, bytes): (u32, &[u8])| {
        let start = tag.page(page);
        let Some(n) = first_difference(bytes, start, depth) else {
            return Ok(depth.bytes());
        };
        let (words, _) = bytes.as_chunks::<WORD>();
        Err(Difference {
            byte: page as usize * PAGE_SIZE + n * WORD,
            expected: nth(start, n as u64),
            found: u64::from_le_bytes(words[n]),
        })
    };
    (0..).zip(bytes.chunks_exact(PAGE_SIZE)).map(check).sum()
}

/// Makes sure that a block arrived zeroed.
pub(crate) fn check_zeroed(pages: &Pages) -> Result<u64, Mismatch> {
    // Compared by the page, so that the search for the word is left to the page that differs.
    const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
    match pages.chunks_exact(PAGE_SIZE).position(|page| page != ZEROS) {
        None => Ok(pages.len() as u64),
        Some(page) => {
            let words = pages[page * PAGE_SIZE..].chunks_exact(WORD);
            let word = words
                .take_while(|word| word.iter().all(|byte| *byte == 0))
                .count();
            Err(mismatch(pages, page * PAGE_SIZE + word * WORD, 0))
        }
    }
}

impl Depth {
    /// Bytes compared in a page.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Depth::Full => PAGE_SIZE as u64,
            Depth::Edges => 2 * WORD as u64,
        }
    }
}

fn mismatch(pages: &Pages, byte: usize, expected: u64) -> Mismatch {
    let found = u64::from_le_bytes(pages[byte..][..WORD].try_into().expect("a word"));
    Mismatch {
        order: pages.order().get(),
        pfn: pages.pfn(),
        byte,
        expected,
        found,
    }
}

fn fill_page(page: &mut [u8], start: u64, depth: Depth) {
    let (words, _) = page.as_chunks_mut::<WORD>();
    match depth {
        Depth::Full => {
            for (n, word) in (0..).zip(words) {
                *word = nth(start, n).to_le_bytes();
            }
        }
        Depth::Edges => {
            for n in [0, WORDS_PER_PAGE - 1] {
                words[n] = nth(start, n as u64).to_le_bytes();
            }
        }
    }
}

fn first_difference(page: &[u8], start: u64, depth: Depth) -> Option<usize> {
    let (words, _) = page.as_chunks::<WORD>();
    let differs = |n: &usize| words[*n] != nth(start, *n as u64).to_le_bytes();
    match depth {
        Depth::Full => (0..WORDS_PER_PAGE).find(differs),
        Depth::Edges => [0, WORDS_PER_PAGE - 1].into_iter().find(differs),
    }
}

#[cfg(test)]
mod tests {
    use pagepool::{Gfp, Order, PagePool};

    use super::*;

    fn block(order: u8) -> Pages {
        let pool = PagePool::builder().managed(4 << 20).build().unwrap();
        pool.alloc_pages(Order::new(order).unwrap(), Gfp::KERNEL)
            .unwrap()
    }

    #[test]
    fn what_was_written_is_found() {
        for depth in [Depth::Full, Depth::Edges] {
            let held = Held::fill(block(2), Tag::new(1, 2), depth);
            assert_eq!(held.check(depth).unwrap(), 4 * depth.bytes());
        }
    }

    #[test]
    fn a_flipped_bit_is_found_and_named() {
        let mut held = Held::fill(block(1), Tag::new(1, 2), Depth::Full);
        held.pages[PAGE_SIZE + 17] ^= 4;
        let mismatch = held.check(Depth::Full).unwrap_err();
        assert_eq!(mismatch.byte, PAGE_SIZE + 16);
        assert_eq!((mismatch.expected ^ mismatch.found).count_ones(), 1);
    }

    #[test]
    fn parts_keep_their_part_of_the_contents() {
        let held = Held::fill(block(3), Tag::new(1, 2), Depth::Full);
        for part in held.split(Order::new(1).unwrap()) {
            assert_eq!(part.check(Depth::Full).unwrap(), 2 * PAGE_SIZE as u64);
        }
    }

    #[test]
    fn pages_of_a_block_differ() {
        let held = Held::fill(block(1), Tag::new(1, 2), Depth::Full);
        assert_ne!(held.pages[..PAGE_SIZE], held.pages[PAGE_SIZE..]);
    }

    #[test]
    fn blocks_arrive_zeroed() {
        let mut pages = block(1);
        assert_eq!(check_zeroed(&pages).unwrap(), 2 * PAGE_SIZE as u64);
        pages[5000] = 1;
        assert_eq!(check_zeroed(&pages).unwrap_err().byte, 5000);
    }
}
