//! What to do with one isolated folio: the rules in their order (spec 5.7).
//!
//! *Kernel counterpart:* `shrink_page_list` (v5.0), as one function from what is known to what is done.
//! It is asked anew after each step that changes what is known: when the folio got a place in swap, or
//! was written at once.
//!
//! Where we differ:
//! - There are no flusher threads. In v5.0 reclaim leaves dirty pages of files to those, and only kswapd
//!   writes any, once flushers are evidently behind; here kswapd is the flusher, and writes what it meets
//!   dirty. A thread that reclaims for itself leaves a dirty backed folio where it is, near kswapd's
//!   reach, instead of making it active.
//! - Whether I/O is permitted depends on whose store it is ([`StoreOwner`]): that of the pool may be used by
//!   whoever may swap, that of a user only by kswapd and by threads that said they may (P13).
//! - There are no mappings to undo and none that fails: instead, a pinned folio is made active, and one
//!   that somebody holds at this moment is kept.
//! - No place in swap is taken for a folio that could not be written to it then.
//! - A folio that is being written is isolated until its write has ended. None of them can be met on a
//!   list, so that there are no rules for them (8), nothing to learn of how stores keep up (7), and no
//!   bits of the node that say so.
//! - Mapped pages do not count twice (5), huge pages of files are not split (11), and there is no private
//!   metadata (14) and no lazily freed memory (15).

use super::verdict::Verdict;

/// Who implements the store that a folio would be written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreOwner {
    /// The pool: nobody's locks are involved.
    Pool,
    /// A user.
    User,
}

/// Where the contents of a folio can be had again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backup {
    /// Nowhere: it must get a place first.
    None,
    /// Anywhere: it was never written to, and is all zeros. If it is dirty all the same, somebody wrote
    /// to it while it was looked at, and it is as if it were nowhere.
    Zeros,
    /// In a store, which has a place for it; if the folio is dirty, then not yet.
    At(StoreOwner),
}

/// What is known of an isolated folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageFacts {
    /// Whether somebody reads or writes it at this moment.
    pub(crate) held: bool,
    /// Whether somebody pinned it.
    pub(crate) pinned: bool,
    /// Whether its owner locked it in memory.
    pub(crate) locked: bool,
    /// Whether it differs from its copy.
    pub(crate) dirty: bool,
    /// Where it can be had again.
    pub(crate) backup: Backup,
    /// What its use says; `Reclaim` if it is to go in any case.
    pub(crate) verdict: Verdict,
}

/// What this reclaim may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageTerms {
    /// Whether folios may be written at all.
    pub(crate) may_writepage: bool,
    /// Whether they may go to swap.
    pub(crate) may_swap: bool,
    /// Whether a user's store may be called.
    pub(crate) may_enter_fs: bool,
}

/// What is done with a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Back to the list it came from.
    Keep,
    /// To the active list; if swap is more than half used, it also gives up its place there.
    Activate,
    /// To the unevictable list.
    SetAside,
    /// Find it a place in swap and write it there, to be reclaimed once it is written. Without a place:
    /// `Activate`.
    NeedsSwapSlot,
    /// Write it out, to be reclaimed once it is written. If it cannot be written now: `Activate`.
    StartWrite,
    /// Remove it from memory. If somebody took or dirtied it meanwhile: `Keep`.
    Reclaim,
}

/// Decides what to do with a folio.
pub(crate) fn decide(facts: &PageFacts, terms: &PageTerms) -> Action {
    if facts.held {
        return Action::Keep;
    }
    if facts.locked {
        return Action::SetAside;
    }
    by_use(facts, terms)
}

fn by_use(facts: &PageFacts, terms: &PageTerms) -> Action {
    match facts.verdict {
        Verdict::Activate => return Action::Activate,
        Verdict::Keep => return Action::Keep,
        Verdict::ReclaimClean | Verdict::Reclaim => {}
    }
    if facts.pinned {
        return Action::Activate;
    }
    match facts.backup {
        Backup::At(owner) if facts.dirty => dirty(facts, terms, owner),
        Backup::Zeros | Backup::At(_) if !facts.dirty => Action::Reclaim,
        Backup::None | Backup::Zeros | Backup::At(_) => needs_place(terms),
    }
}

/// A place that may not be written to would be wasted.
fn needs_place(terms: &PageTerms) -> Action {
    if terms.may_swap && terms.may_writepage {
        Action::NeedsSwapSlot
    } else {
        Action::Keep
    }
}

fn dirty(facts: &PageFacts, terms: &PageTerms, owner: StoreOwner) -> Action {
    let may_enter = match owner {
        StoreOwner::Pool => terms.may_swap,
        StoreOwner::User => terms.may_enter_fs,
    };
    let is_write = may_enter && terms.may_writepage && facts.verdict != Verdict::ReclaimClean;
    if is_write {
        Action::StartWrite
    } else {
        Action::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: PageFacts = PageFacts {
        held: false,
        pinned: false,
        locked: false,
        dirty: false,
        backup: Backup::At(StoreOwner::User),
        verdict: Verdict::Reclaim,
    };
    const ANON: PageFacts = PageFacts {
        dirty: true,
        backup: Backup::None,
        ..FILE
    };
    const DIRTY_FILE: PageFacts = PageFacts {
        dirty: true,
        ..FILE
    };

    const KSWAPD: PageTerms = PageTerms {
        may_writepage: true,
        may_swap: true,
        may_enter_fs: true,
    };
    const DIRECT: PageTerms = PageTerms {
        may_enter_fs: false,
        ..KSWAPD
    };

    fn action(facts: PageFacts, terms: PageTerms) -> Action {
        decide(&facts, &terms)
    }

    #[test]
    fn a_clean_folio_with_a_copy_is_reclaimed_by_anyone() {
        for terms in [KSWAPD, DIRECT] {
            assert_eq!(action(FILE, terms), Action::Reclaim);
        }
        let swapped = PageFacts {
            dirty: false,
            backup: Backup::At(StoreOwner::Pool),
            ..ANON
        };
        assert_eq!(action(swapped, DIRECT), Action::Reclaim);
        let zeros = PageFacts {
            backup: Backup::Zeros,
            ..swapped
        };
        assert_eq!(action(zeros, DIRECT), Action::Reclaim);
    }

    /// A folio was blank when its copy was looked for, and dirty when its mark was: dropping it would
    /// have lost the write.
    #[test]
    fn a_folio_that_is_written_to_meanwhile_is_not_zeros_any_more() {
        let overtaken = PageFacts {
            backup: Backup::Zeros,
            ..ANON
        };
        assert_eq!(action(overtaken, KSWAPD), Action::NeedsSwapSlot);
    }

    #[test]
    fn a_folio_in_someones_hands_is_not_even_looked_at() {
        let held = PageFacts {
            held: true,
            locked: true,
            ..FILE
        };
        assert_eq!(action(held, KSWAPD), Action::Keep);
    }

    #[test]
    fn a_locked_folio_is_set_aside_whatever_else_it_is() {
        let locked = PageFacts {
            locked: true,
            verdict: Verdict::Activate,
            pinned: true,
            ..DIRTY_FILE
        };
        assert_eq!(action(locked, KSWAPD), Action::SetAside);
    }

    #[test]
    fn use_decides_before_pins_and_dirt() {
        for (verdict, expected) in [
            (Verdict::Activate, Action::Activate),
            (Verdict::Keep, Action::Keep),
        ] {
            let used = PageFacts {
                verdict,
                pinned: true,
                ..DIRTY_FILE
            };
            assert_eq!(action(used, KSWAPD), expected);
        }
    }

    #[test]
    fn a_pinned_folio_gets_out_of_the_way() {
        let pinned = PageFacts {
            pinned: true,
            ..FILE
        };
        assert_eq!(action(pinned, DIRECT), Action::Activate);
    }

    // ---- writing ----

    #[test]
    fn kswapd_writes_dirty_files_itself() {
        assert_eq!(action(DIRTY_FILE, KSWAPD), Action::StartWrite);
        let spare = PageTerms {
            may_writepage: false,
            ..KSWAPD
        };
        assert_eq!(action(DIRTY_FILE, spare), Action::Keep);
    }

    #[test]
    fn a_thread_calls_a_users_store_only_if_it_said_that_it_may() {
        assert_eq!(action(DIRTY_FILE, DIRECT), Action::Keep);
        let opted_in = PageTerms {
            may_enter_fs: true,
            ..DIRECT
        };
        assert_eq!(action(DIRTY_FILE, opted_in), Action::StartWrite);
    }

    #[test]
    fn a_thread_may_always_use_the_pools_own_swap() {
        assert_eq!(action(ANON, DIRECT), Action::NeedsSwapSlot);
        let placed = PageFacts {
            backup: Backup::At(StoreOwner::Pool),
            ..ANON
        };
        assert_eq!(action(placed, DIRECT), Action::StartWrite);
        let at_users = PageFacts {
            backup: Backup::At(StoreOwner::User),
            ..ANON
        };
        assert_eq!(action(at_users, DIRECT), Action::Keep);
        assert_eq!(action(at_users, KSWAPD), Action::StartWrite);
    }

    #[test]
    fn no_place_in_swap_is_taken_that_could_not_be_written() {
        let no_swap = PageTerms {
            may_swap: false,
            ..KSWAPD
        };
        let no_write = PageTerms {
            may_writepage: false,
            ..KSWAPD
        };
        for terms in [no_swap, no_write] {
            assert_eq!(action(ANON, terms), Action::Keep);
            let placed = PageFacts {
                backup: Backup::At(StoreOwner::Pool),
                ..ANON
            };
            assert_eq!(action(placed, terms), Action::Keep);
        }
    }

    #[test]
    fn a_folio_that_was_used_is_dropped_but_not_written() {
        let seen = |facts| PageFacts {
            verdict: Verdict::ReclaimClean,
            ..facts
        };
        assert_eq!(action(seen(FILE), KSWAPD), Action::Reclaim);
        assert_eq!(action(seen(DIRTY_FILE), KSWAPD), Action::Keep);
    }
}
