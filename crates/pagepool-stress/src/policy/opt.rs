//! What is used again last goes: Belady's optimum, for keys of one size.
#![forbid(unsafe_code)]

use std::collections::BinaryHeap;

use super::{Memory, Stream};

/// When nothing refers to a key again.
const NEVER: u32 = u32::MAX;

/// Entries of the heap beyond twice those of keys that are held.
const SLACK: usize = 1024;

pub(super) struct Opt<'a> {
    pages: &'a [u32],
    room: u64,
    capacity: u64,
    /// For each reference, when its key is referred to next.
    next: Vec<u32>,
    /// For each key that is held, when it is referred to next.
    held: Vec<Option<u32>>,
    nr_held: usize,
    /// When keys that are held are referred to next; entries that `held` does not confirm are stale.
    furthest: BinaryHeap<(u32, u32)>,
}

impl<'a> Opt<'a> {
    pub(super) fn new(stream: Stream<'a>, capacity: u64) -> Opt<'a> {
        Opt {
            pages: stream.pages,
            room: capacity,
            capacity,
            next: next_uses(stream),
            held: vec![None; stream.pages.len()],
            nr_held: 0,
            furthest: BinaryHeap::new(),
        }
    }

    fn evict(&mut self) {
        let is_true =
            |held: &[Option<u32>], (when, key): (u32, u32)| held[key as usize] == Some(when);
        loop {
            let furthest = self.furthest.pop();
            let entry = furthest.expect("what does not fit beside nothing is not admitted");
            if is_true(&self.held, entry) {
                let key = entry.1 as usize;
                self.held[key] = None;
                self.nr_held -= 1;
                self.room += u64::from(self.pages[key]);
                return;
            }
        }
    }

    fn hold(&mut self, key: u32, next: u32) {
        self.held[key as usize] = Some(next);
        self.furthest.push((next, key));
        if self.furthest.len() > 2 * self.nr_held + SLACK {
            let held = &self.held;
            self.furthest
                .retain(|(when, key)| held[*key as usize] == Some(*when));
        }
    }
}

impl Memory for Opt<'_> {
    fn refer(&mut self, at: usize, key: u32) -> bool {
        let is_held = self.held[key as usize].is_some();
        let pages = u64::from(self.pages[key as usize]);
        if !is_held {
            if pages > self.capacity {
                return false;
            }
            while self.room < pages {
                self.evict();
            }
            self.room -= pages;
            self.nr_held += 1;
        }
        self.hold(key, self.next[at]);
        is_held
    }
}

fn next_uses(stream: Stream<'_>) -> Vec<u32> {
    let mut next = vec![NEVER; stream.references.len()];
    let mut seen = vec![NEVER; stream.pages.len()];
    for (at, reference) in stream.references.iter().enumerate().rev() {
        let seen = &mut seen[reference.key() as usize];
        next[at] = std::mem::replace(seen, at as u32);
    }
    next
}
