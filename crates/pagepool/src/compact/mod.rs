//! Large free blocks from small ones: folios are moved together while their owners go on reading.
//!
//! *Kernel counterpart:* `mm/compaction.c`, `mm/migrate.c` (v5.0).

#![forbid(unsafe_code)]

mod direct;
mod empty;
mod migrate;
mod mode;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod state;
mod survey;
mod trace;

pub(crate) use direct::DirectRun;
pub(crate) use mode::{CompactPriority, CompactResult};
pub(crate) use run::Compactor;
