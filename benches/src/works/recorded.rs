//! What does it cost that a pool is recorded? We expect some 60 ns an event, whatever else is done: twice as much and
//! more on a pair of a page at hand, and a few percent where memory is also used.
//!
//! In the mixed work a step allocates a zeroed block of order 0 to 3 and fills it, frees one, or reads or fills a
//! folio of 16 KiB: so that bytes are touched as a program would, and one event comes on some KiB of them.
//! Both are recorded into a ring, and into a file in the plan's directory.

#![forbid(unsafe_code)]

use std::hint::black_box;

use pagepool::{Folio, Gfp, Order, PagePool, Pages, RecordOptions, Recording};

use super::{folio_of, pool_of, timed_on_cpu};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["recorded_pair_o0", "recorded_mixed"];

const POOL_BYTES: usize = 64 << 20;
const RING_BYTES: usize = 16 << 20;
const FOLIO_BYTES: usize = 16 << 10;
const FOLIOS: usize = 64;
const BLOCKS: usize = 256;

/// A pool, and what is done with it.
struct Site {
    rng: fastrand::Rng,
    folios: Vec<Folio>,
    blocks: Vec<Option<Pages>>,
    pool: PagePool,
}

pub(crate) fn measure(plan: &Plan) -> Result<Outcome, Failure> {
    let path = plan.directory.join("pagepool-bench.ppr");
    let file = || RecordOptions::file(&path);
    let mut sites = [Site::new()?, Site::new()?, Site::new()?];
    let [plain, ring, to_file] = &mut sites;
    let contestants = vec![
        Contestant::new("not recorded", || Ok(plain.round(plan))),
        Contestant::new("recorded, ring", || {
            let recording = record(&ring.pool, RecordOptions::ring(RING_BYTES))?;
            let figures = ring.round(plan);
            stop(recording)?;
            Ok(figures)
        }),
        Contestant::new("recorded, file", || {
            let recording = record(&to_file.pool, file())?;
            let figures = to_file.round(plan);
            stop(recording)?;
            Ok(figures)
        }),
    ];
    let outcome = contest(ROWS, contestants, plan, Placement::OneCpu);
    // What is measured is in the table; a file that is not there was none of the plan's works.
    let _ = std::fs::remove_file(&path);
    outcome
}

fn record(pool: &PagePool, options: RecordOptions) -> Result<Recording, Failure> {
    pool.record(options)
        .map_err(|error| Failure::broken(error.to_string()))
}

fn stop(recording: Recording) -> Result<(), Failure> {
    let stopped = recording.stop();
    let recorded = stopped.map_err(|error| Failure::broken(error.to_string()))?;
    match recorded.events {
        0 => Err(Failure::broken("nothing was recorded".to_owned())),
        _ => Ok(()),
    }
}

impl Site {
    fn new() -> Result<Site, Failure> {
        let pool = pool_of(POOL_BYTES)?;
        let folios = (0..FOLIOS).map(|_| folio_of(&pool, FOLIO_BYTES));
        Ok(Site {
            rng: fastrand::Rng::with_seed(7),
            folios: folios.collect::<Result<_, _>>()?,
            blocks: (0..BLOCKS).map(|_| None).collect(),
            pool,
        })
    }

    fn round(&mut self, plan: &Plan) -> Vec<f64> {
        let pairs = plan.scale.pairs;
        let pair = timed_on_cpu(pairs, || {
            for _ in 0..pairs {
                let block = self.pool.alloc_pages_uninit(Order::ZERO, Gfp::KERNEL);
                drop(black_box(block));
            }
        });
        let steps = plan.scale.mixed_ops;
        let mixed = timed_on_cpu(steps, || (0..steps).for_each(|_| self.step()));
        vec![pair, mixed]
    }

    fn step(&mut self) {
        let place = self.rng.usize(..BLOCKS);
        match self.rng.u8(..4) {
            0 | 1 if self.blocks[place].is_some() => self.blocks[place] = None,
            0 | 1 => {
                let order = Order::new(self.rng.u8(..4)).expect("drawn in range");
                let block = self.pool.alloc_pages(order, Gfp::KERNEL);
                self.blocks[place] = block.ok().map(|mut block| {
                    block.fill(1);
                    block
                });
            }
            2 => {
                let folio = &self.folios[place % FOLIOS];
                let bytes = folio.read().expect("it is in memory");
                black_box(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
            }
            _ => {
                let folio = &mut self.folios[place % FOLIOS];
                folio.write().expect("it is in memory").fill(2);
            }
        }
    }
}
