//! How fast does memory leave for swap? We expect at least 85 % of a plain loop of 64 KiB writes.
//!
//! The yardstick writes a file past the page cache, 64 KiB at a time. The pool's swap is a file in the
//! same directory. As many bytes of folios are made in a full pool as there are in it, so that the older
//! ones have to go; the figure is the time by what was written. Once those who make them do that work
//! themselves, once kswapd does it for them. Both files are written full before the clock starts.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use pagepool::{Folio, Gfp, PAGE_SIZE, PagePool};

use super::scratch::{Scratch, UNIT};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["swap_out_64k"];

/// Writes as much as the plan says by each means.
pub(crate) fn measure_swap_out(plan: &Plan) -> Result<Outcome, Failure> {
    let bytes = plan.scale.swapped_bytes;
    let scratch = Scratch::new(&plan.directory)?;
    let plain = scratch.plain_file(bytes)?;
    let mut alone = Presser::open(&scratch, bytes, false)?;
    let mut served = Presser::open(&scratch, bytes, true)?;
    let contestants = vec![
        Contestant::new("plain writes", || {
            let begun = Instant::now();
            for unit in 0..bytes / UNIT {
                plain.write_unit(unit)?;
            }
            Ok(vec![per_unit(begun, bytes / PAGE_SIZE)])
        }),
        Contestant::new("direct reclaim", || alone.press()),
        Contestant::new("with kswapd", || served.press()),
    ];
    contest(ROWS, contestants, plan, Placement::AnyCpu)
}

/// Nanoseconds for each 64 KiB.
fn per_unit(begun: Instant, pages: usize) -> f64 {
    begun.elapsed().as_nanos() as f64 * (UNIT / PAGE_SIZE) as f64 / pages as f64
}

/// A full pool.
struct Presser {
    pool: PagePool,
    /// How many folios fill it.
    count: usize,
    /// The older half is away, or about to go.
    folios: Vec<Folio>,
}

impl Presser {
    fn open(scratch: &Scratch, bytes: usize, daemons: bool) -> Result<Presser, Failure> {
        let built = PagePool::builder()
            .managed(bytes)
            .swap(scratch.swap_file(3 * bytes)?)
            .daemons(daemons)
            .huge_pages(false)
            .build();
        let mut presser = Presser {
            pool: built.map_err(|error| Failure::broken(format!("a pool with swap: {error}")))?,
            count: bytes / PAGE_SIZE,
            folios: Vec::with_capacity(2 * bytes / PAGE_SIZE),
        };
        presser.fill()?;
        Ok(presser)
    }

    fn fill(&mut self) -> Result<(), Failure> {
        for number in 0..self.count {
            let folio = self.pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE);
            let mut folio = folio.map_err(|error| Failure::broken(format!("a folio: {error}")))?;
            let mut bytes = folio
                .write()
                .map_err(|error| Failure::broken(format!("a folio: {error}")))?;
            bytes.fill(black_box(number as u8 | 1));
            drop(bytes);
            self.folios.push(folio);
        }
        Ok(())
    }

    /// Fills the pool once more, and forgets the folios that were there before.
    fn press(&mut self) -> Result<Vec<f64>, Failure> {
        let before = self.written();
        let begun = Instant::now();
        self.fill()?;
        let written = self.written() - before;
        if written < self.count / 2 {
            return Err(Failure::broken(format!(
                "{written} of {} pages were swapped out: there was no pressure",
                self.count
            )));
        }
        let ns = per_unit(begun, written);
        self.folios.drain(..self.count);
        Ok(vec![ns])
    }

    fn written(&self) -> usize {
        let vmstat = self.pool.stats().vmstat;
        vmstat.get("pswpout").unwrap_or(0) as usize
    }
}
