//! What the background compactor does when it is awake: the blocks that were asked for, and those that will
//! be.
//!
//! *Kernel counterpart:* `kcompactd_do_work`, `proactive_compact_node` (v5.0, 5.9; spec 4.14, 9.13). What
//! differs: each class is worked for at the order that was asked with it; and nobody's memory is moved
//! without being asked unless that gains more than it moves.

use super::policy::terms::Terms;
use super::run::{Compactor, RunTerms, ZoneRun};
use super::{CompactNode, CompactResult, Compacted, Proactive};
use crate::node::{Node, StartBy};
use crate::sync::Requests;
use crate::types::{Order, PAGEBLOCK_ORDER, Pfn, ZoneType};
use crate::zone::Zone;
use crate::zone::vmstat::VmEvent;

impl CompactNode for Compactor<'_> {
    fn compact_node(
        &self,
        node: &Node,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Compacted {
        let _stall = self.custodian.nodes.stall(node.id());
        let mut left = asked.without_look();
        for (class_idx, order) in asked.iter() {
            let class = ZoneType::ALL[class_idx];
            let order = Order::at(usize::from(order));
            for zone in node.managed_up_to(class) {
                self.compact_for_class(node, zone, order, class, is_interrupted);
                if is_interrupted() {
                    return Compacted::Interrupted { left };
                }
            }
            left = left.without(class_idx);
        }
        Compacted::Done
    }

    fn compact_proactively(&self, node: &Node, is_interrupted: &dyn Fn() -> bool) -> Proactive {
        let mut outcome = Proactive::Satisfied;
        for zone in node.managed_up_to(ZoneType::Movable) {
            outcome = outcome.max(self.keep_in_shape(node, zone, is_interrupted));
            if is_interrupted() {
                return Proactive::Progress;
            }
        }
        outcome
    }
}

impl Compactor<'_> {
    /// Something that stood in the way of compaction does so no longer: what was learnt from that is
    /// forgotten, and the background compactor looks again, as for somebody who asks for a pageblock.
    pub(crate) fn note_unpinned(&self, node: &Node, pfn: Pfn) {
        let Some(zone) = node.zone_of(pfn) else {
            return;
        };
        let block = pfn.offset_from(zone.start()) >> zone.block_order().get();
        self.hints(zone).unskip(block);
        zone.end_look(0);
        let events = self.custodian.nodes.events();
        node.wake_kcompactd(PAGEBLOCK_ORDER, ZoneType::Movable, StartBy::Another, events);
        node.kcompactd.ring(StartBy::Caller);
    }

    /// D3: works for a class in one of its zones, and learns from it.
    fn compact_for_class(
        &self,
        node: &Node,
        zone: &Zone,
        order: Order,
        class: ZoneType,
        is_interrupted: &dyn Fn() -> bool,
    ) {
        let hints = self.hints(zone);
        if hints.is_deferred(order) {
            return;
        }
        let terms = Terms::kcompactd(order, class);
        let epoch = hints.epoch();
        let run = self.run_in_background(node, zone, &terms, false, is_interrupted);
        if matches!(
            run.result,
            CompactResult::Complete | CompactResult::PartialSkipped
        ) {
            // What was freed may be in caches, where it merges with nothing.
            zone.drain();
        }
        hints.learn(&terms, run.result, epoch);
    }

    /// Compacts a zone of which too much is in pieces, until it is not.
    fn keep_in_shape(
        &self,
        node: &Node,
        zone: &Zone,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Proactive {
        let marks = zone.proactive_marks();
        if !marks.is_some_and(|marks| marks.is_fragmented(zone.free_shape())) {
            return Proactive::Satisfied;
        }
        zone.begin_look();
        let terms = Terms::proactive();
        let run = self.run_in_background(node, zone, &terms, true, is_interrupted);
        zone.end_look(run.stuck);
        let was_stopped = matches!(
            run.result,
            CompactResult::Contended | CompactResult::Skipped
        );
        match (run.emptied, run.moved) {
            // Others have taken the room: what was moved is not in vain.
            (0, _) if was_stopped => Proactive::NotNow,
            (0, 0) => Proactive::NotNow,
            (0, _) => Proactive::NoBetter,
            _ => Proactive::Progress,
        }
    }

    fn run_in_background(
        &self,
        node: &Node,
        zone: &Zone,
        terms: &Terms,
        until_in_shape: bool,
        is_interrupted: &dyn Fn() -> bool,
    ) -> ZoneRun {
        let errand = RunTerms {
            terms,
            wanted: None,
            kept_between: zone.proactive_marks().filter(|_| until_in_shape),
            is_interrupted,
        };
        let run = self.compact_zone(node, zone, errand);
        let events = self.custodian.nodes.events();
        events.add(VmEvent::KcompactdMigrateScanned, run.scanned as u64);
        events.add(VmEvent::KcompactdFreeScanned, run.moved as u64);
        run
    }
}
