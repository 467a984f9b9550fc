//! Everything that involves a second thread, the time or the CPU: the only door to std's and
//! parking_lot's primitives, so that the same protocols run for real and under loom.
//!
//! | Here | Production | `--cfg loom` |
//! |---|---|---|
//! | [`atomic`] | std's atomics by another name | loom's, each with a probe beside it |
//! | [`fence`] | the bare fence | the same, left out when it is the mutant under test |
//! | [`CoreMutex`] | std's futex lock, in debug builds with a rank | loom's |
//! | [`Mutex`], [`Condvar`](lock::Condvar) | parking_lot's | loom's, behind parking_lot's signatures |
//! | [`WaitQueue`] over a [`parker`] | condition variables with deadlines | time-outs that the model fires |
//! | [`clock`], [`cpu`], [`thread`] | the system's | constant, set by the model, loom's |
//! | [`PerCpu`], [`DeltaCounters`], [`RequestWord`], [`rng`] | built from the above | the same code |
//!
//! **Invariants**
//! - I1: no other module of the crate names a primitive of `std::sync` (`Arc` is not one),
//!   `std::time::Instant`, `std::thread`, parking_lot or loom; clippy's `disallowed_types` and the
//!   tidy test see to it.
//! - I2: nothing that an allocation or a free can reach allocates here: [`CoreMutex`],
//!   [`WaitQueue`] over [`CorePark`](parker::CorePark), the counters and the request word never do.
//!   parking_lot allocates per thread and serves only callers that no allocation waits for.
//! - I3: a thread that sleeps or wakes holds no ranked lock; debug builds check it.
//!
//! **Locking: one tree.** A thread may take a lock only if its [`Rank`] is greater than every rank
//! it holds:
//!
//! ```text
//! offline → settings ─┐
//! offline → turns ────┼→  LRU lists  →  magazines  →  per-CPU slot  →  zone
//!           settings ─┘
//!           wait queue: a leaf, taken with nothing else held
//! ```
//!
//! The first three are taken to change settings and to take memory out of service; a turn is that of
//! those who drain all caches, or who rebuild the zonelists.
//!
//! The locks of two zones, or of the LRU lists of two nodes, are never held together. Whoever finds
//! that somebody should be woken collects that fact, unlocks, then wakes.
//!
//! **Ordering.** SeqCst accesses are not used: where two threads store one word and load the
//! other's, both put a [`fence::fence_at`] between the two, and its name is the name of the mutant
//! that leaves it out.
//!
//! Not here: the cells, pages and lists that the locks protect, and every decision about when to
//! wake.

#![expect(clippy::disallowed_types, reason = "this is the facade")]
#![allow(
    unreachable_pub,
    reason = "`pub` items are what models in loom-tests can reach through `pagepool::model`"
)]

pub mod asym;
pub mod atomic;
pub mod clock;
pub mod cpu;
pub mod fence;
pub mod lock;
mod lock_order;
pub mod parker;
pub mod percpu;
pub mod request;
pub mod rng;
#[cfg(shuttle)]
pub mod sim;
pub mod thread;
pub mod turn;
pub mod waitqueue;
#[cfg(all(feature = "watchdog", not(any(loom, shuttle))))]
pub mod watchdog;

pub use lock::{CoreGuard, CoreMutex, Mutex, MutexGuard};
pub use lock_order::Rank;
pub use percpu::{DeltaCounters, PerCpu};
pub use request::{RequestWord, Requests};
pub use turn::{Turn, Turned};
pub use waitqueue::{FenceNames, SleepOutcome, WaitQueue};

#[cfg(loom)]
pub use waitqueue::WaitOutcome;
