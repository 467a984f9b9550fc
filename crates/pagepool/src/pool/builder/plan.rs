//! How much of everything a pool gets: its memory divided among nodes and zones, and what the tables
//! and buffers take that go with it. The tables come out of the budget (K2) and grow with the memory, so
//! that each depends on the other.

#![forbid(unsafe_code)]

use super::{Builder, Size};
use crate::arena::{ArenaOptions, Topology};
use crate::backing::Store;
use crate::compact::state::CompactState;
use crate::error::RangeError;
use crate::folio::{FolioTable, PinRecords};
use crate::group::Groups;
use crate::node::{NodePlan, Nodes, ZonePlan};
use crate::pool::failures::Failures;
use crate::pool::tunables::check;
use crate::reclaim::ReclaimState;
use crate::reclaim::shrinkers::Shrinkers;
use crate::swap::SwapSpace;
use crate::types::{Order, PAGE_SIZE, PAGEBLOCK_ORDER, Pfn};

/// The smallest node, in pages.
const MIN_NODE_PAGES: usize = 16;

/// Nodes from this size on get a Movable zone by default, in pages (128 MiB).
const MOVABLE_FROM: usize = (128 << 20) / PAGE_SIZE;

/// The share of a node that becomes its Movable zone by default, in percent.
const DEFAULT_MOVABLE_PERCENT: u8 = 12;

/// How many groups there can be by default: one a MiB, within these bounds.
const DEFAULT_GROUPS_MIN: usize = 4;
const DEFAULT_GROUPS_MAX: usize = 64;

/// Distances of the kernel: to oneself, and to a neighbour.
pub(super) const LOCAL_DISTANCE: u8 = 10;
const REMOTE_DISTANCE: u8 = 20;

impl Builder {
    /// Divides the memory among nodes and zones.
    pub(super) fn plan(
        &self,
        host: &Topology,
        nr_cpus: usize,
    ) -> Result<Vec<NodePlan>, RangeError> {
        let plans = |pages| self.plan_pages(pages, host, nr_cpus);
        match self.size {
            Size::Managed(bytes) => {
                self.check_pages(bytes / PAGE_SIZE, "managed", bytes)?;
                plans(bytes / PAGE_SIZE)
            }
            Size::Budget(bytes) => {
                check(self.dma < bytes, "dma", self.dma, || {
                    format!("0 to {bytes} bytes less tables, part of the first node")
                })?;
                let least = self.nodes * (MIN_NODE_PAGES + self.dma.div_ceil(PAGE_SIZE));
                let fixed = self.budget_of(&plans(least)?, nr_cpus);
                check(bytes >= fixed, "memory", bytes, || {
                    format!(
                        "at least {fixed} bytes, for {} node(s) and their tables",
                        self.nodes
                    )
                })?;
                self.check_pages(bytes / PAGE_SIZE, "memory", bytes)?;
                // The tables grow with the memory: too much first, then as much as fits.
                let mut pages = bytes / PAGE_SIZE;
                loop {
                    let plan = plans(pages)?;
                    let over = self.budget_of(&plan, nr_cpus).saturating_sub(bytes);
                    if over == 0 {
                        return Ok(plan);
                    }
                    pages = pages.saturating_sub(over.div_ceil(PAGE_SIZE)).max(least);
                }
            }
        }
    }

    /// Whether every node gets as many pages as it needs and can have.
    fn check_pages(
        &self,
        pages: usize,
        field: &'static str,
        bytes: usize,
    ) -> Result<(), RangeError> {
        let (least, most) = (MIN_NODE_PAGES, Pfn::MAX_NODE_PAGES / 2);
        let range = self.nodes * least..=self.nodes * most;
        check(range.contains(&pages), field, bytes, || {
            format!(
                "{} to {} bytes",
                range.start() * PAGE_SIZE,
                range.end() * PAGE_SIZE
            )
        })
    }

    fn plan_pages(
        &self,
        pages: usize,
        host: &Topology,
        nr_cpus: usize,
    ) -> Result<Vec<NodePlan>, RangeError> {
        let dma = self.dma.div_ceil(PAGE_SIZE);
        let first = node_pages(pages, self.nodes, 0);
        check(
            dma + MIN_NODE_PAGES <= first || dma == 0,
            "dma",
            self.dma,
            || {
                format!(
                    "0 to {} bytes, part of the first node",
                    (first - MIN_NODE_PAGES) * PAGE_SIZE
                )
            },
        )?;
        let real = host.nodes.len() >= self.nodes && host.nodes.len() > 1;
        let plan = |node: usize| NodePlan {
            zones: self.plan_zones(
                node_pages(pages, self.nodes, node),
                if node == 0 { dma } else { 0 },
            ),
            arena: ArenaOptions {
                huge_pages: self.huge_pages,
                host_node: real.then(|| host.nodes[node].id),
                ..ArenaOptions::default()
            },
            cpus: self.plan_cpus(node, real.then_some(host), nr_cpus),
            distances: self.plan_distances(node, real.then_some(host)),
            max_groups: self.group_limit(),
        };
        Ok((0..self.nodes).map(plan).collect())
    }

    fn plan_zones(&self, pages: usize, dma: usize) -> ZonePlan {
        let default = if pages >= MOVABLE_FROM {
            DEFAULT_MOVABLE_PERCENT
        } else {
            0
        };
        let percent = self.movable_percent.unwrap_or(default);
        let rest = pages - dma;
        let movable = match percent {
            100 => rest,
            percent => whole_blocks(rest / 100 * usize::from(percent)),
        };
        ZonePlan {
            pages: [dma, rest - movable, movable],
        }
    }

    fn plan_cpus(&self, node: usize, host: Option<&Topology>, nr_cpus: usize) -> Vec<usize> {
        match (&self.cpus, host) {
            (Some(cpus), _) => cpus[node].clone(),
            (None, Some(host)) => host.nodes[node].cpus.clone(),
            (None, None) => (0..nr_cpus)
                .filter(|cpu| cpu * self.nodes / nr_cpus == node)
                .collect(),
        }
    }

    fn plan_distances(&self, node: usize, host: Option<&Topology>) -> Vec<u8> {
        let simulated = |other| {
            if other == node {
                LOCAL_DISTANCE
            } else {
                REMOTE_DISTANCE
            }
        };
        match (&self.distances, host) {
            (Some(table), _) => table[node].clone(),
            (None, Some(host)) if host.nodes[node].distances.len() >= self.nodes => {
                host.nodes[node].distances[..self.nodes].to_vec()
            }
            (None, _) => (0..self.nodes).map(simulated).collect(),
        }
    }

    /// What the planned nodes and all that goes with them take: memory to hand out, and an upper bound of
    /// the tables.
    fn budget_of(&self, plans: &[NodePlan], nr_cpus: usize) -> usize {
        let pages = plans.iter().map(|plan| plan.zones.total()).sum();
        let nodes: usize = plans
            .iter()
            .map(|plan| plan.zones.total() * PAGE_SIZE + plan.metadata_bytes(nr_cpus))
            .sum();
        let hints = CompactState::estimate(plans.iter().map(|plan| plan.zones.pages));
        nodes
            + Nodes::fixed_bytes(nr_cpus)
            + self.folio_bytes(pages)
            + hints
            + self.shrinker_bytes()
    }

    /// What the table of shrinkers comes to take.
    pub(super) fn shrinker_bytes(&self) -> usize {
        Shrinkers::bytes_for(self.max_shrinkers, self.nodes, self.group_limit())
    }

    /// What the tables and buffers take that folios need.
    pub(super) fn folio_bytes(&self, pages: usize) -> usize {
        FolioTable::bytes_for(self.folio_limit(pages))
            .saturating_add(PinRecords::bytes_for(
                self.folio_limit(pages),
                self.hardened,
            ))
            .saturating_add(Failures::bytes_for(self.nodes))
            .saturating_add(SwapSpace::bytes_for(self.swap_bytes()))
            .saturating_add(self.store_limit() * Store::bytes())
            .saturating_add(Groups::bytes_for(self.group_limit()))
            .saturating_add(self.nodes * ReclaimState::bytes_for(self.group_limit()))
    }

    /// How many groups there can be.
    pub(super) fn group_limit(&self) -> usize {
        let (Size::Budget(bytes) | Size::Managed(bytes)) = self.size;
        let default = (bytes >> 20).clamp(DEFAULT_GROUPS_MIN, DEFAULT_GROUPS_MAX);
        self.max_groups.unwrap_or(default)
    }

    /// Bytes of swap that there can be.
    pub(super) fn swap_bytes(&self) -> u64 {
        let given = self.swap.iter().map(|area| area.device.capacity()).sum();
        self.swap_limit.unwrap_or(given)
    }

    /// How many stores there can be.
    pub(super) fn store_limit(&self) -> usize {
        self.max_stores.unwrap_or(self.swap.len())
    }

    /// How many folios there can be in a pool of so many pages.
    pub(super) fn folio_limit(&self, pages: usize) -> usize {
        let swapped = usize::try_from(self.swap_bytes() / PAGE_SIZE as u64).unwrap_or(usize::MAX);
        let limit = self.max_folios.unwrap_or(pages.saturating_add(swapped));
        limit.min(FolioTable::MAX)
    }
}

/// Pages of one node of several: an even share, the first nodes taking what is left over.
fn node_pages(pages: usize, nodes: usize, node: usize) -> usize {
    pages / nodes + usize::from(node < pages % nodes)
}

/// Pages rounded down to whole pageblocks, or to whole largest blocks where there are several.
fn whole_blocks(pages: usize) -> usize {
    let largest = Order::MAX.pages();
    let unit = if pages >= largest {
        largest
    } else {
        PAGEBLOCK_ORDER.pages()
    };
    pages / unit * unit
}
