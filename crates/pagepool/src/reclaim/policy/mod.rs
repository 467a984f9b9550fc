//! Which folios leave memory and how hard to look for them: rules, values in and values out.
//!
//! *Kernel counterpart:* the decisions inside `mm/vmscan.c` and `mm/workingset.c` (v5.0). What acts on
//! them, with locks and frames, is the rest of `reclaim`; it asks a [`Policy`], so that a better one can
//! take the place of [`TwoLists`] (spec 9.20 has a candidate).
//!
//! | file | decides |
//! |---|---|
//! | `verdict` | what the traces of use say about a folio at the tail of a list |
//! | `balance_lists` | how long the inactive list ought to be |
//! | `history`, `scan_count` | how much of each list a pass looks at |
//! | `scan_loop` | in what order, and when the rest is dropped |
//! | `page` | what to do with one isolated folio |
//! | `workingset` | whether a folio that comes back deserves to be active |
//! | `for_compaction` | when a reclaim has made enough room for compaction |
//! | `fairness` | which group a pass takes from |
//! | `direct` | how much a thread reclaims for itself |
//! | `throttle` | when it must not isolate more |
//! | `slab` | how much of its objects a shrinker is asked to look at |
//! | `trust` | when a shrinker is left alone for a while |
//!
//! Sizes and counts are in pages everywhere, but for the objects of shrinkers.

#![forbid(unsafe_code)]

pub(crate) mod balance_lists;
pub(crate) mod direct;
pub(crate) mod fairness;
pub(crate) mod for_compaction;
pub(crate) mod history;
pub(crate) mod page;
pub(crate) mod proactive;
pub(crate) mod scan_count;
pub(crate) mod scan_loop;
pub(crate) mod slab;
pub(crate) mod tables;
pub(crate) mod thrashing;
pub(crate) mod throttle;
pub(crate) mod trust;
#[cfg(all(test, not(loom)))]
mod properties;
mod two_lists;
pub(crate) mod verdict;
pub(crate) mod workingset;

pub(crate) use tables::{PerKind, PerList};
pub(crate) use two_lists::TwoLists;

use std::fmt;

use crate::node::lru_list::{FolioKind, LruList};
use balance_lists::Balance;
use history::History;
use scan_count::{ScanInputs, ScanTargets};
use verdict::{Aging, Candidate, Judgement};
use workingset::{Refault, Shadow};

/// How a folio came to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// For the first time, or without a trace of an earlier one.
    Fresh,
    /// Ahead of a request that may never come.
    ReadAhead,
    /// Back, and this is what its shadow says.
    Back(Refault),
}

/// A folio that comes to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Newcomer {
    /// What it holds.
    pub(crate) kind: FolioKind,
    /// How it came.
    pub(crate) arrival: Arrival,
    /// Whether its owner locked it in memory.
    pub(crate) locked: bool,
    /// Whether its owner said that it will not be needed soon.
    pub(crate) cold: bool,
}

/// Where a folio starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placement {
    /// The list whose head it is put at.
    pub(crate) list: LruList,
    /// Whether it bears the mark of the working set.
    pub(crate) workingset: bool,
}

/// What reclaim asks in order to know which folios to take. The answers depend on nothing but the
/// arguments; callers may hold the lock of a node's lists.
pub(crate) trait Policy: fmt::Debug + Send + Sync {
    /// Where a folio starts that comes to memory.
    fn place(&self, newcomer: &Newcomer) -> Placement;

    /// What to do with a folio at the tail of an inactive list.
    fn judge(&self, candidate: &Candidate) -> Judgement;

    /// What to do with a folio at the tail of an active list.
    fn age(&self, candidate: &Candidate) -> Aging;

    /// Whether folios of a kind should move to the inactive list.
    fn inactive_is_low(&self, balance: &Balance) -> bool;

    /// How much of each list a pass looks at.
    fn scan_targets(&self, inputs: &ScanInputs, history: &History) -> ScanTargets;

    /// Whether an evicted folio of this kind leaves a shadow, and advances the clock.
    fn leaves_shadow(&self, kind: FolioKind) -> bool;

    /// What it means that a folio comes back `distance` evictions and activations after it left
    /// `shadow`, to lists of these sizes. `can_swap` says whether there is room in swap.
    fn refault(
        &self,
        kind: FolioKind,
        distance: u64,
        shadow: Shadow,
        sizes: &PerList<usize>,
        can_swap: bool,
    ) -> Refault;
}
