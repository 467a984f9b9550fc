//! Which pools' callbacks the calling thread is inside of.
//!
//! *Kernel counterpart:* `memalloc_nofs_save()` (v5.0), which keeps a filesystem's allocations from
//! calling the filesystem. Here such an allocation is refused, since it would wait for itself.
//!
//! A callback of pool A may allocate from pool B, whose store then works for it on another thread. So a
//! transfer carries the pools that its submitter is inside of to the worker: A to B is fine, A to B to A
//! is refused.

#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::sync::thread::per_thread;

/// Pools deep in each other's callbacks that are told apart; beyond it, a thread counts as inside of
/// every pool.
const MAX_DEPTH: usize = 4;

/// What tells pools apart: the address of something that a pool owns, so unique among those that live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolTag(usize);

impl PoolTag {
    /// The tag of the pool that owns `part` as long as it lives, at this address.
    pub(crate) fn of<T>(part: &T) -> PoolTag {
        PoolTag(std::ptr::from_ref(part).addr())
    }
}

/// The pools whose callbacks a thread is inside of, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Callers {
    tags: [usize; MAX_DEPTH],
    depth: usize,
}

impl Callers {
    const NONE: Callers = Callers {
        tags: [0; MAX_DEPTH],
        depth: 0,
    };

    fn contains(&self, pool: PoolTag) -> bool {
        self.depth > MAX_DEPTH || self.tags[..self.depth].contains(&pool.0)
    }

    fn with(mut self, pool: PoolTag) -> Callers {
        if let Some(tag) = self.tags.get_mut(self.depth) {
            *tag = pool.0;
        }
        self.depth = self.depth.saturating_add(1);
        self
    }
}

per_thread! {
    static CALLERS: Cell<Callers> = Cell::new(Callers::NONE);
}

/// The pools whose callbacks this thread is inside of.
pub(crate) fn current() -> Callers {
    CALLERS.with(Cell::get)
}

/// Whether this thread is inside a callback of any pool.
#[inline]
pub(crate) fn is_inside_any() -> bool {
    CALLERS.with(|callers| callers.get().depth > 0)
}

/// Whether this thread is inside a callback of `pool`, itself or on behalf of one who is.
#[inline]
pub(crate) fn is_inside(pool: PoolTag) -> bool {
    CALLERS.with(|callers| {
        let callers = callers.get();
        callers.depth > 0 && callers.contains(pool)
    })
}

/// Marks this thread as inside a callback of `pool`, on behalf of a thread that is inside of `callers`,
/// until the result is dropped.
pub(crate) fn enter(callers: Callers, pool: PoolTag) -> Inside {
    Inside(CALLERS.with(|cell| cell.replace(callers.with(pool))))
}

/// What was before; dropping it restores it.
#[must_use = "the thread is inside until this is dropped"]
#[derive(Debug)]
pub(crate) struct Inside(Callers);

impl Drop for Inside {
    fn drop(&mut self) {
        CALLERS.with(|cell| cell.set(self.0));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_until_the_mark_is_dropped() {
        let (a, b) = (PoolTag(1), PoolTag(2));
        let inside = enter(current(), a);
        assert!(is_inside(a) && !is_inside(b));
        drop(inside);
        assert!(!is_inside(a));
    }

    #[test]
    fn a_worker_is_inside_of_its_submitters_pools_too() {
        let (a, b) = (PoolTag(1), PoolTag(2));
        let in_a = enter(current(), a);
        let submitted_from = current();
        drop(in_a);
        let _in_b = enter(submitted_from, b);
        assert!(is_inside(a) && is_inside(b));
    }

    #[test]
    fn a_panic_inside_restores_what_was_before() {
        let pool = PoolTag(1);
        let caught = std::panic::catch_unwind(|| {
            let _inside = enter(current(), pool);
            panic!("in the callback");
        });
        assert!(caught.is_err());
        assert!(!is_inside(pool));
    }

    #[test]
    fn beyond_the_depth_a_thread_is_inside_of_every_pool() {
        let mut callers = current();
        for n in 1..=MAX_DEPTH {
            callers = callers.with(PoolTag(n));
        }
        assert!(!callers.contains(PoolTag(99)));
        assert!(callers.with(PoolTag(5)).contains(PoolTag(99)));
    }
}
