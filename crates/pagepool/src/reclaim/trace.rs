//! What reclaim tells of itself, as `tracing` events with the names and fields of the kernel's tracepoints.
//!
//! *Kernel counterpart:* `include/trace/events/vmscan.h` (v5.0). All have the target `pagepool::vmscan`
//! and the level TRACE, so that one filter switches them on: with `mm_vmscan_lru_isolate`,
//! `mm_vmscan_lru_shrink_inactive` and `mm_vmscan_writepage`, "when does my data go to swap?" is
//! answered. None is sent with a lock held. Fields that mean nothing here (isolation modes, congestion,
//! unmapping) are there all the same, so that scripts find them, and are 0.

use super::control::ScanControl;
use super::policy::balance_lists::Balance;
use super::policy::slab::{Load, Plan};
use super::shrinkers::ShrinkControl;
use crate::gfp::Gfp;
use crate::node::lru::{Isolated, Isolation};
use crate::node::lru_list::{FolioKind, LruList};
use crate::types::{NodeId, ZoneType};

macro_rules! vmscan {
    ($name:literal, $($fields:tt)*) => {
        tracing::event!(
            name: $name,
            target: "pagepool::vmscan",
            tracing::Level::TRACE,
            $($fields)*
        )
    };
}

/// A thread begins to reclaim for itself.
pub(super) fn direct_reclaim_begin(sc: &ScanControl, gfp: Gfp) {
    vmscan!(
        "mm_vmscan_direct_reclaim_begin",
        order = sc.order.get(),
        may_writepage = sc.may_writepage,
        gfp_flags = ?gfp,
        classzone_idx = sc.reclaim_idx.idx(),
    );
}

/// It is done.
pub(super) fn direct_reclaim_end(nr_reclaimed: usize) {
    vmscan!("mm_vmscan_direct_reclaim_end", nr_reclaimed);
}

/// Folios were taken off a list.
pub(super) fn lru_isolate(sc: &ScanControl, list: LruList, nr_requested: usize, found: Isolation) {
    vmscan!(
        "mm_vmscan_lru_isolate",
        classzone_idx = sc.reclaim_idx.idx(),
        order = sc.order.get(),
        nr_requested,
        nr_scanned = found.scanned,
        nr_skipped = found.skipped,
        nr_taken = found.taken,
        isolate_mode = 0_u64,
        lru = list.name(),
    );
}

/// A folio is about to be written out.
pub(super) fn writepage(one: &Isolated) {
    let flags = match one.kind {
        FolioKind::Anon => "RECLAIM_WB_ANON|RECLAIM_WB_ASYNC",
        FolioKind::File => "RECLAIM_WB_FILE|RECLAIM_WB_ASYNC",
    };
    vmscan!("mm_vmscan_writepage", pfn = one.pfn.get(), flags);
}

/// A folio has become active.
pub(super) fn lru_activate(one: &Isolated) {
    vmscan!(
        "mm_lru_activate",
        pfn = one.pfn.get(),
        lru = one.list.name()
    );
}

/// What became of a batch from the tail of an inactive list, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Fate {
    /// Left memory at once.
    pub(super) reclaimed: usize,
    /// Of files, and not written yet.
    pub(super) dirty: usize,
    /// Being written, in order to leave memory.
    pub(super) writeback: usize,
    /// Made active.
    pub(super) activate: usize,
    /// Go round once more.
    pub(super) ref_keep: usize,
}

/// The tail of an inactive list was looked at.
pub(super) fn lru_shrink_inactive(
    nid: NodeId,
    sc: &ScanControl,
    list: LruList,
    nr_scanned: usize,
    fate: Fate,
) {
    vmscan!(
        "mm_vmscan_lru_shrink_inactive",
        nid = nid.get(),
        nr_scanned,
        nr_reclaimed = fate.reclaimed,
        dirty = fate.dirty,
        writeback = fate.writeback,
        congested = 0_u64,
        immediate = 0_u64,
        activate = fate.activate,
        ref_keep = fate.ref_keep,
        unmap_fail = 0_u64,
        priority = sc.priority,
        flags = list.name(),
    );
}

/// The tail of an active list was looked at.
pub(super) fn lru_shrink_active(
    nid: NodeId,
    sc: &ScanControl,
    list: LruList,
    found: Isolation,
    nr_deactivated: usize,
    nr_referenced: usize,
) {
    vmscan!(
        "mm_vmscan_lru_shrink_active",
        nid = nid.get(),
        nr_taken = found.taken,
        nr_active = found.taken - nr_deactivated,
        nr_deactivated,
        nr_referenced,
        priority = sc.priority,
        flags = list.name(),
    );
}

/// It was judged whether the inactive list of a kind is short, before its active one was looked at.
pub(super) fn inactive_list_is_low(nid: NodeId, reclaim_idx: ZoneType, balance: &Balance) {
    vmscan!(
        "mm_vmscan_inactive_list_is_low",
        nid = nid.get(),
        reclaim_idx = reclaim_idx.idx(),
        total_inactive = balance.inactive,
        inactive = balance.inactive,
        total_active = balance.active,
        active = balance.active,
        ratio = balance.ratio(),
        flags = balance.kind.inactive().name(),
    );
}

/// A shrinker is about to look at some of its objects.
pub(super) fn shrink_slab_start(shrinker: &str, ctl: ShrinkControl, load: Load, plan: Plan) {
    vmscan!(
        "mm_shrink_slab_start",
        shrinker,
        shrink = 0_u64,
        nid = ctl.node.get(),
        nr_objects_to_shrink = load.deferred,
        gfp_flags = 0_u64,
        cache_items = load.freeable,
        delta = plan.delta,
        total_scan = plan.total,
        priority = ctl.priority,
    );
}

/// It has.
pub(super) fn shrink_slab_end(shrinker: &str, ctl: ShrinkControl, counts: SlabEnd) {
    vmscan!(
        "mm_shrink_slab_end",
        shrinker,
        shrink = 0_u64,
        nid = ctl.node.get(),
        unused_scan = counts.deferred_before,
        new_scan = counts.deferred_after,
        retval = counts.freed,
        total_scan = counts.left,
    );
}

/// How a call of a shrinker ended, in objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlabEnd {
    /// Put off before it.
    pub(super) deferred_before: usize,
    /// Put off after it.
    pub(super) deferred_after: usize,
    /// Freed.
    pub(super) freed: usize,
    /// Not looked at of those that were to be.
    pub(super) left: usize,
}
