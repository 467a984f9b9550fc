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
        for page in block.chunks_mut(PAGE_SIZE) {
            page[0].write(1);
        }
    }

    fn events(&self) -> Option<Events> {
        let vmstat = self.0.stats().vmstat;
        let allocated = vmstat
            .iter()
            .filter(|(name, _)| name.starts_with("pgalloc_"))
            .map(|(_, pages)| pages)
            .sum();
        let freed = vmstat.get("pgfree")?;
        Some(Events { allocated, freed })
    }

    fn check(&self) -> Result<(), String> {
        self.0
            .verify()
            .map_err(|violation| format!("violation: {violation}"))?;
        self.0.drain();
        let stats = self.0.stats();
        if stats.free_pages != stats.managed_pages {
            return Err(format!(
                "pages are stranded: {} of {} are free after everything was freed and drained",
                stats.free_pages, stats.managed_pages
            ));
        }
        Ok(())
    }
}

/// The error and what caused it, on one line.
fn in_full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", in_full(source)),
        None => error.to_string(),
    }
}
