//! Replays references with a folio for each key, in a pool that has less memory than they need.
//!
//! The pool alone decides which folios stay in memory. The first reference to a key allocates its folio; a later one
//! is a hit if it finds the folio in memory. What a folio must hold follows from its key and from how often it was
//! written; a hit compares the first and last word of each page, a folio that came back is compared whole.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Instant};

use pagepool::{Folio, Gfp};

use super::{
    Played, Player, Stage,
    access::{ATTEMPTS, Trust},
    bag::empty_slots,
    cache::touched,
};
use crate::{
    content::{Depth, Tag, check_bytes, fill_bytes},
    posts::Place,
    rng::nth,
    tally::{Tally, record},
    trace::references::{Access, ReferenceTrace},
};

/// References between two looks at the clock.
const REFERENCES_PER_LOOK: u64 = 64;

/// A replay of one copy of a trace.
pub(crate) struct ResidencePlayer {
    trace: Arc<ReferenceTrace>,
    seed: u64,
    round: u64,
    next: usize,
    /// Folios by key.
    folios: Vec<Option<Folio>>,
    /// How often each key was written in this round.
    versions: Vec<u32>,
    tally: Tally,
}

impl ResidencePlayer {
    pub(crate) fn new(trace: Arc<ReferenceTrace>, seed: u64) -> ResidencePlayer {
        let nr_keys = trace.orders.len();
        ResidencePlayer {
            seed,
            round: 0,
            next: 0,
            folios: empty_slots(nr_keys),
            versions: touched(nr_keys),
            tally: Tally::new(),
            trace,
        }
    }

    fn refer(&mut self, stage: &Stage) {
        let reference = self.trace.references[self.next];
        self.next += 1;
        self.tally.ops += 1;
        let key = reference.key();
        match self.folios[key as usize].take() {
            None => {
                self.tally.nr_misses += 1;
                self.fetch(stage, key);
            }
            Some(mut folio) => {
                let nr_away = self.tally.nr_away;
                self.touch(stage, key, &mut folio, reference.access());
                match self.tally.nr_away == nr_away {
                    true => self.tally.nr_hits += 1,
                    false => self.tally.nr_misses += 1,
                }
                self.folios[key as usize] = Some(folio);
            }
        }
        stage.step();
    }

    /// Allocates a key's folio; one that is refused is asked for again at the next reference.
    fn fetch(&mut self, stage: &Stage, key: u32) {
        stage.stand(Place::Allocating(key));
        let len = self.trace.orders[key as usize].bytes();
        let begin = Instant::now();
        let folio = stage.pool.alloc_folio(len, Gfp::HIGHUSER_MOVABLE);
        record(&mut self.tally.alloc_ns, begin);
        let mut folio = match folio {
            Ok(folio) => folio,
            Err(error) => return self.tally.refused(error),
        };
        self.tally.nr_allocs += 1;
        let tag = self.tag(key);
        let fill = |_: &mut Tally, bytes: &mut [u8]| fill_bytes(bytes, tag, Depth::Full);
        let nr_away = self.tally.nr_away;
        let written = self
            .tally
            .write_folio(&mut folio, ATTEMPTS, Trust::Sound, fill);
        // The first reference is a miss already, even if reclaim was faster than it.
        self.tally.nr_away = nr_away;
        match written {
            Ok(()) => self.folios[key as usize] = Some(folio),
            Err(_) => self.free(folio),
        }
    }

    /// Reads or writes a folio, and verifies what it held.
    fn touch(&mut self, stage: &Stage, key: u32, folio: &mut Folio, access: Access) {
        let depth = match folio.is_resident() {
            true => Depth::Edges,
            false => Depth::Full,
        };
        let tag = self.tag(key);
        // An error is counted by its cause, and what the folio holds is as it was.
        match access {
            Access::Read => {
                stage.stand(Place::Reading(key));
                let read = |tally: &mut Tally, bytes: &[u8]| verify(tally, bytes, key, tag, depth);
                let _ = self.tally.read_folio(folio, ATTEMPTS, Trust::Sound, read);
            }
            Access::Write => {
                stage.stand(Place::Writing(key));
                self.versions[key as usize] = self.versions[key as usize].wrapping_add(1);
                let next = self.tag(key);
                let write = |tally: &mut Tally, bytes: &mut [u8]| {
                    verify(tally, bytes, key, tag, depth);
                    fill_bytes(bytes, next, Depth::Full);
                };
                let written = self.tally.write_folio(folio, ATTEMPTS, Trust::Sound, write);
                if written.is_err() {
                    self.versions[key as usize] = self.versions[key as usize].wrapping_sub(1);
                }
            }
        }
    }

    fn free(&mut self, folio: Folio) {
        let begin = Instant::now();
        drop(folio);
        record(&mut self.tally.free_ns, begin);
        self.tally.nr_frees += 1;
    }

    fn tag(&self, key: u32) -> Tag {
        let version = self.versions[key as usize];
        Tag::new(
            nth(self.seed, self.round),
            u64::from(key) << 32 | u64::from(version),
        )
    }
}

fn verify(tally: &mut Tally, bytes: &[u8], key: u32, tag: Tag, depth: Depth) {
    let verdict = check_bytes(bytes, tag, depth);
    tally.verified(verdict.map_err(|difference| format!("corruption: key {key}: {difference}")));
}

impl Player for ResidencePlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let mut left = events.min((self.trace.references.len() - self.next) as u64);
        while left > 0 {
            let burst = left.min(REFERENCES_PER_LOOK);
            (0..burst).for_each(|_| self.refer(stage));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        match self.next == self.trace.references.len() {
            true => Played::Finished,
            false => Played::Paused,
        }
    }

    /// Frees all folios. What is away was compared when it came back, or is of no interest to anybody any more.
    fn release(&mut self, stage: &Stage) {
        for key in 0..self.folios.len() as u32 {
            if let Some(folio) = self.folios[key as usize].take() {
                stage.stand(Place::Freeing(key));
                let tag = self.tag(key);
                if let Ok(bytes) = folio.try_read() {
                    verify(&mut self.tally, &bytes, key, tag, Depth::Full);
                }
                self.free(folio);
                stage.step();
            }
        }
    }

    fn rewind(&mut self) {
        self.next = 0;
        self.round += 1;
        self.versions.fill(0);
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
