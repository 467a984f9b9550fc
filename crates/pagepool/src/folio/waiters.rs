//! Where threads wait for a folio: queues that many folios share.
//!
//! *Kernel counterpart:* `page_wait_table` (v5.0).
//!
//! ```text
//! waiter                                       who leaves
//! ──────                                       ──────────
//! publish the entry                            end of write, fault: one read-modify-write, which
//! word: WAITERS, if still blocked              leaves, takes WAITERS off and sees that it was set;
//! sleep, until woken or late                   of read: leaves, sees it, and takes it off by a second
//!                                              WAITERS was set: wake the queue
//! ```
//!
//! Both sides change the folio's word, so one of them comes first: the waiter finds that it need not
//! wait, or who leaves finds WAITERS, and by it the entry. No barrier is needed beside those of the word.
//! Whoever takes WAITERS off wakes the queue, also a waiter that gives up at its deadline.

use super::FolioSlot;
use super::table::FolioId;
use super::word::FolioWord;
use crate::sync::clock::Instant;
use crate::sync::fence::mutated;
use crate::sync::{WaitQueue, waitqueue::SleepOutcome};

/// Queues for all folios of a pool: enough that strangers seldom meet.
const NR_QUEUES: usize = if cfg!(loom) { 1 } else { 64 };

/// The queues.
#[derive(Debug)]
pub(crate) struct Waiters {
    queues: Box<[WaitQueue]>,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// There may be nothing in the way any more: look again.
    LookAgain,
    /// The deadline has passed.
    TimedOut,
}

impl Waiters {
    /// Returns queues on which nobody sleeps.
    pub(crate) fn new() -> Waiters {
        Waiters {
            queues: (0..NR_QUEUES).map(|_| WaitQueue::unfenced()).collect(),
        }
    }

    pub(super) fn bytes() -> usize {
        NR_QUEUES * size_of::<WaitQueue>()
    }

    /// How many threads wait for a folio.
    pub(crate) fn nr_sleepers(&self) -> u32 {
        self.queues.iter().map(WaitQueue::nr_sleepers).sum()
    }

    fn of(&self, id: FolioId) -> &WaitQueue {
        &self.queues[id.get() as usize % self.queues.len()]
    }

    /// Sleeps until the folio's word changes, if `is_blocked` says that there is something in the way.
    pub(crate) fn wait(
        &self,
        id: FolioId,
        slot: &FolioSlot,
        deadline: Option<Instant>,
        is_blocked: impl Fn(FolioWord) -> bool,
    ) -> Waited {
        let entry = self.of(id).enqueue();
        if !slot.wait_if(is_blocked) {
            return Waited::LookAgain;
        }
        match entry.sleep(deadline) {
            SleepOutcome::Woken => Waited::LookAgain,
            SleepOutcome::TimedOut => {
                self.give_up(id, slot);
                Waited::TimedOut
            }
        }
    }

    /// Takes back the WAITERS that this thread may have set: readers would give way to it for as long as
    /// another reader stays. Who still waits is woken and sets it again.
    #[cold]
    fn give_up(&self, id: FolioId, slot: &FolioSlot) {
        if !mutated("folio.waiter_gives_up") && slot.call_waiters() {
            self.wake(id);
        }
    }

    /// Wakes those who wait for a folio, and others by chance. For who has taken WAITERS off its word.
    pub(crate) fn wake(&self, id: FolioId) {
        self.of(id).wake_published();
    }

    /// Lets one timed wait for a folio run out: the one going on, or else the next.
    #[cfg(loom)]
    pub(crate) fn fire_timeout(&self, id: FolioId) {
        self.of(id).fire_timeout();
    }

    /// How often threads have slept until somebody left, or gave up.
    #[cfg(loom)]
    pub(crate) fn nr_sleeps(&self) -> u32 {
        self.queues.iter().map(WaitQueue::nr_sleeps).sum()
    }
}
