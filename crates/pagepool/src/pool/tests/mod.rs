//! Whole pools, small ones, by their public face.

mod at_hand;
mod blocks;
mod container;
mod hotplug;
mod prefault;
mod raw;
mod settings;
mod statistics;
mod trim;

use super::*;

fn order(n: u8) -> Order {
    Order::new(n).unwrap()
}

fn small_pool(pages: usize) -> PagePool {
    let builder = PagePool::builder().managed(pages * PAGE_SIZE);
    builder
        .min_free_kbytes(0)
        .deadline(Duration::ZERO)
        .build()
        .unwrap()
}

/// Everything that can be had at an order, without waiting.
fn take_all(pool: &PagePool, order: Order) -> Vec<Pages> {
    let take = || pool.alloc_pages(order, Gfp::NOWAIT).ok();
    std::iter::from_fn(take).collect()
}

#[track_caller]
fn assert_panics(message: &str, f: impl FnOnce() + std::panic::UnwindSafe) {
    let panic = std::panic::catch_unwind(f).expect_err("a panic");
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(text.contains(message), "{text}");
}
