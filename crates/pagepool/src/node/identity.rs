//! Which daemon this thread is, and what was freed on its behalf.
//!
//! *Kernel counterpart:* `PF_KSWAPD`, `current_is_kswapd`, `struct reclaim_state` (v5.0). What it may
//! ignore is a scope like any other (`alloc::scope`).

use std::cell::Cell;
use std::marker::PhantomData;

use crate::sync::thread::{self, per_thread};

/// Addresses tell posts apart; nothing is read through them.
type PostAddress = usize;

per_thread! {
    static POST: Cell<Option<PostAddress>> = Cell::new(None);
    static FREED: Cell<usize> = Cell::new(0);
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
