//! A vector, a hash map and an arena that live in a pool.
//!
//! Run with `cargo run -p pagepool --features allocator-api2 --example collections`.

use allocator_api2::vec::Vec;
use bump_scope::Bump;
use bump_scope::alloc::compat::AllocatorApi2V02Compat;
use hashbrown::HashMap;
use pagepool::PagePool;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PagePool::builder().managed(32 << 20).build()?;
    let in_use = || {
        let stats = pool.stats();
        stats.managed_pages - stats.free_pages - stats.cached_pages
    };

    // Each allocation is a block of pages of its own: right for what is large.
    let mut numbers: Vec<u32, _> = Vec::new_in(&pool);
    numbers.extend(0..500_000);
    println!("a vector of 500000 numbers: {} pages", in_use());
    assert_eq!(in_use(), 512);
    numbers.truncate(1000);
    numbers.shrink_to_fit();
    println!("shrunk to 1000 numbers: {} page", in_use());
    assert_eq!(in_use(), 1);

    let mut squares = HashMap::new_in(&pool);
    squares.extend((0..10_000u64).map(|n| (n, n * n)));
    println!("and a map of 10000 squares: {} pages", in_use());
    assert_eq!(squares[&99], 9801);

    // For small objects, an arena in between: it takes blocks and hands out bytes.
    let before = in_use();
    let words: Bump<_> = Bump::new_in(AllocatorApi2V02Compat(&pool));
    let longest = (0..100_000)
        .map(|n| words.alloc_str(&format!("word {n}")).len())
        .max();
    println!(
        "and 100000 words in an arena: {} pages more",
        in_use() - before
    );
    assert_eq!(longest, Some("word 99999".len()));
    assert!(in_use() - before < 1024);

    // What does not fit is an error to those who ask for it as one.
    let refused = numbers.try_reserve(16 << 20);
    println!("64 MiB more for the vector: {}", refused.is_ok());
    assert!(refused.is_err());

    drop((numbers, squares, words));
    assert_eq!(in_use(), 0);
    pool.verify()?;
    println!("all dropped: every page is back");
    Ok(())
}
