//! pagepool with its daemons at work: a pool in which folios take whatever the blocks leave.
//!
//! Their set is larger than the room that is left for them, and they are touched all the while: each that
//! is brought back takes memory, so that kswapd has to find some, and memory in pieces is for kcompactd.
//! Swap is in memory: what a disk would add is its own. Requests may reclaim and compact for themselves, as
//! a user's would, and are not refused while they can be met.

#![forbid(unsafe_code)]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use pagepool::{Faults, FaultyDevice, Folio, Gfp, Order, PAGE_SIZE, PagePool, PagesUninit};

use super::pool::{check_all_free, count_events, in_full, touch_block};
use super::{Events, POOL, Subject};
use crate::background::Background;
use crate::works::huge_order;

const FLAGS: Gfp = Gfp::KERNEL.union(Gfp::NOWARN);
/// How long daemons may take until they have done something.
const SLOWEST_START: Duration = Duration::from_secs(10);
const IMPATIENT: Gfp = Gfp::NOWAIT.union(Gfp::NOWARN);

/// A pool, and the folios in it.
#[derive(Debug)]
pub(crate) struct Pressed {
    pool: PagePool,
    folios: Mutex<Vec<Folio>>,
}

impl Pressed {
    fn vmstat(&self, name: &str) -> u64 {
        self.pool.stats().vmstat.get(name).unwrap_or(0)
    }

    fn are_daemons_at_work(&self) -> bool {
        self.vmstat("pgsteal_kswapd") > 0 && self.vmstat("compact_daemon_migrate_scanned") > 0
    }
}

impl Subject for Pressed {
    type Block = PagesUninit;

    const NAME: &'static str = POOL;
    const HAS_OWN_USE: bool = true;

    /// A pool of a quarter more than `bytes`. The blocks take 70 to 90 % of `bytes`, so that folios have
    /// room in memory for 35 to 55 % of it; there are 55 %.
    fn open(bytes: usize) -> Result<Pressed, String> {
        let swapped = bytes * 55 / 100;
        let device = FaultyDevice::in_memory(2 * swapped, Faults::none());
        let pool = PagePool::builder()
            .managed(bytes / 4 * 5)
            .movable_share(0)
            .trim_threshold(bytes)
            .swap(device)
            .build()
            .map_err(|error| in_full(&error))?;
        let folios = (0..swapped / PAGE_SIZE)
            .map(|number| folio(&pool, number))
            .collect::<Result<Vec<Folio>, String>>()?;
        Ok(Pressed {
            pool,
            folios: Mutex::new(folios),
        })
    }

    #[inline]
    fn alloc(&self, order: Order) -> Option<PagesUninit> {
        self.pool.alloc_pages_uninit(order, FLAGS).ok()
    }

    #[inline]
    fn free(&self, block: PagesUninit) {
        drop(block);
    }

    fn touch(&self, block: &mut PagesUninit) {
        touch_block(block);
    }

    fn events(&self) -> Option<Events> {
        Some(count_events(&self.pool))
    }

    fn check(&self) -> Result<(), String> {
        self.folios
            .lock()
            .expect("a panic ends the process")
            .clear();
        check_all_free(&self.pool)?;
        if !self.are_daemons_at_work() {
            return Err(format!(
                "the daemons were not at work: {}",
                self.remark().unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Touches folios, most of them by a read; every fourth is written to. Now and then 2 MiB are asked for
    /// by somebody who cannot wait, and given back at once. The first round, which is not measured, goes on
    /// until both daemons have done something: they start when first needed, and a round may be short.
    fn press(&self, _background: &Background, is_over: &dyn Fn() -> bool) {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut folios = self.folios.lock().expect("a panic ends the process");
        let begun = Instant::now();
        let is_enough = || self.are_daemons_at_work() || begun.elapsed() > SLOWEST_START;
        while !is_over() || !is_enough() {
            let one = rng.usize(..folios.len());
            if rng.u8(..4) > 0 {
                // Whoever finds no memory for it now may find some later.
                let _ = folios[one].read();
            } else if let Ok(mut bytes) = folios[one].write() {
                bytes[0] = bytes[0].wrapping_add(1);
            }
            if rng.u8(..) == 0 {
                // A refusal is what wakes kcompactd.
                let _ = self.pool.alloc_pages_uninit(huge_order(), IMPATIENT);
            }
        }
    }

    fn remark(&self) -> Option<String> {
        let of = |name| self.vmstat(name);
        Some(format!(
            "kswapd reclaimed {} pages, kcompactd set out {} times and looked at {} pages; requests \
             reclaimed {} pages and compacted {} times",
            of("pgsteal_kswapd"),
            of("compact_daemon_wake"),
            of("compact_daemon_migrate_scanned"),
            of("pgsteal_direct"),
            of("compact_stall"),
        ))
    }
}

/// A folio of one page that is not filled with one value.
fn folio(pool: &PagePool, number: usize) -> Result<Folio, String> {
    let mut folio = { pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE) }
        .map_err(|error| format!("folio {number}: {}", in_full(&error)))?;
    let mut bytes = { folio.write() }.map_err(|error| format!("folio {number}: {error}"))?;
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_ne_bytes());
    drop(bytes);
    Ok(folio)
}
