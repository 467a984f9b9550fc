//! What bytes ought to be: each page that is filled has contents of its own, in all of its bytes.

use pagepool::PAGE_SIZE;

/// What a block or a folio was filled with last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shadow {
    /// Nothing yet, or it was discarded.
    Zeros,
    /// What [`fill`] made of this number.
    Filled(u64),
    /// What a device has left of it.
    Anything,
}

/// A word that no other page has, and no other fill of this one.
fn word(fill: u64, page: usize) -> u64 {
    (fill << 16 | page as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Fills whole pages.
pub(crate) fn fill(bytes: &mut [u8], fill: u64) {
    for (page, bytes) in bytes.chunks_mut(PAGE_SIZE).enumerate() {
        let word = word(fill, page);
        for (index, bytes) in bytes.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&word.wrapping_add(index as u64).to_le_bytes());
        }
    }
}

/// The first word of a [`fill`].
pub(crate) fn first_word(fill: u64) -> [u8; 8] {
    word(fill, 0).to_le_bytes()
}

/// The first byte of `bytes`, which begin with page `first`, that is not as it ought to be.
fn first_wrong(bytes: &[u8], shadow: Shadow, first: usize) -> Option<usize> {
    for (page, bytes) in bytes.chunks(PAGE_SIZE).enumerate() {
        let (base, step) = match shadow {
            Shadow::Zeros => (0, 0),
            Shadow::Filled(fill) => (word(fill, first + page), 1),
            Shadow::Anything => return None,
        };
        let (words, _) = bytes.as_chunks();
        let expected = |index: usize| base.wrapping_add(index as u64 * step);
        let is_wrong =
            |(index, word): (usize, &[u8; 8])| u64::from_le_bytes(*word) != expected(index);
        // All words first, without a branch a word.
        let words = || words.iter().enumerate();
        if words().fold(false, |wrong, word| wrong | is_wrong(word)) {
            let index = words().position(is_wrong).unwrap_or(0);
            return Some((page * PAGE_SIZE) + index * 8);
        }
    }
    None
}

/// Panics unless `bytes`, which begin with page `first` of it, are as they ought to be.
#[track_caller]
pub(crate) fn compare(what: &str, bytes: &[u8], shadow: Shadow, first: usize) {
    if let Some(at) = first_wrong(bytes, shadow, first) {
        let got = &bytes[at..(at + 8).min(bytes.len())];
        panic!("{what}: byte {at} of page {first} and on is {got:02x?}, not as {shadow:?}");
    }
}

/// Panics unless `bytes` are a fill, whichever, all of them the same one.
#[track_caller]
pub(crate) fn compare_any(what: &str, bytes: &[u8]) {
    let Some(first) = bytes.first_chunk::<8>() else {
        return;
    };
    let base = u64::from_le_bytes(*first);
    let shadow = if base == 0 {
        Shadow::Zeros
    } else {
        // The inverse of the multiplier.
        Shadow::Filled(base.wrapping_mul(0xf1de_83e1_9937_733d) >> 16)
    };
    compare(what, bytes, shadow, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_is_found_intact_and_any_changed_byte_is_found() {
        let mut bytes = vec![0; 3 * PAGE_SIZE];
        fill(&mut bytes, 77);
        assert_eq!(first_wrong(&bytes, Shadow::Filled(77), 0), None);
        assert_eq!(
            first_wrong(&bytes[PAGE_SIZE..], Shadow::Filled(77), 1),
            None
        );
        compare_any("a fill", &bytes);
        for at in [0, 9, PAGE_SIZE - 1, 2 * PAGE_SIZE + 17, bytes.len() - 1] {
            bytes[at] ^= 1;
            assert_eq!(first_wrong(&bytes, Shadow::Filled(77), 0), Some(at / 8 * 8));
            bytes[at] ^= 1;
        }
        assert!(first_wrong(&bytes, Shadow::Filled(78), 0).is_some());
        assert!(first_wrong(&bytes, Shadow::Zeros, 0).is_some());
    }

    #[test]
    #[should_panic(expected = "mixed")]
    fn two_fills_are_not_one() {
        let mut bytes = vec![0; 2 * PAGE_SIZE];
        fill(&mut bytes, 1);
        fill(&mut bytes[PAGE_SIZE..], 2);
        compare_any("mixed", &bytes);
    }
}
