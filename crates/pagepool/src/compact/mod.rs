//! Large free blocks from small ones: folios are moved together while their owners go on reading.
//!
//! *Kernel counterpart:* `mm/compaction.c`, `mm/migrate.c` (v5.0).

#![forbid(unsafe_code)]

mod background;
mod consent;
mod direct;
mod empty;
mod migrate;
mod mode;
mod offline;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod state;
mod survey;
mod trace;

use crate::node::Node;
use crate::sync::Requests;

pub(crate) use consent::Owners;
pub(crate) use direct::DirectRun;
pub(crate) use mode::{CompactPriority, CompactResult};
pub(crate) use offline::{NotEmptied, Passed};
pub(crate) use run::Compactor;

/// Makes large blocks on a node, in the background.
pub(crate) trait CompactNode {
    /// Works for what was asked, until done or interrupted: for each class in `asked`, its zones from the
    /// lowest up, those that are put off or unsuitable left out (spec 4.14, D1 to D3).
    fn compact_node(
        &self,
        node: &Node,
        asked: Requests,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Compacted;

    /// Looks whether the node should be compacted though nobody asked, and does so (spec 9.13).
    fn compact_proactively(&self, node: &Node, is_interrupted: &dyn Fn() -> bool) -> Proactive;
}

/// How background compaction for requests ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compacted {
    /// All that can be done now was done.
    Done,
    /// It was interrupted, and this is left to do.
    Interrupted {
        /// What it has not come to, or not finished.
        left: Requests,
    },
}

/// What came of a look at a node that nobody asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Proactive {
    /// There is nothing to do until something changes.
    Satisfied,
    /// Too much is in pieces, but as they lie now to put them together would cost more than it gains, or
    /// something is in the way: that may change soon.
    NotNow,
    /// Folios were moved, and the node is no better for it: to try again soon is useless.
    NoBetter,
    /// It is better and may become better still, or the work was interrupted: look again.
    Progress,
}
