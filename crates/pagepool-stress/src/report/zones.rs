//! The pool's zones and free lists, and beside them those of the kernel that the trace is from.
#![forbid(unsafe_code)]

use pagepool::NR_ORDERS;

use super::{
    nodes::{Kernel, Node, unusable_index},
    table::Table,
};
use crate::units::grouped;

/// Writes the zones with their marks, in pages.
pub(super) fn write_zones(nodes: &[Node], kernel: Option<&Kernel>, to: &mut String) {
    let mut table = Table::new([
        "zone (pages)",
        "managed",
        "free",
        "cached",
        "min",
        "low",
        "high",
        "boost",
    ]);
    for node in nodes {
        for zone in &node.zones {
            let figures = [
                zone.managed,
                zone.free,
                zone.cached,
                zone.min,
                zone.low,
                zone.high,
                zone.boost,
            ];
            let name = format!("node {} {}", node.id, zone.name);
            table.row([name].into_iter().chain(figures.map(grouped)));
        }
    }
    for zone in kernel.iter().flat_map(|kernel| &kernel.zones) {
        let free: u64 = (0..)
            .zip(&zone.nr_free)
            .map(|(order, nr)| nr << order)
            .sum();
        let figures = [
            format!("kernel {}", zone.name),
            grouped(zone.managed),
            grouped(free),
            String::new(),
            grouped(zone.min),
            grouped(zone.low),
            grouped(zone.high),
        ];
        table.row(figures);
    }
    table.write("  ", to);
}

/// Writes free blocks and the unusable index by order, of the pool and of the kernel.
pub(super) fn write_free_lists(nodes: &[Node], kernel: Option<&Kernel>, to: &mut String) {
    let orders = (0..NR_ORDERS).map(|order| order.to_string());
    let mut table = Table::new(["order".to_owned()].into_iter().chain(orders));
    let pool = sum(nodes
        .iter()
        .flat_map(|node| &node.zones)
        .map(|zone| &zone.nr_free[..]));
    add_rows(&mut table, "pool", &pool);
    if let Some(kernel) = kernel {
        add_rows(
            &mut table,
            "kernel",
            &sum(kernel.zones.iter().map(|zone| &zone.nr_free[..])),
        );
    }
    table.write("  ", to);
}

fn add_rows(table: &mut Table, whose: &str, nr_free: &[u64]) {
    let counts = nr_free.iter().map(u64::to_string);
    table.row([format!("{whose}: free blocks")].into_iter().chain(counts));
    let index = unusable_index(nr_free)
        .into_iter()
        .map(|index| format!("{index:.3}"));
    table.row(
        [format!("{whose}: unusable index")]
            .into_iter()
            .chain(index),
    );
}

fn sum<'a>(zones: impl Iterator<Item = &'a [u64]>) -> Vec<u64> {
    zones.fold(vec![0; NR_ORDERS], |sum, zone| {
        sum.iter().zip(zone).map(|(a, b)| a + b).collect()
    })
}

/// Writes how many pageblocks there are of each type.
pub(super) fn write_pageblocks(nodes: &[Node], to: &mut String) {
    let mut table = Table::new([
        "pageblocks",
        "unmovable",
        "movable",
        "reclaimable",
        "high-atomic",
    ]);
    for node in nodes {
        for zone in &node.zones {
            let name = format!(
                "node {} {} (order {})",
                node.id, zone.name, zone.pageblock_order
            );
            table.row(
                [name]
                    .into_iter()
                    .chain(zone.pageblocks_by_type.iter().map(u64::to_string)),
            );
        }
    }
    table.write("  ", to);
}
