//! Which daemon this thread is, and what was freed on its behalf.
//!
//! *Kernel counterpart:* `PF_KSWAPD`, `current_is_kswapd`, `struct reclaim_state` (v5.0). What it may
//! ignore is a scope like any other (`alloc::scope`). A reclaimer evicts what it frees, and counts that; it
//! notes only what it frees besides. A thread on which a shrinker is called is *measured*: whatever it frees
//! of that pool is noted.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::backing::PoolTag;
use crate::sync::thread::{self, per_thread};

/// Addresses tell posts apart; nothing is read through them.
type PostAddress = usize;

per_thread! {
    static POST: Cell<Option<PostAddress>> = Cell::new(None);
    static FREED: Cell<usize> = Cell::new(0);
    static FREED_OF_FILES: Cell<usize> = Cell::new(0);
    static MEASURED: Cell<Option<PoolTag>> = Cell::new(None);
}

/// The time for which a thread is a daemon.
#[derive(Debug)]
#[must_use = "the thread is no daemon any more once this is dropped"]
pub(crate) struct OnDuty {
    /// Not `Send`: it ends where it began.
    _thread: PhantomData<*const ()>,
}

impl OnDuty {
    /// This thread is the daemon of `post` from now on.
    pub(crate) fn begin<T>(post: &T) -> OnDuty {
        POST.with(|cell| cell.set(Some(address(post))));
        OnDuty {
            _thread: PhantomData,
        }
    }
}

impl Drop for OnDuty {
    fn drop(&mut self) {
        if thread::is_model_over() {
            return;
        }
        POST.with(|cell| cell.set(None));
    }
}

fn address<T>(post: &T) -> PostAddress {
    std::ptr::from_ref(post).addr()
}

/// Whether this thread is a daemon of any pool: it may be the one that frees, so it does not wait for
/// others to do so.
pub(crate) fn is_daemon() -> bool {
    POST.with(Cell::get).is_some()
}

/// Whether this thread is the daemon of `post`.
pub(crate) fn is_daemon_of<T>(post: &T) -> bool {
    POST.with(Cell::get) == Some(address(post))
}

/// Notes pages freed by this thread though it did not evict them, such as those of a folio that was
/// dropped while it held it: they count as progress of the reclaim under way.
pub(crate) fn note_freed(pages: usize) {
    FREED.with(|freed| freed.set(freed.get() + pages));
}

/// The pages noted since the last call.
pub(crate) fn take_freed() -> usize {
    FREED.with(|freed| freed.replace(0))
}

/// The time for which what a thread frees of a pool is noted, whatever it is.
#[derive(Debug)]
#[must_use = "nothing is noted any more once this is dropped"]
pub(crate) struct Measured {
    before: Option<PoolTag>,
    /// Not `Send`: it ends where it began.
    _thread: PhantomData<*const ()>,
}

/// Notes from now on what this thread frees of a pool: it does so on behalf of a reclaim.
pub(crate) fn measure(pool: PoolTag) -> Measured {
    Measured {
        before: MEASURED.with(|measured| measured.replace(Some(pool))),
        _thread: PhantomData,
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if thread::is_model_over() {
            return;
        }
        MEASURED.with(|measured| measured.set(self.before));
    }
}

/// Whether what this thread frees of the pool is noted.
#[inline]
pub(crate) fn is_measured(pool: impl FnOnce() -> PoolTag) -> bool {
    let measured = MEASURED.with(Cell::get);
    measured.is_some_and(|measured| measured == pool())
}

/// Whether what this thread frees of any pool is noted.
#[inline]
pub(crate) fn is_any_measured() -> bool {
    MEASURED.with(Cell::get).is_some()
}

/// Notes that the folio whose pages `end` frees was one of a mapping, if it frees any.
pub(crate) fn note_file_freed(end: impl FnOnce()) {
    let freed = || FREED.with(Cell::get);
    let before = freed();
    end();
    let pages = freed() - before;
    FREED_OF_FILES.with(|of_files| of_files.set(of_files.get() + pages));
}

/// Of the pages noted, those of mappings, since the last call.
pub(crate) fn take_freed_of_files() -> usize {
    FREED_OF_FILES.with(|of_files| of_files.replace(0))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_measured_for_one_pool_and_for_a_while() {
        let (one, other) = (1_u8, 2_u8);
        let (one, other) = (PoolTag::of(&one), PoolTag::of(&other));
        assert!(!is_measured(|| one));
        let measured = measure(one);
        assert!(is_measured(|| one) && !is_measured(|| other));
        drop(measured);
        assert!(!is_measured(|| one));
    }

    #[test]
    fn pages_of_mappings_are_noted_apart_and_together() {
        take_freed();
        note_freed(1);
        note_file_freed(|| note_freed(4));
        assert_eq!((take_freed(), take_freed_of_files()), (5, 4));
        note_file_freed(|| ());
        assert_eq!((take_freed(), take_freed_of_files()), (0, 0));
    }

    #[test]
    fn a_thread_is_a_daemon_for_as_long_as_it_is_on_duty() {
        let (mine, other) = (1_u8, 2_u8);
        assert!(!is_daemon());
        let duty = OnDuty::begin(&mine);
        assert!(is_daemon() && is_daemon_of(&mine) && !is_daemon_of(&other));
        drop(duty);
        assert!(!is_daemon() && !is_daemon_of(&mine));
    }

    #[test]
    fn what_was_freed_is_taken_once() {
        take_freed();
        note_freed(3);
        note_freed(4);
        assert_eq!((take_freed(), take_freed()), (7, 0));
    }
}
