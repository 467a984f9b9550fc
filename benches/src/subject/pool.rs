//! pagepool as a user gets it: the public API, the defaults, every check and counter on.
//!
//! Blocks are asked for uninitialised, since no peer zeroes. Requests may try once and must then
//! fail, so that a refusal is counted instead of waited out. Two settings differ from the defaults:
//! the Movable zone takes no plain blocks, so it is left out, and all of the pool's memory is open
//! to the bench; and idle memory is kept, as the peers are told to keep theirs.

#![forbid(unsafe_code)]

use pagepool::{Gfp, Order, PAGE_SIZE, PagePool, PagesUninit};

use super::{Events, POOL, Subject};

const FLAGS: Gfp = Gfp::KERNEL.union(Gfp::NORETRY).union(Gfp::NOWARN);

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool(PagePool);

impl Pool {
    /// The pool itself.
    pub(crate) fn as_pool(&self) -> &PagePool {
        &self.0
    }
}

impl Subject for Pool {
    type Block = PagesUninit;

    const NAME: &'static str = POOL;

    fn open(bytes: usize) -> Result<Pool, String> {
        PagePool::builder()
            .managed(bytes)
            .movable_share(0)
            .trim_threshold(bytes)
            .build()
            .map(Pool)
            .map_err(|error| in_full(&error))
    }

    #[inline]
    fn alloc(&self, order: Order) -> Option<PagesUninit> {
        self.0.alloc_pages_uninit(order, FLAGS).ok()
    }

    #[inline]
    fn free(&self, block: PagesUninit) {
        drop(block);
    }

    fn touch(&self, block: &mut PagesUninit) {
        touch_block(block);
    }

    fn events(&self) -> Option<Events> {
        Some(count_events(&self.0))
    }

    fn check(&self) -> Result<(), String> {
        check_all_free(&self.0)
    }
}

/// Writes one byte to every page of `block`.
pub(super) fn touch_block(block: &mut PagesUninit) {
    for page in block.chunks_mut(PAGE_SIZE) {
        page[0].write(1);
    }
}

/// What the pool counted.
pub(super) fn count_events(pool: &PagePool) -> Events {
    let vmstat = pool.stats().vmstat;
    let allocated = vmstat
        .iter()
        .filter(|(name, _)| name.starts_with("pgalloc_"))
        .map(|(_, pages)| pages)
        .sum();
    let freed = vmstat.get("pgfree").unwrap_or(0);
    Events { allocated, freed }
}

/// Checks every invariant of the pool, and that all of its pages are free.
pub(super) fn check_all_free(pool: &PagePool) -> Result<(), String> {
    pool.verify()
        .map_err(|violation| format!("violation: {violation}"))?;
    pool.drain();
    let stats = pool.stats();
    if stats.free_pages != stats.managed_pages {
        return Err(format!(
            "pages are stranded: {} of {} are free after everything was freed and drained",
            stats.free_pages, stats.managed_pages
        ));
    }
    Ok(())
}

/// The error and what caused it, on one line.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", in_full(source)),
        None => error.to_string(),
    }
}
