//! What a pool says at its socket, as far as it is shown.
//!
//! What is not there is taken to be none, and what is not known is passed over: the pool's process may be built from
//! an older or a newer library. What would be misunderstood has another protocol's number.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

/// The version that is understood here.
pub(super) const PROTOCOL: u64 = 1;

/// What is asked.
pub(super) const ASK: &[u8] = b"{\"get\":\"snapshot\"}\n";

/// A line that a pool says.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) protocol: u64,
    #[serde(default)]
    pub(super) snapshot: Option<Box<Snapshot>>,
    #[serde(default)]
    pub(super) end: Option<String>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// The number alone, of a line whatever else it says.
#[derive(Debug, Deserialize)]
pub(super) struct Protocol {
    pub(super) protocol: u64,
}

/// A pool at a moment. Counts are of pages unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) version: String,
    pub(super) served_for: Duration,
    pub(super) stats: Stats,
    pub(super) groups: Vec<Group>,
    pub(super) swap_areas: Vec<Area>,
    pub(super) daemons: Vec<Daemon>,
    pub(super) waiting: Waiting,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) budget_bytes: u64,
    pub(super) metadata_bytes: u64,
    pub(super) managed_pages: u64,
    pub(super) free_pages: u64,
    pub(super) cached_pages: u64,
    pub(super) swap_total_pages: u64,
    pub(super) swap_free_pages: u64,
    pub(super) folios: u64,
    pub(super) pressure: Pressure,
    pub(super) nodes: Vec<Node>,
    pub(super) vmstat: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Pressure {
    pub(super) some: PressureLine,
    pub(super) full: PressureLine,
}

/// Percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct PressureLine {
    pub(super) avg10: f64,
    pub(super) avg60: f64,
    pub(super) avg300: f64,
    pub(super) total: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) lru: Lists,
    pub(super) zones: Vec<Zone>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Lists {
    pub(super) inactive_anon: u64,
    pub(super) active_anon: u64,
    pub(super) inactive_file: u64,
    pub(super) active_file: u64,
    pub(super) unevictable: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) managed: u64,
    pub(super) free: u64,
    pub(super) min: u64,
    pub(super) low: u64,
    pub(super) high: u64,
    /// Free blocks by order.
    pub(super) nr_free: Vec<u64>,
    pub(super) pageblock_order: u32,
    pub(super) fragmentation_score: u64,
    /// Of each pageblock, the pages that are not free.
    pub(super) pageblocks: Vec<u64>,
    /// Of each, the letter of its type.
    pub(super) pageblock_types: String,
    /// The pages that were moved out of pageblocks so far, by their number.
    pub(super) pageblock_moved_out: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    pub(super) path: String,
    pub(super) current_bytes: u64,
    pub(super) limits: Limits,
    pub(super) refusals: u64,
    pub(super) pressure: Pressure,
}

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) max: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Area {
    pub(super) name: String,
    pub(super) total_pages: u64,
    pub(super) used_pages: u64,
    pub(super) errors: u64,
    pub(super) corrupt: u64,
    pub(super) stalls: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Daemon {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) activity: String,
    pub(super) activity_for: Duration,
    pub(super) failures: u64,
}

/// How many threads wait, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) for_memory: u64,
    pub(super) for_group: u64,
    pub(super) for_folio: u64,
    pub(super) for_kswapd: u64,
}

impl Snapshot {
    /// A count by the kernel's name.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.stats.vmstat.get(name).copied().unwrap_or(0)
    }

    /// Every zone with its node, in order.
    pub(super) fn zones(&self) -> impl Iterator<Item = (u64, &Zone)> {
        let nodes = self.stats.nodes.iter();
        nodes.flat_map(|node| node.zones.iter().map(|zone| (node.id, zone)))
    }
}

impl Zone {
    /// Percent of what is free that a block of `order` cannot be made of.
    pub(super) fn unusable_percent(&self, order: usize) -> f64 {
        let pages = |(order, nr): (usize, &u64)| nr << order;
        let free: u64 = self.nr_free.iter().enumerate().map(pages).sum();
        let usable: u64 = { self.nr_free.iter().enumerate().skip(order) }
            .map(pages)
            .sum();
        match free {
            0 => 0.0,
            _ => (free - usable) as f64 * 100.0 / free as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_none_and_what_is_new_is_passed_over() {
        let line: Line =
            serde_json::from_str(r#"{"protocol":1,"snapshot":{"name":"x","moon":"full"}}"#)
                .unwrap();
        let snapshot = line.snapshot.unwrap();
        assert_eq!((snapshot.name.as_str(), snapshot.pid), ("x", 0));
        assert_eq!(snapshot.count("pgfree"), 0);
    }

    #[test]
    fn a_real_pool_is_understood() {
        let pool = pagepool::PagePool::builder()
            .memory(64 << 20)
            .build()
            .unwrap();
        let stats = pool.stats();
        let text = serde_json::to_string(&stats).unwrap();
        let read: Stats = serde_json::from_str(&text).unwrap();
        assert_eq!(read.budget_bytes, 64 << 20);
        assert_eq!(read.free_pages, stats.free_pages as u64);
        let (read, zone) = (&read.nodes[0].zones[0], &stats.nodes[0].zones[0]);
        assert_eq!(read.pageblock_types.len(), zone.pageblocks.len());
        assert_eq!(read.pageblock_order, u32::from(zone.pageblock_order.get()));
        assert!(zone.high > 0 && read.high == zone.high as u64);
        let order = pagepool::Order::new(10).unwrap();
        let percent = zone.unusable_index(order) * 100.0;
        assert!((read.unusable_percent(10) - percent).abs() < 0.2);
    }

    #[test]
    fn moves_in_a_real_pool_are_understood() {
        let pool = pagepool::PagePool::builder()
            .managed(16 << 20)
            .daemons(false)
            .build()
            .unwrap();
        let folio = || pool.alloc_folio(4096, pagepool::Gfp::USER_MOVABLE).ok();
        let mut folios: Vec<_> = std::iter::from_fn(folio).take(3000).collect();
        let mut nr = 0;
        folios.retain(|_| {
            nr += 1;
            nr % 4 == 0
        });
        pool.compact(Duration::from_secs(10));
        let stats = pool.stats();
        let text = serde_json::to_string(&stats).unwrap();
        let read: Stats = serde_json::from_str(&text).unwrap();
        let (read, zone) = (&read.nodes[0].zones[0], &stats.nodes[0].zones[0]);
        assert!(!read.pageblock_moved_out.is_empty());
        for (block, pages) in zone.pageblock_moved_out.iter().enumerate() {
            let read = read.pageblock_moved_out.get(&block);
            assert_eq!(read.copied().unwrap_or(0), *pages, "{block}");
        }
    }
}
