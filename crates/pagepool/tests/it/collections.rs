//! Collections that live in a pool.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::time::Duration;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use bump_scope::Bump;
use bump_scope::alloc::compat::AllocatorApi2V02Compat;
use hashbrown::HashMap;
use pagepool::{PAGE_SIZE, PagePool};

fn pool() -> PagePool {
    let builder = PagePool::builder().managed(32 << 20);
    builder.deadline(Duration::ZERO).build().unwrap()
}

/// Pages that are out.
fn out(pool: &PagePool) -> usize {
    let stats = pool.stats();
    stats.managed_pages - stats.free_pages - stats.cached_pages
}

#[track_caller]
fn assert_all_back(pool: &PagePool) {
    assert_eq!(out(pool), 0);
    pool.verify().unwrap();
}

#[test]
fn a_vector_grows_across_the_orders() {
    let pool = pool();
    let mut numbers = Vec::new_in(&pool);
    for n in 0..1_000_000u32 {
        numbers.push(n);
    }
    assert_eq!(out(&pool), 1024, "one block of 4 MiB");
    assert!(
        numbers
            .iter()
            .enumerate()
            .all(|(n, number)| n as u32 == *number)
    );
    numbers.truncate(1000);
    numbers.shrink_to_fit();
    assert_eq!(out(&pool), 1, "one page");
    assert_eq!(numbers.last(), Some(&999));
    drop(numbers);
    assert_all_back(&pool);
}

#[test]
fn a_vector_outlives_the_handle_that_it_was_made_with() {
    let pool = pool();
    let numbers: Vec<u64, PagePool> = {
        let mut numbers = Vec::new_in(pool.clone());
        numbers.extend(0..5000);
        numbers
    };
    drop(pool);
    assert_eq!(numbers.iter().sum::<u64>(), 4999 * 2500);
}

#[test]
fn a_hash_map_lives_in_a_pool() {
    let pool = pool();
    let mut map = HashMap::new_in(&pool);
    for n in 0..20_000u64 {
        map.insert(n, n * n);
    }
    for n in (0..20_000).step_by(2) {
        assert_eq!(map.remove(&n), Some(n * n));
    }
    map.shrink_to_fit();
    assert_eq!(map.len(), 10_000);
    assert!(map.iter().all(|(n, square)| n * n == *square));
    assert!(out(&pool) > 0);
    drop(map);
    assert_all_back(&pool);
}

#[test]
fn an_arena_lives_in_a_pool() {
    let pool = pool();
    let bump: Bump<_> = Bump::new_in(AllocatorApi2V02Compat(&pool));
    let words: std::vec::Vec<&mut str> = (0..50_000)
        .map(|n| bump.alloc_str(&n.to_string()).into_mut())
        .collect();
    assert!(
        words
            .iter()
            .enumerate()
            .all(|(n, word)| **word == n.to_string())
    );
    assert!(out(&pool) >= 50_000 * 4 / PAGE_SIZE);
    drop(words);
    drop(bump);
    assert_all_back(&pool);
}

#[test]
fn what_has_no_size_takes_no_memory() {
    let pool = pool();
    let layout = Layout::from_size_align(0, 1 << 12).unwrap();
    let nothing = pool.allocate(layout).unwrap();
    assert_eq!(nothing.len(), 0);
    assert_eq!(nothing.cast::<u8>().addr().get() % (1 << 12), 0);
    assert_eq!(out(&pool), 0);
    // SAFETY: it came from `allocate` with this layout.
    unsafe { pool.deallocate(nothing.cast(), layout) };

    // Nothing grows to something and shrinks back to nothing.
    let page = Layout::from_size_align(100, 1).unwrap();
    let empty = Layout::from_size_align(0, 1).unwrap();
    let nothing = pool.allocate(empty).unwrap();
    // SAFETY: it came from `allocate` with this layout, which is no larger.
    let grown = unsafe { pool.grow(nothing.cast(), empty, page) }.unwrap();
    assert_eq!(out(&pool), 1);
    // SAFETY: as above, the other way round.
    let shrunk = unsafe { pool.shrink(grown.cast(), page, empty) }.unwrap();
    // SAFETY: as above.
    unsafe { pool.deallocate(shrunk.cast(), empty) };
    assert_all_back(&pool);

    let units: Vec<(), _> = std::iter::repeat_n((), 1000).collect_in(&pool);
    assert_eq!((units.len(), out(&pool)), (1000, 0));
}

trait CollectIn: Iterator + Sized {
    fn collect_in<A: Allocator>(self, allocator: A) -> Vec<Self::Item, A> {
        let mut vec = Vec::new_in(allocator);
        vec.extend(self);
        vec
    }
}

impl<I: Iterator> CollectIn for I {}

#[test]
fn over_aligned_layouts_are_served_up_to_the_largest_block() {
    let pool = pool();
    for shift in 0..=22 {
        let layout = Layout::from_size_align(24, 1 << shift).unwrap();
        let block = pool.allocate_zeroed(layout).unwrap();
        assert_eq!(block.cast::<u8>().addr().get() % (1 << shift), 0);
        // SAFETY: just allocated, zeroed.
        assert!(unsafe { block.as_ref() }.iter().all(|byte| *byte == 0));
        // SAFETY: it came from `allocate` with this layout.
        unsafe { pool.deallocate(block.cast(), layout) };
    }
    assert!(
        pool.allocate(Layout::from_size_align(1, 1 << 23).unwrap())
            .is_err()
    );
    assert!(
        pool.allocate(Layout::from_size_align((4 << 20) + 1, 1).unwrap())
            .is_err()
    );
    assert_all_back(&pool);
}

#[test]
fn a_block_grows_and_shrinks_in_place_as_far_as_it_reaches() {
    let pool = pool();
    let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
    let mut block: NonNull<u8> = pool.allocate(layout(5000)).unwrap().cast();
    // SAFETY: 5000 bytes were allocated.
    unsafe { block.write_bytes(7, 5000) };
    for (from, to, moves) in [
        (5000, 8192, false),
        (8192, 8193, true),
        (8193, 16_000, false),
    ] {
        // SAFETY: allocated with the first layout; the second is larger.
        let grown = unsafe { pool.grow(block, layout(from), layout(to)) }.unwrap();
        assert_eq!(grown.cast() != block, moves, "{from} to {to}");
        block = grown.cast();
    }
    // SAFETY: allocated with the first layout; the second is smaller.
    let shrunk = unsafe { pool.shrink(block, layout(16_000), layout(9000)) }.unwrap();
    assert_eq!(shrunk.cast(), block);
    // SAFETY: as above.
    let shrunk = unsafe { pool.shrink(block, layout(9000), layout(4096)) }.unwrap();
    assert_ne!(shrunk.cast(), block);
    // SAFETY: the first 5000 bytes were written, and 4096 of them moved along.
    let kept = unsafe { shrunk.as_ref() };
    assert!(kept[..4096].iter().all(|byte| *byte == 7));
    // SAFETY: it came from `shrink` with this layout.
    unsafe { pool.deallocate(shrunk.cast(), layout(4096)) };
    assert_all_back(&pool);
}

#[test]
fn a_refusal_is_an_error_to_those_who_ask() {
    let tiny = PagePool::builder().managed(16 * PAGE_SIZE);
    let pool = tiny.deadline(Duration::ZERO).build().unwrap();
    let mut bytes: Vec<u8, _> = Vec::new_in(&pool);
    assert!(bytes.try_reserve(1 << 20).is_err());
    assert!(bytes.try_reserve(8 * PAGE_SIZE).is_ok());
    assert!(Box::try_new_in([0u8; 9 * PAGE_SIZE], &pool).is_err());
    drop(bytes);
    assert_all_back(&pool);
}
