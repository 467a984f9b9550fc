//! Breaks the pool's free memory into pieces, and takes what large blocks there are all the same.
//!
//! ```text
//! fill    folios until the pool refuses; or folios of many sizes come and go, in a full pool
//! thin    of each pageblock's folios all but a share are freed, at random; daemons stand still
//! settle  daemons may do what they see fit
//! take    blocks of one order until the pool refuses, once for each order; then they are given back
//! ```
//!
//! Each call to play is one of these. What is kept is verified when it is freed at the end, all bytes of
//! it, after all moves.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use pagepool::{AllocError, Folio, Gfp, Order, PAGE_SIZE, PagePool};

use super::{
    Played, Player, Stage,
    access::{ATTEMPTS, Trust},
    bag::Bag,
    kept::{Kept, birth_tag},
};
use crate::{
    content::{Depth, Held},
    control::EVENTS_PER_LOOK,
    report::{BlockLatency, Taking},
    rng::Rng,
    tally::{Tally, latencies, record},
    threads::{Account, Accounts},
    units::wide,
};

/// Flags of what fills the pool. Obstacles have them, too: raw pages among the folios, where those that
/// are asked for as unmovable would be kept apart from them.
const FILL: Gfp = Gfp::USER_MOVABLE.union(Gfp::NORETRY);

/// Flags of the large blocks: refused rather than waited for, but not before compaction was tried.
const TAKE: Gfp = Gfp::USER_MOVABLE.union(Gfp::NORETRY);

/// Folios of the churn are at most as large as a pageblock.
const LARGEST_CHURNED: u8 = 9;

/// How long daemons may take until they stand still.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);

/// How often the one that waits looks whether it should.
const NAP: Duration = Duration::from_millis(20);

/// What the free memory looks like before it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// Single pages, of which a share is kept.
    Checkerboard,
    /// Folios of orders 0 to 9 that come and go, of which a share is kept.
    Churn,
}

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) pattern: Pattern,
    /// Pages of the pool, or a few more.
    pub(crate) pages: usize,
    /// Of each pageblock's folios, those that are kept, as a share of 1.
    pub(crate) keep: f64,
    /// Of the pages that fill the pool, those that cannot be moved.
    pub(crate) unmovable: f64,
    /// How long folios come and go.
    pub(crate) churn: Duration,
    pub(crate) settle: Duration,
    /// Which blocks are taken, in turn.
    pub(crate) orders: Vec<Order>,
}

/// What a call to play does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Fill,
    Thin,
    Settle,
    Take(Order),
}

impl Load {
    /// What call number `n` does, from 0.
    pub(crate) fn step(&self, n: usize) -> Option<Step> {
        match n {
            0 => Some(Step::Fill),
            1 => Some(Step::Thin),
            2 => Some(Step::Settle),
            n => self.orders.get(n - 3).copied().map(Step::Take),
        }
    }
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Folios that were kept, and their pages.
    pub(crate) kept: (u64, u64),
    /// Pages that cannot be moved.
    pub(crate) unmovable: u64,
    /// What the pool's threads did in the second half of the time to settle, and how long that was.
    pub(crate) settled: Option<(Vec<Account>, Duration)>,
    pub(crate) takings: Vec<Taking>,
}

/// Findings, for the player and for those who report them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notebook(Arc<Mutex<Findings>>);

impl Notebook {
    pub(crate) fn open(&self) -> MutexGuard<'_, Findings> {
        // A player that panics is reported; what it has found is looked at all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The player.
pub(crate) struct FragmentPlayer {
    load: Load,
    notebook: Notebook,
    next: usize,
    seed: u64,
    rng: Rng,
    births: u32,
    folios: Bag<Kept>,
    obstacles: Bag,
    taken: Bag,
    latencies: Histogram<u64>,
    tally: Tally,
}

impl FragmentPlayer {
    /// All of its memory is touched here.
    pub(crate) fn new(load: Load, notebook: Notebook, seed: u64) -> FragmentPlayer {
        let smallest = load.orders.iter().min().map_or(1, |order| order.pages());
        let obstacles = (load.pages as f64 * load.unmovable).ceil() as usize;
        FragmentPlayer {
            notebook,
            next: 0,
            seed,
            rng: Rng::new(seed),
            births: 0,
            folios: Bag::new(load.pages),
            obstacles: Bag::new(obstacles),
            taken: Bag::new(load.pages / smallest),
            latencies: latencies(),
            tally: Tally::new(),
            load,
        }
    }

    fn perform(&mut self, step: Step, stage: &Stage) {
        match step {
            Step::Fill => match self.load.pattern {
                Pattern::Checkerboard => while self.add(stage, Order::ZERO) {},
                Pattern::Churn => self.churn(stage),
            },
            Step::Thin => self.thin(stage),
            Step::Settle => self.settle(stage),
            Step::Take(order) => self.take(stage, order),
        }
    }

    /// Adds a folio, or once in a while an obstacle; false if there is no room, or no time.
    fn add(&mut self, stage: &Stage, order: Order) -> bool {
        let is_obstacle = self.obstacles.room() > 0 && self.rng.draw(self.load.unmovable);
        let is_added = match is_obstacle {
            true => self.add_obstacle(stage),
            false => self.add_folio(stage, order),
        };
        is_added && !stage.control.look(1)
    }

    fn add_folio(&mut self, stage: &Stage, order: Order) -> bool {
        if self.folios.room() == 0 {
            return false;
        }
        let begin = Instant::now();
        let folio = stage.pool.alloc_folio(order.bytes(), FILL);
        record(&mut self.tally.alloc_ns, begin);
        let Some(mut folio) = self.granted(folio) else {
            return false;
        };
        self.births += 1;
        let written = self
            .tally
            .write_birth(&mut folio, self.seed, self.births, Depth::Full);
        if written {
            self.folios.push(Kept {
                folio,
                birth: self.births,
            });
        }
        written
    }

    fn add_obstacle(&mut self, stage: &Stage) -> bool {
        let begin = Instant::now();
        let pages = stage.pool.alloc_pages_uninit(Order::ZERO, FILL);
        record(&mut self.tally.alloc_ns, begin);
        let Some(pages) = self.granted(pages) else {
            return false;
        };
        self.births += 1;
        let tag = birth_tag(self.seed, self.births);
        self.obstacles
            .push(Held::fill(pages.zeroed(), tag, Depth::Full));
        true
    }

    fn granted<T>(&mut self, answer: Result<T, AllocError>) -> Option<T> {
        match answer {
            Ok(granted) => {
                self.tally.ops += 1;
                self.tally.nr_allocs += 1;
                Some(granted)
            }
            Err(error) => {
                self.tally.refused(error);
                None
            }
        }
    }

    /// Fills the pool with folios of many sizes; then, as long as there is time, frees some and makes others.
    fn churn(&mut self, stage: &Stage) {
        let begin = Instant::now();
        while begin.elapsed() < self.load.churn && !stage.control.is_over() {
            let order = self.any_order();
            if self.add(stage, order) {
                continue;
            }
            // Two for one: pieces are left between those that stay.
            for _ in 0..2 {
                if let Some(kept) = self.folios.take_any(&mut self.rng) {
                    self.tally.free_kept(self.seed, kept, Depth::Edges);
                }
            }
        }
    }

    /// Half of the folios are single pages, a quarter twice as large, and so on.
    fn any_order(&mut self) -> Order {
        let order = self.rng.next().trailing_ones() as u8;
        Order::new(order.min(LARGEST_CHURNED)).expect("in range")
    }

    /// Frees all but a share of each pageblock's folios.
    fn thin(&mut self, stage: &Stage) {
        // What is free is looked at next, so nobody should do anything about it yet.
        let _ = stage.pool.freeze(FREEZE_PATIENCE);
        let shift = pageblock_shift(&stage.pool);
        let FragmentPlayer {
            folios, tally, rng, ..
        } = self;
        let mut quotas = BTreeMap::<usize, Quota>::new();
        for kept in folios.iter() {
            let pageblock = address(tally, &kept.folio) >> shift;
            quotas.entry(pageblock).or_default().folios += 1;
        }
        for quota in quotas.values_mut() {
            quota.keep = (quota.folios as f64 * self.load.keep).round() as usize;
        }
        let (mut steps, seed) = (0, self.seed);
        folios.retain(|kept| {
            steps += 1;
            if steps % EVENTS_PER_LOOK == 0 {
                stage.control.look(EVENTS_PER_LOOK);
            }
            let pageblock = address(tally, &kept.folio) >> shift;
            let keeps = quotas.entry(pageblock).or_default().draw(rng);
            if !keeps {
                tally.verify_kept(seed, kept, Depth::Edges);
                tally.ops += 1;
                tally.nr_frees += 1;
            }
            keeps
        });
        stage.pool.drain();
        let mut findings = self.notebook.open();
        findings.kept = (wide(self.folios.len()), self.kept_pages());
        findings.unmovable = wide(self.obstacles.len());
    }

    /// Pages of the folios that are kept.
    fn kept_pages(&self) -> u64 {
        let folios = self.folios.iter();
        folios.map(|kept| wide(kept.folio.order().pages())).sum()
    }

    /// Waits, and looks at what the pool's threads do in the second half.
    fn settle(&mut self, stage: &Stage) {
        stage.pool.thaw();
        let half = self.load.settle / 2;
        wait(stage, half);
        let (before, begin) = (Accounts::take(), Instant::now());
        wait(stage, half);
        if let (Ok(before), Ok(after)) = (before, Accounts::take()) {
            self.notebook.open().settled = Some((after.since(&before), begin.elapsed()));
        }
    }

    /// Takes blocks until one is refused, and gives them back.
    fn take(&mut self, stage: &Stage, order: Order) {
        let pool = &stage.pool;
        pool.drain();
        let held = self.kept_pages() + wide(self.obstacles.len());
        let mut taking = Taking::begin(order, held, &pool.stats());
        self.latencies.reset();
        while self.taken.room() > 0 && !stage.control.look(1) {
            let begin = Instant::now();
            let pages = pool.alloc_pages_uninit(order, TAKE);
            let ns = begin.elapsed().as_nanos() as u64;
            self.tally.alloc_ns.saturating_record(ns);
            let pages = match pages {
                Ok(pages) => pages.zeroed(),
                Err(error) => {
                    taking.refused(error, ns);
                    self.tally.refused(error);
                    break;
                }
            };
            self.latencies.saturating_record(ns);
            self.tally.arrived(&pages, order, Depth::Full);
            self.births += 1;
            let tag = birth_tag(self.seed, self.births);
            self.taken.push(Held::fill(pages, tag, Depth::Edges));
        }
        let latency = BlockLatency::of(&self.latencies);
        taking.end(wide(self.taken.len()), latency, &pool.stats());
        if let Some(too_many) = taking.is_impossible() {
            self.tally.violations.add(too_many);
        }
        self.notebook.open().takings.push(taking);
        while let Some(held) = self.taken.pop() {
            self.tally.check_and_free(held, Depth::Edges);
        }
    }
}

impl Player for FragmentPlayer {
    fn play(&mut self, stage: &Stage, _events: u64) -> Played {
        let Some(step) = self.load.step(self.next) else {
            return Played::Finished;
        };
        self.perform(step, stage);
        self.next += 1;
        match self.load.step(self.next) {
            _ if stage.control.is_over() => Played::Stopped,
            None => Played::Finished,
            Some(_) => Played::Paused,
        }
    }

    fn release(&mut self, stage: &Stage) {
        stage.pool.thaw();
        while let Some(kept) = self.folios.pop() {
            self.tally.free_kept(self.seed, kept, Depth::Full);
            stage.step();
        }
        while let Some(held) = self.obstacles.pop() {
            self.tally.check_and_free(held, Depth::Full);
            stage.step();
        }
    }

    fn rewind(&mut self) {
        self.next = 0;
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// How many of a pageblock's folios are to come, and how many of these are to be kept.
#[derive(Clone, Copy, Debug, Default)]
struct Quota {
    folios: usize,
    keep: usize,
}

impl Quota {
    /// Whether the next one is kept: each set of the wished size is equally likely.
    fn draw(&mut self, rng: &mut Rng) -> bool {
        let keeps = self.folios > 0 && rng.below(self.folios) < self.keep;
        self.folios = self.folios.saturating_sub(1);
        self.keep -= usize::from(keeps);
        keeps
    }
}

/// Address bits below the number of a pageblock.
fn pageblock_shift(pool: &PagePool) -> u32 {
    let stats = pool.stats();
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    let order = zones.map(|zone| zone.pageblock_order).max();
    PAGE_SIZE.ilog2() + u32::from(order.unwrap_or_default().get())
}

/// Where a folio is at the moment.
fn address(tally: &mut Tally, folio: &Folio) -> usize {
    let look = |_: &mut Tally, bytes: &[u8]| bytes.as_ptr().addr();
    let address = tally.read_folio(folio, ATTEMPTS, Trust::Sound, look);
    address.unwrap_or_else(|error| {
        tally.unreadable(error);
        0
    })
}

fn wait(stage: &Stage, time: Duration) {
    let begin = Instant::now();
    while let Some(rest) = time.checked_sub(begin.elapsed()) {
        if stage.control.is_over() {
            return;
        }
        stage.step();
        thread::sleep(rest.min(NAP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_met_exactly() {
        let mut rng = Rng::new(1);
        for keep in [0, 1, 128, 512] {
            let mut quota = Quota { folios: 512, keep };
            let kept = (0..512).filter(|_| quota.draw(&mut rng)).count();
            assert_eq!(kept, keep);
        }
        assert!(!Quota::default().draw(&mut rng));
    }
}
