//! A bounded collection of what is held, from which any one can be taken.
//!
//! All its memory is touched when it is made, so that it never grows while RSS is watched.
#![forbid(unsafe_code)]

use crate::{content::Held, rng::Rng};

/// The collection.
#[derive(Debug)]
pub(crate) struct Bag<T = Held> {
    slots: Vec<Option<T>>,
    len: usize,
}

impl<T> Bag<T> {
    /// An empty bag for up to `capacity` of them.
    pub(crate) fn new(capacity: usize) -> Bag<T> {
        Bag {
            slots: empty_slots(capacity),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many more fit.
    pub(crate) fn room(&self) -> usize {
        self.slots.len() - self.len
    }

    /// Adds one.
    ///
    /// # Panics
    /// If the bag is full.
    pub(crate) fn push(&mut self, held: T) {
        self.slots[self.len] = Some(held);
        self.len += 1;
    }

    /// Takes any one.
    pub(crate) fn take_any(&mut self, rng: &mut Rng) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        self.slots.swap(rng.below(self.len), self.len - 1);
        self.pop()
    }

    /// Takes the last one.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        self.slots[self.len].take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots[..self.len].iter().flatten()
    }

    /// Drops those that `keep` does not want.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for n in 0..self.len {
            if self.slots[n].as_ref().is_some_and(&mut keep) {
                self.slots.swap(kept, n);
                kept += 1;
            } else {
                self.slots[n] = None;
            }
        }
        self.len = kept;
    }
}

/// A table of `len` empty slots, all of it resident.
pub(crate) fn empty_slots<T>(len: usize) -> Vec<Option<T>> {
    let mut slots = Vec::with_capacity(len);
    slots.resize_with(len, || None);
    slots
}
