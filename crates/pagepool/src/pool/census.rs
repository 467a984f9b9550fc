//! The count of what keeps a pool alive: its handles, and once they are gone, the pages that are out.
//!
//! ```text
//!  handles      1 ... n ... 1  0
//!  outstanding  0 ........... 0  -f  out-f  ...  0: the end
//!                             │  │   └─ the last handle has counted what was out, and added it
//!                             │  └───── f pages came back while it was counting
//!                             └──────── zones begin to close
//! ```
//!
//! **Invariants**
//! - L4: pages are subtracted only if they were out when their zone was counted, each once. So
//!   `outstanding` is below zero after any subtraction that comes before the addition, and reaches
//!   zero exactly once after it, or by it.
//!
//! Not here: the caches, which must be stopped before a zone is counted
//! ([`Zone::begin_close`](crate::zone::Zone::begin_close)), and the pool itself ([`lifetime`](super::lifetime)).

#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "`pub` items are what models reach through `pagepool::model`"
)]

use crate::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use crate::sync::fence::{mutated, ordering_at};

/// Counts handles, then pages.
#[derive(Debug)]
pub struct Census {
    handles: AtomicUsize,
    /// Pages that are out, once the last handle is gone and has counted them.
    outstanding: AtomicI64,
}

impl Census {
    /// Returns the census of a pool with one handle.
    pub fn with_one_handle() -> Census {
        Census {
            handles: AtomicUsize::new(1),
            outstanding: AtomicI64::new(0),
        }
    }

    /// Counts another handle, made from one that exists.
    pub fn enter(&self) {
        // Relaxed: the handle that it is made from keeps the pool alive; nothing else goes with it.
        let handles = self.handles.fetch_add(1, Ordering::Relaxed);
        assert!(handles < usize::MAX / 2, "too many handles to one pool");
    }

    /// Counts another handle, made from none, unless there is none any more: a pool whose last handle is gone
    /// does not come back. The caller knows that the census is still there.
    #[cfg(any(loom, all(feature = "serve", not(shuttle))))]
    #[must_use]
    pub fn enter_unless_over(&self) -> bool {
        if mutated("census.enter_in_one") {
            let handles = self.handles.load(Ordering::Relaxed);
            self.handles
                .store(handles + usize::from(handles > 0), Ordering::Relaxed);
            return handles > 0;
        }
        let another = |handles: usize| (handles > 0).then_some(handles + 1);
        // Relaxed, as in `enter`: another handle keeps the pool alive until this one counts, and what this one
        // does comes before the end by its own `leave`.
        self.handles
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, another)
            .is_ok()
    }

    /// Takes a handle out. The last one closes the zones: `count` does so, and says how many pages are
    /// out. Returns whether that ends the pool: then it is the caller's alone.
    #[must_use]
    pub fn leave(&self, count: impl FnOnce() -> usize) -> bool {
        // AcqRel: what other handles did comes before their decrement, and before the closing below.
        // Pairs with itself.
        let order = ordering_at("census.leave", Ordering::AcqRel);
        let before = if mutated("census.one_step") {
            let before = self.handles.load(Ordering::Acquire);
            self.handles.store(before - 1, Ordering::Release);
            before
        } else {
            self.handles.fetch_sub(1, order)
        };
        if before > 1 {
            return false;
        }
        let out = count() as i64;
        self.add(out) == 0
    }

    /// Subtracts pages that came back to a zone that is closing. Returns whether that ends the pool:
    /// then it is the caller's alone.
    #[must_use]
    pub fn retire(&self, pages: usize) -> bool {
        self.add(-(pages as i64)) == 0
    }

    fn add(&self, pages: i64) -> i64 {
        // AcqRel: everything that others did with the pool comes before their addition, and before the
        // end. Pairs with itself.
        self.outstanding
            .fetch_add(pages, ordering_at("census.retire", Ordering::AcqRel))
            .wrapping_add(pages)
    }
}
