//! Large free blocks from small ones: folios are moved together while their owners go on reading.
//!
//! *Kernel counterpart:* `mm/compaction.c`, `mm/migrate.c` (v5.0).

#![forbid(unsafe_code)]

mod mode;
pub(crate) mod policy;
pub(crate) mod state;

pub(crate) use mode::{CompactPriority, CompactResult};
