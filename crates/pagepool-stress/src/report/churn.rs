//! Large blocks after churn.
#![forbid(unsafe_code)]

use serde::Serialize;

/// How many large blocks survived churn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChurnReport {
    /// Order of the large blocks.
    pub(crate) large_order: u8,
    pub(crate) generations: Vec<Generation>,
    /// Large blocks that could be allocated at the end, with everything held.
    pub(crate) got: u64,
    /// As many as the free pages at that time make.
    pub(crate) ideal: u64,
    pub(crate) share: f64,
    pub(crate) goal: f64,
}

/// What stood free after a generation.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Generation {
    /// 0 is the scattered start.
    pub(crate) generation: u64,
    pub(crate) free_pages: u64,
    /// Free large blocks in the zones' lists; pages in per-CPU caches may hide some.
    pub(crate) large_blocks: u64,
    pub(crate) ideal: u64,
    pub(crate) share: f64,
}
