//! Movable and unmovable memory that come and go side by side, and what large blocks there are meanwhile.
//!
//! Folios and raw blocks ([`turnover`](super::turnover) says which, and when) in one pool that stays about
//! as full. Now and then it is *looked at*: order-9 blocks are asked for, as many as half of what is free
//! above the high marks would make, and given back; and the pageblocks are counted that hold both kinds.
//!
//! Of each page the first and last word are written and compared; of the blocks that are asked for, the first
//! byte of each page is written, so that a block that somebody else has as well is found out.
#![forbid(unsafe_code)]

use std::{
    mem::MaybeUninit,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use pagepool::{AllocError, Gfp, Order, PAGE_SIZE, PagePool, PagesUninit};

use super::{
    Played, Player, Stage,
    kept::{Kept, birth_tag},
    live::Live,
    turnover::{Event, bands, folio_order, small_order},
};
use crate::{
    content::{Depth, Held},
    control::EVENTS_PER_LOOK,
    rng::Rng,
    tally::{Tally, latencies, record},
    units::wide,
};

/// Flags of the folios.
const FOLIO: Gfp = Gfp::USER_MOVABLE.union(Gfp::NORETRY);

/// Flags of the raw blocks: grouped apart from the folios.
const RAW: Gfp = Gfp::KERNEL.union(Gfp::NORETRY);

/// Flags of the large blocks: refused rather than waited for, but not before compaction was tried.
const LARGE: Gfp = Gfp::USER_MOVABLE.union(Gfp::NORETRY);

/// How much is looked at of each page.
const DEPTH: Depth = Depth::Edges;

/// One call in so many is timed.
const TIMED_ONE_IN: u64 = 16;

/// How many looks there is room for from the start.
const LOOKS: usize = 4096;

/// What is done wrong on purpose, to see that the figures show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// Raw blocks are asked for as movable ones: they lie among the folios, and cannot be moved.
    Ungrouped,
}

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Pages of the pool, or a few more.
    pub(crate) pages: usize,
    /// Of these, those that are held, as a share of 1.
    pub(crate) fill: f64,
    /// Of those, the ones that cannot be moved.
    pub(crate) unmovable: f64,
    /// After so many events it is over; without, when the time is up.
    pub(crate) events: Option<u64>,
    /// Events between two looks at the pool, and how long they may take.
    pub(crate) look: (u64, Duration),
    pub(crate) plant: Option<Plant>,
}

/// The order of the blocks that are asked for.
pub(crate) fn large() -> Order {
    Order::new(9).expect("in range")
}

/// A look at the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Point {
    /// Events before it.
    pub(crate) events: u64,
    /// Order-9 blocks that were asked for, and had.
    pub(crate) requests: u64,
    pub(crate) granted: u64,
    /// Pageblocks that hold both kinds.
    pub(crate) both_kinds: u64,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) events: u64,
    pub(crate) points: Vec<Point>,
    /// Folios, their pages, and pages of raw blocks, at the end.
    pub(crate) folios: u64,
    pub(crate) folio_pages: u64,
    pub(crate) raw_pages: u64,
    /// Latency of the order-9 requests that were granted.
    pub(crate) latencies: Histogram<u64>,
}

/// Findings, for the player and for those who report them.
#[derive(Clone, Debug)]
pub(crate) struct Notebook(Arc<Mutex<Findings>>);

impl Notebook {
    pub(crate) fn new() -> Notebook {
        Notebook(Arc::new(Mutex::new(Findings {
            events: 0,
            points: Vec::with_capacity(LOOKS),
            folios: 0,
            folio_pages: 0,
            raw_pages: 0,
            latencies: latencies(),
        })))
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Findings> {
        // A player that panics is reported; what it has found is looked at all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The player.
pub(crate) struct TwoKindsPlayer {
    load: Load,
    notebook: Notebook,
    seed: u64,
    rng: Rng,
    births: u32,
    events: u64,
    folios: Live<Kept>,
    raw: Live<Held>,
    is_filled: bool,
    large: Vec<PagesUninit>,
    looked: (u64, Instant),
    tally: Tally,
}

impl TwoKindsPlayer {
    pub(crate) fn new(load: Load, notebook: Notebook, seed: u64) -> TwoKindsPlayer {
        let [movable, unmovable] = bands(load.pages, load.fill, load.unmovable);
        TwoKindsPlayer {
            notebook,
            seed,
            rng: Rng::new(seed),
            births: 0,
            events: 0,
            folios: Live::new(movable),
            raw: Live::new(unmovable),
            is_filled: false,
            large: Vec::with_capacity(load.pages / large().pages()),
            looked: (0, Instant::now()),
            tally: Tally::new(),
            load,
        }
    }

    /// One allocation, or one free.
    fn event(&mut self, pool: &PagePool) {
        self.events += 1;
        if self.rng.draw(self.load.unmovable) {
            match self.raw.next(&mut self.rng) {
                Event::Comes => self.add_raw(pool),
                Event::Goes => self.free_raw(),
            }
        } else {
            match self.folios.next(&mut self.rng) {
                Event::Comes => self.add_folio(pool),
                Event::Goes => self.free_folio(),
            }
        }
    }

    fn add_folio(&mut self, pool: &PagePool) {
        let order = folio_order(&mut self.rng);
        let begin = self.begin();
        let folio = pool.alloc_folio(order.bytes(), FOLIO);
        if let Some(begin) = begin {
            record(&mut self.tally.alloc_ns, begin);
        }
        let Some(mut folio) = self.granted(folio) else {
            return;
        };
        let (seed, birth) = (self.seed, self.births);
        if self.tally.write_birth(&mut folio, seed, birth, DEPTH) {
            self.folios.add(order.pages(), Kept { folio, birth });
        }
    }

    fn add_raw(&mut self, pool: &PagePool) {
        let order = small_order(&mut self.rng);
        let gfp = match self.load.plant {
            Some(Plant::Ungrouped) => LARGE,
            None => RAW,
        };
        let begin = self.begin();
        let pages = pool.alloc_pages_uninit(order, gfp);
        if let Some(begin) = begin {
            record(&mut self.tally.alloc_ns, begin);
        }
        let Some(pages) = self.granted(pages) else {
            return;
        };
        let tag = birth_tag(self.seed, self.births);
        self.raw
            .add(order.pages(), Held::fill(pages.zeroed(), tag, DEPTH));
    }

    fn granted<T>(&mut self, answer: Result<T, AllocError>) -> Option<T> {
        match answer {
            Ok(granted) => {
                self.tally.ops += 1;
                self.tally.nr_allocs += 1;
                // Contents may repeat after some billions: long after those of the same number went.
                self.births = self.births.wrapping_add(1);
                Some(granted)
            }
            Err(error) => {
                self.tally.refused(error);
                None
            }
        }
    }

    fn free_folio(&mut self) {
        if let Some(kept) = self.folios.take_any(&mut self.rng) {
            self.folios.forget(kept.folio.order().pages());
            self.tally.verify_kept(self.seed, &kept, DEPTH);
            self.free(kept);
        }
    }

    fn free_raw(&mut self) {
        if let Some(held) = self.raw.take_any(&mut self.rng) {
            self.raw.forget(held.nr_pages());
            self.tally.verified(held.check(DEPTH));
            self.free(held);
        }
    }

    fn free<T>(&mut self, one: T) {
        let begin = self.begin();
        drop(one);
        if let Some(begin) = begin {
            record(&mut self.tally.free_ns, begin);
        }
        self.tally.ops += 1;
        self.tally.nr_frees += 1;
    }

    /// When a call begins that is timed.
    fn begin(&self) -> Option<Instant> {
        self.events.is_multiple_of(TIMED_ONE_IN).then(Instant::now)
    }

    /// Whether it is time to look at the pool: not before it has filled.
    fn is_look_due(&mut self) -> bool {
        self.is_filled |= self.folios.is_filled() && self.raw.is_filled();
        let (events, time) = self.load.look;
        let (then, when) = self.looked;
        self.is_filled && (self.events - then >= events || when.elapsed() >= time)
    }

    /// Asks for large blocks, gives them back, and counts the pageblocks that hold both kinds.
    fn look(&mut self, pool: &PagePool) {
        let mut point = Point {
            events: self.events,
            requests: fair_requests(pool),
            granted: 0,
            both_kinds: pool.mixed_pageblocks().iter().sum(),
        };
        for _ in 0..point.requests {
            let begin = Instant::now();
            match pool.alloc_pages_uninit(large(), LARGE) {
                Ok(block) => {
                    let ns = begin.elapsed().as_nanos() as u64;
                    self.notebook.open().latencies.saturating_record(ns);
                    self.large.push(block);
                }
                Err(error) => self.tally.refused(error),
            }
        }
        point.granted = wide(self.large.len());
        self.large.iter_mut().for_each(scribble);
        self.large.clear();
        self.notebook.open().points.push(point);
        self.looked = (self.events, Instant::now());
    }

    fn is_complete(&self) -> bool {
        self.load.events.is_some_and(|events| self.events >= events)
    }

    fn note_what_is_held(&self) {
        let mut findings = self.notebook.open();
        findings.events = self.events;
        findings.folios = wide(self.folios.len());
        findings.folio_pages = wide(self.folios.pages());
        findings.raw_pages = wide(self.raw.pages());
    }
}

impl Player for TwoKindsPlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let mut left = events;
        let mut is_over = false;
        while left > 0 && !is_over && !self.is_complete() {
            let batch = left.min(EVENTS_PER_LOOK);
            for _ in 0..batch {
                self.event(&stage.pool);
            }
            left -= batch;
            if self.is_look_due() {
                self.look(&stage.pool);
            }
            stage.step();
            is_over = stage.control.look(batch);
        }
        self.note_what_is_held();
        match (self.is_complete(), is_over) {
            (true, _) => Played::Finished,
            (false, true) => Played::Stopped,
            (false, false) => Played::Paused,
        }
    }

    fn release(&mut self, stage: &Stage) {
        while let Some(kept) = self.folios.pop() {
            self.folios.forget(kept.folio.order().pages());
            self.tally.free_kept(self.seed, kept, DEPTH);
            stage.step();
        }
        while let Some(held) = self.raw.pop() {
            self.raw.forget(held.nr_pages());
            self.tally.check_and_free(held, DEPTH);
            stage.step();
        }
    }

    fn rewind(&mut self) {
        self.events = 0;
        self.is_filled = false;
        self.looked = (0, Instant::now());
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// How many large blocks half of what is free above the high marks would make.
fn fair_requests(pool: &PagePool) -> u64 {
    let stats = pool.stats();
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    let high: usize = zones.map(|zone| zone.high).sum();
    let free = stats.free_pages + stats.cached_pages;
    wide(free.saturating_sub(high) / 2 / large().pages())
}

/// Writes to each page.
fn scribble(block: &mut PagesUninit) {
    for byte in block.iter_mut().step_by(PAGE_SIZE) {
        *byte = MaybeUninit::new(0xa5);
    }
}
