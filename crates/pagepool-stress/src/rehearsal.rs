//! Walks through everything a pool does once, on a small one, before memory is measured.
//!
//! A program's own code is mapped as it runs for the first time, and its heap grows to what reports
//! need. Neither is the pool's doing, so both happen before the first sample.
#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::{Gfp, NodeId, NodeMask, Order, PAGE_SIZE, PagePool, Pages, SwapFile};

/// Bytes of the pool that is rehearsed on: enough for every order on each node.
const MEMORY: usize = 32 << 20;

/// Bytes of the pool in which swapping is rehearsed.
const SWAPPED: usize = 2 << 20;

/// Bytes of the pool in which compaction is rehearsed.
const COMPACTED: usize = 8 << 20;

/// Builds a pool, uses all of it in every way that a load may, and gives it up. What goes wrong here
/// goes wrong again where it is counted, so nothing is reported.
pub(crate) fn rehearse() {
    let Ok(pool) = PagePool::builder().memory(MEMORY).nodes(2).build() else {
        return;
    };
    let mut held = vec![];
    for gfp in [
        Gfp::KERNEL,
        Gfp::ATOMIC,
        Gfp::NOWAIT,
        Gfp::USER_MOVABLE,
        Gfp::KERNEL | Gfp::RECLAIMABLE,
    ] {
        held.extend(Order::all().filter_map(|order| request(&pool, order, gfp)));
    }
    let mut bulk = vec![];
    let _ = pool.alloc_bulk(Order::ZERO, Gfp::NOWAIT, 1000, &mut bulk);
    // Down to the reserves and to refusals of every kind.
    for order in Order::all().rev() {
        held.extend(std::iter::from_fn(|| request(&pool, order, Gfp::KERNEL)));
    }
    let halves = held
        .pop()
        .into_iter()
        .flat_map(|pages| pages.split(Order::ZERO));
    drop(halves.collect::<Vec<_>>());
    let _ = format!("{:?}", (pool.verify(), pool.stats()));
    pool.free_bulk(bulk);
    // Every other block first, so that merging has work to do.
    let (odd, even): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(n, _)| n % 2 == 1);
    drop(odd);
    drop(even);
    pool.trim();
    let _ = pool.verify();
    drop(pool);
    rehearse_swapping();
    rehearse_compaction();
}

/// Fills a small pool twice over with folios, and reads them back.
fn rehearse_swapping() {
    let Ok(swap) = SwapFile::temporary(4 * SWAPPED as u64) else {
        return;
    };
    let Ok(pool) = PagePool::builder().managed(SWAPPED).swap(swap).build() else {
        return;
    };
    let folio = |_| pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).ok();
    let mut folios: Vec<_> = (0..2 * SWAPPED / PAGE_SIZE).filter_map(folio).collect();
    for folio in &mut folios {
        let _ = folio.write().map(|mut bytes| bytes[0] = 1);
    }
    for folio in &folios {
        let _ = folio.read().map(|bytes| bytes[0]);
    }
    let _ = format!("{:?}", (pool.verify(), pool.stats(), pool.swap_areas()));
}

/// Fills a small pool with folios, and has what is left of them moved together.
fn rehearse_compaction() {
    let Ok(pool) = PagePool::builder().managed(COMPACTED).build() else {
        return;
    };
    let folio = || pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE | Gfp::NORETRY);
    let mut nr = 0;
    let mut folios: Vec<_> = std::iter::from_fn(|| folio().ok()).collect();
    folios.retain(|_| {
        nr += 1;
        nr % 4 == 0
    });
    let _ = Order::new(9).map(|huge| pool.alloc_pages_uninit(huge, Gfp::USER_MOVABLE));
    pool.compact(Duration::from_secs(1));
    let _ = pool.verify();
}

fn request(pool: &PagePool, order: Order, gfp: Gfp) -> Option<Pages> {
    let first = NodeId::new(0).map_or(NodeMask::ALL, NodeMask::only);
    let pages = pool
        .request(order, gfp)
        .deadline(Duration::ZERO)
        .alloc_uninit();
    let masked = || {
        pool.request(order, gfp)
            .nodes(first)
            .deadline(Duration::ZERO)
            .alloc_uninit()
    };
    pages
        .or_else(|_| masked())
        .ok()
        .map(pagepool::PagesUninit::zeroed)
}
