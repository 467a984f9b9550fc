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
//! store, which know the folio by its number. Folios are moved whole, whatever their order. For those whose
//! owners have a say, see [`consent`](super::consent).

use arrayvec::ArrayVec;

use super::consent::{Consent, Say};
use super::policy::terms::MigrateMode;
use super::run::Compactor;
use crate::folio::{FolioId, Frames, Vacated};
use crate::node::lru::{ISOLATE_MAX, Isolated};
use crate::node::{Custodian, Node, identity};
use crate::sync::thread;
use crate::types::{Order, Pfn};
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
    /// There was no free block of this order to move a folio to.
    pub(super) out_of_targets: Option<Order>,
    /// Of these, those whose owners want them to stay; then the others were not tried.
    pub(super) refused: usize,
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
    /// Whether freed memory is filled with a pattern, and checked.
    pub(super) hardened: bool,
    /// Who is asked before they are moved.
    pub(super) consent: Consent<'a>,
}

/// Folios of one order, on their way: where each has come to, and what it has left.
struct Progress {
    moved: Batch,
    vacated: ArrayVec<Vacated, { 2 * ISOLATE_MAX }>,
}

/// Folios that are still isolated. Dropped, also by a panic, they go back.
struct InHand<'m> {
    mover: &'m Mover<'m>,
    node: &'m Node,
    batch: Batch,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.mover.put_back(self.node, &self.batch);
    }
}

impl Mover<'_> {
    /// Moves isolated folios out of a unit of the given order, to free blocks of `zone`. All of them are on
    /// their lists afterwards, where they were or where they are now, or have ended.
    pub(super) fn move_batch(
        &self,
        node: &Node,
        zone: &Zone,
        (mode, unit): (MigrateMode, Order),
        batch: Batch,
    ) -> Moves {
        let mut moves = Moves::default();
        let mut hand = InHand {
            mover: self,
            node,
            batch,
        };
        self.ask_owners(node, unit, &mut hand.batch, &mut moves);
        for pass in 0..PASSES {
            self.pass(node, zone, unit, &mut hand.batch, &mut moves);
            let is_last = pass + 1 == PASSES || mode == MigrateMode::Async;
            if hand.batch.is_empty() || moves.out_of_targets.is_some() || is_last {
                break;
            }
            if pass < FORCE_FROM {
                thread::yield_now();
            } else {
                thread::sleep(WAIT);
            }
        }
        moves.failed += hand.batch.len();
        drop(hand);
        let events = self.custodian.nodes.events();
        events.add(VmEvent::PgmigrateSuccess, moves.folios as u64);
        events.add(VmEvent::PgmigrateFail, moves.failed as u64);
        moves
    }

    /// Asks those who have a say in a folio's move; objects are moved by their owners there and then. If
    /// anybody refuses, the batch is put back: whoever it was for cannot have the unit.
    fn ask_owners(&self, node: &Node, unit: Order, batch: &mut Batch, moves: &mut Moves) {
        let Custodian { folios, .. } = self.custodian;
        let Consent { owners, may_ask } = self.consent;
        let mut objects = Batch::new();
        batch.retain(|one| {
            let say = self.consent.say(node, folios, one.folio, one.pfn);
            if let Say::Store(page) = say
                && moves.refused == 0
            {
                moves.refused += usize::from(!may_ask || !owners.may_move(page));
            }
            if say == Say::Owner {
                objects.push(*one);
            }
            say != Say::Owner
        });
        // Whoever moves them isolates them himself.
        self.put_back(node, &objects);
        for one in objects {
            if moves.refused > 0 {
                break;
            }
            if may_ask && owners.move_object(one.folio, unit) {
                moves.moved += one.order.pages();
                moves.folios += 1;
            } else {
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
                    moves.out_of_targets = Some(order);
                    again.push(one);
                    continue;
                };
                match self.move_one(node, one, frames, &mut progress, |_| true) {
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
            progress.vacated.extend(targets.into_iter().map(unused));
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
        let frames = taken.into_iter().map(|block| {
            let frames = Frames::new(node.arena(), block);
            if self.hardened {
                frames.assert_poison();
            }
            frames
        });
        let mut frames: ArrayVec<Frames<'n>, ISOLATE_MAX> = frames.collect();
        // The first one that was taken is used first: it fills the fullest pageblock.
        frames.reverse();
        frames
    }

    /// Moves one folio into `frames`; gives these back if it stays. Once they hold a copy of it, `adjust` says
    /// whether to go on.
    fn move_one<'n>(
        &self,
        node: &Node,
        one: Isolated,
        mut frames: Frames<'n>,
        progress: &mut Progress,
        adjust: impl FnOnce(&mut Frames<'n>) -> bool,
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
        if !copy(&one, &mut frames, || slot.word().is_stable()) || !adjust(&mut frames) {
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
        let vacated = Vacated::by_move(one.pfn, one.order, to);
        progress.vacated.push(vacated);
        progress.moved.push(Isolated { pfn: to, ..one });
        Ok(())
    }

    /// Moves an isolated folio out of a unit of the given order. Its owner has a hand in it: `adjust` is given
    /// the bytes at their new place, all of them, and says whether to use them. Returns whether it has moved;
    /// it is on a list either way, or has ended.
    fn move_with(
        &self,
        node: &Node,
        zone: &Zone,
        unit: Order,
        one: Isolated,
        adjust: &mut dyn FnMut(&mut [u8]) -> bool,
    ) -> bool {
        let mut progress = Progress {
            moved: Batch::new(),
            vacated: ArrayVec::new(),
        };
        let mut stayed = Batch::new();
        let slot = self.custodian.folios.slot(one.folio);
        // A copy that was written to meanwhile is not one to show.
        let adjust = |frames: &mut Frames<'_>| slot.is_stable() && adjust(frames.bytes_mut());
        match self.targets(node, zone, (one.order, unit), 1).pop() {
            None => stayed.push(one),
            Some(frames) => {
                if let Err((_, frames)) = self.move_one(node, one, frames, &mut progress, adjust) {
                    progress.vacated.push(unused(frames));
                    stayed.push(one);
                }
            }
        }
        self.settle(node, zone, &progress, &stayed);
        stayed.is_empty()
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

impl Compactor<'_> {
    /// Moves a folio that is an object out of a unit of the given order, for its owner's worker, who keeps it
    /// from ending. `adjust` is given the frame that it is in and its bytes at their new place, and says
    /// whether to use them; it does not unwind. Returns whether the folio has moved.
    pub(crate) fn move_object(
        &self,
        folio: FolioId,
        unit: Order,
        adjust: &mut dyn FnMut(Pfn, &mut [u8]) -> bool,
    ) -> bool {
        let Custodian { nodes, folios, .. } = self.custodian;
        let word = folios.slot(folio).word();
        debug_assert!(word.is_resident(), "it is locked in memory: {word:?}");
        let pfn = Pfn::from_raw(word.location());
        let node = nodes.node(pfn.node());
        let zone = node.zone_of(pfn).expect("D1: a frame has a zone");
        let Some(one) = node.isolate_folio(folios, folio, pfn) else {
            return false;
        };
        let mover = Mover {
            custodian: self.custodian,
            hardened: self.hardened,
            consent: Consent {
                owners: self.owners,
                may_ask: false,
            },
        };
        mover.move_with(node, zone, unit, one, &mut |bytes| adjust(pfn, bytes))
    }
}

/// Frames that nothing was moved to after all.
fn unused(frames: Frames<'_>) -> Vacated {
    let vacated = Vacated::new(frames.pfn(), frames.order());
    let _ = frames.into_taken();
    vacated
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
