//! Each text to the letter, with numbers that were read on a machine, or made up where it has none.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::pool::PagePool;
use crate::pool::procfs::ProcFile;
use crate::pool::stats::{LruStats, PagesetStats, Stats};
use crate::types::{NR_MIGRATETYPES, NR_ORDERS, NodeId, Order, ZoneType};

/// A snapshot of one node with a DMA zone, the numbers of which are those of the DMA zone of a PC.
fn snapshot() -> Stats {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .movable_share(0)
        .daemons(false)
        .build()
        .unwrap();
    let mut stats = pool.stats();
    let node = &mut stats.nodes[0];
    let zone = &mut node.zones[0];
    (zone.name, zone.zone) = ("DMA", ZoneType::Dma);
    (zone.spanned, zone.present, zone.managed) = (4095, 3998, 3840);
    (zone.min, zone.low, zone.high) = (12, 15, 18);
    zone.free = 3840;
    zone.protection = [0, 3018, 20810];
    zone.nr_free = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3];
    zone.nr_free_by_type = [[0; NR_ORDERS]; NR_MIGRATETYPES];
    zone.nr_free_by_type[0][8] = 1;
    zone.nr_free_by_type[1] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3];
    zone.pageblocks_by_type = [1, 7, 0, 0];
    zone.pageblock_order = Order::new(9).unwrap();
    zone.lru = LruStats {
        inactive_anon: 7,
        ..LruStats::default()
    };
    zone.pagesets.truncate(1);
    zone.pagesets[0] = PagesetStats {
        cpu: 0,
        count: 342,
        high: 378,
        batch: 63,
    };
    node.stat_threshold = 6;
    node.empty_zones[0].zone = ZoneType::Normal;
    stats.managed_pages = 3840;
    stats.free_pages = 3840;
    stats.cached_pages = 0;
    stats
}

fn text(stats: &Stats, file: ProcFile) -> String {
    stats.proc(file).to_string()
}

#[test]
fn s7_5_buddyinfo() {
    let expected = "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3 \n";
    assert_eq!(text(&snapshot(), ProcFile::Buddyinfo), expected);
}

/// What this machine's kernel prints, read as numbers and printed anew, is the same to the letter.
#[test]
fn the_machines_buddyinfo_is_printed_as_the_machine_does() {
    let Ok(of_machine) = std::fs::read_to_string("/proc/buddyinfo") else {
        eprintln!("NOT TESTED: /proc/buddyinfo cannot be read here");
        return;
    };
    let mut stats = snapshot();
    let node = stats.nodes.pop().unwrap();
    for line in of_machine.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["Node", id, "zone", name, numbers @ ..] = &words[..] else {
            panic!("{line}");
        };
        let numbers: Vec<u64> = numbers.iter().map(|nr| nr.parse().unwrap()).collect();
        let Ok(nr_free) = <[u64; NR_ORDERS]>::try_from(numbers) else {
            eprintln!("NOT TESTED: this machine has other orders: {line}");
            return;
        };
        let known = ["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"];
        let Some(name) = known.into_iter().find(|known| known == name) else {
            panic!("{line}");
        };
        let mut node = node.clone();
        node.id = NodeId::new(id.trim_end_matches(',').parse().unwrap()).unwrap();
        node.zones[0].name = name;
        node.zones[0].nr_free = nr_free;
        stats.nodes.push(node);
    }
    assert!(!stats.nodes.is_empty());
    assert_eq!(text(&stats, ProcFile::Buddyinfo), of_machine);
}

#[test]
fn s7_5_pagetypeinfo() {
    let expected = "\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10\x20
Node    0, zone      DMA, type    Unmovable      0      0      0      0      0      0      0      0      1      0      0\x20
Node    0, zone      DMA, type      Movable      0      0      0      0      0      0      0      0      0      1      3\x20
Node    0, zone      DMA, type  Reclaimable      0      0      0      0      0      0      0      0      0      0      0\x20
Node    0, zone      DMA, type   HighAtomic      0      0      0      0      0      0      0      0      0      0      0\x20

Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic\x20
Node 0, zone      DMA            1            7            0            0\x20
";
    assert_eq!(text(&snapshot(), ProcFile::Pagetypeinfo), expected);
}

#[test]
fn s7_5_extfrag_index() {
    let mut stats = snapshot();
    let no = " -1.000";
    let expected = format!("Node 0, zone      DMA{} \n", no.repeat(NR_ORDERS));
    assert_eq!(text(&stats, ProcFile::ExtfragIndex), expected);

    // One block of 256 pages: an order 9 fails for lack of memory, and below zero the sign comes first.
    stats.nodes[0].zones[0].nr_free = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let expected = format!("Node 0, zone      DMA{} -0.500 -0.250 \n", no.repeat(9));
    assert_eq!(text(&stats, ProcFile::ExtfragIndex), expected);
    stats.nodes[0].zones[0].nr_free = [0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0];
    let expected = format!(
        "Node 0, zone      DMA{no_s} 0.250 0.500 \n",
        no_s = no.repeat(9)
    );
    assert_eq!(text(&stats, ProcFile::ExtfragIndex), expected);
}

#[test]
fn s7_5_unusable_index() {
    let expected = "Node 0, zone      DMA 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.066 0.200 \n";
    assert_eq!(text(&snapshot(), ProcFile::UnusableIndex), expected);
}

#[test]
fn s7_5_zoneinfo() {
    let text = text(&snapshot(), ProcFile::Zoneinfo);
    let begin = "\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 0
      nr_active_anon 0
";
    assert!(text.starts_with(begin), "{text}");
    // Names are padded to 12.
    assert!(text.contains("\n      nr_dirty     0\n"), "{text}");
    let rest = "
      nr_swapcached 0
  pages free     3840
        min      12
        low      15
        high     18
        spanned  4095
        present  3998
        managed  3840
        protection: (0, 3018, 20810)
      nr_free_pages 3840
      nr_zone_inactive_anon 7
      nr_zone_active_anon 0
      nr_zone_inactive_file 0
      nr_zone_active_file 0
      nr_zone_unevictable 0
  pagesets
    cpu: 0
              count: 342
              high:  378
              batch: 63
  vm stats threshold: 6
  node_unreclaimable:  0
  start_pfn:           0
Node 0, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
        protection: (0, 0, 0)
Node 0, zone  Movable
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
        protection: (0, 0, 0)
";
    assert!(text.ends_with(rest), "{text}");
}

#[test]
fn a_node_is_unreclaimable_from_the_sixteenth_run_in_vain() {
    let mut stats = snapshot();
    stats.nodes[0].kswapd_failures = 15;
    let says = |stats: &Stats, is: &str| {
        text(stats, ProcFile::Zoneinfo).contains(&format!("\n  node_unreclaimable:  {is}\n"))
    };
    assert!(says(&stats, "0"));
    stats.nodes[0].kswapd_failures = 16;
    assert!(says(&stats, "1"));
}

#[test]
fn s7_5_meminfo() {
    let mut stats = snapshot();
    (stats.swap_total_pages, stats.swap_free_pages) = (1000, 900);
    stats.nodes[0].lru = LruStats {
        inactive_anon: 1,
        active_anon: 2,
        inactive_file: 30,
        active_file: 40,
        unevictable: 5,
    };
    (stats.free_pages, stats.cached_pages) = (3000, 40);
    // Kept back: the zone, since the reserve is more. So all that is available is none.
    let text = stats.proc(ProcFile::Meminfo).to_string();
    let begin = "\
MemTotal:          15360 kB
MemFree:           12000 kB
MemAvailable:          0 kB
Buffers:               0 kB
Cached:                0 kB
SwapCached:            0 kB
Active:              168 kB
Inactive:            124 kB
Active(anon):          8 kB
Inactive(anon):        4 kB
Active(file):        160 kB
Inactive(file):      120 kB
Unevictable:          20 kB
SwapTotal:          4000 kB
SwapFree:           3600 kB
Dirty:                 0 kB
";
    assert!(text.starts_with(begin), "{text}");
    let committed = "
CommitLimit:       19360 kB
Committed_AS:       3600 kB
VmallocTotal:          0 kB
";
    assert!(
        text.contains(committed),
        "800 pages and 100 in swap: {text}"
    );

    // 3000 free, 18 kept back, and of 70 that can be dropped all but 15.
    stats.nodes[0].zones[0].protection = [0; 3];
    let text = stats.proc(ProcFile::Meminfo).to_string();
    let available = (3000 - 18 + 70 - 15) * 4;
    assert!(
        text.contains(&format!("\nMemAvailable:   {available:8} kB\n")),
        "{text}"
    );
}

#[test]
fn s4_16_pressure() {
    let mut stats = snapshot();
    stats.pressure.some.avg10 = 12.345;
    stats.pressure.some.total = Duration::from_micros(1_234_567);
    let expected = "\
some avg10=12.35 avg60=0.00 avg300=0.00 total=1234567
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
";
    assert_eq!(text(&stats, ProcFile::MemoryPressure), expected);
}

#[test]
fn s7_5_vmstat_comes_in_the_order_of_v5_0() {
    let text = text(&snapshot(), ProcFile::Vmstat);
    let names: Vec<_> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    // Of each part of the kernel's list, the first and last that a pool has.
    let marks = [
        "nr_free_pages",
        "nr_zone_write_pending",
        "numa_hit",
        "numa_other",
        "nr_inactive_anon",
        "nr_kernel_misc_reclaimable",
        "pswpin",
        "pgalloc_dma",
        "pgfree",
        "pgsteal_kswapd",
        "pageoutrun",
        "pgmigrate_success",
        "compact_daemon_free_scanned",
        "unevictable_pgs_culled",
        "swap_ra_hit",
        "pagepool_slowpath_entries",
    ];
    let places = marks.map(|name| names.iter().position(|known| *known == name));
    assert!(places.iter().all(Option::is_some), "{places:?}");
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn every_file_has_a_place_of_its_own() {
    let paths: std::collections::HashSet<_> = ProcFile::ALL.map(ProcFile::path).into();
    assert_eq!(paths.len(), ProcFile::ALL.len());
}
