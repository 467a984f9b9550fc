//! Free blocks by migratetype, and pageblocks by migratetype (pure).
//!
//! *Kernel counterpart:* `pagetypeinfo_show`, `pagetypeinfo_showfree`, `pagetypeinfo_showblockcount`
//! (`mm/vmstat.c`, v5.0, spec 7.5). There is no row for isolated blocks, which is a mark here and no type, and
//! none for mixed blocks, which cost a walk: [`PagePool::mixed_pageblocks`](crate::PagePool::mixed_pageblocks).

#![forbid(unsafe_code)]

use std::fmt;

use super::begin_line;
use crate::pool::stats::{Stats, ZoneStats};
use crate::types::{Migratetype, Order};

pub(super) fn print(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let order = largest_pageblock(stats);
    writeln!(f, "Page block order: {}", order.get())?;
    writeln!(f, "Pages per block:  {}", order.pages())?;
    writeln!(f)?;
    print_free(stats, f)?;
    writeln!(f)?;
    print_pageblocks(stats, f)
}

/// The pageblocks of a small zone are smaller than the others.
fn largest_pageblock(stats: &Stats) -> Order {
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    let orders = zones.map(|zone: &ZoneStats| zone.pageblock_order);
    orders.max().unwrap_or(Order::ZERO)
}

fn print_free(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let heading = "Free pages count per migrate type at order";
    write!(f, "{heading:<43} ")?;
    for order in Order::all() {
        write!(f, "{:6} ", order.get())?;
    }
    writeln!(f)?;
    for node in &stats.nodes {
        let id = node.id.get();
        for zone in &node.zones {
            for mt in Migratetype::ALL {
                let (zone_name, mt_name) = (zone.name, mt.name());
                write!(f, "Node {id:4}, zone {zone_name:>8}, type {mt_name:>12} ")?;
                for nr in zone.nr_free_by_type[mt.idx()] {
                    write!(f, "{nr:6} ")?;
                }
                writeln!(f)?;
            }
        }
    }
    Ok(())
}

fn print_pageblocks(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:<23}", "Number of blocks type")?;
    for mt in Migratetype::ALL {
        write!(f, "{:>12} ", mt.name())?;
    }
    writeln!(f)?;
    for node in &stats.nodes {
        for zone in &node.zones {
            begin_line(f, node.id.get(), zone.name)?;
            for nr in zone.pageblocks_by_type {
                write!(f, "{nr:12} ")?;
            }
            writeln!(f)?;
        }
    }
    Ok(())
}
