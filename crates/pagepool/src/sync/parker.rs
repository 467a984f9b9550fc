//! How a thread sleeps: the one place where a [`WaitQueue`](super::WaitQueue) meets the system.
//!
//! A [`Park`] is a lock around a [`ParkState`] and a bell. Two of them have the same shape:
//!
//! - [`CorePark`]: std's futex lock and condition variable. Never allocates.
//! - [`DaemonPark`]: parking_lot's. Allocates for a thread's first wait.
//!
//! **It is the waker that decides, not the sleeper:** whoever wakes takes the lock too. A queue
//! that an allocation or a free may ring, and so kswapd's and kcompactd's, is a [`CorePark`];
//! [`DaemonPark`] is for queues that only daemons and controllers touch.
//!
//! **Time under loom.** loom's clock stands still and its timed waits never end. A model *fires* a
//! time-out instead: each `fire_timeout` ends one timed park, the one going on or the next one to
//! begin, as a real clock may do at any moment.

#[cfg(not(loom))]
use std::time::Duration;

use super::clock::Instant;
#[cfg(not(loom))]
use super::clock::now;
use super::lock::{Condvar, CoreCondvar, CoreGuard, CoreMutex, Mutex, MutexGuard};
use super::lock_order::Rank;

/// What the lock of a [`Park`] protects.
#[derive(Debug, Default)]
pub struct ParkState {
    /// The number of times that the queue's sleepers were woken. A sleeper waits for it to change.
    pub(super) epoch: u64,
    /// Time-outs that the model fired and that ended no park yet.
    #[cfg(loom)]
    nr_fired: u32,
    /// Parks that have begun, for what a model has to have seen.
    #[cfg(loom)]
    pub(super) nr_parks: u32,
}

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// The bell rang, or seemed to: the caller looks whether its epoch ended.
    Rung,
    /// The deadline has passed; the lock was not released since the call.
    TimedOut,
}

/// A lock, a bell, and a way to wait for the bell until a deadline. Sealed.
pub trait Park: Default + Send + Sync + sealed::Sealed {
    /// The held lock.
    type Guard<'a>: std::ops::DerefMut<Target = ParkState>
    where
        Self: 'a;

    /// Takes the lock.
    fn lock(&self) -> Self::Guard<'_>;

    /// Unlocks, waits for the bell or the deadline, locks again. May return for no reason, as
    /// [`Parked::Rung`].
    fn park<'a>(
        &'a self,
        guard: Self::Guard<'a>,
        deadline: Option<Instant>,
    ) -> (Self::Guard<'a>, Parked);

    /// Rings the bell. Called with the lock released, so that the woken do not run into it.
    fn ring(&self);

    /// Lets one timed park run out: the one going on, or else the next.
    #[cfg(loom)]
    fn fire_timeout(&self) {
        self.lock().nr_fired += 1;
        self.ring();
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::CorePark {}
    impl Sealed for super::DaemonPark {}
}

/// How long a thread may still park.
enum Remaining {
    Forever,
    #[cfg(not(loom))]
    AtMost(Duration),
    Nothing,
}

impl ParkState {
    #[cfg(not(loom))]
    fn remaining(&mut self, deadline: Option<Instant>) -> Remaining {
        let Some(deadline) = deadline else {
            return Remaining::Forever;
        };
        match deadline.saturating_duration_since(now()) {
            Duration::ZERO => Remaining::Nothing,
            left => Remaining::AtMost(left),
        }
    }

    #[cfg(loom)]
    fn remaining(&mut self, deadline: Option<Instant>) -> Remaining {
        if deadline.is_some() && self.nr_fired > 0 {
            self.nr_fired -= 1;
            return Remaining::Nothing;
        }
        self.nr_parks += 1;
        Remaining::Forever
    }
}

/// Parks without allocating, for queues that application threads sleep on or wake.
#[derive(Debug)]
pub struct CorePark {
    state: CoreMutex<ParkState>,
    bell: CoreCondvar,
}

impl Default for CorePark {
    fn default() -> CorePark {
        CorePark {
            state: CoreMutex::ranked(Rank::WaitQueue, ParkState::default()),
            bell: CoreCondvar::default(),
        }
    }
}

impl Park for CorePark {
    type Guard<'a> = CoreGuard<'a, ParkState>;

    fn lock(&self) -> Self::Guard<'_> {
        self.state.lock()
    }

    fn park<'a>(
        &'a self,
        mut guard: Self::Guard<'a>,
        deadline: Option<Instant>,
    ) -> (Self::Guard<'a>, Parked) {
        match guard.remaining(deadline) {
            Remaining::Forever => (self.bell.wait(guard), Parked::Rung),
            #[cfg(not(loom))]
            Remaining::AtMost(left) => (self.bell.wait_for(guard, left), Parked::Rung),
            Remaining::Nothing => (guard, Parked::TimedOut),
        }
    }

    fn ring(&self) {
        self.bell.notify_all();
    }
}

/// Parks through parking_lot, for queues that only daemons and controllers touch.
#[derive(Debug, Default)]
#[cfg_attr(
    not(any(test, loom)),
    expect(
        dead_code,
        reason = "no daemon needs it yet; models and tests hold it to the same contract"
    )
)]
pub struct DaemonPark {
    state: Mutex<ParkState>,
    bell: Condvar,
}

impl Park for DaemonPark {
    type Guard<'a> = MutexGuard<'a, ParkState>;

    fn lock(&self) -> Self::Guard<'_> {
        self.state.lock()
    }

    fn park<'a>(
        &'a self,
        mut guard: Self::Guard<'a>,
        deadline: Option<Instant>,
    ) -> (Self::Guard<'a>, Parked) {
        match guard.remaining(deadline) {
            Remaining::Forever => self.bell.wait(&mut guard),
            #[cfg(not(loom))]
            Remaining::AtMost(left) => {
                // Whether it ran out is asked again, of the clock, by the next park.
                let _timed_out = self.bell.wait_for(&mut guard, left);
            }
            Remaining::Nothing => return (guard, Parked::TimedOut),
        }
        (guard, Parked::Rung)
    }

    fn ring(&self) {
        self.bell.notify_all();
    }
}
