//! Folios that are moved from one frame to another while their owners go on reading.
//!
//! *Kernel counterpart:* `migrate_pages`, `unmap_and_move`, `move_to_new_page` (`mm/migrate.c`, v5.0).
//! There a page is unmapped first, whoever touches it meanwhile waits, and the page cannot be moved while
//! anybody refers to it. Here a folio's place is in its word, so that a move is a copy and one
//! compare-exchange:
//!
//! ```text
//! mover                                    anybody
//! ─────                                    ───────
//! isolates the folio: nobody else moves it
//! STABLE in the word                       a reader comes and goes
//! copies the bytes
//! the new frame knows its folio
//! the word names the new frame, if         a writer takes STABLE off as it comes, and the move
//!   STABLE still stands, nobody holds        comes to nothing
//!   the folio, and its owner has not
//!   dropped it
//! frees the old frame
//! ```
//!
//! Nobody waits for a move, and a mover that is preempted is in nobody's way. Dirty folios are moved as
//! others are, since the mark is the folio's and not the frame's; so are those with a copy in swap or in a
//! store, which know the folio by its number. Folios are moved whole, whatever their order.

use arrayvec::ArrayVec;

use super::consent::{Consent, Say};
use super::policy::terms::MigrateMode;
use crate::folio::{Frames, Vacated};
use crate::node::lru::{ISOLATE_MAX, Isolated};
use crate::node::{Custodian, Node, identity};
use crate::sync::thread;
use crate::types::Order;
use crate::zone::Zone;
use crate::zone::vmstat::VmEvent;

/// How often a batch is gone through as long as somebody was in the way (kernel: 10).
const PASSES: usize = 10;

/// From this pass on a mover that may wait does so (kernel: `pass > 2`).
const FORCE_FROM: usize = 3;

/// How long it waits for whoever holds a folio: a guard is held for microseconds, or for long.
const WAIT: std::time::Duration = std::time::Duration::from_micros(50);

/// Bytes that are copied between two looks at whether the copy is still worth it.
const CHUNK: usize = 64 << 10;

/// Isolated folios that are to be moved, or could not be.
pub(super) type Batch = ArrayVec<Isolated, ISOLATE_MAX>;

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Moves {
    /// Pages moved.
    pub(super) moved: usize,
    /// Folios moved.
    pub(super) folios: usize,
    /// Folios that stayed where they were.
    pub(super) failed: usize,
    /// Of these, those that are pinned.
    pub(super) pinned: usize,
    /// Of these, those whose owners want them to stay; then the others were not tried.
    pub(super) refused: usize,
    /// There was no free block to move a folio to.
    pub(super) out_of_targets: bool,
}

/// Why a folio stayed where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stay {
    /// Somebody reads or writes it, or has written to it meanwhile.
    Again,
    /// It is pinned.
    Pinned,
    /// Its owner has dropped it.
    Gone,
}

/// Moves folios within a zone.
#[derive(Clone, Copy)]
pub(crate) struct Mover<'a> {
    /// Where folios are, and where frames go.
    pub(super) custodian: Custodian<'a>,
    /// Who is asked before they are moved.
    pub(super) consent: Consent<'a>,
}

/// Folios of one order, on their way: where each has come to, and what it has left.
struct Progress {
    moved: Batch,
    vacated: ArrayVec<Vacated, { 2 * ISOLATE_MAX }>,
}

impl Mover<'_> {
    /// Moves isolated folios out of a unit of the given order, to free blocks of `zone`. All of them are on their lists afterwards, where
    /// they were or where they are now, or have ended.
    pub(super) fn move_batch(
        &self,
        node: &Node,
        zone: &Zone,
        (mode, unit): (MigrateMode, Order),
        mut batch: Batch,
    ) -> Moves {
        let mut moves = Moves::default();
        self.ask_owners(node, &mut batch, &mut moves);
        for pass in 0..PASSES {
            self.pass(node, zone, unit, &mut batch, &mut moves);
            if batch.is_empty() || moves.out_of_targets || mode == MigrateMode::Async {
                break;
            }
            if pass < FORCE_FROM {
                thread::yield_now();
            } else {
                thread::sleep(WAIT);
            }
        }
        moves.failed += batch.len();
        self.put_back(node, &batch);
        let events = self.custodian.nodes.events();
        events.add(VmEvent::PgmigrateSuccess, moves.folios as u64);
        events.add(VmEvent::PgmigrateFail, moves.failed as u64);
        moves
    }

    /// Asks those who have a say in a folio's move. If anybody refuses, the batch is put back: whoever it was
    /// for cannot have the unit.
    fn ask_owners(&self, node: &Node, batch: &mut Batch, moves: &mut Moves) {
        let folios = self.custodian.folios;
        for one in batch.iter() {
            let say = self.consent.say(node, folios, one.folio, one.pfn);
            if say != Say::Nobody && moves.refused == 0 && !self.consent.has(say) {
                moves.refused += 1;
            }
        }
        if moves.refused > 0 {
            moves.failed += moves.refused;
            self.put_back(node, batch);
            batch.clear();
        }
    }

    /// Tries to move each folio of the batch once; those to be tried again stay in it.
    fn pass(&self, node: &Node, zone: &Zone, unit: Order, batch: &mut Batch, moves: &mut Moves) {
        let mut again = Batch::new();
        while let Some(order) = batch.first().map(|one| one.order) {
            let alike = batch.iter().filter(|one| one.order == order).count();
            let mut targets = self.targets(node, zone, (order, unit), alike);
            let mut progress = Progress {
                moved: Batch::new(),
                vacated: ArrayVec::new(),
            };
            let mut stayed = Batch::new();
            let mut others = Batch::new();
            for one in batch.drain(..) {
                if one.order != order {
                    others.push(one);
                    continue;
                }
                let Some(frames) = targets.pop() else {
                    moves.out_of_targets = true;
                    again.push(one);
                    continue;
                };
                match self.move_one(node, one, frames, &mut progress) {
                    Ok(()) => {
                        moves.moved += order.pages();
                        moves.folios += 1;
                    }
                    Err((Stay::Again, frames)) => {
                        targets.push(frames);
                        again.push(one);
                    }
                    Err((Stay::Pinned, frames)) => {
                        targets.push(frames);
                        moves.pinned += 1;
                        moves.failed += 1;
                        stayed.push(one);
                    }
                    Err((Stay::Gone, frames)) => {
                        targets.push(frames);
                        stayed.push(one);
                    }
                }
            }
            *batch = others;
            let unused = targets.into_iter().map(|frames| {
                let vacated = Vacated::new(frames.pfn(), frames.order());
                let _ = frames.into_taken();
                vacated
            });
            progress.vacated.extend(unused);
            self.settle(node, zone, &progress, &stayed);
        }
        *batch = again;
    }

    /// Free blocks of an order, to move folios to that are in a unit of another.
    fn targets<'n>(
        &self,
        node: &'n Node,
        zone: &Zone,
        (order, unit): (Order, Order),
        count: usize,
    ) -> ArrayVec<Frames<'n>, ISOLATE_MAX> {
        let mut taken = ArrayVec::<_, ISOLATE_MAX>::new();
        zone.take_targets(order, unit, count, &mut |block| taken.push(block));
        let frames = taken
            .into_iter()
            .map(|block| Frames::new(node.arena(), block));
        let mut frames: ArrayVec<Frames<'n>, ISOLATE_MAX> = frames.collect();
        // The first one that was taken is used first: it fills the fullest pageblock.
        frames.reverse();
        frames
    }

    /// Moves one folio into `frames`; gives these back if it stays.
    fn move_one<'n>(
        &self,
        node: &Node,
        one: Isolated,
        mut frames: Frames<'n>,
        progress: &mut Progress,
    ) -> Result<(), (Stay, Frames<'n>)> {
        let slot = self.custodian.folios.slot(one.folio);
        let why = || {
            let word = slot.word();
            match word {
                _ if word.is_dead() => Stay::Gone,
                _ if word.pins() > 0 => Stay::Pinned,
                _ => Stay::Again,
            }
        };
        if !slot.begin_copy() {
            return Err((why(), frames));
        }
        if !copy(&one, &mut frames, || slot.word().is_stable()) {
            slot.end_copy();
            return Err((why(), frames));
        }
        let to = frames.pfn();
        node.begin_move(&one, to);
        if !slot.relocate(to.get()) {
            node.abort_move(&one, to);
            slot.end_copy();
            return Err((why(), frames));
        }
        let _published = frames.into_taken();
        node.forget_isolated(&one);
        progress.vacated.push(Vacated::new(one.pfn, one.order));
        progress.moved.push(Isolated { pfn: to, ..one });
        Ok(())
    }

    /// Lists what has moved and what stayed, and frees what was left.
    fn settle(&self, node: &Node, zone: &Zone, progress: &Progress, stayed: &[Isolated]) {
        node.list_moved(self.custodian.folios, &progress.moved);
        self.put_back(node, stayed);
        if !progress.vacated.is_empty() {
            self.custodian.frames.free_vacated(zone, &progress.vacated);
        }
    }

    /// Puts isolated folios back, and ends those that were dropped meanwhile.
    pub(super) fn put_back(&self, node: &Node, batch: &[Isolated]) {
        if batch.is_empty() {
            return;
        }
        node.put_back_on_lru(self.custodian.folios, batch, |ended| {
            identity::note_freed(ended.order.pages());
            self.custodian.end_isolated(ended);
        });
    }
}

/// Copies a folio into frames, as long as `is_stable` says that it is worth it; returns whether all of it
/// was.
fn copy(one: &Isolated, frames: &mut Frames<'_>, is_stable: impl Fn() -> bool) -> bool {
    let bytes = one.order.bytes();
    let mut offset = 0;
    while offset < bytes {
        if offset > 0 && !is_stable() {
            return false;
        }
        let len = CHUNK.min(bytes - offset);
        frames.copy_racing(one.pfn, offset, len);
        offset += len;
    }
    true
}
