//! What the host says of its NUMA nodes: their numbers, CPUs and distances.
//!
//! *Kernel counterpart:* `/sys/devices/system/node`. A host that says nothing, or nothing that can
//! be read, is one node with every CPU: a pool must open there too, so nothing here is an error.

#![forbid(unsafe_code)]

use std::{fs, io::Read, path::Path};

use crate::sync::cpu;

/// Where a host describes its nodes.
const HOST_NODES: &str = "/sys/devices/system/node";

/// The distance of a node to itself (ACPI's unit: 10 is local, 20 is twice as far).
const LOCAL_DISTANCE: u8 = 10;

/// The host's nodes, in the order of their numbers. There is at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topology {
    /// The nodes.
    pub(crate) nodes: Vec<HostNode>,
}

/// A NUMA node of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostNode {
    /// The host's number for it; numbers may have gaps.
    pub(crate) id: usize,
    /// Its CPUs, ascending. None on a node that has only memory.
    pub(crate) cpus: Vec<usize>,
    /// The distance to each node of [`Topology::nodes`]; empty where the host does not say.
    pub(crate) distances: Vec<u8>,
}

impl Topology {
    /// Reads what this host says.
    pub(crate) fn of_host() -> Topology {
        Topology::read(Path::new(HOST_NODES))
    }

    /// Reads `nodes`, a directory that looks like `/sys/devices/system/node`. Where it says that a single node is
    /// online, nothing else is read: that one has all CPUs, and who opens a pool waits for each file.
    pub(crate) fn read(nodes: &Path) -> Topology {
        if let Some([id]) = online_nodes(nodes).as_deref() {
            return Topology::single(*id, (0..cpu::possible()).collect());
        }
        let mut ids = node_ids(nodes);
        ids.sort_unstable();
        if ids.is_empty() {
            return Topology::one_node(&nodes.with_file_name("cpu").join("online"));
        }
        Topology {
            nodes: ids
                .into_iter()
                .map(|id| HostNode::read(nodes, id))
                .collect(),
        }
    }

    /// One node with the CPUs that the file `online` lists, or else as many as may run us.
    fn one_node(online: &Path) -> Topology {
        let cpus = fs::read_to_string(online)
            .ok()
            .and_then(|list| parse_cpu_list(&list))
            .filter(|cpus| !cpus.is_empty())
            .unwrap_or_else(|| (0..cpu::possible()).collect());
        Topology::single(0, cpus)
    }

    fn single(id: usize, cpus: Vec<usize>) -> Topology {
        let distances = vec![LOCAL_DISTANCE];
        Topology {
            nodes: vec![HostNode {
                id,
                cpus,
                distances,
            }],
        }
    }
}

impl HostNode {
    /// Reads the files of the node `id`.
    fn read(nodes: &Path, id: usize) -> HostNode {
        let file = |name| fs::read_to_string(nodes.join(format!("node{id}")).join(name)).ok();
        HostNode {
            id,
            cpus: file("cpulist")
                .and_then(|list| parse_cpu_list(&list))
                .unwrap_or_default(),
            distances: file("distance")
                .and_then(|line| parse_distances(&line))
                .unwrap_or_default(),
        }
    }
}

/// The numbers of the nodes that are online, ascending; none where the host does not say.
fn online_nodes(nodes: &Path) -> Option<Vec<usize>> {
    // One look at a small file, without asking how long it is: more nodes than fit are no single one.
    let mut list = [0; 64];
    let mut file = fs::File::open(nodes.join("online")).ok()?;
    let len = file.read(&mut list).ok()?;
    parse_cpu_list(str::from_utf8(&list[..len]).ok()?)
}

/// The numbers of the directories `nodeN`, in any order.
fn node_ids(nodes: &Path) -> Vec<usize> {
    let Ok(entries) = fs::read_dir(nodes) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_prefix("node")?
                .parse()
                .ok()
        })
        .collect()
}

/// The CPUs of a list such as `0-3,8,10-11`, ascending, or `None` if it is not one.
fn parse_cpu_list(list: &str) -> Option<Vec<usize>> {
    /// More than any host has (kernel: `NR_CPUS` is at most 8192): a bound on what a list can cost.
    const MAX_CPUS: usize = 1 << 16;

    let mut cpus = Vec::new();
    for range in list.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// The distances of a line such as `10 21`, or `None` if it is not one.
fn parse_distances(line: &str) -> Option<Vec<u8>> {
    line.split_whitespace()
        .map(|distance| distance.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_ranges_and_numbers() {
        assert_eq!(
            parse_cpu_list("0-3,8,10-11\n"),
            Some(vec![0, 1, 2, 3, 8, 10, 11])
        );
        assert_eq!(
            parse_cpu_list("\n"),
            Some(vec![]),
            "a node with only memory"
        );
        assert_eq!(parse_cpu_list("2,0-2"), Some(vec![0, 1, 2]));
        for junk in ["x", "1-", "-", "0-99999999999", "3-18446744073709551615"] {
            assert_eq!(parse_cpu_list(junk), None, "{junk}");
        }
    }

    #[test]
    fn this_host_has_a_node_with_cpus() {
        let host = Topology::of_host();
        assert!(
            host.nodes.iter().any(|node| !node.cpus.is_empty()),
            "{host:?}"
        );
    }
}
