//! How nodes and zones stand, and those of a real kernel under the same load.
#![forbid(unsafe_code)]

use pagepool::{NR_ORDERS, Order, Stats};
use serde::Serialize;

use crate::{trace::kernel::KernelState, units::wide};

/// A node of the pool.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) kswapd: String,
    pub(crate) kcompactd: String,
    pub(crate) zones: Vec<Zone>,
}

/// A zone of a node; figures in pages unless they say otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    pub(crate) spanned: u64,
    pub(crate) present: u64,
    pub(crate) managed: u64,
    pub(crate) free: u64,
    pub(crate) cached: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) boost: u64,
    pub(crate) protection: Vec<u64>,
    /// Free blocks by order.
    pub(crate) nr_free: Vec<u64>,
    /// Share of the free memory that no block of the order could use, by order.
    pub(crate) unusable_index: Vec<f64>,
    pub(crate) pageblock_order: u8,
    /// Unmovable, movable, reclaimable, high-atomic.
    pub(crate) pageblocks_by_type: Vec<u64>,
    /// Pages in use of each pageblock.
    pub(crate) pageblocks: Vec<u16>,
}

/// A real kernel at the end of the same load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kernel {
    pub(crate) zones: Vec<KernelZone>,
}

/// A zone of a real kernel, in pages.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KernelZone {
    pub(crate) name: String,
    pub(crate) managed: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) nr_free: Vec<u64>,
    pub(crate) unusable_index: Vec<f64>,
}

impl From<&KernelState> for Kernel {
    fn from(state: &KernelState) -> Kernel {
        let zones = state.zones.iter().map(|zone| KernelZone {
            name: zone.name.clone(),
            managed: zone.managed,
            min: zone.min,
            low: zone.low,
            high: zone.high,
            nr_free: zone.nr_free.to_vec(),
            unusable_index: unusable_index(&zone.nr_free),
        });
        Kernel {
            zones: zones.collect(),
        }
    }
}

/// The nodes of a pool.
pub(super) fn nodes(stats: &Stats) -> Vec<Node> {
    let nodes = stats.nodes.iter().map(|node| Node {
        id: node.id.get(),
        kswapd: node.kswapd.to_string(),
        kcompactd: node.kcompactd.to_string(),
        zones: node.zones.iter().map(zone).collect(),
    });
    nodes.collect()
}

fn zone(zone: &pagepool::ZoneStats) -> Zone {
    Zone {
        name: zone.name,
        spanned: wide(zone.spanned),
        present: wide(zone.present),
        managed: wide(zone.managed),
        free: wide(zone.free),
        cached: wide(zone.cached),
        min: wide(zone.min),
        low: wide(zone.low),
        high: wide(zone.high),
        boost: wide(zone.boost),
        protection: zone.protection.map(wide).to_vec(),
        nr_free: zone.nr_free.to_vec(),
        unusable_index: Order::all()
            .map(|order| zone.unusable_index(order))
            .collect(),
        pageblock_order: zone.pageblock_order.get(),
        pageblocks_by_type: zone.pageblocks_by_type.to_vec(),
        pageblocks: zone.pageblocks.clone(),
    }
}

/// Share of free memory that blocks of each order cannot use, from free blocks by order.
pub(super) fn unusable_index(nr_free: &[u64]) -> Vec<f64> {
    let pages = |order: usize| nr_free[order] << order;
    let free: u64 = (0..NR_ORDERS).map(pages).sum();
    let index = |order: usize| {
        let too_small: u64 = (0..order).map(pages).sum();
        too_small as f64 / free.max(1) as f64
    };
    (0..NR_ORDERS).map(index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unusable_index_counts_what_is_too_small() {
        let mut nr_free = [0; NR_ORDERS];
        (nr_free[0], nr_free[3]) = (8, 1);
        let index = unusable_index(&nr_free);
        assert_eq!(index[0], 0.0);
        assert_eq!(index[1..=3], [0.5; 3]);
        assert_eq!(index[4..], [1.0; 7]);
        assert_eq!(unusable_index(&[0; NR_ORDERS]), [0.0; NR_ORDERS]);
    }
}
