//! How hard compaction tries, and how it ended.
//!
//! *Kernel counterpart:* `enum compact_priority`, `enum compact_result` (v5.0; spec 6.3).

/// How hard direct compaction tries, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum CompactPriority {
    /// Never waits.
    Async,
    /// May wait for locks.
    SyncLight,
    /// Looks everywhere.
    SyncFull,
}

impl CompactPriority {
    /// The next stronger one, if there is one.
    pub(crate) fn stronger(self) -> CompactPriority {
        match self {
            CompactPriority::Async => CompactPriority::SyncLight,
            CompactPriority::SyncLight | CompactPriority::SyncFull => CompactPriority::SyncFull,
        }
    }
}

/// How a compaction ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum CompactResult {
    /// Not worth it: too little is free.
    Skipped,
    /// Put off after failures.
    Deferred,
    /// Given up because of a contended lock.
    Contended,
    /// Part of the zone was scanned.
    PartialSkipped,
    /// All of it was scanned, in vain.
    Complete,
    /// A block was made.
    Success,
}

impl CompactResult {
    /// Whether anything was tried at all.
    pub(crate) fn ran(self) -> bool {
        self > CompactResult::Deferred
    }
}
