//! Chunks of events: empty ones for who records, full ones for who keeps them.
//!
//! **Invariants**
//! - Y1: no chunk is made or dropped here while something is recorded: there are as many as at first.
//! - Y2: a stock that keeps the last events always has a chunk for who records, if it has any that nobody fills.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::mem;

use super::code::{EVENT_BYTES, EventBytes};
use crate::sync::CoreMutex;

/// Room for some events, one after the other; how many is its capacity.
#[derive(Debug, Default)]
pub(super) struct Chunk(Vec<u8>);

impl Chunk {
    fn with_room_for(events: usize) -> Chunk {
        Chunk(Vec::with_capacity(events * EVENT_BYTES))
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() + EVENT_BYTES > self.0.capacity()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an event. There is room for it.
    pub(super) fn push(&mut self, event: &EventBytes) {
        debug_assert!(!self.is_full(), "W2: a chunk grows");
        self.0.extend_from_slice(event);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn events(&self) -> u64 {
        (self.0.len() / EVENT_BYTES) as u64
    }
}

#[derive(Debug)]
struct Shelves {
    spare: Vec<Chunk>,
    /// The oldest first.
    full: VecDeque<Chunk>,
    /// Events that were given up for later ones.
    overwritten: u64,
    /// Nothing comes any more.
    is_over: bool,
}

/// What a keeper finds.
#[derive(Debug)]
pub(super) enum Find {
    /// The oldest chunk.
    Chunk(Chunk),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    Over,
}

/// The chunks of a recording that nobody fills.
#[derive(Debug)]
pub(crate) struct Stock {
    shelves: CoreMutex<Shelves>,
    /// The last events are kept, and not the first, if there are too many.
    keeps_last: bool,
}

impl Stock {
    /// So many chunks, each for so many events.
    pub(crate) fn new(chunks: usize, events: usize, keeps_last: bool) -> Stock {
        Stock {
            shelves: CoreMutex::new(Shelves {
                spare: (0..chunks).map(|_| Chunk::with_room_for(events)).collect(),
                full: VecDeque::with_capacity(chunks),
                overwritten: 0,
                is_over: false,
            }),
            keeps_last,
        }
    }

    /// Puts an empty chunk in the place of one that is full, or of none at first; false if there is none to be had.
    pub(super) fn exchange(&self, chunk: &mut Chunk) -> bool {
        let mut shelves = self.shelves.lock();
        let Some(empty) = shelves.empty_one(self.keeps_last) else {
            return false;
        };
        let filled = mem::replace(chunk, empty);
        if !filled.is_empty() {
            shelves.full.push_back(filled);
        }
        true
    }

    /// Takes what is in a chunk at the end.
    pub(super) fn take(&self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.shelves.lock().full.push_back(chunk);
        }
    }

    /// Nothing comes any more.
    pub(super) fn finish(&self) {
        self.shelves.lock().is_over = true;
    }

    /// The oldest full chunk, for a keeper, who brings it back.
    pub(super) fn find(&self) -> Find {
        let mut shelves = self.shelves.lock();
        match shelves.full.pop_front() {
            Some(chunk) => Find::Chunk(chunk),
            None if shelves.is_over => Find::Over,
            None => Find::Nothing,
        }
    }

    /// Takes a chunk back, emptied.
    pub(super) fn bring_back(&self, mut chunk: Chunk) {
        chunk.0.clear();
        self.shelves.lock().spare.push(chunk);
    }

    /// Events that were given up for later ones.
    pub(crate) fn overwritten(&self) -> u64 {
        self.shelves.lock().overwritten
    }
}

impl Shelves {
    fn empty_one(&mut self, keeps_last: bool) -> Option<Chunk> {
        if let Some(spare) = self.spare.pop() {
            return Some(spare);
        }
        if !keeps_last {
            return None;
        }
        let mut oldest = self.full.pop_front()?;
        self.overwritten += oldest.events();
        oldest.0.clear();
        Some(oldest)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn filled(stock: &Stock, with: u8) -> Option<Chunk> {
        let mut chunk = Chunk::default();
        let had = stock.exchange(&mut chunk);
        while had && !chunk.is_full() {
            chunk.push(&[with; EVENT_BYTES]);
        }
        had.then_some(chunk)
    }

    #[test]
    fn a_file_keeps_the_first_and_a_ring_the_last() {
        for (keeps_last, kept, overwritten) in [(false, [1, 2], 0), (true, [2, 3], 4)] {
            let stock = Stock::new(2, 4, keeps_last);
            let mut chunk = filled(&stock, 1).unwrap();
            assert!(stock.exchange(&mut chunk), "the second chunk");
            while !chunk.is_full() {
                chunk.push(&[2; EVENT_BYTES]);
            }
            assert_eq!(stock.exchange(&mut chunk), keeps_last);
            if keeps_last {
                while !chunk.is_full() {
                    chunk.push(&[3; EVENT_BYTES]);
                }
            }
            stock.take(chunk);
            stock.finish();
            for expected in kept {
                let Find::Chunk(chunk) = stock.find() else {
                    panic!("{expected} is missing")
                };
                assert_eq!(chunk.bytes(), [expected; 4 * EVENT_BYTES]);
            }
            assert!(matches!(stock.find(), Find::Over));
            assert_eq!(stock.overwritten(), overwritten);
        }
    }

    #[test]
    fn a_chunk_that_is_brought_back_is_used_again() {
        let stock = Stock::new(1, 2, false);
        let chunk = filled(&stock, 1).unwrap();
        assert!(filled(&stock, 2).is_none());
        stock.bring_back(chunk);
        assert!(filled(&stock, 3).is_some());
        assert!(matches!(stock.find(), Find::Nothing));
    }
}
