//! Of how much use the free memory of each zone is for each order (pure).
//!
//! *Kernel counterpart:* `extfrag_show`, `unusable_show` (`mm/vmstat.c`, v5.0, spec 7.5). An index between 0 and
//! -1 keeps its sign before its digits; the kernel prints it after the point.

#![forbid(unsafe_code)]

use std::fmt;

use super::begin_line;
use crate::pool::stats::{Stats, ZoneStats};
use crate::types::Order;

pub(super) fn print_extfrag(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print(stats, f, ZoneStats::fragmentation_index)
}

pub(super) fn print_unusable(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print(stats, f, ZoneStats::unusable_index)
}

fn print(
    stats: &Stats,
    f: &mut fmt::Formatter<'_>,
    index: impl Fn(&ZoneStats, Order) -> f64,
) -> fmt::Result {
    for node in &stats.nodes {
        for zone in &node.zones {
            begin_line(f, node.id.get(), zone.name)?;
            for order in Order::all() {
                write!(f, "{:.3} ", index(zone, order))?;
            }
            writeln!(f)?;
        }
    }
    Ok(())
}
