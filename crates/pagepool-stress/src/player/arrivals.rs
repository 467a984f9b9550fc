//! Requests that are due by a schedule, in a pool that is nearly full.
//!
//! Each request allocates a block, and what was allocated first is freed when more is held than there is to be. Since
//! more may be held than there is memory, kswapd has work to do all the time. Contents follow from the order of birth;
//! the first and last word of each page are written, compared when it goes and is in memory, and for all that is held
//! at the end.
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use pagepool::{Gfp, Order};

use super::{
    Played, Player, Stage,
    kept::{Kept, birth_tag},
};
use crate::{
    content::{Depth, Held, check_bytes},
    ledger::{Ledger, Served},
    order_mix::OrderMix,
    posts::Place,
    rng::Rng,
    schedule::Schedule,
    tally::{Tally, record},
};

/// How much is looked at of each page.
const DEPTH: Depth = Depth::Edges;

/// A thread that has less than that to wait does not sleep: the system would wake it later than that.
const SPIN: Duration = Duration::from_micros(150);

/// The longest sleep between two looks at whether it is over.
const NAP: Duration = Duration::from_millis(20);

/// What a player asks for.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) orders: OrderMix,
    /// Of the requests, those for raw blocks, as a share of 1; the others are for folios.
    pub(crate) raw_share: f64,
    /// Pages that the player holds.
    pub(crate) pages: usize,
}

/// What is held.
enum One {
    Raw(Held),
    Movable(Kept),
}

/// One thread's requests.
pub(crate) struct ArrivalPlayer {
    load: Load,
    schedule: Schedule,
    ledger: Ledger,
    seed: u64,
    rng: Rng,
    births: u32,
    /// In the order of their births; always something, so that the memory of an empty place is known.
    held: VecDeque<Option<One>>,
    held_pages: usize,
    is_filled: bool,
    tally: Tally,
}

/// When a request was begun, when it was answered, and whether it got its block.
struct Answer {
    begun: Instant,
    done: Instant,
    granted: bool,
}

impl ArrivalPlayer {
    pub(crate) fn new(load: Load, schedule: Schedule, ledger: Ledger, seed: u64) -> ArrivalPlayer {
        // One page each at the least; all of it is touched.
        let mut held: VecDeque<Option<One>> = (0..=load.pages).map(|_| None).collect();
        held.clear();
        ArrivalPlayer {
            schedule,
            ledger,
            seed,
            rng: Rng::new(seed),
            births: 0,
            held,
            held_pages: 0,
            is_filled: false,
            tally: Tally::new(),
            load,
        }
    }

    /// Holds as much as there is to be, or as the pool gives.
    fn fill(&mut self, stage: &Stage) -> Played {
        self.is_filled = true;
        while self.held_pages < self.load.pages {
            let order = self.load.orders.draw(&mut self.rng);
            if !self.request(stage, order).granted {
                break;
            }
            if stage.control.look(1) {
                return Played::Stopped;
            }
        }
        Played::Paused
    }

    /// Makes requests when they are due, until the time is up.
    fn keep_to_the_schedule(&mut self, stage: &Stage) -> Played {
        let begin = Instant::now();
        let ns = |at: Instant| at.saturating_duration_since(begin).as_nanos() as u64;
        let mut due = self.schedule.next_ns();
        while wait_until(begin + Duration::from_nanos(due), stage) {
            let order = self.load.orders.draw(&mut self.rng);
            stage.stand(Place::Allocating(self.births));
            let answer = self.request(stage, order);
            let served = Served {
                due,
                begun: ns(answer.begun),
                done: ns(answer.done),
            };
            self.ledger.served(order, served);
            self.make_room(stage);
            stage.control.look(1);
            due = self.schedule.next_ns();
        }
        let end = ns(Instant::now());
        while due < end {
            self.ledger.unbegun(end - due);
            due = self.schedule.next_ns();
        }
        self.ledger.close(end);
        Played::Stopped
    }

    /// Asks for a block, and keeps it if it is granted.
    fn request(&mut self, stage: &Stage, order: Order) -> Answer {
        let answer = match self.rng.draw(self.load.raw_share) {
            true => self.ask_for_raw(stage, order),
            false => self.ask_for_folio(stage, order),
        };
        self.births += 1;
        self.tally.ops += 1;
        if answer.granted {
            self.tally.nr_allocs += 1;
            self.held_pages += order.pages();
        }
        stage.step();
        answer
    }

    fn ask_for_raw(&mut self, stage: &Stage, order: Order) -> Answer {
        let request = stage.pool.request(order, Gfp::KERNEL);
        let begun = Instant::now();
        let pages = request.alloc_uninit();
        let answer = self.answered(begun, pages.is_ok());
        match pages {
            Ok(pages) => {
                let tag = birth_tag(self.seed, self.births);
                let held = Held::fill(pages.zeroed(), tag, DEPTH);
                self.held.push_back(Some(One::Raw(held)));
            }
            Err(error) => self.tally.refused(error),
        }
        answer
    }

    fn ask_for_folio(&mut self, stage: &Stage, order: Order) -> Answer {
        let begun = Instant::now();
        let folio = stage.pool.alloc_folio(order.bytes(), Gfp::USER_MOVABLE);
        let answer = self.answered(begun, folio.is_ok());
        match folio {
            Ok(mut folio) => {
                let birth = self.births;
                self.tally.write_birth(&mut folio, self.seed, birth, DEPTH);
                let kept = Kept { folio, birth };
                self.held.push_back(Some(One::Movable(kept)));
            }
            Err(error) => self.tally.refused(error),
        }
        answer
    }

    fn answered(&mut self, begun: Instant, granted: bool) -> Answer {
        let done = Instant::now();
        let ns = (done - begun).as_nanos() as u64;
        self.tally.alloc_ns.saturating_record(ns);
        Answer {
            begun,
            done,
            granted,
        }
    }

    /// Frees what was allocated first, until no more is held than there is to be.
    fn make_room(&mut self, stage: &Stage) {
        while self.held_pages > self.load.pages
            && let Some(one) = self.take_first()
        {
            stage.stand(Place::Freeing(self.births));
            match one {
                One::Raw(held) => self.tally.check_and_free(held, DEPTH),
                One::Movable(kept) => self.free_unread(kept),
            }
            stage.step();
        }
    }

    fn take_first(&mut self) -> Option<One> {
        let one = self.held.pop_front()??;
        self.held_pages -= match &one {
            One::Raw(held) => held.nr_pages(),
            One::Movable(kept) => kept.folio.order().pages(),
        };
        Some(one)
    }

    /// Frees a folio; one that is away goes without being read, which would take time from the next requests.
    fn free_unread(&mut self, kept: Kept) {
        if let Ok(bytes) = kept.folio.try_read() {
            let tag = birth_tag(self.seed, kept.birth);
            let verdict = check_bytes(&bytes, tag, DEPTH);
            self.tally.verified(
                verdict.map_err(|difference| {
                    format!("corruption: folio {}: {difference}", kept.birth)
                }),
            );
        }
        let begin = Instant::now();
        drop(kept);
        record(&mut self.tally.free_ns, begin);
        self.tally.ops += 1;
        self.tally.nr_frees += 1;
    }
}

/// Waits until `at`; false if it is over before.
fn wait_until(at: Instant, stage: &Stage) -> bool {
    let mut rest = at.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        return !stage.control.is_over();
    }
    stage.stand(Place::Resting);
    while !rest.is_zero() {
        if stage.control.is_over() {
            return false;
        }
        match rest.checked_sub(SPIN) {
            Some(sleep) if !sleep.is_zero() => thread::sleep(sleep.min(NAP)),
            // Daemons may need this CPU.
            _ => thread::yield_now(),
        }
        rest = at.saturating_duration_since(Instant::now());
    }
    true
}

impl Player for ArrivalPlayer {
    /// The first call fills the pool, the second one keeps to the schedule until the time is up.
    fn play(&mut self, stage: &Stage, _events: u64) -> Played {
        match self.is_filled {
            false => self.fill(stage),
            true => self.keep_to_the_schedule(stage),
        }
    }

    fn release(&mut self, stage: &Stage) {
        while let Some(one) = self.take_first() {
            stage.stand(Place::Freeing(self.births));
            match one {
                One::Raw(held) => self.tally.check_and_free(held, DEPTH),
                One::Movable(kept) => self.tally.free_kept(self.seed, kept, DEPTH),
            }
            stage.step();
        }
    }

    /// The schedule has no end, so that there is one round.
    fn rewind(&mut self) {}

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
