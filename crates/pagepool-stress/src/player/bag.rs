//! A bounded collection of held blocks from which any one can be taken.
//!
//! All its memory is touched when it is made, so that it never grows while RSS is watched.
#![forbid(unsafe_code)]

use crate::{content::Held, rng::Rng};

/// The collection.
#[derive(Debug)]
pub(crate) struct Bag {
    slots: Vec<Option<Held>>,
    len: usize,
}

impl Bag {
    /// An empty bag for up to `capacity` blocks.
    pub(crate) fn new(capacity: usize) -> Bag {
        Bag {
            slots: empty_slots(capacity),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many more blocks fit.
    pub(crate) fn room(&self) -> usize {
        self.slots.len() - self.len
    }

    /// Adds a block.
    ///
    /// # Panics
    /// If the bag is full.
    pub(crate) fn push(&mut self, held: Held) {
        self.slots[self.len] = Some(held);
        self.len += 1;
    }

    /// Takes any block.
    pub(crate) fn take_any(&mut self, rng: &mut Rng) -> Option<Held> {
        if self.len == 0 {
            return None;
        }
        self.slots.swap(rng.below(self.len), self.len - 1);
        self.pop()
    }

    /// Takes the last block.
    pub(crate) fn pop(&mut self) -> Option<Held> {
        self.len = self.len.checked_sub(1)?;
        self.slots[self.len].take()
    }
}

/// A table of `len` empty slots, all of it resident.
pub(crate) fn empty_slots(len: usize) -> Vec<Option<Held>> {
    let mut slots = Vec::with_capacity(len);
    slots.resize_with(len, || None);
    slots
}
