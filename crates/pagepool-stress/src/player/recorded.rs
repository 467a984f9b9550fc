//! Plays a recording of a pool, on one thread, in the order in which it was recorded.
//!
//! What happened then may go otherwise now: a block that is refused now is passed over when it is freed; one that was
//! refused then is asked for again, and given back at once, since nobody holds it.
#![forbid(unsafe_code)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pagepool::{AccessError, AccessKind, Advice, Folio, Gfp, Order};

use super::{Played, Player, Stage, Wish, access::Trust, bag::empty_slots};
use crate::{
    content::{Depth, Held, Tag, check_bytes, fill_bytes},
    control::EVENTS_PER_LOOK,
    rng::nth,
    tally::{Tally, record},
    trace::recorded::{Script, Step},
};

/// How long a blocking request may wait: not at all, since nobody else frees memory meanwhile.
const DEADLINE: Duration = Duration::ZERO;

/// How often an access is tried: once, as it was recorded.
const ATTEMPTS: u32 = 1;

/// A folio, and what was written to it last; none are zeros.
struct Kept {
    folio: Folio,
    tag: Option<Tag>,
}

/// A replay of one recording.
pub(crate) struct RecordedPlayer {
    script: Arc<Script>,
    seed: u64,
    round: u64,
    next: usize,
    blocks: Vec<Option<Held>>,
    folios: Vec<Option<Kept>>,
    tally: Tally,
}

impl RecordedPlayer {
    pub(crate) fn new(script: Arc<Script>, seed: u64) -> RecordedPlayer {
        RecordedPlayer {
            blocks: empty_slots(script.nr_blocks),
            folios: empty_slots(script.nr_folios),
            script,
            seed,
            round: 0,
            next: 0,
            tally: Tally::new(),
        }
    }

    fn step(&mut self, stage: &Stage) {
        match self.script.steps[self.next] {
            Step::Alloc { slot, order, gfp } => self.alloc(stage, slot, order, gfp),
            Step::Try { order, gfp } => self.ask_again(stage, order, gfp),
            Step::Free { slot } => self.free(slot),
            Step::Split { slot, into, first } => self.split(slot, into, first as usize),
            Step::Open { slot, len } => self.open(stage, slot, len),
            Step::Close { slot } => self.close(slot),
            Step::Populate { slot } => self.on_folio(slot, populate),
            Step::Access { slot, kind } => self.access(slot, kind),
            Step::Discard { slot } => self.on_folio(slot, |_, kept| {
                kept.folio.discard()?;
                kept.tag = None;
                Ok(())
            }),
            Step::Lock { slot } => self.on_folio(slot, |_, kept| kept.folio.lock()),
            Step::Unlock { slot } => self.on_folio(slot, |_, kept| {
                kept.folio.unlock();
                Ok(())
            }),
            Step::Cool { slot } => {
                self.on_folio(slot, |_, kept| kept.folio.advise(Advice::Cold));
            }
        }
        self.next += 1;
    }

    /// A tag that nothing else has.
    fn tag(&self) -> Tag {
        Tag::new(nth(self.seed, self.round), self.next as u64)
    }

    fn wish(order: Order, gfp: Gfp) -> Wish {
        Wish {
            order,
            gfp,
            deadline: DEADLINE,
            depth: Depth::Edges,
        }
    }

    fn alloc(&mut self, stage: &Stage, slot: u32, order: Order, gfp: Gfp) {
        let wish = RecordedPlayer::wish(order, gfp);
        if let Some(pages) = self.tally.allocate(&stage.pool, wish) {
            self.blocks[slot as usize] = Some(Held::fill(pages, self.tag(), Depth::Edges));
        }
    }

    fn ask_again(&mut self, stage: &Stage, order: Order, gfp: Gfp) {
        let wish = RecordedPlayer::wish(order, gfp);
        if let Some(pages) = self.tally.allocate(&stage.pool, wish) {
            let held = Held::fill(pages, self.tag(), Depth::Edges);
            self.tally.check_and_free(held, Depth::Edges);
        }
    }

    fn free(&mut self, slot: u32) {
        match self.blocks[slot as usize].take() {
            Some(held) => self.tally.check_and_free(held, Depth::Edges),
            None => self.tally.nr_skipped += 1,
        }
    }

    fn split(&mut self, slot: u32, into: Order, first: usize) {
        let Some(held) = self.blocks[slot as usize].take() else {
            self.tally.nr_skipped += 1;
            return;
        };
        for (n, part) in held.split(into).enumerate() {
            self.blocks[self.script.parts[first + n] as usize] = Some(part);
        }
        self.tally.ops += 1;
        self.tally.nr_splits += 1;
    }

    fn open(&mut self, stage: &Stage, slot: u32, len: u32) {
        match stage.pool.blank_folio(len as usize) {
            Ok(folio) => {
                self.folios[slot as usize] = Some(Kept { folio, tag: None });
                self.tally.ops += 1;
                self.tally.nr_allocs += 1;
            }
            Err(error) => self.tally.refused(error),
        }
    }

    fn close(&mut self, slot: u32) {
        let Some(Kept { folio, .. }) = self.folios[slot as usize].take() else {
            self.tally.nr_skipped += 1;
            return;
        };
        let begin = Instant::now();
        drop(folio);
        record(&mut self.tally.free_ns, begin);
        self.tally.ops += 1;
        self.tally.nr_frees += 1;
    }

    /// Does something with a folio, if there is one.
    fn on_folio(
        &mut self,
        slot: u32,
        work: impl FnOnce(&mut Tally, &mut Kept) -> Result<(), AccessError>,
    ) {
        let Some(kept) = &mut self.folios[slot as usize] else {
            self.tally.nr_skipped += 1;
            return;
        };
        self.tally.ops += 1;
        if let Err(error) = work(&mut self.tally, kept) {
            self.tally.access_failed(error);
        }
    }

    fn access(&mut self, slot: u32, kind: AccessKind) {
        let next_tag = self.tag();
        let Some(kept) = &mut self.folios[slot as usize] else {
            self.tally.nr_skipped += 1;
            return;
        };
        self.tally.ops += 1;
        let Kept { folio, tag } = kept;
        let tally = &mut self.tally;
        // What goes wrong is counted there.
        let _ = match kind {
            AccessKind::Write => {
                let write = |_: &mut Tally, bytes: &mut [u8]| {
                    fill_bytes(bytes, next_tag, Depth::Edges);
                    *tag = Some(next_tag);
                };
                tally.write_folio(folio, ATTEMPTS, Trust::Sound, write)
            }
            _ => {
                let check = |tally: &mut Tally, bytes: &[u8]| match *tag {
                    Some(tag) => tally.verified(check_bytes(bytes, tag, Depth::Edges)),
                    None => tally.verified(check_blank(bytes)),
                };
                tally.read_folio(folio, ATTEMPTS, Trust::Sound, check)
            }
        };
    }
}

/// Brings a folio to memory before its first use.
fn populate(tally: &mut Tally, kept: &mut Kept) -> Result<(), AccessError> {
    let begin = Instant::now();
    let populated = kept.folio.advise(Advice::WillNeed);
    record(&mut tally.alloc_ns, begin);
    populated
}

/// Looks at both ends of a folio that nobody has written to; returns how many bytes that are.
fn check_blank(bytes: &[u8]) -> Result<u64, String> {
    let (first, last) = (bytes.first(), bytes.last());
    if first == Some(&0) && last == Some(&0) {
        return Ok(2);
    }
    Err(format!(
        "corruption: a folio that nobody wrote to begins with {first:?} and ends with {last:?}"
    ))
}

impl Player for RecordedPlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let mut left = events.min((self.script.steps.len() - self.next) as u64);
        while left > 0 {
            let burst = left.min(EVENTS_PER_LOOK);
            (0..burst).for_each(|_| self.step(stage));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        match self.next == self.script.steps.len() {
            true => Played::Finished,
            false => Played::Paused,
        }
    }

    fn release(&mut self, _stage: &Stage) {
        for slot in 0..self.blocks.len() as u32 {
            if self.blocks[slot as usize].is_some() {
                self.free(slot);
            }
        }
        for slot in 0..self.folios.len() as u32 {
            if self.folios[slot as usize].is_some() {
                self.close(slot);
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
