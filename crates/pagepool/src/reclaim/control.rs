//! What a reclaim is for and how far it may go.
//!
//! *Kernel counterpart:* `struct scan_control` (v5.0).

use std::time::Duration;

use super::policy::throttle::Powers;
use crate::node::Node;
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// Reclaim begins by looking at 1/2^12 of each list (kernel: `DEF_PRIORITY`).
pub(crate) const DEF_PRIORITY: u8 = 12;

/// Pages that a pass tries for at once (kernel: `SWAP_CLUSTER_MAX`).
pub(crate) const SWAP_CLUSTER_MAX: usize = 32;

/// Who reclaims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// A node's background reclaimer.
    Kswapd,
    /// A thread that allocates.
    Direct,
    /// Somebody who was asked to, such as a controller.
    Controller,
}

impl Who {
    /// What counts the pages that it looks at.
    pub(crate) fn scan_event(self) -> VmEvent {
        match self {
            Who::Kswapd => VmEvent::PgscanKswapd,
            Who::Direct | Who::Controller => VmEvent::PgscanDirect,
        }
    }

    /// What counts the pages of mappings that went with objects of shrinkers.
    pub(crate) fn inodesteal_event(self) -> VmEvent {
        match self {
            Who::Kswapd => VmEvent::KswapdInodesteal,
            Who::Direct | Who::Controller => VmEvent::Pginodesteal,
        }
    }

    /// What counts the pages that it reclaims.
    pub(crate) fn steal_event(self) -> VmEvent {
        match self {
            Who::Kswapd => VmEvent::PgstealKswapd,
            Who::Direct | Who::Controller => VmEvent::PgstealDirect,
        }
    }
}

/// The terms of one reclaim, and what came of it so far.
#[derive(Clone, Debug)]
pub(crate) struct ScanControl {
    /// Who reclaims.
    pub(crate) who: Who,
    /// The group from which to reclaim, with all below it; the root is everything.
    pub(crate) target: GroupId,
    /// Whether there is no other way than to break low limits.
    pub(crate) breaks_low: bool,
    /// Whether something was spared for a low limit.
    pub(crate) low_spared: bool,
    /// The order that is wanted.
    pub(crate) order: Order,
    /// The highest zone to reclaim from.
    pub(crate) reclaim_idx: ZoneType,
    /// How much of each list to look at: 1/2^priority.
    pub(crate) priority: u8,
    /// Pages to reclaim.
    pub(crate) nr_to_reclaim: usize,
    /// Whether dirty folios may be written out.
    pub(crate) may_writepage: bool,
    /// Whether folios may go to swap.
    pub(crate) may_swap: bool,
    /// Whether a user's backing may be called.
    pub(crate) may_enter_fs: bool,
    /// Whether users' shrinkers may be called.
    pub(crate) may_shrink_slab: bool,
    /// What the one who reclaims may wait for.
    pub(crate) powers: Powers,
    /// When to give up waiting for I/O.
    pub(crate) deadline: Option<Instant>,
    /// Pages looked at so far.
    pub(crate) nr_scanned: usize,
    /// Pages reclaimed so far.
    pub(crate) nr_reclaimed: usize,
}

impl ScanControl {
    /// The terms on which an owner writes a folio out himself.
    pub(crate) fn for_flush(deadline: Option<Instant>) -> ScanControl {
        ScanControl {
            who: Who::Controller,
            target: GroupId::ROOT,
            breaks_low: false,
            low_spared: false,
            order: Order::ZERO,
            reclaim_idx: ZoneType::Movable,
            priority: DEF_PRIORITY,
            nr_to_reclaim: 0,
            may_writepage: true,
            may_swap: true,
            may_enter_fs: true,
            may_shrink_slab: false,
            powers: Powers::Full,
            deadline,
            nr_scanned: 0,
            nr_reclaimed: 0,
        }
    }

    /// Whether a good part of the lists has been looked at in vain: a thirty-second, in all passes before.
    /// Then what was used once in a while must go as well.
    pub(crate) fn is_in_need(&self) -> bool {
        self.priority < DEF_PRIORITY / 2
    }

    /// How long it is until its deadline.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(clock::now())
        })
    }

    /// Whether its deadline has passed.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| clock::now() >= deadline)
    }
}

/// What one pass over a node brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reclaimed {
    /// Pages looked at.
    pub(crate) scanned: usize,
    /// Pages reclaimed.
    pub(crate) reclaimed: usize,
}

/// Takes folios out of the memory of a node. The loops above it ([`balance`](super)) know no more.
pub(crate) trait Shrink: Sync {
    /// One pass over a node's lists at `sc.priority`; adds to `sc` what came of it (kernel:
    /// `shrink_node`).
    fn shrink_node(&self, node: &Node, sc: &mut ScanControl) -> Reclaimed;

    /// Reclaims from groups that are beyond their soft limits, before anybody else has to give; returns
    /// what that brought (kernel: `mem_cgroup_soft_limit_reclaim`).
    fn shrink_beyond_soft(&self, node: &Node, sc: &ScanControl) -> Reclaimed;

    /// Moves some folios from the active anonymous list to the inactive one if that is short (kernel:
    /// `age_active_anon`).
    fn age_active_anon(&self, node: &Node, sc: &ScanControl);

    /// Remembers how many refaults there were, so that the next reclaim sees those since (kernel:
    /// `snapshot_refaults`).
    fn snapshot_refaults(&self, node: &Node);

    /// Pages of a zone that reclaim might free: the exact lengths of the lists that it may use.
    fn reclaimable_pages(&self, zone: &crate::zone::Zone) -> usize;

    /// Whether any swap area is in use, with room or without.
    fn has_swap(&self) -> bool;
}
