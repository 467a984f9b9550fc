//! What a pool shows of itself: its texts agree with each other, with its numbers, and with what it has; and readers
//! that others wrote read the same.

#[cfg(feature = "metrics")]
mod metrics;
mod node_exporter;
mod readers;
mod texts;

use std::collections::HashMap;

use pagepool::{Folio, Gfp, Order, PagePool, Pages, SwapFile};

use crate::{evict, filled_folios, order};

/// A pool of two nodes that has been used, and in which nothing moves any more.
struct Used {
    pool: PagePool,
    blocks: Vec<Pages>,
    /// All were away, and half of them have come back.
    folios: Vec<Folio>,
}

impl Used {
    fn new() -> Used {
        let pool = PagePool::builder()
            .managed(64 << 20)
            .nodes(2)
            .swap(SwapFile::temporary(64 << 20).unwrap())
            .daemons(false)
            .build()
            .unwrap();
        let folios = filled_folios(&pool, 600, pagepool::PAGE_SIZE);
        evict(&pool, &folios);
        // No neighbours come with them.
        pool.tunables().set_page_cluster(0).unwrap();
        for folio in folios.iter().step_by(2) {
            drop(folio.read().unwrap());
        }
        let alloc = |n| pool.alloc_pages(order(n), Gfp::KERNEL).unwrap();
        let mut blocks: Vec<_> = (0..=10).map(alloc).collect();
        let reclaimable = Gfp::KERNEL | Gfp::RECLAIMABLE;
        blocks.push(pool.alloc_pages(order(3), reclaimable).unwrap());
        // Holes of a page, so that not all that is free is in whole blocks.
        let pages: Vec<_> = (0..64).map(|_| alloc(0)).collect();
        blocks.extend(pages.into_iter().step_by(2));
        pool.drain();
        pool.verify().unwrap();
        Used {
            pool,
            blocks,
            folios,
        }
    }

    /// Pages of raw blocks that are out.
    fn raw_pages(&self) -> usize {
        { self.blocks.iter() }
            .map(|block| block.order().pages())
            .sum()
    }

    /// Folios in memory, each of a page.
    fn resident(&self) -> usize {
        { self.folios.iter() }
            .filter(|folio| folio.is_resident())
            .count()
    }
}

/// The names and numbers of lines such as those of `vmstat`.
fn named(text: &str) -> HashMap<&str, u64> {
    { text.lines() }
        .filter_map(|line| {
            let (name, number) = line.trim().split_once(' ')?;
            Some((name, number.trim().parse().ok()?))
        })
        .collect()
}

fn pages_of(nr_free: &[u64]) -> u64 {
    let by_order = nr_free.iter().zip(Order::all());
    by_order.map(|(nr, order)| nr * order.pages() as u64).sum()
}
