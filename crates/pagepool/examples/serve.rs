//! A pool that can be looked at from outside while it works.
//!
//! ```sh
//! cargo run -p pagepool --features serve --example serve -- 60    # for so many seconds, a moment if none
//! cargo run --release -- top                                      # meanwhile, in another terminal
//! ```

use std::time::Duration;

use pagepool::{Gfp, Order, PagePool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(0), |text| text.parse())?;
    let pool = PagePool::builder().memory(64 << 20).build()?;
    let server = pool.serve_as("example")?;
    println!("served at {}", server.path().display());

    let _block = pool.alloc_pages(Order::new(9)?, Gfp::KERNEL)?;
    std::thread::sleep(Duration::from_secs(seconds));
    Ok(())
}
