//! How hard a run tries, on whose behalf, and what follows from its result (spec 6.3, 6.4, 6.9).
//!
//! *Kernel counterpart:* `struct compact_control`, `enum migrate_mode` (v5.0): what of them stays the
//! same from the beginning of a run to its end.
//!
//! | user | mode | whole zone | skip hints | deferred |
//! |---|---|---|---|---|
//! | direct, `Async` | `Async` | no | honoured | yes, and never defers |
//! | direct, `SyncLight` | `SyncLight` | no | honoured | yes |
//! | direct, `SyncFull` | `SyncLight` | yes | ignored | no |
//! | kcompactd | `SyncLight` | no | honoured | yes |
//! | manual | `Sync` | yes | ignored | no |
//! | proactive | `SyncLight` | yes | ignored | no |
//!
//! A run that happens to begin at the zone's start covers the whole zone as well.

use crate::compact::{CompactPriority, CompactResult};
use crate::types::{Migratetype, Order, ZoneType};

/// What a migration may wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum MigrateMode {
    /// Nothing: a lock that is taken ends the attempt.
    Async,
    /// Locks, but no I/O.
    SyncLight,
    /// Anything.
    Sync,
}

/// On whose behalf a zone is compacted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// A thread that waits for the block.
    Direct(CompactPriority),
    /// The background compactor, for somebody who asked.
    Kcompactd,
    /// Whoever told the pool to compact everything.
    Manual,
    /// The background compactor, for those who will ask.
    Proactive,
}

/// The terms of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    /// On whose behalf.
    pub(crate) user: User,
    /// The order that is wanted; without one the run goes on while there is something to gain
    /// (kernel: order −1).
    pub(crate) order: Option<Order>,
    /// The class of the request.
    pub(crate) class: ZoneType,
    /// The type of pageblock that the block is wanted in.
    pub(crate) want: Migratetype,
    /// What a migration may wait for.
    pub(crate) mode: MigrateMode,
    /// Whether to begin at the zone's start, wherever earlier runs have got to.
    pub(crate) whole_zone: bool,
    /// Whether to try units that lately could not be emptied.
    pub(crate) ignore_skip_hints: bool,
}

/// What a result teaches about the next attempt in the same zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lesson {
    /// It works: try again whenever it is wanted.
    Reset,
    /// It does not: put the next ones off.
    Defer,
    /// Nothing.
    None,
}

impl Terms {
    /// For a thread that waits for a block of `order`.
    pub(crate) fn direct(
        priority: CompactPriority,
        order: Order,
        class: ZoneType,
        want: Migratetype,
    ) -> Terms {
        let full = priority == CompactPriority::SyncFull;
        Terms {
            user: User::Direct(priority),
            order: Some(order),
            class,
            want,
            mode: match priority {
                CompactPriority::Async => MigrateMode::Async,
                CompactPriority::SyncLight | CompactPriority::SyncFull => MigrateMode::SyncLight,
            },
            whole_zone: full,
            ignore_skip_hints: full,
        }
    }

    /// For the background compactor. It works for the type that is hardest to serve, so that whoever
    /// comes is served.
    pub(crate) fn kcompactd(order: Order, class: ZoneType) -> Terms {
        Terms {
            user: User::Kcompactd,
            order: Some(order),
            class,
            want: Migratetype::Unmovable,
            mode: MigrateMode::SyncLight,
            whole_zone: false,
            ignore_skip_hints: false,
        }
    }

    /// For whoever wants everything compacted.
    pub(crate) fn manual() -> Terms {
        Terms {
            user: User::Manual,
            order: None,
            class: ZoneType::Movable,
            want: Migratetype::Movable,
            mode: MigrateMode::Sync,
            whole_zone: true,
            ignore_skip_hints: true,
        }
    }

    /// For those who will want large blocks.
    pub(crate) fn proactive() -> Terms {
        Terms {
            user: User::Proactive,
            mode: MigrateMode::SyncLight,
            ..Terms::manual()
        }
    }

    /// Whether somebody waits for the block.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.user, User::Direct(_))
    }

    /// Whether those may be asked who have a say in moves: not by a thread that may hold their locks, nor by
    /// one that must not wait.
    pub(crate) fn may_ask(&self) -> bool {
        !self.is_direct() && self.mode != MigrateMode::Async
    }

    /// Whether earlier failures keep the run from beginning.
    pub(crate) fn heeds_deferral(&self) -> bool {
        match self.user {
            User::Direct(priority) => priority < CompactPriority::SyncFull,
            User::Kcompactd => true,
            User::Manual | User::Proactive => false,
        }
    }

    /// The only type of pageblock that may be emptied, if there is such a limit: who must not wait
    /// looks where moving is likely to succeed, and to help him rather than others; and whom nobody has asked,
    /// in those for movable memory.
    pub(crate) fn only_from(&self) -> Option<Migratetype> {
        let is_choosy = match self.user {
            User::Direct(_) => self.mode == MigrateMode::Async,
            User::Proactive => true,
            User::Kcompactd | User::Manual => false,
        };
        is_choosy.then_some(self.want)
    }

    /// What the result of a zone teaches. That nothing was found without waiting is weak evidence,
    /// and a run without an order says nothing about any.
    pub(crate) fn lesson(&self, result: CompactResult) -> Lesson {
        if !matches!(self.user, User::Direct(_) | User::Kcompactd) {
            return Lesson::None;
        }
        match result {
            CompactResult::Success => Lesson::Reset,
            CompactResult::Complete | CompactResult::PartialSkipped
                if self.mode != MigrateMode::Async =>
            {
                Lesson::Defer
            }
            CompactResult::Complete
            | CompactResult::PartialSkipped
            | CompactResult::Skipped
            | CompactResult::Deferred
            | CompactResult::Contended => Lesson::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order::MAX;
    const CLASS: ZoneType = ZoneType::Normal;
    const WANT: Migratetype = Migratetype::Movable;

    fn direct(priority: CompactPriority) -> Terms {
        Terms::direct(priority, ORDER, CLASS, WANT)
    }

    mod tv {
        use super::*;

        #[test]
        fn s6_3_terms_of_each_user() {
            use CompactPriority as Priority;
            use MigrateMode as Mode;
            let table = [
                (direct(Priority::Async), Mode::Async, false, true),
                (direct(Priority::SyncLight), Mode::SyncLight, false, true),
                (direct(Priority::SyncFull), Mode::SyncLight, true, true),
                (
                    Terms::kcompactd(ORDER, CLASS),
                    Mode::SyncLight,
                    false,
                    false,
                ),
                (Terms::manual(), Mode::Sync, true, false),
                // 9.13.
                (Terms::proactive(), Mode::SyncLight, true, false),
            ];
            for (terms, mode, everything, is_direct) in table {
                assert_eq!(terms.mode, mode, "{terms:?}");
                assert_eq!(terms.whole_zone, everything, "{terms:?}");
                assert_eq!(terms.ignore_skip_hints, everything, "{terms:?}");
                assert_eq!(terms.is_direct(), is_direct, "{terms:?}");
            }
        }
    }

    #[test]
    fn only_who_must_not_wait_is_bound_to_his_own_type() {
        assert_eq!(direct(CompactPriority::Async).only_from(), Some(WANT));
        assert_eq!(direct(CompactPriority::SyncLight).only_from(), None);
        assert_eq!(Terms::kcompactd(ORDER, CLASS).only_from(), None);
        let proactive = Terms::proactive().only_from();
        assert_eq!(proactive, Some(Migratetype::Movable));
    }

    #[test]
    fn the_strongest_attempt_and_those_without_an_order_heed_no_deferral() {
        assert!(direct(CompactPriority::Async).heeds_deferral());
        assert!(direct(CompactPriority::SyncLight).heeds_deferral());
        assert!(Terms::kcompactd(ORDER, CLASS).heeds_deferral());
        assert!(!direct(CompactPriority::SyncFull).heeds_deferral());
        assert!(!Terms::manual().heeds_deferral());
        assert!(!Terms::proactive().heeds_deferral());
    }

    #[test]
    fn nobody_is_asked_on_behalf_of_a_thread_that_waits() {
        for priority in [
            CompactPriority::Async,
            CompactPriority::SyncLight,
            CompactPriority::SyncFull,
        ] {
            assert!(!direct(priority).may_ask());
        }
        assert!(Terms::kcompactd(ORDER, CLASS).may_ask());
        assert!(Terms::manual().may_ask());
        assert!(Terms::proactive().may_ask());
    }

    #[test]
    fn failures_defer_unless_the_attempt_could_not_wait() {
        for failed in [CompactResult::Complete, CompactResult::PartialSkipped] {
            assert_eq!(direct(CompactPriority::Async).lesson(failed), Lesson::None);
            for terms in [
                direct(CompactPriority::SyncLight),
                direct(CompactPriority::SyncFull),
                Terms::kcompactd(ORDER, CLASS),
            ] {
                assert_eq!(terms.lesson(failed), Lesson::Defer);
                assert_eq!(terms.lesson(CompactResult::Success), Lesson::Reset);
                assert_eq!(terms.lesson(CompactResult::Contended), Lesson::None);
            }
            assert_eq!(Terms::manual().lesson(failed), Lesson::None);
            assert_eq!(Terms::proactive().lesson(failed), Lesson::None);
        }
    }
}
