//! The least recently used goes.
#![forbid(unsafe_code)]

use super::{Links, Memory};

pub(super) struct Lru<'a> {
    pages: &'a [u32],
    room: u64,
    capacity: u64,
    held: Vec<bool>,
    links: Links,
}

impl<'a> Lru<'a> {
    pub(super) fn new(pages: &'a [u32], capacity: u64) -> Lru<'a> {
        Lru {
            pages,
            room: capacity,
            capacity,
            held: vec![false; pages.len()],
            links: Links::new(pages.len(), 1),
        }
    }

    fn evict(&mut self) {
        let oldest = self.links.oldest(0);
        let key = oldest.expect("what does not fit beside nothing is not admitted");
        self.links.remove(key);
        self.held[key as usize] = false;
        self.room += u64::from(self.pages[key as usize]);
    }
}

impl Memory for Lru<'_> {
    fn refer(&mut self, _at: usize, key: u32) -> bool {
        let is_held = self.held[key as usize];
        let pages = u64::from(self.pages[key as usize]);
        if is_held {
            self.links.remove(key);
        } else if pages > self.capacity {
            return false;
        } else {
            while self.room < pages {
                self.evict();
            }
            self.room -= pages;
            self.held[key as usize] = true;
        }
        self.links.push(0, key);
        is_held
    }
}
