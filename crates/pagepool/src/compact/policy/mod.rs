//! What compaction does and when it stops: rules, values in and values out.
//!
//! *Kernel counterpart:* the decisions inside `mm/compaction.c` (v5.0). What acts on them, with locks
//! and frames, is the rest of `compact`.
//!
//! The kernel walks a zone with two scanners, one from below that collects what can be moved and one
//! from above that collects free pages for it, until they meet. Here there is one, and it walks by
//! *units*: a pageblock, or for larger orders a group of them. The buddy serves every request from the
//! fullest partly free pageblock, so it finds the targets by itself, and the units that cost least are
//! emptied first, wherever they lie.
//!
//! | file | decides |
//! |---|---|
//! | `terms` | how hard a run tries, on whose behalf, and what its result means |
//! | `defer` | whether to try at all after failures |
//! | `units` | what emptying a unit costs, and whether it can be worth it |
//! | `positions` | where in the zone a run begins |
//! | `choose` | which unit is emptied next |
//! | `finish` | when a run ends |
//! | `emptiest` | which pageblock leaves service next |
//!
//! Whether a zone is worth compacting at all is decided in
//! [`zone::fragmentation`](crate::zone::fragmentation), and whether without being asked in
//! [`zone::score`](crate::zone::score).

pub(crate) mod choose;
pub(crate) mod defer;
pub(crate) mod emptiest;
pub(crate) mod finish;
#[cfg(test)]
mod fixture;
pub(crate) mod positions;
#[cfg(all(test, not(loom)))]
mod properties;
pub(crate) mod terms;
pub(crate) mod units;
