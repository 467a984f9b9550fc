//! Blocks as raw pointers, and what a hardened pool finds of writes through an old one.

use std::ptr::NonNull;

use super::*;

#[test]
fn a_raw_block_comes_back() {
    let pool = small_pool(64);
    let mut block = pool.alloc_pages(order(2), Gfp::KERNEL).unwrap();
    block[0] = 7;
    let ptr = block.into_raw();
    // SAFETY: given up a line before.
    let block = unsafe { pool.from_raw(ptr) };
    assert_eq!((block[0], block.order()), (7, order(2)));
    drop(block);
    pool.verify().unwrap();
}

#[test]
fn foreign_and_freed_pointers_are_reported() {
    let pool = small_pool(64);
    let on_the_stack = 0u8;
    let foreign = NonNull::from(&on_the_stack);
    let pool_ref = std::panic::AssertUnwindSafe(&pool);
    // SAFETY: not kept: that it is reported is what is tested.
    assert_panics("does not belong to this pool", || unsafe {
        pool_ref.free_raw(foreign);
    });

    let ptr = pool.alloc_raw(order(1), Gfp::KERNEL).unwrap();
    // SAFETY: an address inside the block; as above.
    let inside = unsafe { ptr.add(1) };
    // SAFETY: as above.
    assert_panics("not at its start", || unsafe { pool_ref.free_raw(inside) });
    // SAFETY: as above.
    let second_page = unsafe { ptr.add(PAGE_SIZE) };
    // SAFETY: as above.
    assert_panics("but it is free", || unsafe {
        pool_ref.free_raw(second_page);
    });
    // SAFETY: from `alloc_raw`, once.
    unsafe { pool.free_raw(ptr) };
    // SAFETY: as above.
    assert_panics("comes back from a raw pointer, but it is", || unsafe {
        pool_ref.free_raw(ptr);
    });
    pool.verify().unwrap();
}

#[test]
fn two_handles_to_one_raw_block_are_reported() {
    let pool = small_pool(64);
    let ptr = pool.alloc_raw(order(1), Gfp::KERNEL).unwrap();
    // SAFETY: just handed out.
    let first = unsafe { pool.from_raw(ptr) };
    // SAFETY: not kept, on purpose: the second handle must be found out.
    let second = unsafe { pool.from_raw(ptr) };
    drop(first);
    assert_panics(
        "is freed at o1, but it is free",
        std::panic::AssertUnwindSafe(|| drop(second)),
    );
    pool.verify().unwrap();
}

#[test]
#[cfg_attr(pagepool_asan, ignore = "the sanitizer reports the write")]
fn a_write_after_free_is_reported_when_hardened() {
    let pool = PagePool::builder()
        .managed(64 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    let (ptr, pfn) = (block.as_ptr().cast_mut(), block.pfn());
    drop(block);
    // SAFETY: the page is mapped as long as the pool lives; that it is not ours is what is tested.
    unsafe { *ptr.wrapping_add(100) = 1 };
    let take = || drop(take_all(&pool, Order::ZERO));
    let message = format!("{pfn} was written while it was free: byte 100");
    assert_panics(&message, std::panic::AssertUnwindSafe(take));
}

#[test]
fn hardened_blocks_are_zeroed_like_others() {
    let pool = PagePool::builder()
        .managed(4096 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut block = pool.alloc_pages(order(9), Gfp::KERNEL).unwrap();
        assert!(block.iter().all(|byte| *byte == 0));
        block.fill(3);
        drop(block);
        assert!(pool.trim() > 0);
    }
    pool.verify().unwrap();
}

/// The check of one block's poison panicked while others were in nobody's hands.
#[test]
#[cfg_attr(pagepool_asan, ignore = "the sanitizer reports the write")]
fn a_poisoned_block_in_a_bulk_request_loses_no_other() {
    let pool = PagePool::builder()
        .managed(64 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    let ptr = block.as_ptr().cast_mut();
    drop(block);
    // SAFETY: the page is mapped as long as the pool lives; that it is not ours is what is tested.
    unsafe { ptr.write(1) };
    let mut blocks = vec![];
    let take = std::panic::AssertUnwindSafe(|| {
        let _ = pool.alloc_bulk(Order::ZERO, Gfp::KERNEL, 32, &mut blocks);
    });
    assert_panics("was written while it was free", take);
    drop(blocks);
    pool.close(Duration::ZERO).unwrap();
}

/// The frames of a fault that panicked were in nobody's hands.
#[test]
#[cfg_attr(pagepool_asan, ignore = "the sanitizer reports the write")]
fn a_poisoned_block_that_a_folio_was_to_have_is_not_lost() {
    let pool = PagePool::builder()
        .managed(64 * PAGE_SIZE)
        .hardened(true)
        .build()
        .unwrap();
    let block = pool.alloc_pages(order(3), Gfp::USER_MOVABLE).unwrap();
    let ptr = block.as_ptr().cast_mut();
    drop(block);
    // SAFETY: the page is mapped as long as the pool lives; that it is not ours is what is tested.
    unsafe { ptr.write(1) };
    let mut folios = vec![];
    let take = std::panic::AssertUnwindSafe(|| {
        for _ in 0..64 {
            folios.push(pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap());
        }
    });
    assert_panics("was written while it was free", take);
    drop(folios);
    pool.drain();
    pool.verify().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.folios, stats.free_pages), (0, 64));
    pool.close(Duration::ZERO).unwrap();
}
