//! Memory that goes back to the system, and comes back from it.

use std::thread;

use super::*;

#[test]
fn trimmed_memory_leaves_and_comes_back_zeroed() {
    let pool = PagePool::builder()
        .memory(64 << 20)
        .trim_threshold(usize::MAX)
        .build()
        .unwrap();
    let mut blocks = take_all(&pool, order(9));
    blocks.iter_mut().for_each(|block| block.fill(1));
    let pages = blocks.len() * 512;
    drop(blocks);
    let resident = pool.stats().nodes[0].zones[0].resident_free_pages;
    assert!(resident >= pages);
    assert!(pool.trim() >= pages * PAGE_SIZE);
    assert_eq!(pool.stats().nodes[0].zones[0].resident_free_pages, 0);
    pool.verify().unwrap();
    let block = pool
        .alloc_pages_uninit(order(9), Gfp::KERNEL | Gfp::ZERO)
        .unwrap();
    // SAFETY: `ZERO` was asked for.
    assert!(unsafe { block.assume_init() }.iter().all(|byte| *byte == 0));
}

/// `trim` withdrew a block and looked only then whether its rounds were used up: where the system
/// refuses to take memory back, as it does for locked pages, the last block it withdrew was lost.
#[test]
#[cfg_attr(
    any(pagepool_asan, pagepool_tsan),
    ignore = "a sanitizer locks no memory, which the system would refuse to take"
)]
fn a_trim_that_the_system_refuses_loses_nothing() {
    let pool = small_pool(16);
    let block = pool.alloc_pages(order(4), Gfp::NOWAIT).unwrap();
    // SAFETY: locking memory that is ours changes nothing about it.
    if unsafe { libc::mlock(block.as_ptr().cast(), block.len()) } != 0 {
        return; // the host does not let us lock 64 KiB
    }
    drop(block);
    assert_eq!(pool.trim(), 0);
    assert_eq!(pool.stats().free_pages, 16);
    pool.verify().unwrap();
}

#[test]
fn freeing_beyond_the_threshold_gives_memory_back() {
    let pool = PagePool::builder()
        .memory(128 << 20)
        .trim_threshold(8 << 20)
        .build()
        .unwrap();
    drop(take_all(&pool, order(10)));
    let zone = &pool.stats().nodes[0].zones[0];
    assert!(
        zone.resident_free_pages * PAGE_SIZE <= 8 << 20,
        "{}",
        zone.resident_free_pages
    );
    pool.verify().unwrap();
}

/// A pool that is no multiple of a pageblock ends in a short one, which never becomes a whole free
/// block. Its memory stayed resident for ever.
#[test]
#[cfg_attr(pagepool_asan, ignore = "the heap gives nothing to the system")]
fn the_last_short_pageblock_is_trimmed_as_well() {
    let pool = PagePool::builder()
        .managed((32 << 20) - (64 << 10))
        .build()
        .unwrap();
    let short = 512 - 16;
    let mut pages = take_all(&pool, Order::ZERO);
    pages.iter_mut().for_each(|page| page.fill(1));
    drop(pages);
    assert!(pool.trim() > (30 << 20) + short * PAGE_SIZE / 2);
    assert_eq!(pool.trim(), 0);
    pool.verify().unwrap();
    let inner = &pool.inner;
    let arena = inner.nodes.iter().next().unwrap().arena();
    assert_eq!(arena.resident_pages(0, arena.pages()).unwrap(), 0);
}

/// Memory on its way to the system was missing for a request that was refused meanwhile.
#[test]
fn a_trim_makes_no_waiting_request_fail() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    let held: Vec<_> = (0..3)
        .map(|_| pool.alloc_pages(order(10), Gfp::KERNEL).unwrap())
        .collect();
    let done = crate::sync::atomic::AtomicBool::new(false);
    let relaxed = crate::sync::atomic::Ordering::Relaxed;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(relaxed) {
                pool.trim();
            }
        });
        for _ in 0..200 {
            for flags in [Gfp::KERNEL, Gfp::KERNEL | Gfp::NORETRY] {
                pool.alloc_pages(order(0), flags).unwrap().fill(1);
            }
        }
        done.store(true, relaxed);
    });
    drop(held);
    pool.verify().unwrap();
}
