//! Pictures of all pageblocks, a byte each, in memory that does not grow.
//!
//! ```text
//! bits 7..6  kind: Unmovable, Movable, Reclaimable, HighAtomic
//! bits 5..0  how full: 0 nothing in use, 1 to 61, 62 all of it; 63: out of the zone
//! ```
//!
//! When there is no room for another picture every second one goes, and from then on half as many are taken.
#![forbid(unsafe_code)]

use pagepool::Migratetype;

/// Bytes of all pictures.
const MOST_BYTES: usize = 4 << 20;

/// Pictures at most, and how many there must be room for.
const MOST_PICTURES: usize = 512;
const FEWEST_PICTURES: usize = 8;

/// How full a pageblock is of which all pages are in use.
const FULL: u8 = 62;

/// Nothing is known of a pageblock.
pub(super) const ABSENT: u8 = 63;

/// The sign of a pageblock of `size` pages, `used` of them in use.
pub(super) fn sign(kind: Migratetype, used: usize, size: usize) -> u8 {
    let level = match used {
        0 => 0,
        used if used >= size => FULL,
        // 1 to 61: neither nothing nor all.
        used => 1 + ((used - 1) * 60 / (size - 2).max(1)) as u8,
    };
    (kind.idx() as u8) << 6 | level
}

/// The memory of a film, all of it touched.
#[derive(Debug)]
pub(super) struct Blank(Vec<u8>);

impl Blank {
    pub(super) fn new() -> Blank {
        let mut bytes = vec![1; MOST_BYTES];
        bytes.clear();
        Blank(bytes)
    }
}

/// Pictures in the order of time.
#[derive(Debug)]
pub(super) struct Film {
    nr_blocks: usize,
    most: usize,
    /// When each was taken, in seconds.
    times: Vec<f64>,
    bytes: Vec<u8>,
    /// Seconds between two pictures.
    interval: f64,
}

impl Film {
    /// For pictures of `nr_blocks` pageblocks, at first one each `interval` seconds; of more pageblocks than there is
    /// room for, none is taken.
    pub(super) fn new(blank: Blank, nr_blocks: usize, interval: f64) -> Film {
        let fit = MOST_BYTES / nr_blocks.max(1);
        let most = if fit < FEWEST_PICTURES || nr_blocks == 0 {
            0
        } else {
            fit.min(MOST_PICTURES) & !1
        };
        Film {
            nr_blocks,
            most,
            times: Vec::with_capacity(MOST_PICTURES),
            bytes: blank.0,
            interval,
        }
    }

    /// Whether a look at `time` is to be a picture. A look that comes a little early will do.
    pub(super) fn wants(&self, time: f64) -> bool {
        let is_due = |last: &f64| time - last >= self.interval * 0.9;
        self.most > 0 && self.times.last().is_none_or(is_due)
    }

    /// Adds the picture that was taken at `time`.
    pub(super) fn add(&mut self, time: f64, picture: &[u8]) {
        assert_eq!(picture.len(), self.nr_blocks);
        if self.times.len() == self.most {
            self.halve();
        }
        self.times.push(time);
        self.bytes.extend_from_slice(picture);
    }

    fn halve(&mut self) {
        let kept = self.times.len().div_ceil(2);
        for n in 1..kept {
            self.times[n] = self.times[2 * n];
            let from = 2 * n * self.nr_blocks;
            self.bytes
                .copy_within(from..from + self.nr_blocks, n * self.nr_blocks);
        }
        self.times.truncate(kept);
        self.bytes.truncate(kept * self.nr_blocks);
        self.interval *= 2.0;
    }

    pub(super) fn times(&self) -> &[f64] {
        &self.times
    }

    /// Each picture as what is different from the one before (the first: from all zeros), in base 64: skipped bytes,
    /// changed bytes, and these, over and over. Both numbers have 7 bits to a byte, the lowest first.
    pub(super) fn changes(&self) -> Vec<String> {
        let mut before = vec![0; self.nr_blocks];
        let pictures = self.bytes.chunks_exact(self.nr_blocks.max(1));
        let change = |picture: &[u8]| {
            let change = difference(&before, picture);
            before.copy_from_slice(picture);
            base64(&change)
        };
        pictures.map(change).collect()
    }

    /// Gives the memory back.
    pub(super) fn into_blank(self) -> Blank {
        let mut bytes = self.bytes;
        bytes.clear();
        Blank(bytes)
    }
}

fn difference(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < after.len() {
        let same = (at..after.len())
            .take_while(|&n| before[n] == after[n])
            .count();
        let begin = at + same;
        let changed = (begin..after.len())
            .take_while(|&n| before[n] != after[n])
            .count();
        if changed == 0 {
            break;
        }
        put_number(&mut bytes, same);
        put_number(&mut bytes, changed);
        bytes.extend_from_slice(&after[begin..begin + changed]);
        at = begin + changed;
    }
    bytes
}

fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64 with padding, as browsers read it.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            text.push(if n > group.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_tell_empty_and_full_from_nearly_so() {
        let level = |used| sign(Migratetype::Movable, used, 512) & 63;
        assert_eq!([0, 1, 511, 512].map(level), [0, 1, 61, FULL]);
        assert!((0..512).all(|used| level(used) <= level(used + 1)));
        assert_eq!(sign(Migratetype::HighAtomic, 0, 512) >> 6, 3);
        assert_eq!(sign(Migratetype::Unmovable, 1, 1), FULL);
    }

    #[test]
    fn base_64_is_as_others_write_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn only_what_changes_is_written() {
        assert!(difference(&[0, 1, 2, 3], &[0, 1, 2, 3]).is_empty());
        assert_eq!(difference(&[0, 1, 2, 3], &[0, 9, 9, 3]), [1, 2, 9, 9]);
        let (before, mut after) = ([0; 300], [0; 300]);
        (after[0], after[299]) = (7, 8);
        assert_eq!(difference(&before, &after), [0, 1, 7, 42 | 128, 2, 1, 8]);
    }

    #[test]
    fn a_long_film_has_fewer_pictures_all_along() {
        let mut film = Film::new(Blank::new(), 3, 1.0);
        for look in 0..5000_u32 {
            if film.wants(f64::from(look)) {
                film.add(f64::from(look), &[look as u8; 3]);
            }
        }
        let times = film.times();
        assert!((MOST_PICTURES / 2..=MOST_PICTURES).contains(&times.len()));
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(times[0], 0.0);
        assert!(
            gaps.iter().all(|gap| (14.0..=18.0).contains(gap)),
            "{gaps:?}"
        );
    }

    #[test]
    fn too_many_pageblocks_are_not_pictured() {
        assert!(!Film::new(Blank::new(), MOST_BYTES, 1.0).wants(0.0));
        assert!(!Film::new(Blank::new(), 0, 1.0).wants(0.0));
        assert!(Film::new(Blank::new(), MOST_BYTES / 16, 1.0).wants(0.0));
    }
}
