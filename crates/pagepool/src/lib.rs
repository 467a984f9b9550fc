#![doc = include_str!("../../../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// What the models cannot show of a machine was shown on this one only: see "Which machines" in the book.
#[cfg(not(any(all(target_os = "linux", target_arch = "x86_64"), pagepool_unproven)))]
compile_error!(
    "pagepool is proven on Linux on x86-64 only: bytes that are copied while their owner may write to them, and \
     the orderings around them, were never tried on another machine. To port it, build with \
     RUSTFLAGS=\"--cfg pagepool_unproven\", and run the tests, the models and the stress tool there"
);

// The house, a layer a line; a layer imports only from lines above its own. `tests/tidy` checks it.
pub(crate) mod sync; // 0  atomics, locks, threads, time, CPU number: std and parking_lot, or loom
pub mod types; // 1  orders, frame numbers, zones, nodes
pub mod gfp; // 1  request flags
pub mod error; // 1  what can go wrong
pub(crate) mod arena; // 2  reservations and what the system is asked about them
pub(crate) mod host; // 2  the memory limit that this process runs under
pub(crate) mod memmap; // 2  the frame table, lists by frame number
pub(crate) mod record; // 2  what happens to a pool, written down event by event
pub(crate) mod buddy; // 3  free areas, pageblocks, fallback (pure)
pub(crate) mod zone; // 4  a buddy behind a lock: marks, reserves, per-CPU caches, zonelists, vmstat
pub(crate) mod diagnosis; // 5  why a request failed, and what would help
pub(crate) mod backing; // 5  where contents go that are not in memory: stores and their I/O
pub(crate) mod swap; // 5  where swapped contents are: areas, slots, read-ahead
pub(crate) mod folio; // 5  the word, slots, pins: memory behind a handle
pub(crate) mod psi; // 6  for how long threads wait for memory: pressure stall information
pub(crate) mod group; // 6  who shares a pool: a tree of groups, charges, limits, protection
pub(crate) mod node; // 6  zones, zonelists and requests of a pool; every step that never sleeps
pub(crate) mod compact; // 7  moving folios so that large blocks are free
pub(crate) mod oom; // 7  who is asked to give memory up when nothing else helps
pub(crate) mod reclaim; // 8  which folios leave memory, and when to stop
pub(crate) mod alloc; // 9  fast path, slow path, scopes
pub(crate) mod fault; // 9  folios come back to memory
pub(crate) mod daemon; // 10  threads that keep memory free: kswapd, its life, the freezer
pub(crate) mod pool; // 11  the public face: pool, builder, tunables, statistics
#[cfg(any(feature = "allocator-api2", feature = "metrics", feature = "serve"))]
pub(crate) mod adapters; // 12  pools as allocators of collections; their figures as metrics, and at a socket

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use adapters::metrics::PoolCollector;
#[cfg(all(feature = "serve", not(any(loom, shuttle))))]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use adapters::serve::{ServeError, ServeStep, Server};
pub use alloc::scope;
pub use arena::HugePages;
pub use backing::{
    Backing, BackingError, FileBacking, IoEngine, StoreInside, StoreReport, WorkerActivity,
    WriteOut,
};
pub use daemon::StillRunning;
pub use diagnosis::{
    Explanation, FailureReport, MemoryFigures, Outcome, PinHolder, PinReport, Remedy, Standing,
    SwapVerdict, Tried, ZoneReport,
};
pub use error::{
    AccessError, AllocError, BuildError, LimitError, OrderError, PrefaultError, RangeError,
    Violation,
};
pub use gfp::Gfp;
pub use group::{GroupError, GroupLimits};
pub use host::{LimitKind, MemoryLimit};
pub use node::{DaemonActivity, DaemonReport, DaemonState};
pub use oom::{OomAnswer, OomHandler, OomStats, OutOfMemory, Victim};
pub use pool::budget::{BudgetStats, ContainerStats, ResizeObstacle, Resized};
pub use pool::builder::{Builder, Config, DaemonStart};
pub use pool::folio::{
    Advice, FlushError, Folio, FolioPin, FolioRead, FolioWrite, Immovable, MapError, Mapping,
    MovableBlock, MovableOwner, MoveOutcome, Relocation, SharedFolio, SharedRead, SharedWrite,
};
pub use pool::groups::{Group, GroupStats, LimitsOutcome};
pub use pool::pages::{Pages, PagesUninit, Split};
pub use pool::prefault::{PrefaultEnd, Prefaulted};
pub use pool::pressure::{PressureTrigger, Worker};
pub use pool::procfs::{ProcFile, ProcStep, ProcText, ProcWriteError};
pub use pool::reclaiming::ReclaimNodeError;
pub use pool::recording::{Accesses, RecordError, RecordOptions, Recorded, Recording};
pub use pool::request::AllocRequest;
pub use pool::state::{NodeState, PoolState, TurnState};
pub use pool::stats::{
    EmptyZoneStats, LruStats, MagazineStats, NodeStats, PagesetStats, Stats, Vmstat, ZoneStats,
};
pub use pool::swapping::{SwapArea, SwapAreaStats};
pub use pool::tunables::{Tunable, Tunables};
pub use pool::{PagePool, StillHeld};
pub use psi::{Pressure, PressureKind, PressureLine};
pub use reclaim::shrinkers::{
    Freeable, Scanned, ShrinkControl, Shrinker, ShrinkerError, ShrinkerHandle, ShrinkerOptions,
    ShrinkerReport, ShrinkerState, ShrinkerStats, Stop,
};
pub use record::{AccessKind, Cause, Event, Happening, Tape, TapeError};
pub use swap::{Fault, Faults, FaultyDevice, SwapDevice, SwapError, SwapFile, SwapFileBuilder};
#[cfg(all(feature = "watchdog", not(any(loom, shuttle))))]
#[cfg_attr(docsrs, doc(cfg(feature = "watchdog")))]
pub use sync::watchdog::Watchdog;
pub use types::{
    GroupId, MAX_GROUPS, MAX_NODES, Migratetype, NR_ORDERS, NR_ZONES, NodeId, NodeMask, Order,
    PAGE_SIZE, Pfn, ZoneType,
};

/// The world that a simulation of the pool takes place in, for the crate `pagepool-sim`.
#[cfg(shuttle)]
#[doc(hidden)]
pub use sync::sim;

#[cfg(loom)]
#[doc(hidden)]
pub mod model; // 13  what the models in the crate `loom-tests` are made of
