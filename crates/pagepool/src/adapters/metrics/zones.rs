//! What is told of nodes and zones (pure).

use super::families::pressure;
use super::family::{BaseUnit, Family};
use super::snapshot::Snapshot;
use crate::pool::stats::{NodeStats, ZoneStats};
use crate::types::{Migratetype, Order, PAGE_SIZE, ZoneType};

pub(super) fn all(pools: &[Snapshot]) -> Vec<Family> {
    let mut families: Vec<_> = pressure("node_", pools, |pool| {
        let nodes = pool.stats.nodes.iter();
        let samples = nodes.map(|node| (pool.labels([of_node(node)]), node.pressure));
        samples.collect()
    })
    .into();
    families.push(
        Family::gauge(
            "pagepool_node_fragmentation",
            "Part of the node's free memory that is in smaller pieces than a pageblock, small zones counting little.",
        )
        .of_unit(BaseUnit::Ratio)
        .with(pools.iter().flat_map(|pool| {
            let nodes = pool.stats.nodes.iter();
            nodes.map(|node| {
                let ratio = node.fragmentation_score as f64 / 100.0;
                (pool.labels([of_node(node)]), ratio)
            })
        })),
    );
    families.extend(sizes(pools));
    families.extend(by_mark_class_and_list(pools));
    families.extend(blocks(pools));
    families.extend(indices(pools));
    families
}

fn of_node(node: &NodeStats) -> (&'static str, String) {
    ("node", node.id.get().to_string())
}

fn of_zone(zone: &ZoneStats) -> (&'static str, String) {
    ("zone", zone.name.to_owned())
}

/// Every zone of every pool that has memory.
fn zones(pools: &[Snapshot]) -> impl Iterator<Item = (&Snapshot, &NodeStats, &ZoneStats)> {
    pools.iter().flat_map(|pool| {
        let nodes = pool.stats.nodes.iter();
        nodes.flat_map(move |node| node.zones.iter().map(move |zone| (pool, node, zone)))
    })
}

/// Families with a size a zone.
fn sizes(pools: &[Snapshot]) -> Vec<Family> {
    let family = |name, help, pages: fn(&ZoneStats) -> usize| {
        Family::gauge(name, help)
            .of_unit(BaseUnit::Bytes)
            .with(zones(pools).map(|(pool, node, zone)| {
                let labels = pool.labels([of_node(node), of_zone(zone)]);
                (labels, pages(zone) * PAGE_SIZE)
            }))
    };
    vec![
        family(
            "pagepool_zone_present",
            "Memory that the zone was built with.",
            |zone| zone.present,
        ),
        family(
            "pagepool_zone_managed",
            "Memory of the zone that is in service.",
            |zone| zone.managed,
        ),
        family(
            "pagepool_zone_free",
            "Memory that is free in the zone.",
            |zone| zone.free,
        ),
        family(
            "pagepool_zone_cached",
            "Free memory of the zone in the caches of the CPUs and in threads' magazines.",
            |zone| zone.cached,
        ),
        family(
            "pagepool_zone_at_hand",
            "Free memory of the zone in threads' magazines.",
            |zone| zone.magazines.pages,
        ),
        family(
            "pagepool_zone_whole_free",
            "Memory that is free in whole pageblocks.",
            |zone| zone.whole_free_pages,
        ),
        family(
            "pagepool_zone_resident_free",
            "Large free blocks that have memory of the system behind them.",
            |zone| zone.resident_free_pages,
        ),
        family(
            "pagepool_zone_blank_free",
            "Large free blocks whose memory was asked for ahead and not used yet.",
            |zone| zone.blank_free_pages,
        ),
        family(
            "pagepool_zone_reserved_highatomic",
            "Pageblocks reserved for urgent requests, free or not.",
            |zone| zone.reserved_highatomic,
        ),
        family(
            "pagepool_zone_watermark_boost",
            "How far fragmentation has raised the zone's marks.",
            |zone| zone.boost,
        ),
    ]
}

/// The kernel's names of the lists of folios.
const LISTS: [&str; 5] = [
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
];

fn by_mark_class_and_list(pools: &[Snapshot]) -> Vec<Family> {
    let family = |name, help, label, sizes: fn(&ZoneStats) -> Vec<(&'static str, usize)>| {
        Family::gauge(name, help)
            .of_unit(BaseUnit::Bytes)
            .with(zones(pools).flat_map(move |(pool, node, zone)| {
                sizes(zone).into_iter().map(move |(which, pages)| {
                    let which = (label, which.to_owned());
                    let labels = pool.labels([of_node(node), of_zone(zone), which]);
                    (labels, pages * PAGE_SIZE)
                })
            }))
    };
    vec![
        family(
            "pagepool_zone_watermark",
            "The zone's marks: below low kswapd works, above high it sleeps, min is for those who must not wait.",
            "mark",
            |zone| vec![("min", zone.min), ("low", zone.low), ("high", zone.high)],
        ),
        family(
            "pagepool_zone_protection",
            "What is kept back in the zone from requests that may use higher zones.",
            "class",
            |zone| {
                let classes = ZoneType::ALL.map(ZoneType::name);
                classes.into_iter().zip(zone.protection).collect()
            },
        ),
        family(
            "pagepool_zone_lru",
            "Folios in the zone, by the list that they are on.",
            "list",
            |zone| LISTS.into_iter().zip(zone.lru.pages()).collect(),
        ),
    ]
}

fn blocks(pools: &[Snapshot]) -> [Family; 2] {
    let free = zones(pools).flat_map(|(pool, node, zone)| {
        Migratetype::ALL.into_iter().flat_map(move |mt| {
            Order::all().map(move |order| {
                let labels = pool.labels([
                    of_node(node),
                    of_zone(zone),
                    ("order", order.get().to_string()),
                    ("migratetype", mt.name().to_owned()),
                ]);
                (labels, zone.nr_free_by_type[mt.idx()][order.idx()])
            })
        })
    });
    let pageblocks = zones(pools).flat_map(|(pool, node, zone)| {
        Migratetype::ALL.into_iter().map(move |mt| {
            let mt_name = ("migratetype", mt.name().to_owned());
            let labels = pool.labels([of_node(node), of_zone(zone), mt_name]);
            (labels, zone.pageblocks_by_type[mt.idx()])
        })
    });
    [
        Family::gauge(
            "pagepool_free_blocks",
            "Free blocks of 2^order pages, by what their pageblocks are for.",
        )
        .with(free),
        Family::gauge("pagepool_pageblocks", "Pageblocks, by what they are for.").with(pageblocks),
    ]
}

fn indices(pools: &[Snapshot]) -> [Family; 2] {
    let family = |family: Family, index: fn(&ZoneStats, Order) -> f64| {
        family.with(zones(pools).flat_map(move |(pool, node, zone)| {
            Order::all().map(move |order| {
                let order_label = ("order", order.get().to_string());
                let labels = pool.labels([of_node(node), of_zone(zone), order_label]);
                (labels, index(zone, order))
            })
        }))
    };
    [
        family(
            Family::gauge(
                "pagepool_zone_unusable",
                "Part of the free memory that a request of this order cannot use.",
            )
            .of_unit(BaseUnit::Ratio),
            ZoneStats::unusable_index,
        ),
        family(
            Family::gauge(
                "pagepool_zone_fragmentation_index",
                "Why a request of this order would fail: towards 0 for lack of memory, towards 1 since it is in pieces; -1 if it would not.",
            ),
            ZoneStats::fragmentation_index,
        ),
    ]
}
