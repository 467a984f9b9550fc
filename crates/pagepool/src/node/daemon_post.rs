//! Where a node's daemon is asked for work: a request word, a queue it sleeps on, and its state.
//!
//! *Kernel counterpart:* `kswapd_order`, `kswapd_classzone_idx`, `kswapd_wait` and their kcompactd
//! twins in `struct pglist_data` (v5.0). The words are described in
//! [`request`](crate::sync::request), the queue in [`waitqueue`](crate::sync::waitqueue).

use std::fmt;

use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use crate::sync::request::NR_CLASSES;
use crate::sync::{FenceNames, RequestWord, WaitQueue};
use crate::types::{NR_ZONES, Order, ZoneType};

/// What a daemon is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum DaemonState {
    /// The pool runs without it.
    Absent = 0,
    /// It works, or sleeps until it is woken.
    Running = 1,
    /// It stands at a safe point until it is thawed.
    Frozen = 2,
    /// It was stopped.
    Stopped = 3,
    /// It ended by a panic.
    Dead = 4,
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DaemonState::Absent => "absent",
            DaemonState::Running => "running",
            DaemonState::Frozen => "frozen",
            DaemonState::Stopped => "stopped",
            DaemonState::Dead => "dead",
        })
    }
}

/// After this many fruitless runs in a row a reclaimer is taken for hopeless.
pub(crate) const MAX_RECLAIM_RETRIES: u32 = 16;

// A request word has a lane for each class of zone.
const _: () = assert!(NR_CLASSES == NR_ZONES);

/// One daemon's post.
#[derive(Debug)]
pub(crate) struct DaemonPost {
    request: RequestWord,
    queue: WaitQueue,
    state: AtomicU8,
    failures: AtomicU32,
}

impl DaemonPost {
    /// Returns the post of a daemon that is not there yet. What is asked of it meanwhile is kept.
    pub(crate) fn new(fences: FenceNames) -> DaemonPost {
        DaemonPost {
            request: RequestWord::new(),
            queue: WaitQueue::new(fences),
            state: AtomicU8::new(DaemonState::Absent as u8),
            failures: AtomicU32::new(0),
        }
    }

    /// Records a request and wakes the daemon if it sleeps. The caller has judged that the request
    /// is worth it. Returns whether it asked for more than was asked for already.
    pub(crate) fn post(&self, class: ZoneType, order: Order) -> bool {
        let news = self.request.post(class.idx(), order.get());
        // The queue puts its barrier between the request and the look for a sleeper.
        self.queue.wake_all();
        news
    }

    /// What is asked of the daemon.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the background daemons are its users")
    )]
    pub(crate) fn request(&self) -> &RequestWord {
        &self.request
    }

    /// Where the daemon sleeps.
    #[expect(dead_code, reason = "the background daemons are its users")]
    pub(crate) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// What the daemon is doing.
    pub(crate) fn state(&self) -> DaemonState {
        // Acquire: what the daemon did before it said so is visible. Pairs with `set_state`.
        match self.state.load(Ordering::Acquire) {
            1 => DaemonState::Running,
            2 => DaemonState::Frozen,
            3 => DaemonState::Stopped,
            4 => DaemonState::Dead,
            _ => DaemonState::Absent,
        }
    }

    /// Pretends that the daemon has failed so many times in a row.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn set_failures(&self, failures: u32) {
        // Relaxed: as in `is_hopeless`.
        self.failures.store(failures, Ordering::Relaxed);
    }

    /// Whether the daemon has failed so often that nobody should rely on it.
    pub(crate) fn is_hopeless(&self) -> bool {
        // Relaxed: a count by itself.
        self.failures.load(Ordering::Relaxed) >= MAX_RECLAIM_RETRIES
    }
}
