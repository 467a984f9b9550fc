//! Mutual exclusion: [`CoreMutex`] below the allocator, [`Mutex`] and [`Condvar`] beside it.
//!
//! - [`CoreMutex`] is what an allocation or a free may take. It is std's futex lock, one word,
//!   which never allocates. Poison is ignored: a panic under one of these locks is a bug that
//!   `verify` reports, and refusing every later free would not repair it. In debug builds it knows
//!   its [`Rank`]. Who finds it taken tries again for about as long as a wake would take, and sleeps then.
//! - [`Mutex`] and [`Condvar`] are parking_lot's, for daemons, configuration and tools. Never where
//!   an allocation waits: parking_lot allocates for each thread that ever waits, and under a global
//!   allocator that recurses into the lock being waited for.
//!
//! [`Condvar`] has no timed wait in models; naps and deadlines go through a
//! [`WaitQueue`](super::WaitQueue), whose time-outs a model can fire.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};

#[cfg(all(pagepool_tsan, not(any(loom, shuttle))))]
mod instrumented;

#[cfg(shuttle)]
use super::sim::lock as imp;
#[cfg(all(pagepool_tsan, not(any(loom, shuttle))))]
use instrumented as imp;
#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(any(loom, shuttle, pagepool_tsan)))]
use std::sync as imp;

use super::lock_order::{Held, Rank, RankTag};

/// A lock of one futex word that never allocates, for everything below the allocator.
pub struct CoreMutex<T> {
    rank: RankTag,
    inner: imp::Mutex<T>,
}

/// Times that a lock that is taken is tried again, with more and more pauses between, up to 64, before its taker
/// sleeps: for about as long as a wake takes, 10 µs. What is done under a lock takes a microsecond or two.
#[cfg(not(any(loom, shuttle)))]
const TRIES: usize = 14;

impl<T> CoreMutex<T> {
    /// Returns a lock outside the order of ranks: its holder takes no other lock, or it is only ever
    /// taken with no ranked lock held.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> CoreMutex<T> {
        CoreMutex {
            rank: RankTag::new(None),
            inner: imp::Mutex::new(value),
        }
    }

    /// Returns a lock of the given rank, which debug builds check.
    #[cfg(not(loom))]
    pub const fn ranked(rank: Rank, value: T) -> CoreMutex<T> {
        CoreMutex {
            rank: RankTag::new(Some(rank)),
            inner: imp::Mutex::new(value),
        }
    }

    /// Returns a lock outside the order of ranks.
    #[cfg(loom)]
    pub fn new(value: T) -> CoreMutex<T> {
        CoreMutex {
            rank: RankTag::new(None),
            inner: imp::Mutex::new(value),
        }
    }

    /// Returns a lock of the given rank.
    #[cfg(loom)]
    pub fn ranked(rank: Rank, value: T) -> CoreMutex<T> {
        CoreMutex {
            rank: RankTag::new(Some(rank)),
            inner: imp::Mutex::new(value),
        }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// In debug builds, if this thread holds a lock of the same or a greater rank.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> CoreGuard<'_, T> {
        let held = self.rank.take();
        let inner = self.try_inner().unwrap_or_else(|| self.wait());
        CoreGuard { inner, held }
    }

    /// Waits for the lock, a moment on the CPU and then asleep.
    #[cold]
    fn wait(&self) -> imp::MutexGuard<'_, T> {
        #[cfg(not(any(loom, shuttle)))]
        {
            let backoff = crossbeam::utils::Backoff::new();
            for _ in 0..TRIES {
                backoff.spin();
                if let Some(inner) = self.try_inner() {
                    return inner;
                }
            }
        }
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn try_inner(&self) -> Option<imp::MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the lock if it is free at this moment, in any order of ranks, since it does not wait.
    #[inline]
    pub fn try_lock(&self) -> Option<CoreGuard<'_, T>> {
        let inner = self.try_inner()?;
        let held = self.rank.record();
        Some(CoreGuard { inner, held })
    }
}

impl<T: fmt::Debug> fmt::Debug for CoreMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("CoreMutex");
        match self.inner.try_lock() {
            Ok(value) => shown.field(&*value),
            // Who panicked under it did no harm to it: see `lock`.
            Err(TryLockError::Poisoned(value)) => shown.field(&*value.into_inner()),
            Err(TryLockError::WouldBlock) => shown.field(&format_args!("<locked>")),
        };
        shown.finish()
    }
}

impl<T: Default> Default for CoreMutex<T> {
    fn default() -> CoreMutex<T> {
        CoreMutex::new(T::default())
    }
}

/// A held [`CoreMutex`]; dropping it unlocks.
#[must_use = "the lock is released when the guard is dropped"]
#[derive(Debug)]
pub struct CoreGuard<'a, T> {
    // Dropped in this order: unlock, then forget that the rank is held.
    inner: imp::MutexGuard<'a, T>,
    held: Held,
}

impl<T> Deref for CoreGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for CoreGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// The condition variable of a [`CoreMutex`]; it never allocates. Only the parker waits on one.
#[derive(Debug, Default)]
pub(super) struct CoreCondvar(Bell);

/// What a wait listens to.
#[cfg(not(shuttle))]
type Bell = imp::Condvar;
/// What a wait listens to; in a simulation, the alarm of a timed one rings it too.
#[cfg(shuttle)]
type Bell = std::sync::Arc<imp::Condvar>;

impl CoreCondvar {
    /// Unlocks and waits to be notified; may return for no reason.
    pub(super) fn wait<'a, T>(&self, guard: CoreGuard<'a, T>) -> CoreGuard<'a, T> {
        let CoreGuard { inner, held } = guard;
        let inner = self.0.wait(inner).unwrap_or_else(PoisonError::into_inner);
        CoreGuard { inner, held }
    }

    /// The same, for at most `timeout` of the simulation's time.
    #[cfg(shuttle)]
    pub(super) fn wait_for<'a, T>(
        &self,
        guard: CoreGuard<'a, T>,
        timeout: std::time::Duration,
    ) -> CoreGuard<'a, T> {
        let bell = Bell::clone(&self.0);
        let _alarm = super::sim::ring_after(timeout, move || bell.notify_all());
        self.wait(guard)
    }

    /// The same, for at most `timeout`.
    #[cfg(not(any(loom, shuttle)))]
    pub(super) fn wait_for<'a, T>(
        &self,
        guard: CoreGuard<'a, T>,
        timeout: std::time::Duration,
    ) -> CoreGuard<'a, T> {
        let CoreGuard { inner, held } = guard;
        let (inner, _) = self
            .0
            .wait_timeout(inner, timeout)
            .unwrap_or_else(PoisonError::into_inner);
        CoreGuard { inner, held }
    }

    pub(super) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(not(any(loom, shuttle)))]
mod beside {
    /// A lock for daemons, configuration and tools; not for anything an allocation waits for.
    pub type Mutex<T> = parking_lot::Mutex<T>;
    /// A held [`Mutex`].
    pub type MutexGuard<'a, T> = parking_lot::MutexGuard<'a, T>;
    /// The condition variable of a [`Mutex`].
    pub type Condvar = parking_lot::Condvar;
}

#[cfg(any(loom, shuttle))]
mod beside {
    //! The model's lock behind parking_lot's signatures: a wait takes `&mut` guard, where the
    //! model's takes the guard and gives it back.

    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;

    use super::{Bell, imp};

    /// A lock for daemons, configuration and tools.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(imp::Mutex<T>);

    impl<T> Mutex<T> {
        /// Returns a lock around `value`.
        pub fn new(value: T) -> Mutex<T> {
            Mutex(imp::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }

        /// Takes the lock if it is free at this moment.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }
    }

    /// A held [`Mutex`]; empty only while its thread waits.
    #[derive(Debug)]
    pub struct MutexGuard<'a, T>(Option<imp::MutexGuard<'a, T>>);

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("a guard in use is not waiting")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("a guard in use is not waiting")
        }
    }

    /// The condition variable of a [`Mutex`].
    #[derive(Debug, Default)]
    pub struct Condvar(Bell);

    impl Condvar {
        /// Returns a condition variable that nobody waits on.
        pub fn new() -> Condvar {
            Condvar::default()
        }

        /// Unlocks and waits to be notified.
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("a guard in use is not waiting");
            guard.0 = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
        }

        /// The same, for at most `timeout` of the simulation's time; returns whether it was all of it, as far
        /// as this can tell.
        #[cfg(shuttle)]
        #[expect(dead_code, reason = "no daemon needs it yet")]
        pub(in crate::sync) fn wait_for<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            timeout: std::time::Duration,
        ) -> bool {
            let bell = Bell::clone(&self.0);
            let _alarm = crate::sync::sim::ring_after(timeout, move || bell.notify_all());
            self.wait(guard);
            false
        }

        /// Wakes all waiters.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

pub use beside::{Condvar, Mutex, MutexGuard};

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn locks_taken_in_rank_order_pass() {
        let (slot, zone) = (
            CoreMutex::ranked(Rank::PcpSlot, 1),
            CoreMutex::ranked(Rank::Zone, 2),
        );
        for _ in 0..2 {
            let slot = slot.lock();
            let zone = zone.lock();
            assert_eq!(*slot + *zone, 3);
        }
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "lock order: taking PcpSlot")]
    fn a_lower_rank_under_a_higher_one_panics() {
        let (slot, zone) = (
            CoreMutex::ranked(Rank::PcpSlot, ()),
            CoreMutex::ranked(Rank::Zone, ()),
        );
        let _zone = zone.lock();
        let _slot = slot.lock();
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "lock order: taking Zone")]
    fn two_zone_locks_at_once_panic() {
        let zones = [
            CoreMutex::ranked(Rank::Zone, ()),
            CoreMutex::ranked(Rank::Zone, ()),
        ];
        let _first = zones[0].lock();
        let _second = zones[1].lock();
    }

    #[test]
    fn try_lock_waits_for_nobody_and_goes_in_any_order() {
        let (slot, zone) = (
            CoreMutex::ranked(Rank::PcpSlot, ()),
            CoreMutex::ranked(Rank::Zone, ()),
        );
        let zone_guard = zone.lock();
        let slot_guard = slot.try_lock().expect("nobody holds the slot");
        assert!(slot.try_lock().is_none());
        drop(zone_guard); // released out of order
        drop(slot_guard);
        let _both = (slot.lock(), zone.lock());
    }

    #[test]
    fn a_panic_under_the_lock_leaves_it_usable() {
        let lock = CoreMutex::new(1);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut value = lock.lock();
            *value = 2;
            panic!("under the lock");
        }));
        assert!(caught.is_err());
        assert_eq!(*lock.lock(), 2);
        assert_eq!(format!("{lock:?}"), "CoreMutex(2)");
        let held = lock.lock();
        assert_eq!(format!("{lock:?}"), "CoreMutex(<locked>)");
        drop(held);
    }

    #[cfg(not(debug_assertions))]
    #[test]
    fn a_core_mutex_is_one_word() {
        assert!(size_of::<CoreMutex<()>>() <= 8);
    }
}
