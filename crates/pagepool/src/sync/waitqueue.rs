//! Sleep until somebody makes a condition true, without a lost wake-up and almost free for wakers.
//!
//! *Kernel counterpart:* `include/linux/wait.h: wq_has_sleeper(), prepare_to_wait(), finish_wait()`
//! (v5.0). v5.0 wakes kswapd by the bare test, without the barrier, and tolerates the wake-ups it
//! misses; here every queue has both barriers. Who may be woken is always everybody on the queue.
//!
//! **The protocol.** The condition lives outside, in words that this queue knows nothing about.
//!
//! ```text
//! waker: wake_all()                              sleeper: enqueue(), re-check, sleep()
//! ─────────────────                              ─────────────────────────────────────
//! make the condition true                        lock; publish the entry; unlock
//! fence                 [barrier: names.waker]   fence                 [barrier: names.sleeper]
//! nobody published? done                         condition true? remove the entry, go on
//! lock; remove all entries; new epoch; unlock    lock; until the epoch is new: park; unlock
//! ring the bell
//! ```
//!
//! Both sides store one word and then load the other's. With a full barrier between, at least one
//! of them sees the other: the waker sees the entry, or the sleeper sees the condition. Without
//! either, both may read the past: the condition true, the sleeper parked, and nobody left to wake
//! it.
//!
//! **Invariants**
//! - I1: `nr_sleepers` is the number of entries published in the current epoch. It changes only
//!   under the lock; wakers read it without.
//! - I2: the epoch changes exactly when entries are removed by a waker. A sleeper whose epoch has
//!   passed is woken, also if it was not parked yet; a bell without a new epoch is not a wake-up.
//! - I3: an entry that was not removed by a waker is removed by its owner, when it is dropped or
//!   runs out of time.
//!
//! From I1 and I2: once woken, a thread costs later wakers nothing, even while it has not run yet.
//! So "has a sleeper" means "is asleep and nobody has woken it".
//!
//! **Locking.** The queue's lock is a leaf. It is not held while the condition is tested, so the
//! condition may take locks and wake other queues. Sleepers and wakers hold no ranked lock (checked
//! in debug builds). A queue outlives its wakers: they ring the bell after they released the lock.

use std::mem::ManuallyDrop;

use super::atomic::{AtomicU32, Ordering::Relaxed};
use super::clock::{self, Instant};
use super::fence::{fence_at, mutated};
use super::lock_order::assert_none_held;
use super::parker::{CorePark, Park, ParkState, Parked};

/// The names of a queue's two barriers, which are those of the mutants without them.
#[derive(Clone, Copy, Debug)]
pub struct FenceNames {
    /// The barrier between the condition and the look for sleepers.
    pub waker: &'static str,
    /// The barrier between the published entry and the look at the condition.
    pub sleeper: &'static str,
}

/// How [`WaitQueue::wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The condition was true once the thread was on the queue; it did not sleep.
    Ready,
    /// Somebody woke this thread. The condition has not been looked at again.
    Woken,
    /// The deadline passed and nobody woke this thread.
    TimedOut,
}

/// How [`Entry::sleep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepOutcome {
    /// Somebody woke this thread since it published its entry.
    Woken,
    /// The deadline passed and nobody woke this thread.
    TimedOut,
}

/// A queue of threads that wait for one condition. See the head of the module.
#[derive(Debug)]
pub struct WaitQueue<P: Park = CorePark> {
    nr_sleepers: AtomicU32,
    park: P,
    /// None if the condition orders itself.
    fences: Option<FenceNames>,
}

impl<P: Park> WaitQueue<P> {
    /// Returns a queue on which nobody sleeps.
    #[must_use]
    pub fn new(fences: FenceNames) -> WaitQueue<P> {
        WaitQueue {
            nr_sleepers: AtomicU32::new(0),
            park: P::default(),
            fences: Some(fences),
        }
    }

    /// Returns a queue whose condition is a bit in a word that both sides change by read-modify-writes:
    /// the sleeper sets it after its entry is published, the waker takes it off and then calls
    /// [`wake_published`](Self::wake_published). Those order the entry; there are no barriers here.
    #[must_use]
    pub fn unfenced() -> WaitQueue<P> {
        WaitQueue {
            nr_sleepers: AtomicU32::new(0),
            park: P::default(),
            fences: None,
        }
    }

    /// Wakes every sleeper; returns how many. For wakers that have seen that there is one.
    ///
    /// # Panics
    /// In debug builds, if the thread holds a ranked lock.
    #[track_caller]
    pub fn wake_published(&self) -> u32 {
        assert_none_held("waking");
        self.wake_sleepers()
    }

    /// Wakes every sleeper, if there is one; returns how many. The caller has made the condition
    /// true.
    ///
    /// # Panics
    /// In debug builds, if the thread holds a ranked lock.
    #[track_caller]
    pub fn wake_all(&self) -> u32 {
        assert_none_held("waking");

        if self.has_sleeper() {
            self.wake_sleepers()
        } else {
            0
        }
    }

    /// Whether a thread is asleep here, or about to be, that nobody has woken. Contains the waker's
    /// barrier.
    ///
    /// `false` promises that whoever goes to sleep here later will see what the caller stored
    /// before.
    #[must_use]
    pub fn has_sleeper(&self) -> bool {
        // Orders the caller's condition before the load. Pairs with the fence in `enqueue`.
        if let Some(fences) = self.fences {
            fence_at(fences.waker);
        }
        // Relaxed: ordered by the fence; what the sleeper did before is not looked at.
        self.nr_sleepers.load(Relaxed) != 0
    }

    /// Whether a thread is asleep here, without the barrier: for callers whose condition is guarded by a
    /// lock that every sleeper takes after it has published its entry, so that whoever holds that lock first, the
    /// other sees; or by a magazine that every sleeper revokes after that.
    #[must_use]
    pub fn sleeper_hint(&self) -> bool {
        // Relaxed: ordered by that lock.
        self.nr_sleepers.load(Relaxed) != 0
    }

    /// How many threads are asleep here, or about to be, that nobody has woken: for reports.
    #[must_use]
    pub fn nr_sleepers(&self) -> u32 {
        // Relaxed: a number that may be over at once.
        self.nr_sleepers.load(Relaxed)
    }

    #[cold]
    fn wake_sleepers(&self) -> u32 {
        let mut state = self.park.lock();
        // Relaxed: written under the lock only (I1). Others read it as a hint, or after a fence.
        let nr_woken = self.nr_sleepers.swap(0, Relaxed);
        if nr_woken > 0 {
            state.epoch += 1;
        }
        drop(state);

        if nr_woken > 0 {
            self.park.ring();
        }
        nr_woken
    }

    /// Publishes that this thread is about to sleep. From here on it can be woken.
    ///
    /// The caller then looks at the condition (again) and sleeps only if it is false:
    /// [`WaitQueue::wait`], where that look is one closure.
    ///
    /// # Panics
    /// In debug builds, if the thread holds a ranked lock.
    #[track_caller]
    pub fn enqueue(&self) -> Entry<'_, P> {
        assert_none_held("going to sleep");

        let state = self.park.lock();
        // Relaxed: written under the lock only (I1); the fence below orders it for wakers that read
        // without.
        self.nr_sleepers.fetch_add(1, Relaxed);
        let epoch = state.epoch;
        drop(state);

        // Orders the entry before the caller's look at the condition. Pairs with the fence in
        // `has_sleeper`.
        if let Some(fences) = self.fences {
            fence_at(fences.sleeper);
        }
        Entry { queue: self, epoch }
    }

    /// Sleeps once, unless `ready` says on the queue that there is no need to.
    ///
    /// `ready` runs without the queue's lock, after the entry is published. Fit for a loop that
    /// does different things for different endings, as a daemon's does: a nap is
    /// `wait(Some(deadline), …)`, a full sleep `wait(None, …)`, each with its own look at the
    /// request word, the stop and the freeze flags.
    #[track_caller]
    pub fn wait(&self, deadline: Option<Instant>, ready: impl FnOnce() -> bool) -> WaitOutcome {
        let entry = self.enqueue();
        if !mutated("waitqueue.recheck") && ready() {
            return WaitOutcome::Ready;
        }
        match entry.sleep(deadline) {
            SleepOutcome::Woken => WaitOutcome::Woken,
            SleepOutcome::TimedOut => WaitOutcome::TimedOut,
        }
    }

    /// Sleeps until `ready` says so or the deadline passes; returns what `ready` said last.
    ///
    /// Looks once before it touches the queue, and a last time after the deadline.
    #[track_caller]
    pub fn wait_until(&self, deadline: Option<Instant>, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        loop {
            match self.wait(deadline, &mut ready) {
                WaitOutcome::Ready => return true,
                // Somebody who wakes all the time must not hide the deadline.
                WaitOutcome::Woken if deadline.is_some_and(|deadline| clock::now() >= deadline) => {
                    return ready();
                }
                WaitOutcome::Woken => {}
                WaitOutcome::TimedOut => return ready(),
            }
        }
    }

    /// Lets one timed sleep run out: the one going on, or else the next.
    #[cfg(loom)]
    pub fn fire_timeout(&self) {
        self.park.fire_timeout();
    }

    /// How often a thread has slept here, whoever woke it.
    #[cfg(loom)]
    pub fn nr_sleeps(&self) -> u32 {
        self.park.lock().nr_parks
    }

    /// Removes an entry of `epoch`, unless a waker did (I3).
    fn remove_locked(&self, state: &ParkState, epoch: u64) {
        if state.epoch == epoch || mutated("waitqueue.remove") {
            // Relaxed: written under the lock only (I1).
            let before = self.nr_sleepers.fetch_sub(1, Relaxed);
            debug_assert!(before > 0, "I1: an entry of this epoch was not counted");
        }
    }
}

/// A published intention to sleep; dropping it withdraws it.
#[must_use = "an entry that is dropped is off the queue"]
#[derive(Debug)]
pub struct Entry<'q, P: Park = CorePark> {
    queue: &'q WaitQueue<P>,
    epoch: u64,
}

impl<P: Park> Entry<'_, P> {
    /// Sleeps until woken, counting from the moment the entry was published, or until the deadline.
    pub fn sleep(self, deadline: Option<Instant>) -> SleepOutcome {
        let Entry { queue, epoch } = *ManuallyDrop::new(self); // removed below, under the same lock
        let mut state = queue.park.lock();
        let epoch = if mutated("waitqueue.epoch") {
            state.epoch
        } else {
            epoch
        };

        loop {
            if state.epoch != epoch {
                return SleepOutcome::Woken; // the waker removed the entry (I2)
            }
            let parked;
            (state, parked) = queue.park.park(state, deadline);
            if parked == Parked::TimedOut {
                queue.remove_locked(&state, epoch);
                return SleepOutcome::TimedOut;
            }
        }
    }
}

impl<P: Park> Drop for Entry<'_, P> {
    fn drop(&mut self) {
        let state = self.queue.park.lock();
        self.queue.remove_locked(&state, self.epoch);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
