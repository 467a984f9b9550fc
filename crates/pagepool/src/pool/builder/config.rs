//! What a pool was built with.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use super::{Builder, Size};
use crate::compact::state::CompactState;
use crate::host::MemoryLimit;
use crate::node::{NodePlan, Nodes};
use crate::types::{NR_ZONES, PAGE_SIZE};

/// The settings of a pool, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    budget: usize,
    /// What the budget is a share of, in percent, if it is one of the process's memory limit.
    share: Option<(u8, MemoryLimit)>,
    managed: usize,
    metadata: usize,
    zones: Vec<[usize; NR_ZONES]>,
    /// The share of the Movable zone that was asked for, if one was.
    movable_percent: Option<u8>,
    host_nodes: Vec<Option<usize>>,
    cpus: Vec<Vec<usize>>,
    patience: Duration,
    hardened: bool,
}

impl Config {
    /// What the pool may take from the system at most, in bytes. What it may take now is in
    /// [`Stats::budget_bytes`](crate::Stats::budget_bytes).
    #[must_use]
    pub fn budget_bytes(&self) -> usize {
        self.budget
    }

    /// The process's memory limit, as it was when the pool was built, if the budget is a share of it
    /// ([`memory_of_container`](super::Builder::memory_of_container)).
    #[must_use]
    pub fn memory_limit(&self) -> Option<&MemoryLimit> {
        self.share.as_ref().map(|(_, limit)| limit)
    }

    /// What can be handed out, in bytes.
    #[must_use]
    pub fn managed_bytes(&self) -> usize {
        self.managed
    }

    /// What the pool's tables take, in bytes.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        self.metadata
    }

    /// The number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.zones.len()
    }

    /// How long a request waits that does not say otherwise.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.patience
    }

    /// Bytes of each zone, node by node.
    pub(in crate::pool) fn zones(&self) -> &[[usize; NR_ZONES]] {
        &self.zones
    }

    /// The share of the Movable zone that was asked for, in percent, if one was.
    pub(in crate::pool) fn movable_percent(&self) -> Option<u8> {
        self.movable_percent
    }

    /// Whether every node is placed on a NUMA node of the host.
    pub(in crate::pool) fn is_on_host_nodes(&self) -> bool {
        self.host_nodes.iter().all(Option::is_some)
    }

    /// Whether freed memory is poisoned and checked.
    #[must_use]
    pub fn is_hardened(&self) -> bool {
        self.hardened
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: usize| bytes >> 10;
        writeln!(
            f,
            "budget {} KiB: {} KiB to hand out, {} KiB of tables; deadline {:?}{}",
            kib(self.budget),
            kib(self.managed),
            kib(self.metadata),
            self.patience,
            if self.hardened { "; hardened" } else { "" },
        )?;
        if let Some((percent, limit)) = &self.share {
            writeln!(f, "the budget is {percent} % of {limit}")?;
        }
        for (node, [dma, normal, movable]) in self.zones.iter().enumerate() {
            write!(
                f,
                "node {node}: DMA {} KiB, Normal {} KiB, Movable {} KiB, CPUs {:?}",
                kib(*dma),
                kib(*normal),
                kib(*movable),
                self.cpus[node]
            )?;
            match self.host_nodes[node] {
                Some(host) => writeln!(f, ", on host node {host}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl Builder {
    pub(super) fn config(&self, plans: &[NodePlan], nodes: &Nodes) -> Config {
        let managed: usize = plans
            .iter()
            .map(|plan| plan.zones.total() * PAGE_SIZE)
            .sum();
        let pages = managed / PAGE_SIZE;
        let metadata = nodes.metadata_bytes()
            + self.folio_bytes(pages)
            + self.shrinker_bytes()
            + CompactState::estimate(plans.iter().map(|plan| plan.zones.pages));
        let budget = match self.size {
            Size::Budget(bytes) => bytes,
            Size::Managed(_) => managed + metadata,
        };
        debug_assert!(
            managed + metadata <= budget,
            "K2: {managed} + {metadata} > {budget}"
        );
        Config {
            budget,
            share: self.share_of_limit.zip(self.limit.clone()),
            managed,
            metadata,
            zones: plans
                .iter()
                .map(|plan| plan.zones.pages.map(|pages| pages * PAGE_SIZE))
                .collect(),
            movable_percent: self.movable_percent,
            host_nodes: plans.iter().map(|plan| plan.arena.host_node).collect(),
            cpus: plans.iter().map(|plan| plan.cpus.clone()).collect(),
            patience: self.patience,
            hardened: self.hardened,
        }
    }
}
