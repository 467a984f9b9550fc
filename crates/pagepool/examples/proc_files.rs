//! A pool in the formats in which the kernel tells of its memory: printed, or written into a directory.
//!
//! ```sh
//! cargo run -p pagepool --example proc_files            # prints them
//! cargo run -p pagepool --example proc_files -- DIR     # writes DIR/vmstat, DIR/pressure/memory, ...
//! ```

use std::error::Error;

use pagepool::{Gfp, Order, PagePool, ProcFile, SwapFile};

fn main() -> Result<(), Box<dyn Error>> {
    let pool = PagePool::builder()
        .memory(64 << 20)
        .swap(SwapFile::temporary(64 << 20)?)
        .build()?;

    // More folios than there is memory, so that some are away; and blocks that cut what is free into pieces.
    let mut folios = vec![];
    for nr in 0..80 {
        let mut folio = pool.alloc_folio(1 << 20, Gfp::USER_MOVABLE)?;
        folio.write()?.fill(nr);
        folios.push(folio);
    }
    let mut pages = (0..1000)
        .map(|_| pool.alloc_pages(Order::ZERO, Gfp::KERNEL))
        .collect::<Result<Vec<_>, _>>()?;
    let mut nr = 0;
    pages.retain(|_| {
        nr += 1;
        nr % 3 == 0
    });

    let stats = pool.stats();
    if let Some(dir) = std::env::args().nth(1) {
        stats.write_proc(&dir)?;
        println!("written to {dir}");
    } else {
        for file in ProcFile::ALL {
            println!("==> {} <==\n{}", file.path(), stats.proc(file));
        }
    }
    drop((folios, pages));
    Ok(())
}
