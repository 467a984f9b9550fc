//! Folios that go to swap and come back.

use std::time::Duration;

use pagepool::{PAGE_SIZE, PagePool, SwapFile};

use crate::{assert_all_back, assert_filled, filled_folios};

fn pool_with_swap(memory: usize, swap: u64) -> PagePool {
    let swap = SwapFile::temporary(swap).unwrap();
    PagePool::builder()
        .managed(memory)
        .swap(swap)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap()
}

#[test]
fn more_folios_than_memory_keep_their_contents() {
    let pool = pool_with_swap(8 << 20, 64 << 20);
    let folios = filled_folios(&pool, 8192, PAGE_SIZE);
    pool.verify().unwrap();
    for round in 0..2 {
        for (n, folio) in folios.iter().enumerate() {
            assert_filled(&folio.read().unwrap(), n as u64);
        }
        pool.verify()
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let vmstat = pool.stats().vmstat;
    assert!(vmstat.get("pswpout") >= Some(6144), "{vmstat:?}");
    assert!(vmstat.get("pswpin") >= Some(6144), "{vmstat:?}");
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn folios_of_every_order_go_to_swap_and_back() {
    for order in 0..=10 {
        // Of one size at a time: nothing is moved to make room for large ones yet.
        let pool = pool_with_swap(16 << 20, 64 << 20);
        let len = PAGE_SIZE << order;
        let folios = filled_folios(&pool, (32 << 20) / len, len);
        for (n, folio) in folios.iter().enumerate() {
            assert_filled(&folio.read().unwrap(), n as u64);
        }
        pool.verify().unwrap();
        assert!(pool.stats().vmstat.get("pswpin") >= Some(4096));
        drop(folios);
        assert_all_back(&pool);
    }
}
