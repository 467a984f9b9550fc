//! Pictures of all pageblocks, in memory that does not grow: of each a sign, and what was moved out of it.
//!
//! ```text
//! bits 7..6  kind: Unmovable, Movable, Reclaimable, HighAtomic
//! bits 5..0  how full: 0 nothing in use, 1 to 61, 62 all of it; 63: out of the zone
//! ```
//!
//! Beside the sign stand the pages that were moved out of the pageblock since the picture before, 65,535 at most.
//!
//! When there is no room for another picture every second one goes, and from then on half as many are taken. What was
//! moved before one that goes counts in the next.
#![forbid(unsafe_code)]

use pagepool::Migratetype;

use super::change::{base64, difference, sparse};

/// Signs of all pictures.
const MOST_SIGNS: usize = 2 << 20;

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
pub(super) struct Blank {
    signs: Vec<u8>,
    moved: Vec<u16>,
    counted: Vec<u64>,
}

impl Blank {
    pub(super) fn new() -> Blank {
        let touched = Blank {
            signs: vec![1; MOST_SIGNS],
            moved: vec![1; MOST_SIGNS],
            counted: vec![1; MOST_SIGNS / FEWEST_PICTURES],
        };
        touched.cleared()
    }

    fn cleared(mut self) -> Blank {
        self.signs.clear();
        self.moved.clear();
        self.counted.clear();
        self
    }
}

/// Pictures in the order of time.
#[derive(Debug)]
pub(super) struct Film {
    nr_blocks: usize,
    most: usize,
    /// When each was taken, in seconds.
    times: Vec<f64>,
    signs: Vec<u8>,
    /// Pages that were moved out of each pageblock since the picture before.
    moved: Vec<u16>,
    /// The same, from the beginning up to the last picture.
    counted: Vec<u64>,
    /// Seconds between two pictures.
    interval: f64,
}

impl Film {
    /// For pictures of `nr_blocks` pageblocks, at first one each `interval` seconds; of more pageblocks than there is
    /// room for, none is taken.
    pub(super) fn new(blank: Blank, nr_blocks: usize, interval: f64) -> Film {
        let fit = MOST_SIGNS / nr_blocks.max(1);
        let most = if fit < FEWEST_PICTURES || nr_blocks == 0 {
            0
        } else {
            fit.min(MOST_PICTURES) & !1
        };
        let Blank {
            signs,
            moved,
            mut counted,
        } = blank;
        if most > 0 {
            counted.resize(nr_blocks, 0);
        }
        Film {
            nr_blocks,
            most,
            times: Vec::with_capacity(MOST_PICTURES),
            signs,
            moved,
            counted,
            interval,
        }
    }

    /// Whether a look at `time` is to be a picture. A look that comes a little early will do.
    pub(super) fn wants(&self, time: f64) -> bool {
        self.has_room_after(time - self.interval * 0.9)
    }

    /// Whether the last look of all, at `time`, is to be a picture: if it is none yet, so that nothing that happened
    /// is missing.
    pub(super) fn wants_last(&self, time: f64) -> bool {
        self.has_room_after(time) && self.times.last() != Some(&time)
    }

    /// Whether pictures are taken at all, and the last one no later than `time`.
    fn has_room_after(&self, time: f64) -> bool {
        self.most > 0 && self.times.last().is_none_or(|last| *last <= time)
    }

    /// Adds the picture that was taken at `time`: the sign of each pageblock, and how many pages were moved out of
    /// it so far.
    pub(super) fn add(&mut self, time: f64, signs: &[u8], moved_out: &[u64]) {
        assert_eq!(
            (signs.len(), moved_out.len()),
            (self.nr_blocks, self.nr_blocks)
        );
        if self.times.len() == self.most {
            self.halve();
        }
        self.times.push(time);
        self.signs.extend_from_slice(signs);
        for (counted, now) in self.counted.iter_mut().zip(moved_out) {
            let since = now.saturating_sub(*counted);
            self.moved.push(u16::try_from(since).unwrap_or(u16::MAX));
            *counted = *now;
        }
    }

    /// Keeps the first picture of each two neighbours. There is an even number of them.
    fn halve(&mut self) {
        let (kept, width) = (self.times.len() / 2, self.nr_blocks);
        for n in 1..kept {
            self.times[n] = self.times[2 * n];
            let from = 2 * n * width;
            self.signs.copy_within(from..from + width, n * width);
            for block in 0..width {
                let gone = self.moved[from - width + block];
                let moved = self.moved[from + block].saturating_add(gone);
                self.moved[n * width + block] = moved;
            }
        }
        // The last one goes: what was moved before it is still to be counted.
        let last = &self.moved[(2 * kept - 1) * width..];
        for (counted, gone) in self.counted.iter_mut().zip(last) {
            *counted -= u64::from(*gone);
        }
        self.times.truncate(kept);
        self.signs.truncate(kept * width);
        self.moved.truncate(kept * width);
        self.interval *= 2.0;
    }

    pub(super) fn times(&self) -> &[f64] {
        &self.times
    }

    /// Each picture as what is different from the one before (the first: from all zeros), in base 64: skipped bytes,
    /// changed bytes, and these, over and over. Both numbers have 7 bits to a byte, the lowest first.
    pub(super) fn changes(&self) -> Vec<String> {
        let mut before = vec![0; self.nr_blocks];
        let pictures = self.signs.chunks_exact(self.nr_blocks.max(1));
        let change = |picture: &[u8]| {
            let change = difference(&before, picture);
            before.copy_from_slice(picture);
            base64(&change)
        };
        pictures.map(change).collect()
    }

    /// For each picture the pages that were moved out of pageblocks since the one before (the first: from when the
    /// pool was built), in base 64: pageblocks that nothing was moved out of, and the pages of the next, over and
    /// over. Numbers are as in [`changes`](Self::changes).
    pub(super) fn moved_out(&self) -> Vec<String> {
        let pictures = self.moved.chunks_exact(self.nr_blocks.max(1));
        pictures.map(|moved| base64(&sparse(moved))).collect()
    }

    /// Gives the memory back.
    pub(super) fn into_blank(self) -> Blank {
        let blank = Blank {
            signs: self.signs,
            moved: self.moved,
            counted: self.counted,
        };
        blank.cleared()
    }
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
    fn a_long_film_has_fewer_pictures_all_along() {
        let mut film = Film::new(Blank::new(), 3, 1.0);
        for look in 0..5000_u32 {
            if film.wants(f64::from(look)) {
                let moved = u64::from(look);
                film.add(f64::from(look), &[look as u8; 3], &[0, moved, 1000 * moved]);
            }
        }
        let last = *film.times().last().expect("some") as u64;
        let moved = |block: usize| -> u64 {
            let column = film.moved.iter().skip(block).step_by(3);
            column.map(|moved| u64::from(*moved)).sum()
        };
        assert_eq!([0, 1, 2].map(moved), [0, last, 1000 * last]);
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
    fn the_last_look_is_a_picture_even_if_none_is_due() {
        let mut film = Film::new(Blank::new(), 1, 1.0);
        film.add(5.0, &[0], &[3]);
        assert!(!film.wants(5.1) && film.wants_last(5.1));
        assert!(!film.wants_last(5.0), "it is one already");
        assert!(!Film::new(Blank::new(), 0, 1.0).wants_last(0.0));
    }

    #[test]
    fn what_is_moved_counts_from_picture_to_picture() {
        let mut film = Film::new(Blank::new(), 2, 1.0);
        film.add(0.0, &[0; 2], &[4, 0]);
        film.add(1.0, &[0; 2], &[4, 9]);
        film.add(2.0, &[0; 2], &[5, 1 << 20]);
        assert_eq!(film.moved, [4, 0, 0, 9, 1, u16::MAX], "as far as it counts");
        assert_eq!(film.moved_out()[0], base64(&[0, 4]));
    }

    #[test]
    fn too_many_pageblocks_are_not_pictured() {
        assert!(!Film::new(Blank::new(), MOST_SIGNS, 1.0).wants(0.0));
        assert!(!Film::new(Blank::new(), 0, 1.0).wants(0.0));
        assert!(Film::new(Blank::new(), MOST_SIGNS / 16, 1.0).wants(0.0));
    }
}
