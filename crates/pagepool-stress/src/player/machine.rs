//! Replays a kernel's trace of blocks as a machine would see it: movable blocks are folios, all others raw
//! pages; and after each allocation, one reference of a second trace, if there is one, is made to a folio.
//!
//! The second trace says which of its pages is read or written. Page `p` means folio `p` modulo the
//! number of live folios, in a table in which a new folio is appended and the last one fills the place
//! of one that goes: the same page is the same folio for as long as that lives.
//!
//! A request that is refused is counted, and makes no reference. The next ones do not wait until one is
//! granted again: in a pool that is too small each would wait in vain.
//!
//! Blocks that the trace splits stay raw, since folios cannot be split.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration, time::Instant};

use pagepool::{Folio, Gfp, Order};

use super::{Played, Player, Stage, Wish, access::Trust};
use crate::{
    content::{Depth, Held, Tag, check_bytes, fill_bytes},
    posts::Place,
    rng::nth,
    tally::{Tally, record},
    trace::{
        blocks::{Action, BlockTrace},
        references::{Access, ReferenceTrace},
    },
};

/// How long a raw request may wait; others may free memory meanwhile, and kswapd does.
const DEADLINE: Duration = Duration::from_millis(200);

/// Events between two looks at the clock: an event may have to read from the disk.
const EVENTS_PER_LOOK: u64 = 8;

/// How often an access is tried.
const ATTEMPTS: u32 = 3;

/// How long a folio is waited for that is about to be freed, while requests are refused.
const GLANCE: Duration = Duration::from_millis(20);

/// Both traces, and which allocations become folios.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) blocks: Arc<BlockTrace>,
    pub(crate) references: Option<ReferenceTrace>,
    /// By event: whether it allocates a folio.
    is_folio: Box<[bool]>,
}

impl Script {
    pub(crate) fn new(blocks: Arc<BlockTrace>, references: Option<ReferenceTrace>) -> Script {
        let is_folio = folios_of(&blocks);
        Script {
            blocks,
            references,
            is_folio,
        }
    }

    /// How many allocations are of folios.
    pub(crate) fn nr_folios(&self) -> u64 {
        self.is_folio.iter().filter(|is_folio| **is_folio).count() as u64
    }
}

/// Movable blocks, but for those that are split later.
fn folios_of(trace: &BlockTrace) -> Box<[bool]> {
    let mut is_folio = vec![false; trace.events.len()];
    let mut allocated_at = vec![0; trace.nr_slots];
    for (n, event) in trace.events.iter().enumerate() {
        match event.action {
            Action::Alloc { kind, .. } => {
                is_folio[n] = trace.kinds[usize::from(kind)].contains(Gfp::MOVABLE);
                allocated_at[event.slot as usize] = n;
            }
            Action::Split => {
                let slot = trace.splits[event.slot as usize].slot;
                is_folio[allocated_at[slot as usize]] = false;
            }
            Action::Free => {}
        }
    }
    is_folio.into()
}

enum Block {
    Raw(Held),
    Folio { folio: Folio, tag: Tag },
}

/// A replay of one copy of a script.
pub(crate) struct MachinePlayer {
    script: Arc<Script>,
    depth: Depth,
    seed: u64,
    round: u64,
    next: usize,
    next_reference: usize,
    nr_tags: u64,
    slots: Vec<Option<Block>>,
    live: Live,
    /// Whether the last request was refused.
    is_short: bool,
    tally: Tally,
}

impl MachinePlayer {
    pub(crate) fn new(script: Arc<Script>, depth: Depth, seed: u64) -> MachinePlayer {
        let nr_slots = script.blocks.nr_slots;
        let mut slots = Vec::with_capacity(nr_slots);
        slots.resize_with(nr_slots, || None);
        MachinePlayer {
            script,
            depth,
            seed,
            round: 0,
            next: 0,
            next_reference: 0,
            nr_tags: 0,
            slots,
            live: Live::new(nr_slots),
            is_short: false,
            tally: Tally::new(),
        }
    }

    fn step(&mut self, stage: &Stage) {
        let script = Arc::clone(&self.script);
        let event = script.blocks.events[self.next];
        match event.action {
            Action::Alloc { order, kind } => {
                stage.stand(Place::Allocating(event.slot));
                match script.is_folio[self.next] {
                    true => self.alloc_folio(stage, event.slot, order),
                    false => {
                        let gfp = script.blocks.kinds[usize::from(kind)];
                        self.alloc_raw(stage, event.slot, order, gfp);
                    }
                }
                if !self.is_short {
                    self.refer(stage, &script);
                }
            }
            Action::Free => self.free(stage, event.slot),
            Action::Split => self.split(&script, event.slot),
        }
        stage.step();
        self.next += 1;
    }

    fn tag(&mut self) -> Tag {
        self.nr_tags += 1;
        Tag::new(nth(self.seed, self.round), self.nr_tags)
    }

    fn alloc_raw(&mut self, stage: &Stage, slot: u32, order: Order, gfp: Gfp) {
        let wish = Wish {
            order,
            gfp,
            deadline: match self.is_short {
                true => Duration::ZERO,
                false => DEADLINE,
            },
            depth: self.depth,
        };
        let pages = self.tally.allocate(&stage.pool, wish);
        self.is_short = pages.is_none();
        if let Some(pages) = pages {
            let held = Held::fill(pages, self.tag(), self.depth);
            self.slots[slot as usize] = Some(Block::Raw(held));
        }
    }

    fn alloc_folio(&mut self, stage: &Stage, slot: u32, order: Order) {
        let begin = Instant::now();
        let gfp = match self.is_short {
            true => Gfp::USER_MOVABLE | Gfp::NORETRY,
            false => Gfp::USER_MOVABLE,
        };
        let folio = stage.pool.alloc_folio(order.bytes(), gfp);
        record(&mut self.tally.alloc_ns, begin);
        self.is_short = folio.is_err();
        let mut folio = match folio {
            Ok(folio) => folio,
            Err(error) => return self.tally.refused(error),
        };
        self.tally.ops += 1;
        self.tally.nr_allocs += 1;
        let (tag, depth) = (self.tag(), self.depth);
        let fill = |_: &mut Tally, bytes: &mut [u8]| fill_bytes(bytes, tag, depth);
        match self
            .tally
            .write_folio(&mut folio, ATTEMPTS, Trust::Sound, fill)
        {
            Ok(()) => {
                self.slots[slot as usize] = Some(Block::Folio { folio, tag });
                self.live.push(slot);
            }
            Err(_) => self.drop_folio(folio),
        }
    }

    /// Makes the next reference of the second trace, if there is a folio to refer to.
    fn refer(&mut self, stage: &Stage, script: &Script) {
        let Some(trace) = &script.references else {
            return;
        };
        let reference = trace.references[self.next_reference % trace.references.len()];
        self.next_reference += 1;
        let Some(slot) = self.live.nth(reference.key()) else {
            return;
        };
        let depth = self.depth;
        let next = self.tag();
        let Some(Block::Folio { folio, tag }) = &mut self.slots[slot as usize] else {
            unreachable!("live folios are in their slots");
        };
        let old = *tag;
        let tally = &mut self.tally;
        tally.ops += 1;
        match reference.access() {
            Access::Read => {
                stage.stand(Place::Reading(slot));
                // What cannot be read is counted, and read again when it is freed.
                let _ = tally.read_folio(folio, ATTEMPTS, Trust::Sound, |tally, bytes| {
                    tally.verified(check(bytes, old, depth));
                });
            }
            Access::Write => {
                stage.stand(Place::Writing(slot));
                let written = tally.write_folio(folio, ATTEMPTS, Trust::Sound, |tally, bytes| {
                    tally.verified(check(bytes, old, depth));
                    fill_bytes(bytes, next, depth);
                });
                if written.is_ok() {
                    *tag = next;
                }
            }
        }
    }

    fn free(&mut self, stage: &Stage, slot: u32) {
        match self.slots[slot as usize].take() {
            Some(Block::Raw(held)) => self.tally.check_and_free(held, self.depth),
            Some(Block::Folio { folio, tag }) => {
                stage.stand(Place::Freeing(slot));
                self.live.remove(slot);
                let depth = self.depth;
                let look = |tally: &mut Tally, bytes: &[u8]| {
                    tally.verified(check(bytes, tag, depth));
                };
                // What cannot be read is counted.
                let tally = &mut self.tally;
                let _ = match self.is_short {
                    true => tally.glance_at_folio(&folio, GLANCE, Trust::Sound, look),
                    false => tally.read_folio(&folio, ATTEMPTS, Trust::Sound, look),
                };
                self.drop_folio(folio);
            }
            None => self.tally.nr_skipped += 1,
        }
    }

    fn drop_folio(&mut self, folio: Folio) {
        let begin = Instant::now();
        drop(folio);
        record(&mut self.tally.free_ns, begin);
        self.tally.ops += 1;
        self.tally.nr_frees += 1;
    }

    fn split(&mut self, script: &Script, index: u32) {
        let split = &script.blocks.splits[index as usize];
        let Some(Block::Raw(held)) = self.slots[split.slot as usize].take() else {
            self.tally.nr_skipped += 1;
            return;
        };
        for (slot, part) in split.parts.iter().zip(held.split(split.order)) {
            self.slots[*slot as usize] = Some(Block::Raw(part));
        }
        self.tally.ops += 1;
        self.tally.nr_splits += 1;
    }
}

fn check(bytes: &[u8], tag: Tag, depth: Depth) -> Result<u64, String> {
    check_bytes(bytes, tag, depth)
        .map_err(|difference| format!("corruption: a folio's {difference}"))
}

impl Player for MachinePlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let nr_events = self.script.blocks.events.len();
        let mut left = events.min((nr_events - self.next) as u64);
        while left > 0 {
            let burst = left.min(EVENTS_PER_LOOK);
            (0..burst).for_each(|_| self.step(stage));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        match self.next == nr_events {
            true => Played::Finished,
            false => Played::Paused,
        }
    }

    fn release(&mut self, stage: &Stage) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some() {
                self.free(stage, slot as u32);
                stage.step();
            }
        }
    }

    fn rewind(&mut self) {
        self.next = 0;
        self.round += 1;
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The slots that hold folios, in a table without gaps.
struct Live {
    slots: Vec<u32>,
    /// Where each slot stands in the table, if it does.
    places: Vec<u32>,
}

impl Live {
    /// All of its memory is touched.
    fn new(nr_slots: usize) -> Live {
        let mut slots = vec![1; nr_slots];
        slots.clear();
        Live {
            slots,
            places: vec![u32::MAX; nr_slots],
        }
    }

    fn push(&mut self, slot: u32) {
        self.places[slot as usize] = self.slots.len() as u32;
        self.slots.push(slot);
    }

    fn remove(&mut self, slot: u32) {
        let place = self.places[slot as usize];
        self.slots.swap_remove(place as usize);
        if let Some(moved) = self.slots.get(place as usize) {
            self.places[*moved as usize] = place;
        }
    }

    /// The slot that stands for a page of the second trace.
    fn nth(&self, page: u32) -> Option<u32> {
        let len = self.slots.len();
        (len > 0).then(|| self.slots[page as usize % len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::shipped;

    #[test]
    fn the_last_live_folio_fills_the_gap() {
        let mut live = Live::new(8);
        (0..4).for_each(|slot| live.push(slot));
        live.remove(1);
        assert_eq!(
            [0, 1, 2, 3].map(|page| live.nth(page)),
            [Some(0), Some(3), Some(2), Some(0)]
        );
        live.remove(3);
        assert_eq!(live.nth(1), Some(2));
        live.remove(2);
        live.remove(0);
        assert_eq!(live.nth(0), None);
    }

    #[test]
    fn movable_blocks_become_folios_unless_they_are_split() {
        let script = Script::new(
            Arc::new(shipped::guest_a().unwrap()),
            Some(shipped::sqlite_pages().unwrap()),
        );
        assert_eq!(script.nr_folios(), 424_088 + 8);
    }
}
