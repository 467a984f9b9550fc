//! Which folios leave memory, how hard to look for them, and when to stop.
//!
//! *Kernel counterpart:* `mm/vmscan.c`, `mm/workingset.c` (v5.0).

#![forbid(unsafe_code)]

pub(crate) mod balance;
mod confined;
mod control;
mod direct;
mod domain;
mod drop_clean;
mod groups;
mod inactive;
pub(crate) mod policy;
mod shrink;
pub(crate) mod shrinkers;
mod slab;
mod state;
pub(crate) mod thrashing;
mod trace;
mod write_out;

pub(crate) use confined::GroupTerms;
#[cfg(any(test, loom))]
pub(crate) use control::Reclaimed;
pub(crate) use control::{SWAP_CLUSTER_MAX, ScanControl, Shrink, Who};
pub(crate) use direct::DirectTerms;
pub(crate) use shrink::Reclaimer;
pub(crate) use state::{Obstacle, ReclaimState};
