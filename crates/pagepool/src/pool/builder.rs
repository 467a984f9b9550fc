//! Setting up a pool.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::folio::mapping::Mapped;
use super::tunables::{check, check_fraction, check_min_free, check_scale_factor};
use super::{Inner, PagePool};
use crate::arena::{ArenaOptions, HugePages, Topology};
use crate::backing::{PoolTag, Store, StoreId, StoreSpec, Stores};
use crate::daemon::Daemons;
use crate::error::{BuildError, RangeError};
use crate::folio::FolioTable;
use crate::node::{MarkSettings, NodePlan, Nodes, ZonePlan};
use crate::reclaim::ReclaimState;
use crate::swap::{ReadAhead, SwapDevice, SwapSpace, SwapSpec, default_page_cluster};
use crate::sync::{Mutex, cpu};
use crate::types::{MAX_NODES, NR_ZONES, Order, PAGE_SIZE, PAGEBLOCK_ORDER, Pfn};
use crate::zone::lowmem::DEFAULT_RATIOS;

/// The smallest node, in pages.
const MIN_NODE_PAGES: usize = 16;

/// The default budget: 64 MiB.
const DEFAULT_MEMORY: usize = 64 << 20;

/// Nodes from this size on get a Movable zone by default, in pages (128 MiB).
const MOVABLE_FROM: usize = (128 << 20) / PAGE_SIZE;

/// The share of a node that becomes its Movable zone by default, in percent.
const DEFAULT_MOVABLE_PERCENT: u8 = 12;

/// Memory that whole free blocks of a zone keep by default: an eighth of the largest node, at least
/// 32 MiB.
const KEEP_RESIDENT_DIVISOR: usize = 8;
const KEEP_RESIDENT_MIN: usize = (32 << 20) / PAGE_SIZE;

/// The distance between the marks that the kernel has, in ten-thousandths of a zone.
const DEFAULT_SCALE_FACTOR: u32 = 10;

/// The same in pools with swap. In a pool of 64 MiB the kernel's distance is 16 pages: less than one
/// write to swap makes room for, so that threads would find the minimum reached while the first page
/// is on its way out. With a hundredth, one allocation in 200 enters the slow path there, instead of one
/// in 100.
const DEFAULT_SCALE_FACTOR_WITH_SWAP: u32 = 100;

/// Distances of the kernel: to oneself, and to a neighbour.
const LOCAL_DISTANCE: u8 = 10;
const REMOTE_DISTANCE: u8 = 20;

/// How the size of a pool was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    /// Everything together, in bytes.
    Budget(usize),
    /// What can be handed out, in bytes.
    Managed(usize),
}

/// Builds a [`PagePool`]. Every setting has a default; [`build`](Self::build) checks them all.
///
/// ```
/// use pagepool::PagePool;
/// let pool = PagePool::builder().memory(256 << 20).nodes(2).build()?;
/// println!("{}", pool.config());
/// let error = PagePool::builder().nodes(99).build().unwrap_err();
/// assert_eq!(error.to_string(), "nodes = 99 is out of range: accepted is 1 to 16");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    size: Size,
    nodes: usize,
    movable_percent: Option<u8>,
    dma: usize,
    cpus: Option<Vec<Vec<usize>>>,
    distances: Option<Vec<Vec<u8>>>,
    patience: Duration,
    daemons: bool,
    hardened: bool,
    huge_pages: HugePages,
    min_free_kbytes: Option<u64>,
    watermark_scale_factor: Option<u32>,
    watermark_boost_factor: u32,
    lowmem_reserve_ratio: [u32; NR_ZONES],
    percpu_pagelist_fraction: u32,
    trim_threshold: Option<usize>,
    max_folios: Option<usize>,
    swap: Vec<PlannedArea>,
    swap_limit: Option<u64>,
    max_stores: Option<usize>,
}

/// A swap area that the pool begins with.
#[derive(Clone)]
struct PlannedArea {
    device: Arc<dyn SwapDevice>,
    priority: i16,
}

impl fmt::Debug for PlannedArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at priority {}", self.device.name(), self.priority)
    }
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            size: Size::Budget(DEFAULT_MEMORY),
            nodes: 1,
            movable_percent: None,
            dma: 0,
            cpus: None,
            distances: None,
            patience: Duration::from_secs(1),
            daemons: true,
            hardened: false,
            huge_pages: HugePages::AsHost,
            min_free_kbytes: None,
            watermark_scale_factor: None,
            watermark_boost_factor: 15_000,
            lowmem_reserve_ratio: DEFAULT_RATIOS,
            percpu_pagelist_fraction: 0,
            trim_threshold: None,
            max_folios: None,
            swap: Vec::new(),
            swap_limit: None,
            max_stores: None,
        }
    }

    /// The budget, in bytes: what the pool may take from the system, its own tables included.
    /// Default 64 MiB. The last of `memory` and [`managed`](Self::managed) counts.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.size = Size::Budget(bytes);
        self
    }

    /// The memory that can be handed out, in bytes; the budget becomes that and the pool's tables.
    pub fn managed(mut self, bytes: usize) -> Self {
        self.size = Size::Managed(bytes);
        self
    }

    /// The number of nodes, 1 to 16. Default 1. On a host with as many NUMA nodes or more, each is
    /// placed on one of them; elsewhere they are simulated: the same code, with the host's CPUs
    /// divided among them.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// The CPUs of each node. Default: the host's, or all CPUs divided evenly. A CPU that no node
    /// names belongs to one of them in turn.
    pub fn cpus(mut self, cpus: Vec<Vec<usize>>) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// The distance from each node to each, 10 to itself (kernel: the SLIT). Default: the host's, or
    /// 20 to every other.
    pub fn distances(mut self, distances: Vec<Vec<u8>>) -> Self {
        self.distances = Some(distances);
        self
    }

    /// The share of each node that becomes its Movable zone, in percent, 0 to 100. Default 12 on nodes
    /// of at least 128 MiB, else 0.
    ///
    /// In the Movable zone only memory that can be moved is allocated, and blocks of 2 MiB and more,
    /// so that large blocks can always be had there. A pool that serves small raw blocks only is best
    /// off with 0; with 100 it has none for them.
    pub fn movable_share(mut self, percent: u8) -> Self {
        self.movable_percent = Some(percent);
        self
    }

    /// The size of the DMA zone, in bytes. Default 0. It lies low in the first node's arena and is
    /// locked in memory, so that its pages keep their place for devices and registered I/O.
    pub fn dma(mut self, bytes: usize) -> Self {
        self.dma = bytes;
        self
    }

    /// How long a request may wait that does not say otherwise. Default 1 s.
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether the pool runs background threads: a `kswapd` a node, which keeps memory free before
    /// anybody has to wait for it, and a `kcompactd`, which makes large blocks of it. Default true. A pool without them is a supported configuration: requests
    /// that find memory short then reclaim for themselves.
    pub fn daemons(mut self, wanted: bool) -> Self {
        self.daemons = wanted;
        self
    }

    /// Whether freed memory is filled with a pattern and checked when it is handed out again, so that
    /// a write after free is reported. Default false; costs a pass over each block.
    pub fn hardened(mut self, hardened: bool) -> Self {
        self.hardened = hardened;
        self
    }

    /// Whether the host should back the memory by huge pages: faster to access, but a first touch
    /// costs 2 MiB. Default: as the host is configured.
    pub fn huge_pages(mut self, wanted: bool) -> Self {
        self.huge_pages = if wanted {
            HugePages::Wanted
        } else {
            HugePages::Unwanted
        };
        self
    }

    /// Initial `min_free_kbytes`; see [`Tunables`](super::Tunables::set_min_free_kbytes).
    pub fn min_free_kbytes(mut self, kbytes: u64) -> Self {
        self.min_free_kbytes = Some(kbytes);
        self
    }

    /// Initial `watermark_scale_factor`; see
    /// [`Tunables`](super::Tunables::set_watermark_scale_factor).
    pub fn watermark_scale_factor(mut self, factor: u32) -> Self {
        self.watermark_scale_factor = Some(factor);
        self
    }

    /// Initial `watermark_boost_factor`; see
    /// [`Tunables`](super::Tunables::set_watermark_boost_factor).
    pub fn watermark_boost_factor(mut self, factor: u32) -> Self {
        self.watermark_boost_factor = factor;
        self
    }

    /// Initial `lowmem_reserve_ratio`; see [`Tunables`](super::Tunables::set_lowmem_reserve_ratio).
    pub fn lowmem_reserve_ratio(mut self, ratios: [u32; NR_ZONES]) -> Self {
        self.lowmem_reserve_ratio = ratios;
        self
    }

    /// Initial `percpu_pagelist_fraction`; see
    /// [`Tunables`](super::Tunables::set_percpu_pagelist_fraction).
    pub fn percpu_pagelist_fraction(mut self, fraction: u32) -> Self {
        self.percpu_pagelist_fraction = fraction;
        self
    }

    /// Bytes of free blocks of 2 MiB and more of each zone that keep their memory. Default: an eighth
    /// of the largest node, at least 32 MiB; `usize::MAX` keeps all.
    pub fn trim_threshold(mut self, bytes: usize) -> Self {
        self.trim_threshold = Some(bytes);
        self
    }

    /// The most folios that there can be at once, in memory or away. Default: as many as there are pages
    /// of memory and of swap. Each costs 16 bytes of the budget, whether it is there or not.
    pub fn max_folios(mut self, folios: usize) -> Self {
        self.max_folios = Some(folios);
        self
    }

    /// Adds a swap area: where folios go that are not used while memory is short. Of several, the first
    /// is filled first. Default: none, and folios stay in memory.
    ///
    /// ```
    /// use pagepool::{PagePool, SwapFile};
    /// let swap = SwapFile::temporary(64 << 20)?;
    /// let pool = PagePool::builder().memory(32 << 20).swap(swap).build()?;
    /// assert_eq!(pool.stats().swap_total_pages, (64 << 8) - 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn swap(self, device: impl SwapDevice) -> Self {
        let priority = -2 - i16::try_from(self.swap.len()).unwrap_or(i16::MAX - 2);
        self.swap_at(device, priority)
    }

    /// As [`swap`](Self::swap), with a priority: the highest is filled first, equal ones in turn.
    pub fn swap_at(mut self, device: impl SwapDevice, priority: i16) -> Self {
        let device = Arc::new(device);
        self.swap.push(PlannedArea { device, priority });
        self
    }

    /// The most bytes of swap that there can be at any time. Default: what the builder was given. Each
    /// page costs 12 bytes of the budget, and 16 for the folio that may be there, used or not.
    pub fn swap_limit(mut self, bytes: u64) -> Self {
        self.swap_limit = Some(bytes);
        self
    }

    /// The most stores, swap areas and [mappings](super::PagePool::map_backing) together, 0 to 31.
    /// Default: as many as areas were given. Each costs 1 MiB of the budget for its buffers.
    pub fn max_stores(mut self, stores: usize) -> Self {
        self.max_stores = Some(stores);
        self
    }

    /// Checks the settings, maps the memory and builds the pool. Hardly any of the memory is touched.
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] names the setting, its value and the accepted range; the other
    /// variants carry what the system said. Nothing stays mapped after an error.
    pub fn build(self) -> Result<PagePool, BuildError> {
        let nr_cpus = cpu::possible();
        self.check()?;
        let plans = self.plan(&Topology::of_host(), nr_cpus)?;
        let nodes = Nodes::build(&plans, nr_cpus)?;
        if let Some(kbytes) = self.min_free_kbytes {
            check_min_free(kbytes, nodes.lowmem_pages())?;
        }
        let settings = self.settings(&plans);
        nodes.apply(&settings);
        let config = self.config(&plans, &nodes);
        let pages = plans.iter().map(|plan| plan.zones.total()).sum();
        let stores = Arc::new(Stores::new());
        let swap = SwapSpace::new(SwapSpec {
            pool: PoolTag::of(&*stores),
            stores: Arc::clone(&stores),
            spawn: super::spawn,
            limit_bytes: self.swap_bytes(),
            stuck_after: StoreSpec::STUCK_AFTER,
        });
        for area in &self.swap {
            swap.swap_on(Arc::clone(&area.device), area.priority)?;
        }
        let pool = PagePool::new(Inner {
            folios: FolioTable::new(self.folio_limit(pages))?,
            stores,
            max_stores: self.store_limit(),
            store_turn: Mutex::new(()),
            swap,
            read_ahead: ReadAhead::new(default_page_cluster(pages * PAGE_SIZE)),
            reclaim: ReclaimState::new(nodes.len(), pages),
            mapped: Mapped::default(),
            daemons: Daemons::new(nodes.len()),
            bases: nodes.bases(),
            nodes,
            config,
            settings: Mutex::new(settings),
            offline: Mutex::new(Vec::new()),
            patience: self.patience,
            hardened: self.hardened,
        });
        if self.daemons {
            pool.start_daemons()?;
        } else {
            pool.inner.renew_boost_rule();
        }
        Ok(pool)
    }

    fn check(&self) -> Result<(), RangeError> {
        check(
            (1..=MAX_NODES).contains(&self.nodes),
            "nodes",
            self.nodes,
            || format!("1 to {MAX_NODES}"),
        )?;
        if let Some(percent) = self.movable_percent {
            check(percent <= 100, "movable_share", percent, || {
                "0 to 100 percent".into()
            })?;
        }
        let most = StoreId::MAX;
        check(
            (self.swap.len()..=most).contains(&self.store_limit()),
            "max_stores",
            self.store_limit(),
            || format!("{} (the swap areas given) to {most}", self.swap.len()),
        )?;
        check_scale_factor(self.scale_factor())?;
        check_fraction(self.percpu_pagelist_fraction)?;
        self.check_cpus()?;
        self.check_distances()
    }

    fn check_cpus(&self) -> Result<(), RangeError> {
        let Some(cpus) = &self.cpus else {
            return Ok(());
        };
        let nr_cpus = cpu::possible();
        let mut named = vec![0; nr_cpus];
        let known = cpus
            .iter()
            .flatten()
            .all(|cpu| named.get_mut(*cpu).map(|times| *times += 1).is_some());
        let fits = cpus.len() == self.nodes && known && named.iter().all(|times| *times <= 1);
        check(fits, "cpus", format_args!("{cpus:?}"), || {
            format!(
                "one set for each of the {} nodes, of CPUs 0 to {}, each in one set at most",
                self.nodes,
                nr_cpus - 1
            )
        })
    }

    fn check_distances(&self) -> Result<(), RangeError> {
        let Some(table) = &self.distances else {
            return Ok(());
        };
        let square = table.len() == self.nodes && table.iter().all(|row| row.len() == self.nodes);
        let diagonal = square && (0..self.nodes).all(|node| table[node][node] == LOCAL_DISTANCE);
        let others = table
            .iter()
            .flatten()
            .all(|distance| *distance >= LOCAL_DISTANCE);
        check(
            diagonal && others,
            "distances",
            format_args!("{table:?}"),
            || {
                format!(
                    "{0} rows of {0}: 10 from a node to itself, 10 to 255 to others",
                    self.nodes
                )
            },
        )
    }

    /// Divides the memory among nodes and zones.
    fn plan(&self, host: &Topology, nr_cpus: usize) -> Result<Vec<NodePlan>, RangeError> {
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

    /// The distance between the marks, in ten-thousandths of a zone.
    fn scale_factor(&self) -> u32 {
        let default = if self.swap.is_empty() {
            DEFAULT_SCALE_FACTOR
        } else {
            DEFAULT_SCALE_FACTOR_WITH_SWAP
        };
        self.watermark_scale_factor.unwrap_or(default)
    }

    /// Bytes of swap that there can be.
    fn swap_bytes(&self) -> u64 {
        let given = self.swap.iter().map(|area| area.device.capacity()).sum();
        self.swap_limit.unwrap_or(given)
    }

    /// How many stores there can be.
    fn store_limit(&self) -> usize {
        self.max_stores.unwrap_or(self.swap.len())
    }

    /// How many folios there can be in a pool of so many pages.
    fn folio_limit(&self, pages: usize) -> usize {
        let swapped = usize::try_from(self.swap_bytes() / PAGE_SIZE as u64).unwrap_or(usize::MAX);
        let limit = self.max_folios.unwrap_or(pages.saturating_add(swapped));
        limit.min(FolioTable::MAX)
    }

    /// What the planned nodes and all that goes with them take: memory to hand out, and an upper bound of
    /// the tables.
    fn budget_of(&self, plans: &[NodePlan], nr_cpus: usize) -> usize {
        let pages = plans.iter().map(|plan| plan.zones.total()).sum();
        let nodes: usize = plans
            .iter()
            .map(|plan| plan.zones.total() * PAGE_SIZE + plan.metadata_bytes(nr_cpus))
            .sum();
        nodes + Nodes::fixed_bytes(nr_cpus) + self.folio_bytes(pages)
    }

    /// What the tables and buffers take that folios need.
    fn folio_bytes(&self, pages: usize) -> usize {
        FolioTable::bytes_for(self.folio_limit(pages))
            .saturating_add(SwapSpace::bytes_for(self.swap_bytes()))
            .saturating_add(self.store_limit() * Store::bytes())
    }

    fn settings(&self, plans: &[NodePlan]) -> MarkSettings {
        let node_pages = plans
            .iter()
            .map(|plan| plan.zones.total())
            .max()
            .unwrap_or(0);
        let default_keep = (node_pages / KEEP_RESIDENT_DIVISOR).max(KEEP_RESIDENT_MIN);
        let keep_resident = match self.trim_threshold {
            None => Some(default_keep),
            Some(usize::MAX) => None,
            Some(bytes) => Some(bytes / PAGE_SIZE),
        };
        MarkSettings {
            min_free_kbytes: self.min_free_kbytes,
            watermark_scale_factor: self.scale_factor(),
            watermark_boost_factor: self.watermark_boost_factor,
            lowmem_reserve_ratio: self.lowmem_reserve_ratio,
            percpu_pagelist_fraction: self.percpu_pagelist_fraction,
            keep_resident,
        }
    }

    fn config(&self, plans: &[NodePlan], nodes: &Nodes) -> Config {
        let managed: usize = plans
            .iter()
            .map(|plan| plan.zones.total() * PAGE_SIZE)
            .sum();
        let pages = managed / PAGE_SIZE;
        let metadata = nodes.metadata_bytes() + self.folio_bytes(pages);
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
            managed,
            metadata,
            zones: plans
                .iter()
                .map(|plan| plan.zones.pages.map(|pages| pages * PAGE_SIZE))
                .collect(),
            host_nodes: plans.iter().map(|plan| plan.arena.host_node).collect(),
            cpus: plans.iter().map(|plan| plan.cpus.clone()).collect(),
            patience: self.patience,
            hardened: self.hardened,
        }
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

/// The settings of a pool, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    budget: usize,
    managed: usize,
    metadata: usize,
    zones: Vec<[usize; NR_ZONES]>,
    host_nodes: Vec<Option<usize>>,
    cpus: Vec<Vec<usize>>,
    patience: Duration,
    hardened: bool,
}

impl Config {
    /// What the pool may take from the system, in bytes.
    #[must_use]
    pub fn budget_bytes(&self) -> usize {
        self.budget
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

    /// Whether every node is placed on a NUMA node of the host.
    pub(super) fn is_on_host_nodes(&self) -> bool {
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
