//! Folios that go to swap and come back.

use std::time::Duration;

use pagepool::{Folio, Gfp, PAGE_SIZE, PagePool, SwapFile};

fn pool_with_swap(memory: usize, swap: u64) -> PagePool {
    let swap = SwapFile::temporary(swap).unwrap();
    PagePool::builder()
        .managed(memory)
        .swap(swap)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap()
}

/// Writes a pattern that tells folios, and their words, apart.
fn fill(bytes: &mut [u8], seed: u64) {
    for (n, word) in bytes.chunks_exact_mut(8).enumerate() {
        let value = (seed << 32 | n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&value.to_ne_bytes());
    }
}

#[track_caller]
fn assert_filled(bytes: &[u8], seed: u64) {
    let mut expected = vec![0; bytes.len()];
    fill(&mut expected, seed);
    assert!(bytes == expected, "folio {seed} is not what was written");
}

fn folios(pool: &PagePool, count: usize, len: usize) -> Vec<Folio> {
    (0..count)
        .map(|n| {
            let mut folio = pool
                .alloc_folio(len, Gfp::USER_MOVABLE)
                .unwrap_or_else(|error| panic!("folio {n}: {error}\n{:#?}", pool.stats().vmstat));
            fill(&mut folio.write().unwrap(), n as u64);
            folio
        })
        .collect()
}

#[track_caller]
fn assert_all_back(pool: &PagePool) {
    pool.verify().unwrap();
    pool.drain();
    let stats = pool.stats();
    assert_eq!(stats.free_pages, stats.managed_pages);
    assert_eq!(stats.swap_free_pages, stats.swap_total_pages);
    assert_eq!(stats.folios, 0);
}

#[test]
fn more_folios_than_memory_keep_their_contents() {
    let pool = pool_with_swap(8 << 20, 64 << 20);
    let folios = folios(&pool, 8192, PAGE_SIZE);
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
        let folios = folios(&pool, (32 << 20) / len, len);
        for (n, folio) in folios.iter().enumerate() {
            assert_filled(&folio.read().unwrap(), n as u64);
        }
        pool.verify().unwrap();
        assert!(pool.stats().vmstat.get("pswpin") >= Some(4096));
        drop(folios);
        assert_all_back(&pool);
    }
}
