//! Checks in debug builds that each thread takes its locks in the order of the house (`sync`,
//! "Locking").
//!
//! A thread's held ranks are a bit mask in a constant-initialised thread-local without a
//! destructor, which neither allocates nor goes away while the thread still frees memory. In
//! models and simulations there is no check: their threads share one real thread, and the tool finds the
//! deadlock itself.

/// A lock's place in the lock order; a thread takes locks in ascending rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The lock of a node's LRU lists.
    Lru,
    /// The lock of those who empty threads' magazines.
    Magazines,
    /// The lock of what threads have left to each other.
    Depot,
    /// The lock of one CPU's list of free frames.
    PcpSlot,
    /// The lock around a zone's buddy.
    Zone,
    /// The lock of a wait queue: a leaf.
    WaitQueue,
}

pub(super) use check::{Held, RankTag, assert_none_held};

#[cfg(all(debug_assertions, not(any(loom, shuttle))))]
mod check {
    use std::cell::Cell;

    use super::Rank;

    thread_local! {
        static HELD: Cell<u8> = const { Cell::new(0) };
    }

    /// The rank of a lock, or none for a lock outside the order.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::sync) struct RankTag(Option<Rank>);

    impl RankTag {
        pub(in crate::sync) const fn new(rank: Option<Rank>) -> RankTag {
            RankTag(rank)
        }

        /// Records that this thread takes the lock, and may wait for it.
        ///
        /// # Panics
        /// If the thread holds a lock of this rank or a greater one.
        #[track_caller]
        pub(in crate::sync) fn take(self) -> Held {
            if let Some(rank) = self.0 {
                let held = HELD.get();
                assert!(
                    held >> rank as u8 == 0,
                    "lock order: taking {rank:?} while holding the ranks {held:#b}"
                );
            }
            self.record()
        }

        /// Records that this thread took the lock without waiting, which cannot deadlock in any
        /// order.
        pub(in crate::sync) fn record(self) -> Held {
            let held = HELD.get();
            let new_bit = self.0.map_or(0, |rank| 1 << rank as u8) & !held;
            HELD.set(held | new_bit);
            Held { new_bit }
        }
    }

    /// Proof that a lock is recorded as held; dropping it takes the record back.
    #[derive(Debug)]
    pub(in crate::sync) struct Held {
        new_bit: u8,
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.set(HELD.get() & !self.new_bit);
        }
    }

    /// Asserts that this thread holds no ranked lock while it is `doing` something that forbids it.
    #[track_caller]
    pub(in crate::sync) fn assert_none_held(doing: &str) {
        let held = HELD.get();
        assert!(
            held == 0,
            "lock order: {doing} while holding the ranks {held:#b}"
        );
    }
}

#[cfg(not(all(debug_assertions, not(any(loom, shuttle)))))]
mod check {
    use super::Rank;

    #[derive(Clone, Copy, Debug)]
    pub(in crate::sync) struct RankTag;

    impl RankTag {
        #[inline(always)]
        pub(in crate::sync) const fn new(_rank: Option<Rank>) -> RankTag {
            RankTag
        }

        #[inline(always)]
        pub(in crate::sync) fn take(self) -> Held {
            Held
        }

        #[inline(always)]
        pub(in crate::sync) fn record(self) -> Held {
            Held
        }
    }

    #[derive(Debug)]
    pub(in crate::sync) struct Held;

    #[inline(always)]
    pub(in crate::sync) fn assert_none_held(_doing: &str) {}
}
