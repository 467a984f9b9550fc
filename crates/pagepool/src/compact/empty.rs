//! One unit emptied: set aside, looked over, moved out, released.
//!
//! *Kernel counterpart:* one turn of the loop of `compact_zone` (v5.0), with capture (spec 9.11).

use arrayvec::ArrayVec;

use super::migrate::{Batch, Mover, Moves};
use super::policy::terms::MigrateMode;
use super::survey::{self, Chunk, Sight};
use crate::folio::FolioId;
use crate::node::Node;
use crate::node::lru::ISOLATE_MAX;
use crate::types::{Order, Pfn, ZoneType};
use crate::zone::evacuate::{Release, Unit};
use crate::zone::hotplug::OfflineBlock;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::Mark;
use crate::zone::{Taken, Zone, ZoneRequest};

/// How often a chunk is gone through, since folios that were on their way to a list are there now.
const ROUNDS: usize = 3;

/// A block that is to be taken as soon as there is one, before anybody else can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What is asked of the zone.
    pub(crate) request: ZoneRequest,
    /// On whose behalf.
    pub(crate) class: ZoneType,
}

/// How a unit is to be emptied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The unit.
    pub(super) unit: Unit,
    /// The size of the free block that is wanted in it.
    pub(super) order: Order,
    /// How long to wait for those who hold a folio.
    pub(super) mode: MigrateMode,
    /// Whether all of the unit is to be emptied as far as that goes, once the block is there.
    pub(super) finish: bool,
    /// Whether folios that their owners have locked in memory may be moved.
    pub(super) unevictable: bool,
    /// The mark that holds meanwhile.
    pub(super) floor: Mark,
    /// The block to take, if somebody waits for it.
    pub(super) wanted: Option<&'a Wanted>,
}

impl Errand<'_> {
    /// Whether the rest is worth moving although something stays: what is wanted is smaller.
    fn finishes_anyway(&self) -> bool {
        self.finish && self.order < self.unit.order
    }
}

/// Why a unit was left before it was empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// The block is there.
    Done,
    /// Somebody else has it, or too little is free beside it.
    NotOurs,
    /// What stands at this frame cannot be moved.
    Obstructed(Pfn),
    /// A folio in it is pinned.
    Pinned(Pfn, FolioId),
    /// Somebody was in the way again and again.
    Busy,
    /// There is no free block of this order to move something to.
    NoTargets(Order),
    /// The mover is wanted elsewhere.
    Interrupted,
}

/// What came of a unit.
#[derive(Debug)]
pub(super) struct Emptied {
    /// How it ended.
    pub(super) left: Left,
    /// Frames looked at.
    pub(super) scanned: usize,
    /// Pages moved.
    pub(super) moved: usize,
    /// The block that somebody waits for.
    pub(super) captured: Option<Taken>,
}

/// A unit that is set aside; released when it is dropped.
struct Aside<'a> {
    mover: Mover<'a>,
    zone: &'a Zone,
    unit: Unit,
}

impl<'a> Aside<'a> {
    fn begin(mover: Mover<'a>, zone: &'a Zone, errand: Errand<'_>) -> Option<Aside<'a>> {
        let Errand { unit, floor, .. } = errand;
        let is_set = zone.set_aside(unit, floor);
        is_set.then_some(Aside { mover, zone, unit })
    }

    /// Releases the unit, and takes what somebody waits for.
    fn end(self, wanted: Option<&Wanted>) -> Option<Taken> {
        let Wanted { request, class } = *wanted?;
        let aside = std::mem::ManuallyDrop::new(self);
        let Release { captured, freed } = aside.zone.release_and_take(aside.unit, request, class);
        aside.mover.custodian.frames.see_to(aside.zone, freed);
        captured
    }

    /// Has a unit that nobody waits for backed by huge pages if it is empty, so that whoever gets it finds them there.
    fn back_hugely(&self) {
        if let Some(empty) = self.zone.hold_empty(self.unit) {
            self.mover.custodian.frames.back_hugely(&empty);
        }
    }

    /// Keeps the unit out of service, if nothing is left in it; else releases it.
    fn keep(self) -> Option<OfflineBlock> {
        let aside = std::mem::ManuallyDrop::new(self);
        match aside.zone.keep(aside.unit) {
            Ok(block) => Some(block),
            Err(freed) => {
                aside.mover.custodian.frames.see_to(aside.zone, freed);
                None
            }
        }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let freed = self.zone.release(self.unit);
        self.mover.custodian.frames.see_to(self.zone, freed);
    }
}

impl Emptied {
    /// Of a unit that somebody else has.
    fn nothing() -> Emptied {
        Emptied {
            left: Left::NotOurs,
            scanned: 0,
            moved: 0,
            captured: None,
        }
    }
}

impl Mover<'_> {
    /// Empties a unit, or a part of it that is as large as what is wanted.
    pub(super) fn empty(
        &self,
        node: &Node,
        zone: &Zone,
        errand: Errand<'_>,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Emptied {
        let mut emptied = Emptied::nothing();
        let Some(aside) = Aside::begin(*self, zone, errand) else {
            return emptied;
        };
        emptied.left = self.move_out(node, zone, errand, &mut emptied, is_interrupted);
        if emptied.left == Left::Done && errand.wanted.is_none() {
            aside.back_hugely();
        }
        // Taken in any case: what was freed for it may be enough.
        emptied.captured = aside.end(errand.wanted);
        emptied
    }

    /// Empties a pageblock and keeps it: nothing is put into it any more. Otherwise says why it was left.
    pub(super) fn take_out(
        &self,
        node: &Node,
        zone: &Zone,
        errand: Errand<'_>,
        is_interrupted: &dyn Fn() -> bool,
    ) -> (Emptied, Option<OfflineBlock>) {
        let mut emptied = Emptied::nothing();
        let Some(aside) = Aside::begin(*self, zone, errand) else {
            return (emptied, None);
        };
        emptied.left = self.move_out(node, zone, errand, &mut emptied, is_interrupted);
        let kept = aside.keep();
        (emptied, kept)
    }

    /// Finds the cheapest part, and moves out what is in it.
    fn move_out(
        &self,
        node: &Node,
        zone: &Zone,
        errand: Errand<'_>,
        emptied: &mut Emptied,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Left {
        let look = || survey::survey(self.sight(node), errand.unit, errand.order);
        let mut found = look();
        emptied.scanned += found.scanned;
        let may_drain = errand.mode != MigrateMode::Async;
        if found.chunk.is_none() && found.has_cached && may_drain {
            // What was cached before the unit was set aside may still be.
            zone.drain();
            found = look();
            emptied.scanned += found.scanned;
        }
        let Some(chunk) = found.chunk else {
            return match (found.fixed, found.pinned) {
                (Some(pfn), _) => Left::Obstructed(pfn),
                (None, Some((pfn, folio))) => Left::Pinned(pfn, folio),
                (None, None) => Left::Busy,
            };
        };
        let left = self.move_chunk(node, zone, errand, chunk, emptied, is_interrupted);
        if left == Left::Done && errand.finish && errand.order < errand.unit.order {
            let all = Chunk {
                pfn: errand.unit.pfn,
                order: errand.unit.order,
                occupied: 0,
            };
            // As far as it goes: the block that was wanted is there.
            let _ = self.move_chunk(node, zone, errand, all, emptied, is_interrupted);
        }
        left
    }

    fn move_chunk(
        &self,
        node: &Node,
        zone: &Zone,
        errand: Errand<'_>,
        chunk: Chunk,
        emptied: &mut Emptied,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Left {
        let mut from = Some(chunk.pfn);
        let mut rounds = ROUNDS;
        let mut unlisted = 0;
        while let Some(at) = from {
            if is_interrupted() {
                return Left::Interrupted;
            }
            let (batch, seen, next) = self.isolate(node, chunk, at, errand.unevictable);
            emptied.scanned += seen;
            unlisted += seen - batch.len();
            let moves = self.move_batch(node, zone, (errand.mode, errand.unit.order), batch);
            emptied.moved += moves.moved;
            if let Some(left) = give_up(moves, errand) {
                return left;
            }
            from = next;
            if from.is_none() && unlisted > 0 && rounds > 1 {
                // They may have been on their way to a list.
                node.drain_lru_all(self.custodian.folios);
                (from, rounds, unlisted) = (Some(chunk.pfn), rounds - 1, 0);
            }
        }
        let part = Unit {
            pfn: chunk.pfn,
            order: chunk.order,
        };
        if self.is_free(node, zone, part) {
            Left::Done
        } else {
            Left::Busy
        }
    }

    /// Takes folios of a chunk off their lists, from the frame `at` on. Returns them, how many were seen, and
    /// where to go on.
    fn isolate(
        &self,
        node: &Node,
        chunk: Chunk,
        at: Pfn,
        unevictable: bool,
    ) -> (Batch, usize, Option<Pfn>) {
        let mut frames = ArrayVec::<Pfn, ISOLATE_MAX>::new();
        let next = survey::folios_in(self.sight(node), chunk, at, |pfn| {
            frames.try_push(pfn).is_ok()
        });
        let mut batch = Batch::new();
        node.isolate_at(self.custodian.folios, &frames, unevictable, &mut batch);
        let pages: usize = batch.iter().map(|one| one.order.pages()).sum();
        let events = self.custodian.nodes.events();
        events.add(VmEvent::CompactIsolated, pages as u64);
        (batch, frames.len(), next)
    }

    fn sight<'s>(&'s self, node: &'s Node) -> Sight<'s> {
        Sight {
            node,
            folios: self.custodian.folios,
            consent: self.consent,
        }
    }

    /// Whether nothing stands in a part of a unit.
    fn is_free(&self, node: &Node, zone: &Zone, part: Unit) -> bool {
        let size = zone.block_order();
        if part.order >= size {
            return zone.free_pages_of(part) == part.order.pages();
        }
        let found = survey::survey(self.sight(node), part, part.order);
        found.chunk.is_some_and(|chunk| chunk.occupied == 0)
    }
}

/// Whether what came of a batch is reason to leave the unit.
fn give_up(moves: Moves, errand: Errand<'_>) -> Option<Left> {
    let no_targets = moves.out_of_targets.map(Left::NoTargets);
    if moves.refused > 0 {
        return Some(Left::Obstructed(errand.unit.pfn));
    }
    // One that stays is enough, for a part is free as a whole or not at all.
    let is_stuck = moves.failed > 0 && !errand.finishes_anyway();
    no_targets.or(is_stuck.then_some(Left::Busy))
}
