//! How long does a folio take that is away? We expect a read of its page and little else.
//!
//! Folios are twice as much as their pool holds, and one that is away is read, over and over, at random;
//! reclaim makes room for it, mostly of folios whose copies are good. Beside it, plain reads at random
//! places of a file in the same directory, past the page cache: of one page, and of as many as read-ahead
//! brings in at once. Each round gives the median and the 99th percentile of its reads.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use pagepool::{Folio, Gfp, PAGE_SIZE, PagePool};

use super::scratch::{Scratch, at_share};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["fault_in_p50", "fault_in_p99"];

/// Pages that read-ahead brings in at once, at most.
const WINDOW: usize = 8;

/// Reads as often as the plan says by each means.
pub(crate) fn measure_fault_in(plan: &Plan) -> Result<Outcome, Failure> {
    let (bytes, faults) = (plan.scale.swapped_bytes, plan.scale.faults);
    let scratch = Scratch::new(&plan.directory)?;
    let plain = scratch.plain_file(2 * bytes)?;
    let pages = 2 * bytes / PAGE_SIZE;
    let plain_reads = |rng: &mut fastrand::Rng, nr: usize| {
        let samples = (0..faults)
            .map(|_| {
                let first = rng.usize(..pages / nr) * nr;
                let begun = Instant::now();
                plain.read_pages(first, nr)?;
                Ok(begun.elapsed().as_nanos() as f64)
            })
            .collect::<Result<Vec<f64>, Failure>>()?;
        Ok(percentiles(samples))
    };
    let mut overfull = Overfull::open(&scratch, bytes)?;
    let (mut one, mut eight) = (fastrand::Rng::with_seed(1), fastrand::Rng::with_seed(2));
    let contestants = vec![
        Contestant::new("plain read", || plain_reads(&mut one, 1)),
        Contestant::new("plain read of 8", || plain_reads(&mut eight, WINDOW)),
        Contestant::new("fault", || overfull.faults(faults)),
    ];
    contest(ROWS, contestants, plan, Placement::AnyCpu)
}

fn percentiles(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    vec![at_share(&samples, 0.5), at_share(&samples, 0.99)]
}

/// A pool with twice as many folios as it holds.
struct Overfull {
    _pool: PagePool,
    folios: Vec<Folio>,
    rng: fastrand::Rng,
}

impl Overfull {
    fn open(scratch: &Scratch, bytes: usize) -> Result<Overfull, Failure> {
        let built = PagePool::builder()
            .managed(bytes)
            .swap(scratch.swap_file(4 * bytes)?)
            .huge_pages(false)
            .build();
        let pool = built.map_err(|error| Failure::broken(format!("a pool with swap: {error}")))?;
        let mut folios = Vec::new();
        for number in 0..2 * bytes / PAGE_SIZE {
            let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE);
            let mut folio = folio.map_err(|error| Failure::broken(format!("a folio: {error}")))?;
            folio.write().map_err(failed)?.fill(number as u8 | 1);
            folios.push(folio);
        }
        Ok(Overfull {
            _pool: pool,
            folios,
            rng: fastrand::Rng::with_seed(3),
        })
    }

    fn faults(&mut self, count: usize) -> Result<Vec<f64>, Failure> {
        let mut samples = Vec::with_capacity(count);
        while samples.len() < count {
            let folio = &self.folios[self.rng.usize(..self.folios.len())];
            if folio.is_resident() {
                continue;
            }
            let begun = Instant::now();
            let bytes = folio.read().map_err(failed)?;
            black_box(bytes[0]);
            drop(bytes);
            samples.push(begun.elapsed().as_nanos() as f64);
        }
        Ok(percentiles(samples))
    }
}

fn failed(error: pagepool::AccessError) -> Failure {
    Failure::broken(format!("a folio that is away: {error}"))
}
