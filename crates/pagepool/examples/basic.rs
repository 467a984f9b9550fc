//! Blocks of pages: how to get one, what it is, how it comes back.
//!
//! Run with `cargo run -p pagepool --example basic`.

use pagepool::{Gfp, Order, PagePool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A budget, the pool's own tables included. Hardly any of it is touched until it is used.
    let pool = PagePool::builder().memory(64 << 20).nodes(2).build()?;
    print!("{}", pool.config());

    // A block is 2^order pages: zeroed, aligned to its size, an owned slice of bytes.
    let order = Order::for_bytes(20_000).ok_or("at most 4 MiB at once")?;
    let mut block = pool.alloc_pages(order, Gfp::KERNEL)?;
    println!("20000 bytes need {} pages: {block:?}", order.pages());
    assert_eq!(block.len(), 32 << 10);
    assert_eq!(block.as_ptr().addr() % block.len(), 0);
    assert!(block.iter().all(|byte| *byte == 0));
    block[..5].copy_from_slice(b"hello");

    // It can be split, and each part is freed by itself, on any thread, even after the pool's handle.
    let parts: Vec<_> = block.split(Order::ZERO).collect();
    assert_eq!(&parts[0][..5], b"hello");
    let first = parts.into_iter().next().ok_or("eight parts")?;
    std::thread::spawn(move || drop(first))
        .join()
        .map_err(|_| "it does not panic")?;

    // Many at once, under one hold of a lock.
    let mut blocks = vec![];
    let got = pool.alloc_bulk(Order::ZERO, Gfp::KERNEL, 1000, &mut blocks)?;
    assert_eq!((got, blocks.len()), (1000, 1000));
    drop(blocks);

    // Everything is back, every invariant holds, and unused memory returns to the system.
    let given_back = pool.trim();
    let stats = pool.stats();
    assert_eq!(stats.free_pages, stats.managed_pages);
    pool.verify()?;
    println!(
        "{} of {} pages free, {given_back} bytes given back, {} pages allocated in all",
        stats.free_pages,
        stats.managed_pages,
        stats.vmstat.get("pgalloc_normal").unwrap_or(0),
    );
    Ok(())
}
