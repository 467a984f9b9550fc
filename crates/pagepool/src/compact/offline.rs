//! A pageblock that is emptied in order to leave service.
//!
//! *Kernel counterpart:* `offline_pages`, `do_migrate_range` (v5.0; spec 1.18). There, a range is given and tried
//! until it is empty; here any pageblock of the zone will do, and one that cannot be emptied is passed over.
//!
//! What is in it is moved within the zone, so that somebody has to see to room first. Folios of a pageblock's
//! size and more are not moved: where they leave memory, a whole pageblock is free.

use super::consent::Consent;
use super::empty::{Emptied, Errand, Left};
use super::migrate::Mover;
use super::policy::emptiest::emptiest;
use super::policy::terms::MigrateMode;
use super::policy::units::BlockView;
use super::run::Compactor;
use crate::node::Node;
use crate::zone::Zone;
use crate::zone::evacuate::Unit;
use crate::zone::hotplug::OfflineBlock;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::Mark;

/// Pageblocks that are tried at a time.
const TRIES: usize = 8;

/// Pageblocks of a zone that were found to have something in them that cannot be moved.
#[derive(Debug)]
pub(crate) struct Passed(Vec<bool>);

impl Passed {
    /// None of them so far.
    pub(crate) fn none(zone: &Zone) -> Passed {
        let blocks = zone.present() >> zone.block_order().get();
        Passed(vec![false; blocks])
    }
}

/// Why no pageblock could be emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotEmptied {
    /// Each has something in it that cannot be moved.
    Obstructed,
    /// Somebody was in the way, or there was no room; that may be otherwise soon.
    NotNow,
}

impl Compactor<'_> {
    /// Empties a pageblock of the zone, the one with the least in it that can be, and takes it out of service.
    ///
    /// Owners are asked before what is theirs is moved, and waited for.
    pub(crate) fn take_block_out(
        &self,
        node: &Node,
        zone: &Zone,
        passed: &mut Passed,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<OfflineBlock, NotEmptied> {
        node.drain_lru_all(self.custodian.folios);
        let mut busy = Vec::with_capacity(TRIES);
        while busy.len() < TRIES && !is_interrupted() {
            let is_passed = |n: usize| passed.0[n] || busy.contains(&n);
            let Some(block) = emptiest(views(zone, passed.0.len()), is_passed) else {
                break;
            };
            let (emptied, kept) = self.try_to_take_out(node, zone, block, is_interrupted);
            if let Some(kept) = kept {
                return Ok(kept);
            }
            match emptied.left {
                Left::Obstructed(_) | Left::Pinned(..) => passed.0[block] = true,
                _ => busy.push(block),
            }
        }
        Err(match busy.is_empty() && !is_interrupted() {
            true => NotEmptied::Obstructed,
            false => NotEmptied::NotNow,
        })
    }

    fn try_to_take_out(
        &self,
        node: &Node,
        zone: &Zone,
        block: usize,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Emptied, Option<OfflineBlock>) {
        let order = zone.block_order();
        let unit = Unit {
            pfn: zone.start().add(block << order.get()),
            order,
        };
        let mover = Mover {
            custodian: self.custodian,
            hardened: self.hardened,
            consent: Consent {
                owners: self.owners,
                may_ask: true,
            },
        };
        let errand = Errand {
            unit,
            order,
            mode: MigrateMode::Sync,
            finish: false,
            unevictable: true,
            floor: Mark::Min,
            wanted: None,
        };
        let (emptied, kept) = mover.take_out(node, zone, errand, is_interrupted);
        let events = self.custodian.nodes.events();
        events.add(VmEvent::CompactMigrateScanned, emptied.scanned as u64);
        (emptied, kept)
    }
}

/// The zone's whole pageblocks, from its start.
fn views(zone: &Zone, blocks: usize) -> impl Iterator<Item = BlockView> {
    let (table, order) = (zone.blocks(), zone.block_order());
    (0..blocks).map(move |block| {
        let pfn = zone.start().add(block << order.get());
        BlockView {
            free: table.free_pages(pfn),
            mt: table.migratetype(pfn),
            isolated: table.is_isolated(pfn),
        }
    })
}
