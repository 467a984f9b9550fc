//! A run over one zone: units are chosen, cheapest first, and emptied, until there is what was wanted.
//!
//! *Kernel counterpart:* `compact_zone`, `compact_finished` (v5.0; spec 6.8).

use super::consent::{Consent, Owners};
use super::empty::{Emptied, Errand, Left, Wanted};
use super::migrate::Mover;
use super::policy::choose::Chooser;
use super::policy::finish::{Aim, Moment, Next, compact_finished};
use super::policy::positions::Coverage;
use super::policy::terms::{MigrateMode, Terms, User};
use super::policy::units::{BlockView, Blocks, Room};
use super::state::{CompactState, ZoneHints};
use super::{CompactResult, trace};
use crate::buddy::{BlockTable, Geometry};
use crate::node::{Custodian, DaemonPost, DaemonState, Node};
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
    /// Whether freed memory is filled with a pattern, and checked.
    pub(crate) hardened: bool,
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
    /// Units in whose way something is.
    pub(crate) stuck: usize,
}

impl ZoneRun {
    fn ending_in(result: CompactResult) -> ZoneRun {
        ZoneRun {
            result,
            captured: None,
            scanned: 0,
            moved: 0,
            emptied: 0,
            stuck: 0,
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
        if terms.mode == MigrateMode::Async {
            node.drain_lru(self.custodian.folios);
        } else {
            node.drain_lru_all(self.custodian.folios);
        }
        let mut run = Run {
            mover: Mover {
                custodian: self.custodian,
                hardened: self.hardened,
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
            units: 0,
            was_beaten: false,
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
    // A folio may be moved out of the way of something larger.
    block.is_some_and(|(order, _)| order >= size) && node.map().owner(pfn).is_none()
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
    /// Units tried.
    units: usize,
    /// Whether somebody else had a unit.
    was_beaten: bool,
}

impl Run<'_> {
    fn go(&mut self) -> CompactResult {
        if !self.has_room() {
            return CompactResult::Skipped;
        }
        let mut interrupted = false;
        loop {
            if let Next::End(result) = self.is_over(interrupted, None) {
                self.note_passed();
                return result;
            }
            let Some(unit) = self.next_unit() else {
                return self.meet();
            };
            let emptied = self.empty(unit);
            if emptied.captured.is_some() {
                self.outcome.captured = emptied.captured;
                self.note_passed();
                return CompactResult::Success;
            }
            self.units += 1;
            interrupted = match emptied.left {
                Left::Interrupted | Left::NoTargets(Order::ZERO) => true,
                Left::NotOurs => {
                    self.was_beaten = true;
                    false
                }
                _ => self.errand.terms.mode == MigrateMode::Async && self.units >= ASYNC_UNITS,
            };
        }
    }

    /// There is nothing more to choose. Who was beaten to a unit, or has no room any more, has not seen the
    /// zone's end.
    fn meet(&self) -> CompactResult {
        if self.was_beaten || !self.has_room() {
            return CompactResult::Contended;
        }
        let met = Some(self.chooser.coverage());
        self.hints.note_met(self.errand.terms);
        match self.is_over(false, met) {
            Next::End(result) => result,
            Next::GoOn { .. } => unreachable!("a run that has met the zone's end is over"),
        }
    }

    /// Whether as much is free above the mark as is missing while a unit is emptied.
    fn has_room(&self) -> bool {
        self.room().holds(self.chooser.units().order())
    }

    fn room(&self) -> Room {
        let targets = self.zone.target_pages(self.chooser.units().order());
        let floor = self.zone.mark(self.floor());
        Room::above(self.zone.free_view(), floor, targets)
    }

    /// The mark that holds while units are emptied.
    fn floor(&self) -> Mark {
        if self.errand.kept_between.is_some() {
            Mark::High
        } else {
            Mark::Min
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
            kswapd_runs: is_at_work(&self.node.kswapd),
        }
    }

    fn next_unit(&mut self) -> Option<Unit> {
        let blocks = ZoneBlocks {
            table: self.zone.blocks(),
            hints: self.hints,
            start: self.geometry.start,
            block_order: self.geometry.block_order(),
        };
        let units = *self.chooser.units();
        let room = self.room();
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
            floor: self.floor(),
            wanted,
        };
        let is_interrupted = self.errand.is_interrupted;
        let emptied = self
            .mover
            .empty(self.node, self.zone, errand, is_interrupted);
        self.outcome.scanned += emptied.scanned;
        self.outcome.moved += emptied.moved;
        self.outcome.emptied += usize::from(emptied.left == Left::Done);
        match emptied.left {
            Left::Obstructed(pfn) => self.note_stuck(pfn),
            Left::Pinned(pfn, folio) => {
                self.note_stuck(pfn);
                // Whoever lets go of it last says so; unless it is free to move already.
                if !self.mover.custodian.folios.slot(folio).want() {
                    self.hints.unskip(self.block_of(pfn));
                }
            }
            _ => {}
        }
        emptied
    }

    /// Marks the pageblock of what is in the way.
    fn note_stuck(&mut self, pfn: Pfn) {
        self.outcome.stuck += 1;
        self.hints.skip(self.block_of(pfn));
    }

    fn block_of(&self, pfn: Pfn) -> usize {
        pfn.offset_from(self.geometry.start) >> self.geometry.block_order().get()
    }

    fn note_passed(&self) {
        let passed = self.chooser.passed();
        self.hints.note_passed(self.errand.terms.mode, passed);
    }
}

/// Units that a run looks at that must not wait.
const ASYNC_UNITS: usize = 64;

/// Whether a unit is emptied to its end although the block that is wanted is smaller and there already: one
/// who cannot be moved will stay in its pageblock, and others like him should find room there. Who waits for
/// the block gets it first.
fn finishes_units(terms: &Terms) -> bool {
    terms.want != Migratetype::Movable && terms.user == User::Kcompactd
}

/// Whether a daemon runs and does not sleep.
fn is_at_work(post: &DaemonPost) -> bool {
    post.state() == DaemonState::Running && !post.queue().sleeper_hint()
}
