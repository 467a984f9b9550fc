//! Setting up a pool: the settings that a user makes, each with its default.
//!
//! Not here: how much of everything that makes (`plan`), the checks and the building (`build`), and what
//! a pool says of its settings afterwards ([`Config`]).

#![forbid(unsafe_code)]

mod build;
mod config;
mod daemon_start;
mod plan;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::arena::HugePages;
use crate::host::{HOST_ROOT, MemoryLimit};
use crate::swap::SwapDevice;
use crate::types::NR_ZONES;
use crate::zone::lowmem::DEFAULT_RATIOS;
use crate::zone::score::DEFAULT_PROACTIVENESS;

pub use config::Config;
pub use daemon_start::DaemonStart;

/// The default budget: 64 MiB.
const DEFAULT_MEMORY: usize = 64 << 20;

/// For how many shrinkers there is room by default.
const DEFAULT_SHRINKERS: usize = 16;

/// How the size of a pool was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    /// Everything together, in bytes.
    Budget(usize),
    /// What can be handed out, in bytes.
    Managed(usize),
}

/// Builds a [`PagePool`](super::PagePool). Every setting has a default; [`build`](Self::build) checks
/// them all.
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
    /// The size is to be that percentage of the process's memory limit, once that is known.
    share_of_limit: Option<u8>,
    /// The limit, once it is known and if it was asked for.
    limit: Option<MemoryLimit>,
    /// Where the host's files begin that say it.
    host_root: PathBuf,
    follow_container: bool,
    nodes: usize,
    movable_percent: Option<u8>,
    dma: usize,
    cpus: Option<Vec<Vec<usize>>>,
    distances: Option<Vec<Vec<u8>>>,
    patience: Duration,
    daemons: DaemonStart,
    hardened: bool,
    huge_pages: HugePages,
    prefault: usize,
    min_free_kbytes: Option<u64>,
    watermark_scale_factor: Option<u32>,
    watermark_boost_factor: u32,
    lowmem_reserve_ratio: [u32; NR_ZONES],
    percpu_pagelist_fraction: u32,
    compaction_proactiveness: u8,
    trim_threshold: Option<usize>,
    max_folios: Option<usize>,
    max_groups: Option<usize>,
    swap: Vec<PlannedArea>,
    swap_limit: Option<u64>,
    max_stores: Option<usize>,
    max_shrinkers: usize,
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
            share_of_limit: None,
            limit: None,
            host_root: HOST_ROOT.into(),
            follow_container: false,
            nodes: 1,
            movable_percent: None,
            dma: 0,
            cpus: None,
            distances: None,
            patience: Duration::from_secs(1),
            daemons: DaemonStart::default(),
            hardened: false,
            huge_pages: HugePages::AsHost,
            prefault: 0,
            min_free_kbytes: None,
            watermark_scale_factor: None,
            watermark_boost_factor: 15_000,
            lowmem_reserve_ratio: DEFAULT_RATIOS,
            percpu_pagelist_fraction: 0,
            compaction_proactiveness: DEFAULT_PROACTIVENESS,
            trim_threshold: None,
            max_folios: None,
            max_groups: None,
            swap: Vec::new(),
            swap_limit: None,
            max_stores: None,
            max_shrinkers: DEFAULT_SHRINKERS,
        }
    }

    /// The budget, in bytes: what the pool may take from the system, its own tables included.
    /// Default 64 MiB. The last of `memory`, [`managed`](Self::managed) and
    /// [`memory_of_container`](Self::memory_of_container) counts.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.size = Size::Budget(bytes);
        self.share_of_limit = None;
        self
    }

    /// The memory that can be handed out, in bytes; the budget becomes that and the pool's tables.
    pub fn managed(mut self, bytes: usize) -> Self {
        self.size = Size::Managed(bytes);
        self.share_of_limit = None;
        self
    }

    /// Makes the budget a share of the memory that this process may use at most, in percent, 1 to 90: the
    /// rest is for all else in it. Not a default; [`memory`](Self::memory) is.
    ///
    /// The limit is that of the control groups that the process is in, version 1 or 2 (the smallest of
    /// `memory.max`, `memory.high` and their like on the way up), or the host's memory where that is less or
    /// there are no groups. It is read when the pool is built; [`Config::memory_limit`] says what was found and
    /// where. A limit that changes later changes the pool only if it
    /// [follows its container](Self::follow_container).
    ///
    /// ```
    /// use pagepool::PagePool;
    /// let pool = PagePool::builder().memory_of_container(2).build()?;
    /// println!("{}", pool.config()); // the budget is 2 % of 512 MiB, …
    /// let error = PagePool::builder().memory_of_container(95).build().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "memory_of_container = 95 is out of range: accepted is 1 to 90 percent"
    /// );
    /// # Ok::<(), pagepool::BuildError>(())
    /// ```
    pub fn memory_of_container(mut self, share_percent: u8) -> Self {
        self.share_of_limit = Some(share_percent);
        self
    }

    /// Whether the pool follows the memory limit of its process while it runs. Default false; only with
    /// [`memory_of_container`](Self::memory_of_container).
    ///
    /// A cut of the limit then brings the budget down to the pool's share of it, as
    /// [`resize_budget`](super::PagePool::resize_budget) does, and a rise up again, never beyond what the pool
    /// was built with. It begins within a quarter of a second, and goes on while something is missing;
    /// [`BudgetStats`](crate::BudgetStats) says how it stands.
    ///
    /// The price is a thread, `pool-limit`, which looks at the limit four times a second: the only one that does
    /// anything while the pool is idle. It is there without [`daemons`](Self::daemons), too.
    ///
    /// ```
    /// use pagepool::PagePool;
    /// let pool = PagePool::builder().memory_of_container(2).follow_container(true).build()?;
    /// assert!(pool.stats().budget.container.is_some());
    /// # Ok::<(), pagepool::BuildError>(())
    /// ```
    pub fn follow_container(mut self, wanted: bool) -> Self {
        self.follow_container = wanted;
        self
    }

    /// Where the files begin that say the process's memory limit. Default `/`; another directory with `proc` and
    /// `sys` in it lets a test play the container.
    pub fn host_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.host_root = root.into();
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

    /// Whether the pool has background threads, and from when on: a `kswapd` a node, which keeps memory free before
    /// anybody has to wait for it, and a `kcompactd`, which makes large blocks of it. Takes a `bool` or a
    /// [`DaemonStart`]. Default `true`: from the moment on at which something is first asked of them. A pool without
    /// them is a supported configuration: requests that find memory short then reclaim for themselves.
    pub fn daemons(mut self, start: impl Into<DaemonStart>) -> Self {
        self.daemons = start.into();
        self
    }

    /// Whether freed memory is filled with a pattern and checked when it is handed out again, so that
    /// a write after free is reported. Default false; costs a pass over each block.
    pub fn hardened(mut self, hardened: bool) -> Self {
        self.hardened = hardened;
        self
    }

    /// Whether the host should back the memory by huge pages: faster to access, and a first touch costs one fault
    /// in 2 MiB, but all of them in memory. Takes a `bool` or [`HugePages`]. Default: as the host is configured.
    pub fn huge_pages(mut self, wanted: impl Into<HugePages>) -> Self {
        self.huge_pages = wanted.into();
        self
    }

    /// Bytes of the memory that are made resident while the pool is built, so that whoever uses them first does
    /// not pay for that; see [`prefault`](super::PagePool::prefault), which also says what it cost. Default 0;
    /// [`usize::MAX`] is everything. Takes about half a second a GiB on an idle host.
    ///
    /// ```
    /// use pagepool::PagePool;
    /// let pool = PagePool::builder().managed(32 << 20).prefault(8 << 20).build()?;
    /// assert_eq!(pool.stats().vmstat.get("pagepool_prefaulted"), Some((8 << 20) / 4096));
    /// let error = PagePool::builder().managed(32 << 20).prefault(1 << 30).build().unwrap_err();
    /// assert!(error.to_string().starts_with("cannot build with `prefault`: cannot prefault 1073741824 bytes"));
    /// # Ok::<(), pagepool::BuildError>(())
    /// ```
    pub fn prefault(mut self, bytes: usize) -> Self {
        self.prefault = bytes;
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

    /// Initial `compaction_proactiveness`; see
    /// [`Tunables`](super::Tunables::set_compaction_proactiveness).
    pub fn compaction_proactiveness(mut self, percent: u8) -> Self {
        self.compaction_proactiveness = percent;
        self
    }

    /// Bytes of free blocks of 2 MiB and more of each zone that keep their memory. Default: an eighth
    /// of the largest node, at least 32 MiB; `usize::MAX` keeps all.
    pub fn trim_threshold(mut self, bytes: usize) -> Self {
        self.trim_threshold = Some(bytes);
        self
    }

    /// The most folios that there can be at once, in memory or away. Default: as many as there are pages
    /// of memory and of swap. Each costs 17 bytes of the budget, whether it is there or not.
    pub fn max_folios(mut self, folios: usize) -> Self {
        self.max_folios = Some(folios);
        self
    }

    /// The most [groups](super::PagePool::create_group) that there can be at once, 0 to
    /// [`MAX_GROUPS`](crate::MAX_GROUPS). Default: one for each MiB of memory, at least 4 and at most 64.
    /// Each costs about 600 bytes of the budget a node.
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.max_groups = Some(groups);
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
    /// page costs 12 bytes of the budget, and 17 for the folio that may be there, used or not.
    pub fn swap_limit(mut self, bytes: u64) -> Self {
        self.swap_limit = Some(bytes);
        self
    }

    /// The most [shrinkers](super::PagePool::register_shrinker) that there can be at once, 0 to 64. Default
    /// 16. Each costs less than 1 KiB of the budget.
    pub fn max_shrinkers(mut self, shrinkers: usize) -> Self {
        self.max_shrinkers = shrinkers;
        self
    }

    /// The most stores, swap areas and [mappings](super::PagePool::map_backing) together, 0 to 31.
    /// Default: as many as areas were given. Each costs 1 MiB of the budget for its buffers.
    pub fn max_stores(mut self, stores: usize) -> Self {
        self.max_stores = Some(stores);
        self
    }
}
