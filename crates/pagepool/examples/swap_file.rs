//! More data than memory: what is not used goes to a swap file, and comes back when it is touched.
//!
//! Run with `cargo run -p pagepool --example swap_file`.

use pagepool::{Gfp, PagePool, SwapFile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 16 MiB of memory. The file is gone when the program ends, whatever ends it.
    let swap = SwapFile::temporary(96 << 20)?;
    let pool = PagePool::builder().memory(16 << 20).swap(swap).build()?;

    // 64 MiB of folios, each with its number in all its bytes.
    let mut folios = Vec::new();
    for n in 0..1024 {
        let mut folio = pool.alloc_folio(64 << 10, Gfp::USER_MOVABLE)?;
        folio.write()?.fill(n as u8);
        folios.push(folio);
    }
    let here = folios.iter().filter(|folio| folio.is_resident()).count();
    println!("{here} of {} folios are in memory", folios.len());

    // Whoever reads one sees nothing of that.
    for (n, folio) in folios.iter().enumerate() {
        assert!(folio.read()?.iter().all(|byte| *byte == n as u8));
    }
    println!("all of them are as they were written");

    let stats = pool.stats();
    let count = |name| stats.vmstat.get(name).unwrap_or(0);
    let (out, back) = (count("pswpout"), count("pswpin"));
    println!("{out} pages were written to swap, {back} read back");
    let (daemon, direct) = (count("pgsteal_kswapd"), count("pgsteal_direct"));
    println!("kswapd freed {daemon} pages, those who needed them {direct}");
    for area in pool.swap_areas() {
        println!(
            "{}: {} of {} pages used",
            area.name, area.used_pages, area.total_pages
        );
    }
    assert!(here < folios.len() && out > 0 && back > 0);
    Ok(())
}
