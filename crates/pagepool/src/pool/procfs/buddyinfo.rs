//! Free blocks of each zone by order (pure).
//!
//! *Kernel counterpart:* `frag_show`, `frag_show_print` (`mm/vmstat.c`, v5.0, spec 7.5).

#![forbid(unsafe_code)]

use std::fmt;

use super::begin_line;
use crate::pool::stats::Stats;

pub(super) fn print(stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for node in &stats.nodes {
        for zone in &node.zones {
            begin_line(f, node.id.get(), zone.name)?;
            for nr in zone.nr_free {
                write!(f, "{nr:6} ")?;
            }
            writeln!(f)?;
        }
    }
    Ok(())
}
