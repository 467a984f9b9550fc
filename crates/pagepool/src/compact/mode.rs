//! How hard compaction tries, and how it ended.
//!
//! *Kernel counterpart:* `enum compact_priority`, `enum compact_result`, `compaction_made_progress`,
//! `compaction_failed`, `compaction_withdrawn` (v5.0; spec 6.3).

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

/// How a compaction ended. Of several zones the greatest counts: what was given up in one may yet
/// succeed, whatever was found to be vain in others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum CompactResult {
    /// Not worth it: too little is free.
    Skipped,
    /// Put off after failures.
    Deferred,
    /// All of it was scanned, in vain.
    Complete,
    /// Part of the zone was scanned.
    PartialSkipped,
    /// Given up because of a contended lock.
    Contended,
    /// A block was made.
    Success,
}

impl CompactResult {
    /// Whether anything was tried at all.
    pub(crate) fn ran(self) -> bool {
        self > CompactResult::Deferred
    }

    /// Its name in the kernel's trace events (`compact_result`), without the prefix.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            CompactResult::Skipped => "skipped",
            CompactResult::Deferred => "deferred",
            CompactResult::Complete => "complete",
            CompactResult::PartialSkipped => "partial_skipped",
            CompactResult::Contended => "contended",
            CompactResult::Success => "success",
        }
    }

    /// The result of two zones together.
    pub(crate) fn and(self, other: CompactResult) -> CompactResult {
        self.max(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod tv {
        use super::CompactResult::{
            Complete, Contended, Deferred, PartialSkipped, Skipped, Success,
        };

        #[test]
        fn s6_3_results_in_rising_rank() {
            let ranks = [
                Skipped,
                Deferred,
                Complete,
                PartialSkipped,
                Contended,
                Success,
            ];
            assert!(ranks.is_sorted());
            for result in ranks {
                assert_eq!(result.ran(), result != Skipped && result != Deferred);
            }
            assert_eq!(Complete.and(Contended), Contended);
            assert_eq!(Success.and(Skipped), Success);
        }
    }

    #[test]
    fn priorities_end_with_the_strongest() {
        let light = CompactPriority::Async.stronger();
        assert_eq!(light, CompactPriority::SyncLight);
        assert_eq!(light.stronger(), CompactPriority::SyncFull);
        assert_eq!(light.stronger().stronger(), CompactPriority::SyncFull);
    }
}
