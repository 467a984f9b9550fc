//! In what steps memory is reclaimed that somebody asks for beforehand, and when that is given up (spec 9.24).
//!
//! *Kernel counterpart:* the loop of `memory.reclaim` and of a node's `reclaim` (later kernels). There only the
//! last attempt empties all batches of folios first; here each does.
//!
//! A step is for a quarter of what is missing: a reclaim may bring more than it was asked for, and the last
//! steps, which bring most beyond, are small.

/// Fruitless steps that are tried again (kernel: `MAX_RECLAIM_RETRIES`).
const MAX_RETRIES: usize = 16;

/// How far one has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Steps {
    wanted: usize,
    freed: usize,
    fruitless: usize,
}

impl Steps {
    /// Nothing was done yet.
    pub(crate) fn towards(pages: usize) -> Steps {
        Steps {
            wanted: pages,
            freed: 0,
            fruitless: 0,
        }
    }

    /// Pages freed so far.
    pub(crate) fn freed(&self) -> usize {
        self.freed
    }

    /// Pages to reclaim next; none if there is enough, or no hope.
    pub(crate) fn next(&self) -> Option<usize> {
        let missing = self.wanted.saturating_sub(self.freed);
        let is_of_use = missing > 0 && self.fruitless <= MAX_RETRIES;
        is_of_use.then_some(missing.div_ceil(4))
    }

    /// A step has freed so many pages.
    pub(crate) fn note(&mut self, freed: usize) {
        self.freed += freed;
        self.fruitless += usize::from(freed == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_24_a_step_is_a_quarter_of_what_is_missing() {
        let mut steps = Steps::towards(1000);
        let mut all = Vec::new();
        while let Some(pages) = steps.next() {
            all.push(pages);
            steps.note(pages);
        }
        assert_eq!(all[..4], [250, 188, 141, 106]);
        assert_eq!((steps.freed(), all.last()), (1000, Some(&1)));
    }

    #[test]
    fn s9_24_what_a_step_brings_beyond_ends_it() {
        let mut steps = Steps::towards(100);
        steps.note(101);
        assert_eq!((steps.next(), steps.freed()), (None, 101));
        assert_eq!(Steps::towards(0).next(), None);
    }

    #[test]
    fn s9_24_a_fruitless_step_is_tried_again_sixteen_times() {
        let mut steps = Steps::towards(100);
        let mut nr = 0;
        while let Some(pages) = steps.next() {
            assert_eq!(pages, 25);
            steps.note(0);
            nr += 1;
        }
        assert_eq!((nr, steps.freed()), (17, 0));
    }

    #[test]
    fn s9_24_progress_restores_no_hope() {
        let mut steps = Steps::towards(100);
        (0..16).for_each(|_| steps.note(0));
        steps.note(1);
        assert_eq!(steps.next(), Some(25));
        steps.note(0);
        assert_eq!((steps.next(), steps.freed()), (None, 1));
    }
}
