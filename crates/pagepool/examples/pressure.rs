//! What happens when memory runs short: what a refusal says, waiting with a deadline, node masks.
//!
//! Run with `cargo run -p pagepool --example pressure`.

use std::thread;
use std::time::Duration;

use pagepool::{AllocError, Gfp, NodeId, NodeMask, Order, PagePool, Pages};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PagePool::builder().managed(8 << 20).nodes(2).build()?;
    let page = Order::ZERO;
    let first = NodeMask::only(NodeId::default());

    // Everything that one node gives to those who do not wait. The other is not touched.
    let take = || pool.request(page, Gfp::NOWAIT).nodes(first).alloc().ok();
    let on_first: Vec<Pages> = std::iter::from_fn(take).collect();
    println!("node 0 gave {} pages", on_first.len());
    let refused = pool.request(page, Gfp::NOWAIT).nodes(first).alloc();
    explain("one more on node 0", refused.as_ref().err());
    assert_eq!(refused.err(), Some(AllocError::NodeMask));

    // Without the mask there is more, until that is gone too.
    let take = || pool.alloc_pages(page, Gfp::NOWAIT).ok();
    let mut rest: Vec<Pages> = std::iter::from_fn(take).collect();
    println!("both nodes gave {} pages", on_first.len() + rest.len());
    let refused = pool.alloc_pages(page, Gfp::NOWAIT).err();
    explain("one more page", refused.as_ref());
    assert_eq!(refused, Some(AllocError::BelowMin));

    // Urgent requests reach into what is kept free for them.
    let urgent = pool.alloc_pages(page, Gfp::ATOMIC)?;
    println!("an urgent request still got {urgent:?}");
    drop(urgent);

    // A request that may wait is served when somebody frees memory, or ends at its deadline.
    let patient = pool.request(page, Gfp::KERNEL);
    let refused = patient.deadline(Duration::from_millis(20)).alloc().err();
    explain("a page within 20 ms", refused.as_ref());
    assert_eq!(refused, Some(AllocError::BelowMin));
    let freed = rest.pop();
    let served = thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(freed);
        });
        let patient = pool.request(page, Gfp::KERNEL);
        patient.deadline(Duration::from_secs(10)).alloc()
    })?;
    println!("somebody freed a page, and the waiting request got {served:?}");

    // Enough memory, but in pieces: every second page is free.
    let mut pages: Vec<Pages> = on_first.into_iter().chain(rest).chain([served]).collect();
    pages.retain(|page| page.pfn().get() % 2 == 0);
    let refused = pool.alloc_pages(Order::new(8)?, Gfp::KERNEL).err();
    explain("a block of 1 MiB", refused.as_ref());
    assert_eq!(refused, Some(AllocError::Fragmented));

    // Some requests cannot be met at all, and say so at once.
    let tiny = PagePool::builder().managed(64 << 10).build()?;
    let refused = tiny.alloc_pages(Order::MAX, Gfp::KERNEL).err();
    explain("4 MiB of a pool of 64 KiB", refused.as_ref());
    assert_eq!(refused, Some(AllocError::NeverFits));
    pool.verify()?;
    Ok(())
}

fn explain(what: &str, refusal: Option<&AllocError>) {
    if let Some(error) = refusal {
        println!("{what}: {error}");
        println!("    cause {}, remedy: {}", error.cause(), error.remedy());
    }
}
