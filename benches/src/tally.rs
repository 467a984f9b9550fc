//! What was asked of a subject, and what came of it.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use pagepool::Order;

/// What came of a number of allocations.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Answers {
    /// Blocks asked for.
    pub(crate) requests: u64,
    /// Of those, refused.
    pub(crate) refusals: u64,
    /// Pages handed out.
    pub(crate) pages: u64,
}

impl Answers {
    /// Counts a request for a block of `order`.
    #[inline]
    pub(crate) fn add(&mut self, order: Order, is_granted: bool) {
        self.requests += 1;
        if is_granted {
            self.pages += order.pages() as u64;
        } else {
            self.refusals += 1;
        }
    }

    /// Requests that were refused, of all.
    pub(crate) fn refused_share(self) -> f64 {
        self.refusals as f64 / self.requests.max(1) as f64
    }
}

/// What the lanes asked of one subject, and got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    refusals: AtomicU64,
    pages: AtomicU64,
}

impl Tally {
    /// Adds `answers`.
    pub(crate) fn add(&self, answers: Answers) {
        // Relaxed, all three: read only after the lanes' threads were joined.
        self.requests.fetch_add(answers.requests, Ordering::Relaxed);
        self.refusals.fetch_add(answers.refusals, Ordering::Relaxed);
        self.pages.fetch_add(answers.pages, Ordering::Relaxed);
    }

    /// Counts `blocks` blocks of `order` that were handed out.
    pub(crate) fn count(&self, order: Order, blocks: usize) {
        self.add(Answers {
            requests: blocks as u64,
            refusals: 0,
            pages: (blocks * order.pages()) as u64,
        });
    }

    /// The sum, the lanes being done.
    pub(crate) fn total(&self) -> Answers {
        // Relaxed, all three: the lanes' threads were joined.
        Answers {
            requests: self.requests.load(Ordering::Relaxed),
            refusals: self.refusals.load(Ordering::Relaxed),
            pages: self.pages.load(Ordering::Relaxed),
        }
    }
}
