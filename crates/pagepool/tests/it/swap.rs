//! Folios that go to swap and come back.

use std::time::Duration;

use pagepool::{Gfp, PAGE_SIZE, PagePool, SwapFile};

use crate::{assert_all_back, assert_filled, eventually, filled_folios};

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

/// The first folio of a new buffer was written to while it was copied: the buffer stayed open with nobody
/// in it, and the background reclaimer fell over it when it was to be sent off.
#[test]
fn folios_written_to_while_they_are_copied_do_no_harm() {
    let pool = pool_with_swap(8 << 20, 64 << 20);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut folios: Vec<_> = (0..1024)
                    .filter_map(|_| pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).ok())
                    .collect();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for folio in &mut folios {
                        if let Ok(mut bytes) = folio.write() {
                            bytes[7] = bytes[7].wrapping_add(1);
                        }
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_all_back(&pool);
    // It stood still for the checks.
    eventually("kswapd runs", || {
        pool.stats().nodes[0].kswapd == pagepool::DaemonState::Running
    });
}

/// Each folio that was read back kept its place in swap, until swap was full of copies of what was in
/// memory, and nothing else could leave.
#[test]
fn memory_and_swap_together_hold_what_they_have_room_for() {
    let pool = PagePool::builder()
        .managed(4 << 20)
        .swap(SwapFile::temporary(1025 * PAGE_SIZE as u64).unwrap())
        .build()
        .unwrap();
    let folios = filled_folios(&pool, 1536, PAGE_SIZE);
    for _ in 0..3 {
        for (n, folio) in folios.iter().enumerate() {
            assert_filled(&folio.read().unwrap(), n as u64);
        }
    }
    drop(folios);
    assert_all_back(&pool);
}
