//! The texts against each other, the numbers of `stats()`, and what is known to be out.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use pagepool::{Gfp, Order, PAGE_SIZE, PagePool, ProcFile};

use super::{Used, named, pages_of};
use crate::{StopOnDrop, order};

/// The numbers behind the words that a line about a zone begins with, by these words.
fn rows(text: &str, words: usize) -> HashMap<String, Vec<f64>> {
    text.lines()
        .map(|line| {
            let line: Vec<_> = line.split_whitespace().collect();
            let numbers = line[words..].iter().map(|word| word.parse().unwrap());
            (line[..words].join(" "), numbers.collect())
        })
        .collect()
}

#[test]
fn free_memory_is_the_same_wherever_it_is_said() {
    let used = Used::new();
    let stats = used.pool.stats();
    let text = |file| stats.proc(file).to_string();

    // What is out is known, so that what is free is.
    let out = used.raw_pages() + used.resident();
    let free = (stats.managed_pages - out) as u64;
    assert_eq!(stats.cached_pages, 0, "drained");
    assert_eq!(stats.free_pages as u64, free);

    let vmstat = text(ProcFile::Vmstat);
    let vmstat = named(&vmstat);
    assert_eq!(vmstat["nr_free_pages"], free);
    let meminfo = text(ProcFile::Meminfo);
    assert!(meminfo.contains(&format!("\nMemFree:        {:8} kB\n", free * 4)));

    let buddyinfo = rows(&text(ProcFile::Buddyinfo), 4);
    let nr_free = |row: &[f64]| row.iter().map(|nr| *nr as u64).collect::<Vec<_>>();
    let by_order = buddyinfo.values().map(|row| pages_of(&nr_free(row)));
    assert_eq!(by_order.sum::<u64>(), free);

    let zoneinfo = text(ProcFile::Zoneinfo);
    let free_lines = zoneinfo
        .lines()
        .filter_map(|line| line.strip_prefix("  pages free     "));
    assert_eq!(
        free_lines.map(|nr| nr.parse::<u64>().unwrap()).sum::<u64>(),
        free
    );

    let pagetypeinfo = text(ProcFile::Pagetypeinfo);
    let types = pagetypeinfo.lines().filter(|line| line.contains(", type "));
    let types = rows(&types.collect::<Vec<_>>().join("\n"), 6);
    let by_type = types.values().map(|row| pages_of(&nr_free(row)));
    assert_eq!(by_type.sum::<u64>(), free);
    for node in &stats.nodes {
        for zone in &node.zones {
            let row = &buddyinfo[&format!("Node {}, zone {}", node.id.get(), zone.name)];
            assert_eq!(nr_free(row), zone.nr_free);
        }
    }
}

/// Each zone is looked at once for a snapshot, so that its numbers agree while others allocate.
#[test]
fn a_snapshot_agrees_with_itself_while_the_pool_is_in_use() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .nodes(2)
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for n in 0..2_u8 {
            let (pool, stop) = (&pool, &stop);
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    let orders = (n..9).rev();
                    let blocks =
                        orders.map(|o| pool.alloc_pages(order(o), Gfp::KERNEL | Gfp::NORETRY));
                    drop(blocks.collect::<Vec<_>>());
                }
            });
        }
        let mut seen = HashSet::new();
        while seen.len() < 50 {
            let stats = pool.stats();
            let free = stats.free_pages as u64;
            seen.insert(free);
            assert_eq!(stats.vmstat.get("nr_free_pages"), Some(free));
            let buddyinfo = rows(&stats.proc(ProcFile::Buddyinfo).to_string(), 4);
            let nr_free = |row: &[f64]| row.iter().map(|nr| *nr as u64).collect::<Vec<_>>();
            let by_order = buddyinfo.values().map(|row| pages_of(&nr_free(row)));
            assert_eq!(by_order.sum::<u64>(), free);
            for zone in stats.nodes.iter().flat_map(|node| &node.zones) {
                let by_type = zone.nr_free_by_type.iter().map(|row| pages_of(row));
                assert_eq!(by_type.sum::<u64>(), zone.free as u64);
            }
        }
    });
}

#[test]
fn folios_are_counted_where_they_are() {
    let used = Used::new();
    // What waits in a batch is on no list; reading the sizes of lists does not put it there.
    let stats = used.pool.stats();
    let vmstat = stats.proc(ProcFile::Vmstat).to_string();
    let vmstat = named(&vmstat);
    let resident = used.resident() as u64;
    assert_eq!(resident, 300);
    assert_eq!(vmstat["nr_anon_pages"], resident);
    assert_eq!(vmstat["nr_kernel_misc_reclaimable"], 8);

    let sum = |prefix: &str| -> u64 {
        let lists = [
            "inactive_anon",
            "active_anon",
            "inactive_file",
            "active_file",
            "unevictable",
        ];
        lists
            .iter()
            .map(|list| vmstat[&*format!("{prefix}{list}")])
            .sum()
    };
    assert_eq!(sum("nr_zone_"), sum("nr_"));
    assert!(sum("nr_") <= resident);
    for node in &stats.nodes {
        let of_zones: usize = node.zones.iter().map(|zone| zone.lru.inactive_anon).sum();
        assert_eq!(of_zones, node.lru.inactive_anon);
    }
    let of_nodes = |name| {
        stats
            .nodes
            .iter()
            .map(|node| node.vmstat.get(name).unwrap())
            .sum::<u64>()
    };
    assert_eq!(of_nodes("nr_anon_pages"), resident);
    assert_eq!(of_nodes("nr_swapcached"), vmstat["nr_swapcached"]);

    let swapped = (stats.swap_total_pages - stats.swap_free_pages) as u64;
    let committed = stats.proc(ProcFile::Meminfo).to_string();
    let committed = named_kib(&committed, "Committed_AS");
    let out = used.raw_pages() as u64 + resident;
    assert_eq!(committed, (out + swapped) * PAGE_SIZE as u64 / 1024);
}

fn named_kib(meminfo: &str, name: &str) -> u64 {
    let mut lines = meminfo.lines();
    let line = lines
        .find(|line| line.starts_with(&format!("{name}:")))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn indices_are_those_of_the_zones() {
    let used = Used::new();
    let stats = used.pool.stats();
    let mut is_in_pieces = false;
    let extfrag = rows(&stats.proc(ProcFile::ExtfragIndex).to_string(), 4);
    let unusable = rows(&stats.proc(ProcFile::UnusableIndex).to_string(), 4);
    for node in &stats.nodes {
        for zone in &node.zones {
            let row = format!("Node {}, zone {}", node.id.get(), zone.name);
            for order in Order::all() {
                let n = usize::from(order.get());
                assert_eq!(extfrag[&row][n], zone.fragmentation_index(order));
                assert_eq!(unusable[&row][n], zone.unusable_index(order));
                is_in_pieces |= unusable[&row][n] > 0.0;
            }
        }
    }
    assert!(is_in_pieces, "else the test sees zeros only");
}

/// Zones without memory are listed, so that what is kept back shows, and caches by CPU.
#[test]
fn zoneinfo_lists_every_zone_and_every_cache() {
    let used = Used::new();
    let stats = used.pool.stats();
    let text = stats.proc(ProcFile::Zoneinfo).to_string();
    let heads = text.lines().filter(|line| line.starts_with("Node "));
    assert_eq!(heads.count(), 2 * pagepool::NR_ZONES);
    let nodes = text.lines().filter(|line| *line == "  per-node stats");
    assert_eq!(nodes.count(), 2);
    let caches: usize = { stats.nodes.iter() }
        .flat_map(|node| &node.zones)
        .map(|zone| zone.pagesets.len())
        .sum();
    let cpus = text.lines().filter(|line| line.starts_with("    cpu: "));
    assert_eq!(cpus.count(), caches);
}

#[test]
fn pageblocks_are_all_of_some_type() {
    let used = Used::new();
    let stats = used.pool.stats();
    let text = stats.proc(ProcFile::Pagetypeinfo).to_string();
    let (_, blocks) = text.split_once("Number of blocks type").unwrap();
    let blocks: Vec<_> = blocks.lines().skip(1).collect();
    let rows = rows(&blocks.join("\n"), 4);
    for node in &stats.nodes {
        for zone in &node.zones {
            let row = &rows[&format!("Node {}, zone {}", node.id.get(), zone.name)];
            assert_eq!(row.iter().sum::<f64>(), zone.pageblocks.len() as f64);
        }
    }
}
