//! The pool at large (pure).
//!
//! *Kernel counterpart:* `meminfo_proc_show` (`fs/proc/meminfo.c`), `si_mem_available` (`mm/page_alloc.c`, v5.0,
//! spec 7.5). Those who read this file want all of its lines: a pool has no block devices' buffers, no page
//! tables, no slab and the like, and 0 is how much. `Committed_AS` is what is in use in memory and in swap, since
//! a pool promises no more than it has; `CommitLimit` is all that there is. Left out are what a pool has and
//! nobody counts (`Mlocked`, `Percpu`), and huge pages and direct maps.

#![forbid(unsafe_code)]

use std::fmt;

use crate::pool::stats::{LruStats, Stats, ZoneStats};
use crate::types::PAGE_SIZE;

pub(super) fn print(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, pages) in lines(stats) {
        let label = format!("{name}:");
        writeln!(f, "{label:<16}{:8} kB", pages * (PAGE_SIZE / 1024))?;
    }
    Ok(())
}

/// Names and pages, in the order of v5.0.
fn lines(stats: &Stats) -> Vec<(&'static str, usize)> {
    let count = |name| stats.vmstat.get(name).unwrap_or(0) as usize;
    let lru: LruStats = stats.nodes.iter().map(|node| node.lru).sum();
    let committed = Committed::of(stats);
    let reclaimable = count("nr_kernel_misc_reclaimable");
    vec![
        ("MemTotal", stats.managed_pages),
        ("MemFree", stats.free_pages),
        ("MemAvailable", available(stats)),
        ("Buffers", 0),
        ("Cached", count("nr_file_pages")),
        ("SwapCached", count("nr_swapcached")),
        ("Active", lru.active_anon + lru.active_file),
        ("Inactive", lru.inactive_anon + lru.inactive_file),
        ("Active(anon)", lru.active_anon),
        ("Inactive(anon)", lru.inactive_anon),
        ("Active(file)", lru.active_file),
        ("Inactive(file)", lru.inactive_file),
        ("Unevictable", lru.unevictable),
        ("SwapTotal", stats.swap_total_pages),
        ("SwapFree", stats.swap_free_pages),
        ("Dirty", count("nr_dirty")),
        ("Writeback", count("nr_writeback")),
        ("AnonPages", count("nr_anon_pages")),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", reclaimable),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", committed.limit),
        ("Committed_AS", committed.used),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
    ]
}

struct Committed {
    limit: usize,
    used: usize,
}

impl Committed {
    fn of(stats: &Stats) -> Committed {
        let free = stats.free_pages + stats.cached_pages;
        let swapped = stats.swap_total_pages.saturating_sub(stats.swap_free_pages);
        Committed {
            limit: stats.managed_pages + stats.swap_total_pages,
            used: stats.managed_pages.saturating_sub(free) + swapped,
        }
    }
}

/// How much could be had without anything of use leaving for swap (spec 7.5): what is free and not kept back, and
/// of what can be dropped, all but the half, or the low marks if that is less.
fn available(stats: &Stats) -> usize {
    let zones = || stats.nodes.iter().flat_map(|node| &node.zones);
    let kept_back: usize = zones().map(kept_back).sum();
    let low: usize = zones().map(|zone| zone.low).sum();
    let files = stats.nodes.iter().map(|node| node.lru);
    let files = files.map(|lru| lru.active_file + lru.inactive_file).sum();
    let raw = stats.vmstat.get("nr_kernel_misc_reclaimable").unwrap_or(0) as usize;
    let droppable = |pages: usize| pages - (pages / 2).min(low);
    (stats.free_pages + droppable(files) + droppable(raw)).saturating_sub(kept_back)
}

/// What is kept back in a zone from somebody (kernel: its part of `totalreserve_pages`, spec 1.8).
fn kept_back(zone: &ZoneStats) -> usize {
    let reserve = zone.protection.into_iter().max().unwrap_or(0);
    (reserve + zone.high).min(zone.managed)
}
