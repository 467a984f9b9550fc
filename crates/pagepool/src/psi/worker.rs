//! Of whom the calling thread is a worker.
//!
//! *Kernel counterpart:* none; there every runnable task that does not wait for memory works (v5.0, spec
//! 4.16). A library cannot see whether threads run, so those who do the work say so.
//!
//! A thread registers with an *owner*: a [`PsiState`] that stands for itself, or for others too, as that of a
//! pool does for its nodes. Whoever registers it counts it in those ([`Change::Join`](super::account::Change)),
//! once; this file only remembers, for the thread alone, that it has been done.

use std::cell::Cell;

use super::state::PsiState;
use crate::sync::thread::per_thread;

pub(crate) use super::account::{Change, Standing};

/// With how many owners a thread can be registered at once: a pool and the levels of its groups, and some.
pub(crate) const MAX_OWNERS: usize = 16;

/// Addresses tell owners apart; nothing is read through them.
type OwnerAddress = usize;

/// A registration, and how often it was made; unused if that is 0.
#[derive(Clone, Copy)]
struct Entry {
    owner: OwnerAddress,
    times: u32,
}

const UNUSED: Entry = Entry { owner: 0, times: 0 };

per_thread! {
    static ENTRIES: Cell<[Entry; MAX_OWNERS]> = Cell::new([UNUSED; MAX_OWNERS]);
}

/// What came of a registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Registered {
    /// The thread is a worker now, and is to be counted as one.
    First,
    /// It was one before.
    Again,
    /// It is one of [`MAX_OWNERS`] others already, and not of this one.
    TooMany,
}

fn address(owner: &PsiState) -> OwnerAddress {
    std::ptr::from_ref(owner).addr()
}

/// Changes the entry of an owner, or an unused one.
fn with_entry<T>(owner: &PsiState, f: impl FnOnce(&mut Entry) -> T) -> Option<T> {
    let owner = address(owner);
    let mut entries = ENTRIES.with(Cell::get);
    let is_its = |entry: &Entry| entry.times > 0 && entry.owner == owner;
    let place = entries
        .iter()
        .position(is_its)
        .or_else(|| entries.iter().position(|entry| entry.times == 0))?;
    entries[place].owner = owner;
    let result = f(&mut entries[place]);
    ENTRIES.with(|cell| cell.set(entries));
    Some(result)
}

/// Makes this thread a worker of an owner.
pub(crate) fn register(owner: &PsiState) -> Registered {
    let times_before = with_entry(owner, |entry| {
        entry.times += 1;
        entry.times - 1
    });
    match times_before {
        Some(0) => Registered::First,
        Some(_) => Registered::Again,
        None => Registered::TooMany,
    }
}

/// Takes back one registration; returns whether that was the last, so that the thread is to be counted no
/// more. To be called once for each [`register`] that was not one too many.
pub(crate) fn unregister(owner: &PsiState) -> bool {
    let times_left = with_entry(owner, |entry| {
        debug_assert!(entry.times > 0, "it is registered");
        entry.times = entry.times.saturating_sub(1);
        entry.times
    });
    times_left == Some(0)
}

/// What this thread is to an owner, and to those that it stands for.
pub(crate) fn standing_with(owner: &PsiState) -> Standing {
    let owner = address(owner);
    let is_its = |entry: &Entry| entry.times > 0 && entry.owner == owner;
    if ENTRIES.with(Cell::get).iter().any(is_its) {
        Standing::Worker
    } else {
        Standing::Other
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_a_worker_of_whom_it_registered_with_until_the_last_time() {
        let (mine, other) = (PsiState::new(), PsiState::new());
        assert_eq!(standing_with(&mine), Standing::Other);
        assert_eq!(register(&mine), Registered::First);
        assert_eq!(register(&mine), Registered::Again);
        assert_eq!(standing_with(&mine), Standing::Worker);
        assert_eq!(standing_with(&other), Standing::Other);
        assert!(!unregister(&mine));
        assert_eq!(standing_with(&mine), Standing::Worker);
        assert!(unregister(&mine));
        assert_eq!(standing_with(&mine), Standing::Other);
    }

    #[test]
    fn other_threads_are_none() {
        let state = PsiState::new();
        register(&state);
        let elsewhere =
            std::thread::scope(|scope| scope.spawn(|| standing_with(&state)).join().unwrap());
        assert_eq!(elsewhere, Standing::Other);
        unregister(&state);
    }

    #[test]
    fn one_owner_too_many_is_refused_and_the_others_stay() {
        let owners: Vec<_> = (0..=MAX_OWNERS).map(|_| PsiState::new()).collect();
        let (last, first) = owners.split_last().unwrap();
        for owner in first {
            assert_eq!(register(owner), Registered::First);
        }
        assert_eq!(register(last), Registered::TooMany);
        assert_eq!(standing_with(last), Standing::Other);
        assert!(unregister(&first[3]));
        assert_eq!(register(last), Registered::First, "there is room again");
        assert_eq!(standing_with(&first[0]), Standing::Worker);
    }
}
