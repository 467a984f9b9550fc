//! An account that threads share, and those who wait for a stall to begin.
//!
//! *Kernel counterpart:* `struct psi_group`, `psi_task_change`, `psi_schedule_poll_work` (v5.0 and 5.2, spec
//! 4.16). In the kernel a stall that begins starts a worker that polls for the triggers; here it wakes who
//! waits, and whoever waits works out for itself when to look again (see [`window`](super::window)).
//!
//! ```text
//! who waits                                    a thread that stalls
//! ─────────                                    ────────────────────
//! publish the entry                            lock
//! lock; is there a stall?  unlock              count; has one begun? is there an entry?
//! there is: take the entry back                unlock
//! sleep                                        there was: wake
//! ```
//!
//! Both take the account's lock, and one of them is first: who waits finds the stall, or the other finds the
//! entry. So no fence is needed; the two steps that carry this are mutants (`psi.recheck`, `psi.wake`).
//!
//! A stall wakes only who is on the queue of its kind when it begins. Once woken, a thread is off the queue,
//! and sleeps by the clock for as long as nothing can have come of it: a storm of short stalls costs it a
//! wake-up now and then, and those who stall a load each.

use super::account::{Account, Change, Reading};
use super::report::{Pressure, PressureKind};
use crate::error::{Violation, ensure};
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, SleepOutcome, WaitQueue};

/// Pressure on something that has memory: a pool, a node. To be embedded; never allocates.
#[derive(Debug)]
pub(crate) struct PsiState {
    account: CoreMutex<Account>,
    /// Who waits for each kind of stall to begin.
    begun: [WaitQueue; PressureKind::ALL.len()],
}

impl Default for PsiState {
    fn default() -> PsiState {
        PsiState::new()
    }
}

impl PsiState {
    /// Returns a state in which nobody is stalled, and nobody works.
    pub(crate) fn new() -> PsiState {
        PsiState {
            account: CoreMutex::new(Account::begin(clock::now())),
            begun: PressureKind::ALL.map(|_| WaitQueue::unfenced()),
        }
    }

    /// Forgets what was, for another who is to be counted here. Nobody is stalled, and nobody works.
    pub(crate) fn begin_anew(&self) {
        *self.account.lock() = Account::begin(clock::now());
    }

    fn begun(&self, kind: PressureKind) -> &WaitQueue {
        &self.begun[kind.idx()]
    }

    /// A thread does something. Wakes who waits for what that begins, so no ranked lock may be held.
    pub(crate) fn change(&self, change: Change) {
        let mut account = self.account.lock();
        let begins = account.change(clock::now(), change);
        // Under the lock, which every sleeper takes once its entry is published.
        let calls = PressureKind::ALL.map(|kind| {
            begins[kind.idx()] && self.begun(kind).sleeper_hint() && !mutated("psi.wake")
        });
        drop(account);

        for kind in PressureKind::ALL {
            if calls[kind.idx()] {
                self.begun(kind).wake_published();
            }
        }
    }

    /// Sleeps until a stall of this kind begins, if there is none; returns false if there was none until the
    /// deadline. The stall may be over when this returns.
    pub(crate) fn wait_for_stall(&self, kind: PressureKind, deadline: Option<Instant>) -> bool {
        let entry = self.begun(kind).enqueue();
        if self.is_stalled(kind) && !mutated("psi.recheck") {
            return true;
        }
        match entry.sleep(deadline) {
            SleepOutcome::Woken => true,
            SleepOutcome::TimedOut => self.is_stalled(kind),
        }
    }

    /// Whether there is a stall of this kind.
    pub(crate) fn is_stalled(&self, kind: PressureKind) -> bool {
        self.account.lock().is_stalled(kind)
    }

    /// How long a kind of stall has lasted until now.
    pub(crate) fn reading(&self, kind: PressureKind) -> Reading {
        self.account.lock().reading(clock::now(), kind)
    }

    /// Totals and averages until now.
    pub(crate) fn pressure(&self) -> Pressure {
        self.account.lock().pressure(clock::now())
    }

    /// Checks V1 to V3, and that nobody is stalled (V5) if nothing runs.
    pub(crate) fn verify(&self, is_quiescent: bool) -> Result<(), Violation> {
        let account = *self.account.lock();
        account.verify()?;
        let stalled = account.stalled();
        ensure!(
            stalled == 0 || !is_quiescent,
            "V5",
            "{stalled} threads are stalled though nothing runs"
        );
        Ok(())
    }

    /// Lets one timed wait for a stall run out: the one going on, or else the next.
    #[cfg(loom)]
    pub(crate) fn fire_timeout(&self, kind: PressureKind) {
        self.begun(kind).fire_timeout();
    }

    /// How often threads have slept until a stall of this kind began.
    #[cfg(loom)]
    pub(crate) fn nr_sleeps(&self, kind: PressureKind) -> u32 {
        self.begun(kind).nr_sleeps()
    }
}
