//! Nodes and zones with marks, counts and caches (pure).
//!
//! *Kernel counterpart:* `zoneinfo_show`, `zoneinfo_show_print` (`mm/vmstat.c`, v5.0, spec 7.5). What a node
//! counts comes with its first zone that has memory. A zone without any ends after what is kept back in it. Frames
//! are numbered by node, so that `start_pfn` is 0 for the first zone of each; counts by the node that a block came
//! from are those of the pool, in `vmstat`.

#![forbid(unsafe_code)]

use std::fmt;

use crate::node::daemon_post::MAX_RECLAIM_RETRIES;
use crate::pool::stats::{EmptyZoneStats, NodeStats, PagesetStats, Stats, ZoneStats};
use crate::types::{NR_ZONES, ZoneType};
use crate::zone::figure::Figure;

pub(super) fn print(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for node in &stats.nodes {
        for zone in ZoneType::ALL {
            print_zone(node, zone, f)?;
        }
    }
    Ok(())
}

fn print_zone(node: &NodeStats, zone: ZoneType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Node {}, zone {:>8}", node.id.get(), zone.name())?;
    if let Some(zone) = node.zones.iter().find(|known| known.zone == zone) {
        print_populated(node, zone, f)?;
    }
    if let Some(zone) = node.empty_zones.iter().find(|known| known.zone == zone) {
        print_pages(&Pages::of_empty(zone), f)?;
    }
    Ok(())
}

fn print_populated(node: &NodeStats, zone: &ZoneStats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if node
        .zones
        .first()
        .is_some_and(|first| first.zone == zone.zone)
    {
        writeln!(f, "  per-node stats")?;
        print_counts(node.vmstat.figures(), f)?;
    }
    print_pages(&Pages::of(zone), f)?;
    print_counts(&zone.figures(), f)?;
    writeln!(f, "  pagesets")?;
    for pageset in &zone.pagesets {
        print_pageset(pageset, node.stat_threshold, f)?;
    }
    let is_hopeless = node.kswapd_failures >= MAX_RECLAIM_RETRIES;
    writeln!(f, "  node_unreclaimable:  {}", u8::from(is_hopeless))?;
    writeln!(f, "  start_pfn:           {}", zone.start.index())
}

/// What is said of every zone, marks with their boost. Sizes are in pages.
struct Pages {
    free: usize,
    marks: [usize; 3],
    spanned: usize,
    present: usize,
    managed: usize,
    protection: [usize; NR_ZONES],
}

impl Pages {
    fn of(zone: &ZoneStats) -> Pages {
        Pages {
            free: zone.free,
            marks: [zone.min, zone.low, zone.high],
            spanned: zone.spanned,
            present: zone.present,
            managed: zone.managed,
            protection: zone.protection,
        }
    }

    fn of_empty(zone: &EmptyZoneStats) -> Pages {
        Pages {
            free: 0,
            marks: [0; 3],
            spanned: zone.present,
            present: zone.present,
            managed: 0,
            protection: zone.protection,
        }
    }
}

fn print_pages(pages: &Pages, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [min, low, high] = pages.marks;
    writeln!(f, "  pages free     {}", pages.free)?;
    writeln!(f, "        min      {min}")?;
    writeln!(f, "        low      {low}")?;
    writeln!(f, "        high     {high}")?;
    writeln!(f, "        spanned  {}", pages.spanned)?;
    writeln!(f, "        present  {}", pages.present)?;
    writeln!(f, "        managed  {}", pages.managed)?;
    let protection = pages.protection.map(|pages| pages.to_string());
    writeln!(f, "        protection: ({})", protection.join(", "))
}

fn print_counts(figures: &[Figure], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut figures = figures.iter();
    figures.try_for_each(|figure| writeln!(f, "      {:<12} {}", figure.name, figure.value))
}

fn print_pageset(pageset: &PagesetStats, threshold: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "    cpu: {}", pageset.cpu)?;
    writeln!(f, "              count: {}", pageset.count)?;
    writeln!(f, "              high:  {}", pageset.high)?;
    writeln!(f, "              batch: {}", pageset.batch)?;
    writeln!(f, "  vm stats threshold: {threshold}")
}
