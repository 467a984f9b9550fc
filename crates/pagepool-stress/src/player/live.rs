//! All of a kind of memory that is held: some short-lived, some long-lived.
#![forbid(unsafe_code)]

use super::{
    bag::Bag,
    turnover::{Age, Band, Event, LARGEST},
};
use crate::rng::Rng;

/// All of a kind that is held.
pub(super) struct Live<T> {
    band: Band,
    pages: usize,
    short: Bag<T>,
    long: Bag<T>,
}

impl<T> Live<T> {
    /// All of its memory is touched here.
    pub(super) fn new(band: Band) -> Live<T> {
        // The last one that comes may be the largest.
        let most = band.high + (1 << LARGEST);
        Live {
            band,
            pages: 0,
            short: Bag::new(most),
            long: Bag::new(most),
        }
    }

    /// What happens next.
    pub(super) fn next(&self, rng: &mut Rng) -> Event {
        self.band.next(self.pages, rng)
    }

    /// Adds one of so many pages.
    pub(super) fn add(&mut self, pages: usize, one: T) {
        self.pages += pages;
        match Age::of_next(self.short.len(), self.long.len()) {
            Age::Short => self.short.push(one),
            Age::Long => self.long.push(one),
        }
    }

    /// So many pages are held no longer: those of one that was taken.
    pub(super) fn forget(&mut self, pages: usize) {
        self.pages -= pages;
    }

    /// Takes any one, from those of an age if there are some.
    pub(super) fn take_any(&mut self, rng: &mut Rng) -> Option<T> {
        let (first, second) = match Age::of_victim(rng) {
            Age::Short => (&mut self.short, &mut self.long),
            Age::Long => (&mut self.long, &mut self.short),
        };
        first.take_any(rng).or_else(|| second.take_any(rng))
    }

    /// Takes the last one.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.short.pop().or_else(|| self.long.pop())
    }

    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    pub(super) fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    /// Whether there is as much as there is to be.
    pub(super) fn is_filled(&self) -> bool {
        self.pages >= self.band.low
    }
}
