//! What a memory of a given size would have missed of a trace, by well-known replacement policies. Pure.
//!
//! All of them admit every newcomer, as a page fault must, and count the first reference to anything as a miss.
//! Keys may have several pages: room is made until the newcomer fits, and one that is larger than the memory is
//! missed each time. With keys of one size [`opt`] is the optimum.
//!
//! **Invariants**
//! - P1: what is held never has more pages than the memory.
//! - P2: a reference is a hit exactly if its key is held; after it the key is held, if it fits at all.
#![forbid(unsafe_code)]

mod clock; // a hand goes round
mod links; // lists of keys
mod lru; // the least recently used goes
mod opt; // knows the future
#[cfg(test)]
mod properties; // each beside a naive model
mod two_lists; // active and inactive, judged when memory is needed

pub(crate) use links::Links;

use crate::trace::references::{Reference, ReferenceTrace};

/// References between two looks at whether to go on.
const LOOK: usize = 1 << 16;

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// What is used again last goes; nobody can do better.
    Opt,
    /// The least recently used goes.
    Lru,
    /// The oldest goes, but one that was used meanwhile is passed over once.
    Clock,
    /// An active and an inactive list of equal length, judged when memory is needed.
    TwoLists,
}

impl Policy {
    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Policy::Opt => "opt",
            Policy::Lru => "lru",
            Policy::Clock => "clock",
            Policy::TwoLists => "two-lists",
        }
    }
}

/// What is referenced, and how many pages each key has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream<'a> {
    references: &'a [Reference],
    pages: &'a [u32],
}

impl<'a> Stream<'a> {
    /// The references of `trace`, whose keys have `pages`.
    pub(crate) fn new(trace: &'a ReferenceTrace, pages: &'a [u32]) -> Stream<'a> {
        assert_eq!(trace.orders.len(), pages.len(), "each key has its pages");
        Stream {
            references: &trace.references,
            pages,
        }
    }

    /// Number of references.
    pub(crate) fn len(self) -> usize {
        self.references.len()
    }

    /// Pages of each key of `trace`.
    pub(crate) fn pages_of(trace: &ReferenceTrace) -> Vec<u32> {
        trace
            .orders
            .iter()
            .map(|order| order.pages() as u32)
            .collect()
    }
}

/// Decides what a memory holds.
trait Memory {
    /// Refers to `key` as number `at` of the stream; whether it was held.
    fn refer(&mut self, at: usize, key: u32) -> bool;
}

/// Plays `stream` through a memory of `capacity` pages and counts what it misses; none if `go_on` says no meanwhile.
pub(crate) fn misses(
    policy: Policy,
    stream: Stream<'_>,
    capacity: u64,
    go_on: impl Fn() -> bool,
) -> Option<u64> {
    match policy {
        Policy::Opt => count(opt::Opt::new(stream, capacity), stream, go_on),
        Policy::Lru => count(lru::Lru::new(stream.pages, capacity), stream, go_on),
        Policy::Clock => count(clock::Clock::new(stream.pages, capacity), stream, go_on),
        Policy::TwoLists => count(
            two_lists::TwoLists::new(stream.pages, capacity),
            stream,
            go_on,
        ),
    }
}

fn count(mut memory: impl Memory, stream: Stream<'_>, go_on: impl Fn() -> bool) -> Option<u64> {
    let mut nr_misses = 0;
    for (at, reference) in stream.references.iter().enumerate() {
        if at % LOOK == 0 && !go_on() {
            return None;
        }
        nr_misses += u64::from(!memory.refer(at, reference.key()));
    }
    Some(nr_misses)
}
