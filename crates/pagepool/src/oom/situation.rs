//! What the pool's owner is told when nothing else has helped.

use arrayvec::ArrayVec;

use super::badness::{Candidate, ranked};
use crate::error::AllocError;
use crate::types::{GroupId, Order};

/// How many groups are named.
pub(super) const MAX_VICTIMS: usize = 16;

/// A group that could give memory up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Victim {
    /// Which; the root stands for what is in no group.
    pub group: GroupId,
    /// Its points: pages that are not protected by `min`, and a thousandth of the pool for each point of its
    /// `oom_score_adj` (kernel: `oom_badness`).
    pub points: usize,
    /// What it has by itself, without groups below it, in bytes.
    pub bytes: usize,
    /// What of that is protected in any case, in bytes.
    pub protected_bytes: usize,
    /// What it has beyond its `high`, in bytes.
    pub beyond_high_bytes: usize,
}

/// What the pool's owner is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// Why a request would be refused.
    pub cause: AllocError,
    /// Its order.
    pub order: Order,
    /// Whose request it is.
    pub requester: GroupId,
    /// The group that is at its limit, or the root: then the pool has nothing left.
    pub within: GroupId,
    victims: ArrayVec<Victim, MAX_VICTIMS>,
}

impl OutOfMemory {
    /// Puts the situation together. `total` is all that could be had, in pages.
    pub(crate) fn new(
        cause: AllocError,
        order: Order,
        requester: GroupId,
        within: GroupId,
        candidates: impl Iterator<Item = Candidate>,
        total: usize,
    ) -> OutOfMemory {
        OutOfMemory {
            cause,
            order,
            requester,
            within,
            victims: ranked(candidates, total),
        }
    }

    /// Up to 16 groups that could give memory up, the one that has most first.
    #[must_use]
    pub fn victims(&self) -> &[Victim] {
        &self.victims
    }
}

/// What came of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OomAnswer {
    /// Memory was given up, or will be within moments: who asked looks again at once.
    Released,
    /// Nothing could be given up. Nobody asks again for a while: 100 ms at first, 10 s at most.
    Declined,
}

/// Gives memory up when nothing else has helped: drops caches, ends a query, deletes a tenant's folios.
///
/// It is called on a thread of the pool, so that it may take any lock of its own; whoever asked for memory
/// waits, though no longer than its deadline. A request that it makes of the pool itself is refused with
/// [`AllocError::Reentrant`]. A panic is caught and counted as [`OomAnswer::Declined`].
///
/// A handler that owns a handle to its pool keeps the pool alive: hold what is to be dropped instead.
///
/// *Kernel counterpart:* the OOM killer, and `register_oom_notifier` (v5.0).
pub trait OomHandler: Send + Sync + 'static {
    /// Gives memory up, if it can.
    fn out_of_memory(&self, situation: &OutOfMemory) -> OomAnswer;
}

impl<F> OomHandler for F
where
    F: Fn(&OutOfMemory) -> OomAnswer + Send + Sync + 'static,
{
    fn out_of_memory(&self, situation: &OutOfMemory) -> OomAnswer {
        self(situation)
    }
}

/// What was asked of the pool's owner so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OomStats {
    /// Times that the handler was called.
    pub calls: u64,
    /// Of these, times that it gave memory up.
    pub released: u64,
    /// Times that it panicked.
    pub panics: u64,
    /// Times that whoever asked did not wait to the end.
    pub abandoned: u64,
    /// Whether a call is under way.
    pub is_calling: bool,
}
