//! What the traces of use say about a folio at the tail of a list (spec 5.2, 5.4).
//!
//! *Kernel counterpart:* `page_check_references`, the middle of `shrink_active_list` (v5.0). The
//! kernel's accessed bits, one for each mapping, are one mark of the folio; a mapping that may be
//! executed is a folio whose owner called it sticky; a locked mapping is a locked folio.
//!
//! One use is weak evidence, since every folio that comes to memory is used at once. A folio of a store
//! therefore needs two between two visits of reclaim, or one use on each of two visits. In v5.0 one use
//! of an anonymous folio is enough, which goes with its start on the active list; where those start
//! inactive (spec 9.19), they are judged by two uses as well ([`Evidence`]).

use crate::node::lru_list::FolioKind;

/// How many uses make an anonymous folio active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evidence {
    /// One, as in v5.0.
    OneUse,
    /// Two, as for files.
    TwoUses,
}

/// What is known of a folio at the tail of a list. The marks are as found; the accessed one is cleared
/// by whoever looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    /// What it holds.
    pub(crate) kind: FolioKind,
    /// Whether it was used since reclaim last looked.
    pub(crate) accessed: bool,
    /// Whether reclaim saw it used before, and gave it another trip for that.
    pub(crate) referenced: bool,
    /// Whether its owner locked it in memory.
    pub(crate) locked: bool,
    /// Whether its owner wants it kept if it is used at all.
    pub(crate) sticky: bool,
    /// Whether its owner said that it will not be needed soon. Whoever says so clears the accessed
    /// mark, so that one which is found is a later use, and counts.
    pub(crate) cold: bool,
}

/// What to do with a folio at the tail of an inactive list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Make it active.
    Activate,
    /// Give it one more trip.
    Keep,
    /// Reclaim it if it is clean.
    ReclaimClean,
    /// Reclaim it.
    Reclaim,
}

/// A verdict, and the mark that the folio bears from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Judgement {
    /// What to do with it.
    pub(crate) verdict: Verdict,
    /// Whether it is marked as seen used.
    pub(crate) referenced: bool,
}

/// What to do with a folio at the tail of an active list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aging {
    /// Back to the head of the list. It counts as rotated.
    Keep,
    /// To the head of the inactive list, marked as part of the working set.
    Deactivate {
        /// Whether it was found used, and counts as rotated all the same.
        rotated: bool,
    },
    /// Off to the unevictable list.
    SetAside,
}

/// Judges a folio at the tail of an inactive list.
pub(crate) fn judge(evidence: Evidence, candidate: &Candidate) -> Judgement {
    let verdict = if candidate.locked {
        // The attempt will find it locked and set it aside.
        Verdict::Reclaim
    } else if candidate.accessed {
        used(evidence, candidate)
    } else if candidate.referenced && candidate.kind == FolioKind::File && !candidate.cold {
        Verdict::ReclaimClean
    } else {
        Verdict::Reclaim
    };
    Judgement {
        verdict,
        referenced: candidate.accessed && !candidate.locked && is_marked(evidence, candidate.kind),
    }
}

fn used(evidence: Evidence, candidate: &Candidate) -> Verdict {
    let is_enough = !is_marked(evidence, candidate.kind);
    if is_enough || candidate.referenced || candidate.sticky {
        Verdict::Activate
    } else {
        Verdict::Keep
    }
}

/// Whether a first use is only marked, so that a second can tell.
fn is_marked(evidence: Evidence, kind: FolioKind) -> bool {
    kind == FolioKind::File || evidence == Evidence::TwoUses
}

/// Judges a folio at the tail of an active list. A use does not keep it active, unless it is a sticky
/// one of a store: on the inactive list it has the time to be used again.
pub(crate) fn age(candidate: &Candidate) -> Aging {
    if candidate.locked {
        Aging::SetAside
    } else if candidate.accessed && candidate.sticky && candidate.kind == FolioKind::File {
        Aging::Keep
    } else {
        Aging::Deactivate {
            rotated: candidate.accessed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSED: Candidate = Candidate {
        kind: FolioKind::File,
        accessed: false,
        referenced: false,
        locked: false,
        sticky: false,
        cold: false,
    };
    const USED: Candidate = Candidate {
        accessed: true,
        ..UNUSED
    };

    fn anon(candidate: Candidate) -> Candidate {
        Candidate {
            kind: FolioKind::Anon,
            ..candidate
        }
    }

    fn verdict(evidence: Evidence, candidate: Candidate) -> Verdict {
        judge(evidence, &candidate).verdict
    }

    #[test]
    fn what_was_not_used_goes() {
        for evidence in [Evidence::OneUse, Evidence::TwoUses] {
            assert_eq!(verdict(evidence, UNUSED), Verdict::Reclaim);
            assert_eq!(verdict(evidence, anon(UNUSED)), Verdict::Reclaim);
        }
    }

    #[test]
    fn a_file_that_was_used_twice_becomes_active() {
        let first = judge(Evidence::OneUse, &USED);
        assert_eq!(first.verdict, Verdict::Keep);
        assert!(first.referenced);
        let again = Candidate {
            referenced: first.referenced,
            ..USED
        };
        assert_eq!(verdict(Evidence::OneUse, again), Verdict::Activate);
    }

    #[test]
    fn a_file_that_was_used_once_goes_on_its_second_visit_if_it_is_clean() {
        let seen = Candidate {
            referenced: true,
            ..UNUSED
        };
        let judged = judge(Evidence::TwoUses, &seen);
        assert_eq!(judged.verdict, Verdict::ReclaimClean);
        assert!(!judged.referenced, "and on its third in any case");
        assert_eq!(verdict(Evidence::TwoUses, anon(seen)), Verdict::Reclaim);
    }

    #[test]
    fn one_use_makes_anonymous_folios_active_only_where_they_start_so() {
        let one = judge(Evidence::OneUse, &anon(USED));
        assert_eq!((one.verdict, one.referenced), (Verdict::Activate, false));
        let two = judge(Evidence::TwoUses, &anon(USED));
        assert_eq!((two.verdict, two.referenced), (Verdict::Keep, true));
    }

    #[test]
    fn a_sticky_folio_needs_one_use_but_needs_it() {
        let sticky = |candidate| Candidate {
            sticky: true,
            ..candidate
        };
        assert_eq!(verdict(Evidence::OneUse, sticky(USED)), Verdict::Activate);
        assert_eq!(verdict(Evidence::OneUse, sticky(UNUSED)), Verdict::Reclaim);
    }

    #[test]
    fn a_locked_folio_is_taken_so_that_it_can_be_set_aside() {
        let locked = Candidate {
            locked: true,
            referenced: true,
            ..USED
        };
        let judged = judge(Evidence::OneUse, &locked);
        assert_eq!(
            (judged.verdict, judged.referenced),
            (Verdict::Reclaim, false)
        );
        assert_eq!(age(&locked), Aging::SetAside);
    }

    #[test]
    fn a_cold_folio_goes_dirty_or_not_unless_it_was_used_since() {
        let cold = |candidate| Candidate {
            cold: true,
            referenced: true,
            ..candidate
        };
        assert_eq!(verdict(Evidence::OneUse, cold(UNUSED)), Verdict::Reclaim);
        assert_eq!(verdict(Evidence::OneUse, cold(USED)), Verdict::Activate);
    }

    #[test]
    fn from_the_active_list_even_used_folios_go_on_but_count_as_rotated() {
        assert_eq!(age(&UNUSED), Aging::Deactivate { rotated: false });
        assert_eq!(age(&USED), Aging::Deactivate { rotated: true });
    }

    #[test]
    fn only_sticky_files_in_use_stay_active() {
        let sticky = |candidate| Candidate {
            sticky: true,
            ..candidate
        };
        assert_eq!(age(&sticky(USED)), Aging::Keep);
        assert_eq!(age(&sticky(UNUSED)), Aging::Deactivate { rotated: false });
        assert_eq!(
            age(&sticky(anon(USED))),
            Aging::Deactivate { rotated: true }
        );
    }
}
