//! Many blocks at once.
//!
//! *Kernel counterpart:* `alloc_pages_bulk` (v5.13, later than the rest).
//!
//! Under one hold of a zone's lock come runs of blocks that follow each other. A [`Run`] owns its blocks from the
//! moment that they leave the zone; each becomes a handle, is noted and cleared, once no lock is held.

#![forbid(unsafe_code)]

use arrayvec::ArrayVec;

use super::pages::{Pages, PagesUninit, Run};
use super::{Adopted, PagePool};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::types::Order;
use crate::zone::Zone;

/// Blocks that are asked for at once, at the most.
const BATCH: usize = 64;

impl PagePool {
    /// Allocates up to `count` zeroed blocks at once, adds them to `out` and returns how many.
    ///
    /// Takes the zone's lock once for dozens of blocks rather than once a block, never waits, and stops at the low
    /// mark: what is missing then is for [`alloc_pages`](Self::alloc_pages), which may wait for it.
    ///
    /// # Errors
    /// If the request can never be met. That some or all blocks are missing is not an error.
    pub fn alloc_bulk(
        &self,
        order: Order,
        gfp: Gfp,
        count: usize,
        out: &mut Vec<Pages>,
    ) -> Result<usize, AllocError> {
        self.alloc_bulk_with(order, gfp, count, out, PagesUninit::zeroed)
    }

    /// The same without zeroing, unless `gfp` says [`ZERO`](Gfp::ZERO).
    ///
    /// ```
    /// # use pagepool::{Gfp, Order, PagePool};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = PagePool::builder().managed(64 << 20).build()?;
    /// let mut pages = Vec::new();
    /// let got = pool.alloc_bulk_uninit(Order::ZERO, Gfp::KERNEL, 1000, &mut pages)?;
    /// assert_eq!((got, pages.len()), (1000, 1000));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`alloc_bulk`](Self::alloc_bulk).
    pub fn alloc_bulk_uninit(
        &self,
        order: Order,
        gfp: Gfp,
        count: usize,
        out: &mut Vec<PagesUninit>,
    ) -> Result<usize, AllocError> {
        self.alloc_bulk_with(order, gfp, count, out, |pages| pages)
    }

    /// Either, with what is to be made of each block once no lock is held.
    fn alloc_bulk_with<P>(
        &self,
        order: Order,
        gfp: Gfp,
        count: usize,
        out: &mut Vec<P>,
        finish: impl Fn(PagesUninit) -> P,
    ) -> Result<usize, AllocError> {
        // Room first: nothing must be able to fail while blocks are in nobody's hands.
        let most = self.inner.nodes.zones().map(Zone::managed).sum::<usize>() >> order.get();
        let count = count.min(most);
        out.reserve(count);
        let mut runs = ArrayVec::<Run, BATCH>::new();
        let mut got = 0;
        while got < count {
            let batch = (count - got).min(BATCH);
            let mut keep = |taken| runs.push(Run::new(&self.inner, taken));
            let allocator = self.inner.allocator();
            let n = allocator.alloc_bulk(order, gfp, batch, &mut keep);
            let n = n.inspect_err(|error| self.inner.note_refused(order, gfp, *error))?;
            for run in runs.drain(..) {
                let is_vacant = run.is_vacant();
                let adopted = run.map(|pages| Adopted { pages, is_vacant });
                out.extend(adopted.map(|adopted| finish(self.hand_out(adopted, gfp))));
            }
            got += n;
            if n < batch {
                break;
            }
        }
        Ok(got)
    }

    /// Frees blocks. The same as dropping each.
    pub fn free_bulk(&self, blocks: impl IntoIterator<Item = Pages>) {
        blocks.into_iter().for_each(drop);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;

    fn pool() -> PagePool {
        let pool = PagePool::builder().managed(4 << 20).movable_share(0);
        pool.daemons(false).build().unwrap()
    }

    #[test]
    fn what_is_left_of_a_run_comes_back_with_it() {
        for order in [Order::ZERO, Order::at(2)] {
            let pool = pool();
            let before = pool.stats().free_pages;
            let (mut out, seen) = (vec![], Cell::new(0));
            let take = AssertUnwindSafe(|| {
                let finish = |pages| {
                    assert!(seen.replace(seen.get() + 1) < 20, "one too many");
                    pages
                };
                pool.alloc_bulk_with(order, Gfp::KERNEL, 50, &mut out, finish)
            });
            assert!(catch_unwind(take).is_err());
            assert_eq!(out.len(), 20);
            pool.verify().unwrap();
            pool.drain();
            let out_pages = out.len() << order.get();
            assert_eq!(pool.stats().free_pages + out_pages, before);
            drop(out);
            pool.close(Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn blocks_that_have_no_memory_yet_are_zeroed_once() {
        let pool = pool();
        let mut pages = vec![];
        let got = pool.alloc_bulk(Order::ZERO, Gfp::KERNEL, 300, &mut pages);
        assert_eq!(got.unwrap(), 300);
        for (nr, page) in pages.iter_mut().enumerate() {
            assert!(page.iter().all(|byte| *byte == 0));
            page.fill(nr as u8);
        }
        let own = |(nr, page): (usize, &Pages)| page.iter().all(|byte| *byte == nr as u8);
        assert!(
            pages.iter().enumerate().all(own),
            "no two have a byte in common"
        );
        pool.free_bulk(pages);
        pool.verify().unwrap();
    }
}
