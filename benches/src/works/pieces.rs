//! A pool whose free memory is in pieces.

#![forbid(unsafe_code)]

use pagepool::{Folio, Gfp, PAGE_SIZE, PagePool};

use crate::Failure;

/// A pool of one zone in which nobody moves anything unless he is asked.
pub(super) fn pool_without_daemons(bytes: usize) -> Result<PagePool, Failure> {
    let built = PagePool::builder()
        .managed(bytes)
        .movable_share(0)
        .daemons(false)
        .build();
    built.map_err(|error| Failure::broken(format!("a pool of {bytes} bytes: {error}")))
}

/// The pool.
pub(super) struct Pieces {
    pub(super) pool: PagePool,
}

impl Pieces {
    /// A pool of so many bytes.
    pub(super) fn open(bytes: usize) -> Result<Pieces, Failure> {
        let pool = pool_without_daemons(bytes)?;
        Ok(Pieces { pool })
    }

    /// Fills the pool with pages, and keeps one in as many of each 2 MiB as `one_in` says for their number;
    /// of those with 0 none. What was there before must be gone.
    pub(super) fn break_up(
        &self,
        seed: u64,
        one_in: impl Fn(usize) -> usize,
    ) -> Result<Vec<Folio>, Failure> {
        let failed = |error| Failure::broken(format!("a folio in memory: {error}"));
        let mut folios = Vec::new();
        while let Ok(mut folio) = self
            .pool
            .alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE | Gfp::NORETRY)
        {
            folio.write().map_err(failed)?.fill(folios.len() as u8 | 1);
            folios.push(folio);
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut kept = Vec::with_capacity(folios.len() / 2);
        for folio in folios {
            let address = folio.read().map_err(failed)?.as_ptr().addr();
            let one_in = one_in(address >> HUGE_SHIFT);
            if one_in > 0 && rng.usize(..one_in) == 0 {
                kept.push(folio);
            }
        }
        self.pool.drain();
        Ok(kept)
    }

    /// Pages of each pageblock that are in use.
    pub(super) fn pageblocks(&self) -> Vec<usize> {
        self.pool.drain();
        let stats = self.pool.stats();
        let zones = stats.nodes.iter().flat_map(|node| &node.zones);
        let in_use = zones.flat_map(|zone| &zone.pageblocks);
        in_use.map(|pages| usize::from(*pages)).collect()
    }

    /// Folios that were moved until now: of one page each.
    pub(super) fn moved(&self) -> usize {
        let vmstat = self.pool.stats().vmstat;
        vmstat.get("pgmigrate_success").unwrap_or(0) as usize
    }
}

/// Address bits below the number of a block of 2 MiB.
const HUGE_SHIFT: u32 = 21;
