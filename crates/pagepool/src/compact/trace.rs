//! Compaction's events, named as the kernel's tracepoints, with their fields (spec 8).

use super::policy::terms::Terms;
use super::run::ZoneRun;
use crate::types::Order;
use crate::zone::Zone;

/// A run begins (kernel: `mm_compaction_begin`). There is no scanner for targets, so there is no
/// `free_pfn`.
pub(super) fn begin(zone: &Zone, terms: &Terms, first_block: usize) {
    let size = zone.block_order().get();
    tracing::event!(
        name: "mm_compaction_begin",
        target: "pagepool::compaction",
        tracing::Level::TRACE,
        node = zone.node().get(),
        zone = zone.zone_type().idx(),
        order = terms.order.map(Order::get),
        zone_start = zone.start().get(),
        migrate_pfn = zone.start().add(first_block << size).get(),
        zone_end = zone.start().add(zone.present()).get(),
        mode = ?terms.mode,
    );
}

/// A run has ended (kernel: `mm_compaction_end`).
pub(super) fn end(zone: &Zone, terms: &Terms, run: &ZoneRun) {
    tracing::event!(
        name: "mm_compaction_end",
        target: "pagepool::compaction",
        tracing::Level::TRACE,
        node = zone.node().get(),
        zone = zone.zone_type().idx(),
        order = terms.order.map(Order::get),
        mode = ?terms.mode,
        status = ?run.result,
        scanned = run.scanned,
        moved = run.moved,
        emptied = run.emptied,
    );
}
