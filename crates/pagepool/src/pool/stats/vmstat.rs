//! A pool's counts under the kernel's names, in the kernel's order (pure).
//!
//! *Kernel counterpart:* `vmstat_start`, `vmstat_show`, `vmstat_text` (`mm/vmstat.c`, v5.0): the zones' counts,
//! the nodes', then events. Counts that v5.0 has one of and later kernels have two stand under all three names.

#![forbid(unsafe_code)]

use std::fmt;

use super::{LruStats, NodeStats, ZoneStats};
use crate::zone::figure::Figure;
use crate::zone::vmstat::{NR_NODE_ITEMS, NodeItem, VmEvent};

/// Counts by the kernel's names; those that the kernel does not have begin with `pagepool_`.
///
/// They come in the order of `/proc/vmstat`, and print as it does, a name and a number a line. What a pool has
/// none of, such as page tables, is absent.
///
/// ```
/// # use pagepool::{Gfp, Order, PagePool};
/// # let pool = PagePool::builder().memory(64 << 20).build()?;
/// let block = pool.alloc_pages(Order::new(3)?, Gfp::KERNEL)?;
/// let vmstat = pool.stats().vmstat;
/// assert_eq!(vmstat.get("pgalloc_normal"), Some(8));
/// assert!(vmstat.to_string().starts_with("nr_free_pages "));
/// assert!(vmstat.to_string().contains("\npgalloc_normal 8\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Vmstat {
    figures: Vec<Figure>,
}

impl Vmstat {
    /// Name and count of each, in a fixed order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, u64)> {
        self.figures
            .iter()
            .map(|figure| (figure.name, figure.value))
    }

    /// The count with the given name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        let figure = self.figures.iter().find(|figure| figure.name == name)?;
        Some(figure.value)
    }

    /// The counts with all that is said of them.
    pub(crate) fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// A node's part.
    pub(super) fn of_node(lru: &LruStats, items: [u64; NR_NODE_ITEMS]) -> Vmstat {
        let mut figures = list_figures(&NODE_LISTS, lru).to_vec();
        for item in NodeItem::ALL {
            figures.extend(sum_before(item, &items));
            figures.push(item.figure(items[item as usize]));
        }
        Vmstat { figures }
    }

    /// The whole, from snapshots of the nodes, so that the parts and the whole agree (O1).
    pub(super) fn of_pool(nodes: &[NodeStats], events: Vec<(VmEvent, Figure)>) -> Vmstat {
        let zones = || nodes.iter().flat_map(|node| &node.zones);
        let free = zones().map(|zone| zone.free).sum();
        let lru = nodes.iter().map(|node| node.lru).sum();
        let of_nodes = Vmstat::sum(nodes.iter().map(|node| &node.vmstat));
        let (numa, others): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|(event, _)| event.is_numa());

        let mut figures = zone_figures(free, &lru).to_vec();
        figures.push(write_pending(&of_nodes));
        figures.extend(numa.into_iter().map(|(_, figure)| figure));
        figures.extend(of_nodes.figures);
        figures.extend(others.into_iter().map(|(_, figure)| figure));
        Vmstat { figures }
    }

    /// The sum of several that have the same names.
    fn sum<'a>(mut parts: impl Iterator<Item = &'a Vmstat>) -> Vmstat {
        let mut sum = parts.next().cloned().unwrap_or_default();
        for part in parts {
            for (sum, figure) in sum.figures.iter_mut().zip(&part.figures) {
                sum.value += figure.value;
            }
        }
        sum
    }
}

impl ZoneStats {
    /// The zone's part of what is counted, as in `/proc/zoneinfo`.
    pub(crate) fn figures(&self) -> [Figure; 6] {
        zone_figures(self.free, &self.lru)
    }
}

impl fmt::Display for Vmstat {
    /// Writes a line for each, as `/proc/vmstat`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut figures = self.figures.iter();
        figures.try_for_each(|figure| writeln!(f, "{} {}", figure.name, figure.value))
    }
}

/// Names and what they say of the pages on a node's lists.
const NODE_LISTS: [(&str, &str); 5] = [
    (
        "nr_inactive_anon",
        "Pages of anonymous folios that were not used lately.",
    ),
    ("nr_active_anon", "Pages of anonymous folios in use."),
    (
        "nr_inactive_file",
        "Pages of folios of mappings that were not used lately.",
    ),
    ("nr_active_file", "Pages of folios of mappings in use."),
    (
        "nr_unevictable",
        "Pages of folios that are locked in memory.",
    ),
];

/// The same of the pages that lie in a zone, or in all.
const ZONE_LISTS: [(&str, &str); 5] = [
    ("nr_zone_inactive_anon", NODE_LISTS[0].1),
    ("nr_zone_active_anon", NODE_LISTS[1].1),
    ("nr_zone_inactive_file", NODE_LISTS[2].1),
    ("nr_zone_active_file", NODE_LISTS[3].1),
    ("nr_zone_unevictable", NODE_LISTS[4].1),
];

fn list_figures(names: &[(&'static str, &'static str); 5], lru: &LruStats) -> [Figure; 5] {
    let pages = lru.pages();
    std::array::from_fn(|n| Figure::gauge(names[n].0, names[n].1, pages[n] as u64))
}

fn zone_figures(free: usize, lru: &LruStats) -> [Figure; 6] {
    let free = Figure::gauge("nr_free_pages", "Pages free in the zones.", free as u64);
    let [a, b, c, d, e] = list_figures(&ZONE_LISTS, lru);
    [free, a, b, c, d, e]
}

/// What must be written before it can be reclaimed. By zones, nobody counts it.
fn write_pending(of_nodes: &Vmstat) -> Figure {
    let pages = ["nr_dirty", "nr_writeback"].map(|name| of_nodes.get(name).unwrap_or(0));
    let help = "Pages of backed folios that are dirty, and pages being written out.";
    Figure::gauge("nr_zone_write_pending", help, pages.iter().sum())
}

/// What v5.0 has instead of `item` and the next one: the sum of the two, under its name.
fn sum_before(item: NodeItem, items: &[u64; NR_NODE_ITEMS]) -> Option<Figure> {
    let (name, help, other) = match item {
        NodeItem::WorkingsetRefaultAnon => (
            "workingset_refault",
            "Pages of folios that came back although they had been evicted.",
            NodeItem::WorkingsetRefaultFile,
        ),
        NodeItem::WorkingsetActivateAnon => (
            "workingset_activate",
            "Pages of folios that came back soon enough to be active at once.",
            NodeItem::WorkingsetActivateFile,
        ),
        NodeItem::WorkingsetRestoreAnon => (
            "workingset_restore",
            "Pages of folios that came back soon, and had been active before they were evicted.",
            NodeItem::WorkingsetRestoreFile,
        ),
        _ => return None,
    };
    let sum = items[item as usize] + items[other as usize];
    Some(Figure::counter(name, help, sum))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn lru() -> LruStats {
        LruStats {
            inactive_anon: 1,
            active_anon: 2,
            inactive_file: 3,
            active_file: 4,
            unevictable: 5,
        }
    }

    #[test]
    fn a_nodes_counts_come_in_the_order_of_v5_0() {
        let items = std::array::from_fn(|n| 100 + n as u64);
        let vmstat = Vmstat::of_node(&lru(), items);
        let names: Vec<_> = vmstat.iter().map(|(name, _)| name).collect();
        let expected = [
            "nr_inactive_anon",
            "nr_active_anon",
            "nr_inactive_file",
            "nr_active_file",
            "nr_unevictable",
            "nr_isolated_anon",
            "nr_isolated_file",
            "workingset_refault",
            "workingset_refault_anon",
            "workingset_refault_file",
            "workingset_activate",
            "workingset_activate_anon",
            "workingset_activate_file",
            "workingset_restore",
            "workingset_restore_anon",
            "workingset_restore_file",
            "nr_anon_pages",
            "nr_file_pages",
            "nr_dirty",
            "nr_writeback",
            "nr_vmscan_write",
            "nr_vmscan_immediate_reclaim",
            "nr_dirtied",
            "nr_written",
            "nr_kernel_misc_reclaimable",
            "nr_swapcached",
        ];
        assert_eq!(names, expected);
        let of = |name| vmstat.get(name).unwrap();
        assert_eq!(of("nr_active_file"), 4);
        assert_eq!(
            of("workingset_refault"),
            of("workingset_refault_anon") + of("workingset_refault_file")
        );
    }

    #[test]
    fn every_figure_has_a_name_of_its_own_and_says_what_it_is() {
        let items = VmEvent::ALL.iter().map(|event| event.figure(0));
        let node = Vmstat::of_node(&lru(), [0; NR_NODE_ITEMS]);
        let all: Vec<_> = zone_figures(0, &lru())
            .into_iter()
            .chain([write_pending(&node)])
            .chain(node.figures)
            .chain(items)
            .collect();
        let names: HashSet<_> = all.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), all.len());
        for figure in all {
            let (name, help) = (figure.name, figure.help);
            assert!(help.ends_with('.'), "{name}: {help}");
            assert!(
                !help.contains("same") && !help.starts_with(" Of the"),
                "{name}: {help}"
            );
        }
    }

    #[test]
    fn the_whole_is_the_sum_of_its_nodes() {
        let a = Vmstat::of_node(&lru(), [1; NR_NODE_ITEMS]);
        let b = Vmstat::of_node(&lru(), [2; NR_NODE_ITEMS]);
        let sum = Vmstat::sum([&a, &b].into_iter());
        assert_eq!(sum.get("nr_active_anon"), Some(4));
        assert_eq!(sum.get("workingset_restore"), Some(6));
        assert_eq!(Vmstat::sum(std::iter::empty()).iter().len(), 0);
    }

    #[test]
    fn s7_5_vmstat_prints_a_name_and_a_number_a_line() {
        let figures = vec![
            Figure::gauge("nr_free_pages", "", 12),
            Figure::counter("pgfree", "", 3),
        ];
        assert_eq!(
            Vmstat { figures }.to_string(),
            "nr_free_pages 12\npgfree 3\n"
        );
    }
}
