//! The pattern on freed pages of a hardened pool, and the search for what disturbed it (pure).
//!
//! *Kernel counterpart:* `mm/page_poison.c` (v5.0). There a page that does not carry the pattern is
//! an error; here a page of zeros is fine too, since free pages may be given back to the system.

#![forbid(unsafe_code)]

use crate::types::PAGE_SIZE;

/// The byte on freed pages. As a pointer, eight of them are no address of a 64-bit process, so that
/// following one faults; as an integer they are neither small nor even.
const POISON_BYTE: u8 = 0xa5;

/// [`POISON_BYTE`], a word at a time.
const POISON: u64 = u64::from_ne_bytes([POISON_BYTE; 8]);

/// Words in a page.
const PAGE_WORDS: usize = PAGE_SIZE / size_of::<u64>();

/// Writes the pattern.
pub(super) fn fill(words: &mut [u64]) {
    words.fill(POISON);
}

/// Checks that each page is the pattern or zero throughout; if not, returns the offset of the first
/// byte that is not.
pub(super) fn check(words: &[u64]) -> Result<(), usize> {
    for (nr_page, page) in words.chunks_exact(PAGE_WORDS).enumerate() {
        if !is_intact(page) {
            return Err(nr_page * PAGE_SIZE + first_written(page));
        }
    }
    Ok(())
}

/// Whether the page is the pattern or zero throughout.
fn is_intact(page: &[u64]) -> bool {
    let first = page[0];
    // Without an early exit, so that the loop compiles to wide instructions.
    let difference = page.iter().fold(0, |seen, word| seen | (word ^ first));
    difference == 0 && (first == POISON || first == 0)
}

/// The offset of the first byte that somebody wrote. Whether the page was the pattern or zero before
/// is what most of its words say.
#[cold]
fn first_written(page: &[u64]) -> usize {
    let nr_poison = page.iter().filter(|word| **word == POISON).count();
    let nr_zero = page.iter().filter(|word| **word == 0).count();
    let before = if nr_poison >= nr_zero { POISON_BYTE } else { 0 };

    page.iter()
        .flat_map(|word| word.to_ne_bytes())
        .position(|byte| byte != before)
        .expect("a page that is not intact differs from what it was before")
}
