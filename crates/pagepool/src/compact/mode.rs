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

/// What a result says about trying harder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Feedback {
    /// It works.
    Progress,
    /// It was tried in earnest, and does not.
    Failed,
    /// It was not tried in earnest.
    Withdrawn,
}

impl CompactResult {
    /// Whether anything was tried at all.
    pub(crate) fn ran(self) -> bool {
        self > CompactResult::Deferred
    }

    /// The result of two zones together.
    pub(crate) fn and(self, other: CompactResult) -> CompactResult {
        self.max(other)
    }

    /// What it says about trying harder.
    pub(crate) fn feedback(self) -> Feedback {
        match self {
            CompactResult::Success => Feedback::Progress,
            CompactResult::Complete => Feedback::Failed,
            CompactResult::Skipped
            | CompactResult::Deferred
            | CompactResult::PartialSkipped
            | CompactResult::Contended => Feedback::Withdrawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod tv {
        use super::CompactResult::{
            Complete, Contended, Deferred, PartialSkipped, Skipped, Success,
        };
        use super::*;

        #[test]
        fn s6_3_results_in_rising_rank_and_what_each_says() {
            let ranks = [
                (Skipped, Feedback::Withdrawn),
                (Deferred, Feedback::Withdrawn),
                (Complete, Feedback::Failed),
                (PartialSkipped, Feedback::Withdrawn),
                (Contended, Feedback::Withdrawn),
                (Success, Feedback::Progress),
            ];
            assert!(ranks.is_sorted_by_key(|(result, _)| *result));
            for (result, feedback) in ranks {
                assert_eq!(result.feedback(), feedback, "{result:?}");
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
