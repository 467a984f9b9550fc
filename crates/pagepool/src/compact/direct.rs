//! Compaction by the thread that needs the block, and of everything on request.
//!
//! *Kernel counterpart:* `try_to_compact_pages`, `compact_zone_order`, `compaction_zonelist_suitable`,
//! `compact_nodes` (v5.0; spec 6.2, 6.9).

use super::empty::Wanted;
use super::mode::{CompactPriority, CompactResult};
use super::policy::terms::Terms;
use super::run::{Compactor, RunTerms};
use crate::node::Walk;
use crate::sync::clock::{self, Instant};
use crate::types::NodeId;
use crate::zone::fragmentation::compaction_zonelist_suitable;
use crate::zone::watermark::AllocFlags;
use crate::zone::{Taken, Zone, ZoneRequest};

/// What direct compaction has come to.
#[derive(Debug)]
pub(crate) struct DirectRun {
    /// The best result of all zones.
    pub(crate) result: CompactResult,
    /// The block, if it was made and taken at once.
    pub(crate) captured: Option<Taken>,
}

impl Compactor<'_> {
    /// Compacts the zones that a request may use, in its order, until one has a block for it.
    pub(crate) fn compact_direct(
        &self,
        walk: &Walk,
        flags: AllocFlags,
        priority: CompactPriority,
        deadline: Option<Instant>,
    ) -> DirectRun {
        let Walk {
            order, class, want, ..
        } = *walk;
        let terms = Terms::direct(priority, order, class, want);
        let wanted = Wanted {
            request: ZoneRequest { order, want, flags },
            class,
        };
        let is_late = || deadline.is_some_and(|deadline| clock::now() >= deadline);
        let errand = RunTerms {
            terms: &terms,
            wanted: Some(&wanted),
            kept_between: None,
            is_interrupted: &is_late,
        };
        let nodes = self.custodian.nodes;
        let mut result = CompactResult::Skipped;
        for zone in nodes.eligible(walk) {
            let hints = self.hints(zone);
            if terms.heeds_deferral() && hints.is_deferred(order) {
                result = result.and(CompactResult::Deferred);
                continue;
            }
            let node = nodes.node(zone.node());
            let epoch = hints.epoch();
            let run = self.compact_zone(node, zone, errand);
            hints.learn(&terms, run.result, epoch);
            result = result.and(run.result);
            if run.captured.is_some() || run.result == CompactResult::Success {
                return DirectRun {
                    result: CompactResult::Success,
                    captured: run.captured,
                };
            }
            if is_late() {
                break;
            }
        }
        DirectRun {
            result,
            captured: None,
        }
    }

    /// Whether reclaiming more would let compaction succeed for a request, given what could be reclaimed of
    /// each zone.
    pub(crate) fn would_help(
        &self,
        walk: &Walk,
        flags: AllocFlags,
        reclaimable: &dyn Fn(&Zone) -> usize,
    ) -> bool {
        let order = walk.order;
        let zones = self.custodian.nodes.eligible(walk);
        let prospects = zones.map(|zone| zone.prospect(reclaimable(zone), walk.class, flags));
        compaction_zonelist_suitable(prospects, order, flags)
    }

    /// Compacts a node, or all, as far as there is anything to gain, until the deadline.
    pub(crate) fn compact_everything(&self, only: Option<NodeId>, deadline: Option<Instant>) {
        let is_late = || deadline.is_some_and(|deadline| clock::now() >= deadline);
        let terms = Terms::manual();
        let errand = RunTerms {
            terms: &terms,
            wanted: None,
            kept_between: None,
            is_interrupted: &is_late,
        };
        let nodes = self.custodian.nodes.iter();
        for node in nodes.filter(|node| only.is_none_or(|only| only == node.id())) {
            for zone in node.zones().iter().filter(|zone| zone.is_managed()) {
                zone.drain();
                self.compact_zone(node, zone, errand);
            }
        }
    }
}
