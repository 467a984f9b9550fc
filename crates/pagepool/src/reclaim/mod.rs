//! Which folios leave memory, how hard to look for them, and when to stop.
//!
//! *Kernel counterpart:* `mm/vmscan.c`, `mm/workingset.c` (v5.0).

#![forbid(unsafe_code)]

pub(crate) mod balance;
mod control;

pub(crate) use control::{Reclaimed, ScanControl, Shrink, Who};
