//! A turn that one thread has at a time, and that others wait for with a deadline; and that can be held back
//! from everybody.
//!
//! *Kernel counterpart:* a mutex such as `mem_hotplug_lock` (v5.0), which waits without a deadline.
//!
//! **Invariants**
//! - I1: at most one [`Turned`] of a turn exists.
//! - I2: none is begun while the turn is held back, and whoever holds it back returns when there is none.
//! - I3: whoever waits sleeps only while somebody has the turn, or holds it back.
//!
//! **Ordering.** Whether it is taken stands under the lock. A sleeper looks there after its entry is published,
//! and whoever leaves looks for sleepers after it has been there: whichever of the two had the lock first, the
//! other sees what it did. What the one before has written, the next one sees by the same lock.
//!
//! Not here: what the turn is for.

use super::clock::Instant;
use super::fence::mutated;
use super::{CoreMutex, WaitQueue, thread};

#[derive(Clone, Copy, Default, Debug)]
struct State {
    taken: bool,
    held_back: bool,
    /// Who has it, by the system's number; of whom had it last, if nobody has.
    holder: u32,
}

/// A turn at a moment, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnLook {
    /// Who has it, by the system's number.
    pub holder: Option<u32>,
    /// Whether somebody holds it back.
    pub held_back: bool,
    /// How many threads wait for it, or for who has it.
    pub nr_waiting: u32,
}

/// See the head of the module.
#[derive(Debug)]
pub struct Turn {
    state: CoreMutex<State>,
    left: WaitQueue,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn {
            state: CoreMutex::new(State::default()),
            left: WaitQueue::unfenced(),
        }
    }
}

impl Turn {
    /// Waits for the turn, until the deadline; `None` if it did not come.
    pub fn take(&self, deadline: Option<Instant>) -> Option<Turned<'_>> {
        let is_ours = || {
            let mut state = self.state.lock();
            let is_free = !state.taken && !state.held_back;
            if is_free {
                state.taken = true;
                state.holder = thread::os_id();
            }
            is_free
        };
        self.left
            .wait_until(deadline, is_ours)
            .then(|| Turned(self))
    }

    /// Holds the turn back from everybody, and returns when nobody has it; false if somebody still had it at
    /// the deadline, and then it is held back no more. A second time is like the first.
    pub fn hold_back(&self, deadline: Option<Instant>) -> bool {
        let is_alone = || {
            let mut state = self.state.lock();
            state.held_back = true;
            !state.taken
        };
        let is_held = self.left.wait_until(deadline, is_alone);
        if !is_held {
            self.let_go();
        }
        is_held
    }

    /// Holds it back no more.
    pub fn let_go(&self) {
        self.state.lock().held_back = false;
        self.wake(None);
    }

    /// Whether somebody holds it back.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.state.lock().held_back
    }

    /// Who has it and who waits; none if its lock is held at this moment.
    #[must_use]
    pub fn look(&self) -> Option<TurnLook> {
        let state = *self.state.try_lock()?;
        Some(TurnLook {
            holder: state.taken.then_some(state.holder),
            held_back: state.held_back,
            nr_waiting: self.left.nr_sleepers(),
        })
    }

    /// How often a thread slept until it came.
    #[cfg(loom)]
    pub fn nr_sleeps(&self) -> u32 {
        self.left.nr_sleeps()
    }

    fn leave(&self) {
        let early = mutated("turn.look_after").then(|| self.left.sleeper_hint());
        self.state.lock().taken = false;
        self.wake(early);
    }

    fn wake(&self, early: Option<bool>) {
        // Ordered by the lock (see above).
        if early.unwrap_or_else(|| self.left.sleeper_hint()) {
            self.left.wake_published();
        }
    }
}

/// The turn; dropping it gives it to the next.
#[derive(Debug)]
#[must_use = "the turn ends when it is dropped"]
pub struct Turned<'a>(&'a Turn);

impl Drop for Turned<'_> {
    fn drop(&mut self) {
        if !thread::is_model_over() {
            self.0.leave();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sync::clock::deadline_after;

    fn soon() -> Option<Instant> {
        deadline_after(Duration::from_millis(5))
    }

    #[test]
    fn a_turn_is_one_thread_s_until_it_is_dropped() {
        let turn = Turn::default();
        let first = turn.take(None).unwrap();
        assert!(turn.take(soon()).is_none());
        assert!(!turn.hold_back(soon()), "somebody has it");
        drop(first);
        assert!(turn.take(soon()).is_some(), "and it is held back no more");
    }

    #[test]
    fn a_look_names_who_has_it() {
        let turn = Turn::default();
        let look = || turn.look().unwrap();
        assert_eq!((look().holder, look().held_back), (None, false));
        let first = turn.take(None);
        assert_eq!(look().holder, Some(thread::os_id()));
        drop(first);
        assert!(turn.hold_back(None));
        assert_eq!((look().holder, look().held_back), (None, true));
        let _held = turn.state.lock();
        assert_eq!(turn.look(), None);
    }

    #[test]
    fn what_is_held_back_is_nobody_s_until_it_is_let_go() {
        let turn = Turn::default();
        assert!(turn.hold_back(None) && turn.hold_back(None));
        assert!(turn.is_held_back() && turn.take(soon()).is_none());
        turn.let_go();
        assert!(turn.take(soon()).is_some());
    }

    #[test]
    fn who_waits_is_woken_by_who_leaves() {
        let turn = Turn::default();
        let first = turn.take(None);
        std::thread::scope(|scope| {
            let next = scope.spawn(|| turn.take(None).is_some());
            std::thread::sleep(Duration::from_millis(10));
            drop(first);
            assert!(next.join().unwrap());
        });
    }
}
