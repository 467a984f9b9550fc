//! CLOCK: the oldest goes, unless it was used since it came or was last passed over; then it is passed over.
//!
//! The hand stands before the oldest of a ring, and a newcomer takes the place behind it: so the ring is a queue, and
//! to pass a key over is to put it at the queue's end.
#![forbid(unsafe_code)]

use super::{Links, Memory};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Held,
    /// Held, and used since it came or was passed over.
    Used,
}

pub(super) struct Clock<'a> {
    pages: &'a [u32],
    room: u64,
    capacity: u64,
    states: Vec<State>,
    links: Links,
}

impl<'a> Clock<'a> {
    pub(super) fn new(pages: &'a [u32], capacity: u64) -> Clock<'a> {
        Clock {
            pages,
            room: capacity,
            capacity,
            states: vec![State::Away; pages.len()],
            links: Links::new(pages.len(), 1),
        }
    }

    /// Moves the hand by one.
    fn tick(&mut self) {
        let oldest = self.links.oldest(0);
        let key = oldest.expect("what does not fit beside nothing is not admitted");
        self.links.remove(key);
        let state = &mut self.states[key as usize];
        if *state == State::Used {
            *state = State::Held;
            self.links.push(0, key);
        } else {
            *state = State::Away;
            self.room += u64::from(self.pages[key as usize]);
        }
    }
}

impl Memory for Clock<'_> {
    fn refer(&mut self, _at: usize, key: u32) -> bool {
        if self.states[key as usize] != State::Away {
            self.states[key as usize] = State::Used;
            return true;
        }
        let pages = u64::from(self.pages[key as usize]);
        if pages <= self.capacity {
            while self.room < pages {
                self.tick();
            }
            self.room -= pages;
            self.states[key as usize] = State::Held;
            self.links.push(0, key);
        }
        false
    }
}
