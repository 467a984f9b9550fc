//! An active and an inactive list with a second chance, as kernels have them, without their memory of what was evicted.
//!
//! *Kernel counterpart:* `shrink_page_list()`, `shrink_active_list()` and `inactive_list_is_low()` (v5.0), for a
//! memory below 1 GiB: a newcomer starts inactive; a use sets a mark and moves nothing. When memory is needed, active
//! ones are deactivated, the oldest first, until these are no more than the inactive ones; one that was used since it
//! came to its place goes round once more, where the kernel does so for program code only. Then the oldest inactive
//! one goes, or, if it was used, becomes active.
#![forbid(unsafe_code)]

use super::{Links, Memory};

const INACTIVE: u32 = 0;
const ACTIVE: u32 = 1;

#[derive(Clone, Copy, Default)]
struct State {
    is_held: bool,
    is_used: bool,
}

pub(super) struct TwoLists<'a> {
    pages: &'a [u32],
    capacity: u64,
    /// Pages of each list.
    sizes: [u64; 2],
    states: Vec<State>,
    links: Links,
}

impl<'a> TwoLists<'a> {
    pub(super) fn new(pages: &'a [u32], capacity: u64) -> TwoLists<'a> {
        TwoLists {
            pages,
            capacity,
            sizes: [0, 0],
            states: vec![State::default(); pages.len()],
            links: Links::new(pages.len(), 2),
        }
    }

    fn pages(&self, key: u32) -> u64 {
        u64::from(self.pages[key as usize])
    }

    fn push(&mut self, list: u32, key: u32) {
        self.states[key as usize] = State {
            is_held: true,
            is_used: false,
        };
        self.sizes[list as usize] += self.pages(key);
        self.links.push(list, key);
    }

    /// Takes the oldest of a list.
    fn pop(&mut self, list: u32) -> Option<u32> {
        let key = self.links.oldest(list)?;
        self.links.remove(key);
        self.sizes[list as usize] -= self.pages(key);
        Some(key)
    }

    /// Deactivates until there are as many inactive pages as active ones.
    fn balance(&mut self) {
        while self.sizes[INACTIVE as usize] < self.sizes[ACTIVE as usize]
            && let Some(key) = self.pop(ACTIVE)
        {
            match self.states[key as usize].is_used {
                true => self.push(ACTIVE, key),
                false => self.push(INACTIVE, key),
            }
        }
    }

    /// Judges the oldest inactive one.
    fn judge(&mut self) {
        let oldest = self.pop(INACTIVE);
        let key = oldest.expect("at least half of what is held is inactive");
        match self.states[key as usize].is_used {
            true => self.push(ACTIVE, key),
            false => self.states[key as usize].is_held = false,
        }
    }
}

impl Memory for TwoLists<'_> {
    fn refer(&mut self, _at: usize, key: u32) -> bool {
        let state = &mut self.states[key as usize];
        if state.is_held {
            state.is_used = true;
            return true;
        }
        let pages = self.pages(key);
        if pages <= self.capacity {
            while self.sizes[0] + self.sizes[1] + pages > self.capacity {
                self.balance();
                self.judge();
            }
            self.push(INACTIVE, key);
        }
        false
    }
}
