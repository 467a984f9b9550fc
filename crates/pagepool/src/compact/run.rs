//! A run over one zone: units are chosen, cheapest first, and emptied, until there is what was wanted.
//!
//! *Kernel counterpart:* `compact_zone`, `compact_finished` (v5.0; spec 6.8).

use super::consent::{Consent, Owners};
use super::empty::{Emptied, Errand, Left, Wanted};
use super::migrate::Mover;
use super::policy::choose::Chooser;
use super::policy::finish::{Aim, Moment, Next, compact_finished};
use super::policy::positions::Coverage;
use super::policy::terms::{MigrateMode, Terms};
use super::policy::units::{BlockView, Blocks, Room};
use super::state::{CompactState, ZoneHints};
use super::{CompactResult, trace};
use crate::buddy::{BlockTable, Geometry};
use crate::node::{Custodian, Node};
use crate::types::{Migratetype, Order, Pfn};
use crate::zone::evacuate::Unit;
use crate::zone::fragmentation::Suitability;
use crate::zone::score::ProactiveMarks;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::{AllocFlags, Mark};
use crate::zone::{Taken, Zone};

/// Makes large free blocks of a pool's memory.
#[derive(Clone, Copy)]
pub(crate) struct Compactor<'a> {
    /// Where folios are, and where frames go.
    pub(crate) custodian: Custodian<'a>,
    /// What earlier runs have learnt.
    pub(crate) state: &'a CompactState,
    /// Who has a say in moves.
    pub(crate) owners: &'a dyn Owners,
}

/// What a run is for.
#[derive(Clone, Copy)]
pub(crate) struct RunTerms<'a> {
    /// How hard it tries, and on whose behalf.
    pub(crate) terms: &'a Terms,
    /// The block that somebody waits for.
    pub(crate) wanted: Option<&'a Wanted>,
    /// Between which scores the zone is to be kept, if nothing else ends the run.
    pub(crate) kept_between: Option<ProactiveMarks>,
    /// Whether the thread is wanted elsewhere, or out of time.
    pub(crate) is_interrupted: &'a dyn Fn() -> bool,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct ZoneRun {
    /// How it ended.
    pub(crate) result: CompactResult,
    /// The block that somebody waits for.
    pub(crate) captured: Option<Taken>,
    /// Frames looked at in search of folios.
    pub(crate) scanned: usize,
    /// Pages moved.
    pub(crate) moved: usize,
    /// Units emptied.
    pub(crate) emptied: usize,
}

impl ZoneRun {
    fn ending_in(result: CompactResult) -> ZoneRun {
        ZoneRun {
            result,
            captured: None,
            scanned: 0,
            moved: 0,
            emptied: 0,
        }
    }
}

/// A zone's pageblocks, as the chooser sees them.
struct ZoneBlocks<'a> {
    table: &'a BlockTable,
    hints: &'a ZoneHints,
    start: Pfn,
    block_order: Order,
}

impl Blocks for ZoneBlocks<'_> {
    fn block(&self, block: usize) -> BlockView {
        let pfn = self.start.add(block << self.block_order.get());
        BlockView {
            free: self.table.free_pages(pfn),
            mt: self.table.migratetype(pfn),
            isolated: self.table.is_isolated(pfn),
        }
    }

    fn is_skipped(&self, block: usize) -> bool {
        self.hints.is_skipped(block)
    }
}

impl Compactor<'_> {
    pub(super) fn hints(&self, zone: &Zone) -> &ZoneHints {
        self.state.zone(zone.node(), zone.zone_type())
    }

    /// Compacts a zone.
    pub(crate) fn compact_zone(&self, node: &Node, zone: &Zone, errand: RunTerms<'_>) -> ZoneRun {
        let RunTerms { terms, wanted, .. } = errand;
        if let Some(order) = terms.order {
            let flags = wanted.map_or(AllocFlags::empty(), |wanted| wanted.request.flags);
            match zone.compaction_suitable_for(order, terms.class, flags) {
                Suitability::Success => return ZoneRun::ending_in(CompactResult::Success),
                Suitability::Skipped => return ZoneRun::ending_in(CompactResult::Skipped),
                Suitability::Continue => {}
            }
        }
        let hints = self.hints(zone);
        if terms.order.is_some_and(|order| hints.is_restarting(order)) {
            self.forget_hints(node, zone);
        }
        let geometry = zone.geometry();
        let chooser = Chooser::begin(terms, geometry, hints.positions());
        trace::begin(zone, terms, chooser.passed());
        node.drain_lru_all(self.custodian.folios);
        let mut run = Run {
            mover: Mover {
                custodian: self.custodian,
                consent: Consent {
                    owners: self.owners,
                    may_ask: terms.may_ask(),
                },
            },
            node,
            zone,
            errand,
            hints,
            geometry,
            chooser,
            outcome: ZoneRun::ending_in(CompactResult::Contended),
        };
        run.outcome.result = run.go();
        let ZoneRun { scanned, moved, .. } = run.outcome;
        let events = self.custodian.nodes.events();
        events.add(VmEvent::CompactMigrateScanned, scanned as u64);
        events.add(VmEvent::CompactFreeScanned, moved as u64);
        trace::end(zone, terms, &run.outcome);
        run.outcome
    }

    /// Forgets what earlier runs have noted of a zone's pageblocks, but for those that are taken whole.
    pub(crate) fn forget_hints(&self, node: &Node, zone: &Zone) {
        self.hints(zone).forget(|block| is_taken(node, zone, block));
    }

    /// Forgets what was noted in vain by those who needed a block (kernel: `reset_isolation_suitable`).
    pub(crate) fn flush_hints(&self, node: &Node) {
        let hints = self.state.node(node.id());
        hints.flush(|zone, block| is_taken(node, node.zone(zone), block));
    }
}

/// Whether a pageblock is taken by one block of at least its size.
fn is_taken(node: &Node, zone: &Zone, block: usize) -> bool {
    let size = zone.block_order();
    let pfn = zone.start().add(block << size.get());
    let block = node.map().state(pfn).block();
    block.is_some_and(|(order, _)| order >= size)
}

/// A run under way.
struct Run<'a> {
    mover: Mover<'a>,
    node: &'a Node,
    zone: &'a Zone,
    errand: RunTerms<'a>,
    hints: &'a ZoneHints,
    geometry: Geometry,
    chooser: Chooser,
    outcome: ZoneRun,
}

impl Run<'_> {
    fn go(&mut self) -> CompactResult {
        let mut interrupted = false;
        loop {
            if let Next::End(result) = self.is_over(interrupted, None) {
                self.note_passed();
                return result;
            }
            let Some(unit) = self.next_unit() else {
                let met = Some(self.chooser.coverage());
                self.hints.note_met(self.errand.terms);
                let Next::End(result) = self.is_over(false, met) else {
                    unreachable!("a run that has met the zone's end is over");
                };
                return result;
            };
            let emptied = self.empty(unit);
            interrupted = emptied.left == Left::Interrupted;
            if emptied.captured.is_some() {
                self.outcome.captured = emptied.captured;
                self.note_passed();
                return CompactResult::Success;
            }
        }
    }

    /// Whether the run is over, between two units.
    fn is_over(&self, interrupted: bool, met: Option<Coverage>) -> Next {
        let moment = Moment {
            interrupted: interrupted || (self.errand.is_interrupted)(),
            met,
            at_boundary: true,
            finishing: false,
            aim: self.aim(),
        };
        compact_finished(&moment)
    }

    fn aim(&self) -> Aim {
        let Some(marks) = self.errand.kept_between else {
            let available = self.zone.free_view().available;
            let block_order = self.geometry.block_order();
            return Aim::of(self.errand.terms, available, block_order);
        };
        Aim::Score {
            marks,
            shape: self.zone.free_shape(),
            kswapd_runs: !self.node.kswapd.asked().is_empty(),
        }
    }

    fn next_unit(&mut self) -> Option<Unit> {
        let blocks = ZoneBlocks {
            table: self.zone.blocks(),
            hints: self.hints,
            start: self.geometry.start,
            block_order: self.geometry.block_order(),
        };
        let min = self.zone.mark(Mark::Min);
        let units = *self.chooser.units();
        let targets = self.zone.target_pages(units.order());
        let room = Room::above(self.zone.free_view(), min, targets);
        if !room.holds(units.order()) {
            return None;
        }
        let view = self.chooser.next(&blocks, room)?;
        let offset = view.blocks.start << blocks.block_order.get();
        Some(Unit {
            pfn: self.geometry.start.add(offset),
            order: units.order(),
        })
    }

    fn empty(&mut self, unit: Unit) -> Emptied {
        let RunTerms { terms, wanted, .. } = self.errand;
        let errand = Errand {
            unit,
            order: terms.order.unwrap_or(unit.order).min(unit.order),
            mode: terms.mode,
            finish: finishes_units(terms),
            unevictable: true,
            wanted,
        };
        let is_interrupted = self.errand.is_interrupted;
        let emptied = self
            .mover
            .empty(self.node, self.zone, errand, is_interrupted);
        self.outcome.scanned += emptied.scanned;
        self.outcome.moved += emptied.moved;
        self.outcome.emptied += usize::from(emptied.left == Left::Done);
        if matches!(emptied.left, Left::Obstructed | Left::Pinned(_)) {
            self.skip(unit);
        }
        emptied
    }

    /// Marks the pageblocks of a unit that could not be emptied.
    fn skip(&self, unit: Unit) {
        let size = self.geometry.block_order().get();
        let first = unit.pfn.offset_from(self.geometry.start) >> size;
        let nr = unit.order.pages() >> size;
        (first..first + nr).for_each(|block| self.hints.skip(block));
    }

    fn note_passed(&self) {
        let passed = self.chooser.passed();
        self.hints.note_passed(self.errand.terms.mode, passed);
    }
}

/// Whether a unit is emptied to its end although the block that is wanted is smaller and there already: one
/// who cannot be moved will stay in its pageblock, and others like him should find room there.
fn finishes_units(terms: &Terms) -> bool {
    terms.want != Migratetype::Movable && terms.mode != MigrateMode::Async
}
