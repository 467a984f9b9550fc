//! Why did my allocation fail? A pool in pieces, a request that is refused, and what the pool says of it.
//!
//! ```text
//! cargo run --release -p pagepool --example why
//! ```

use pagepool::{Gfp, Order, PagePool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PagePool::builder().memory(32 << 20).build()?;

    // Fill it with pages that stay where they are, and free every second one.
    let gfp = Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN;
    let mut pages = Vec::new();
    while let Ok(page) = pool.alloc_pages(Order::ZERO, gfp) {
        pages.push(page);
    }
    pages.retain(|page| page.pfn().get() % 2 == 0);

    // What is left in one piece goes first; then a request is refused although half of the memory is free.
    let order = Order::new(4)?;
    let mut large = Vec::new();
    while let Ok(block) = pool.alloc_pages(order, Gfp::KERNEL | Gfp::NORETRY) {
        large.push(block);
    }
    println!("{}\n", pool.explain(order, Gfp::KERNEL));
    println!("{}\n", pool.explain_swap());
    if let Some(report) = pool.failures().last() {
        println!("{report}");
    }
    Ok(())
}
