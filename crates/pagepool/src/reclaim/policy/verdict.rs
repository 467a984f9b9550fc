//! What the traces of use say about a folio at the tail of a list (spec 5.2, 5.4).
//!
//! *Kernel counterpart:* `page_check_references`, the middle of `shrink_active_list` (v5.0). The
//! kernel's accessed bits, one for each mapping, are one mark of the folio; a mapping that may be
//! executed is a folio whose owner called it sticky; a locked mapping is a locked folio.
//!
//! One use is weak evidence. A folio of a store is therefore kept for it, and becomes active if the next
//! visit of reclaim finds it used again. In v5.0 one use of an anonymous folio is enough, which goes with
//! its start on the active list; where those start inactive (spec 9.19), they are judged as folios of
//! stores are.
//!
//! In v5.0 a visit that finds a folio unused forgets all that was before. Where uses are counted
//! ([`Evidence::Counted`]), such a visit takes one off instead, and the folio goes when none is left: of
//! two folios that were not used since the last look, the one that is used more often stays longer. That
//! is the generalised clock (Smith, *Sequentiality and Prefetching in Database Systems*, 1978), with the
//! counts on top of the two lists. Reclaim that is in need does not look at the counts.

use crate::folio::MAX_USES;
use crate::node::lru_list::FolioKind;

/// By what a folio is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evidence {
    /// By the last two visits of reclaim, and an anonymous one by the last alone, as in v5.0.
    Recent,
    /// By all visits since it came to memory.
    Counted,
}

/// What is known of a folio at the tail of a list. The marks are as found; the accessed one is cleared
/// by whoever looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    /// What it holds.
    pub(crate) kind: FolioKind,
    /// Whether it was used since reclaim last looked.
    pub(crate) accessed: bool,
    /// How often reclaim saw it used before, and gave it another trip for that.
    pub(crate) uses: u8,
    /// Whether its owner locked it in memory.
    pub(crate) locked: bool,
    /// Whether its owner wants it kept if it is used at all.
    pub(crate) sticky: bool,
    /// Whether its owner said that it will not be needed soon. Whoever says so clears the accessed
    /// mark, so that one which is found is a later use, and counts.
    pub(crate) cold: bool,
    /// Whether reclaim has looked at much and found little.
    pub(crate) in_need: bool,
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

/// A verdict, and what is remembered of the folio from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Judgement {
    /// What to do with it.
    pub(crate) verdict: Verdict,
    /// How often it was seen used.
    pub(crate) uses: u8,
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
        /// How often it was seen used.
        uses: u8,
    },
    /// Off to the unevictable list.
    SetAside,
}

/// Judges a folio at the tail of an inactive list.
pub(crate) fn judge(evidence: Evidence, candidate: &Candidate) -> Judgement {
    Judgement {
        verdict: verdict(evidence, candidate),
        uses: uses_after(evidence, candidate),
    }
}

fn verdict(evidence: Evidence, candidate: &Candidate) -> Verdict {
    let was_used = candidate.uses > 0 && !candidate.cold;
    if candidate.locked {
        // The attempt will find it locked and set it aside.
        Verdict::Reclaim
    } else if candidate.accessed {
        used(evidence, candidate)
    } else if was_used && evidence == Evidence::Counted && !candidate.in_need {
        Verdict::Keep
    } else if was_used && candidate.kind == FolioKind::File {
        Verdict::ReclaimClean
    } else {
        Verdict::Reclaim
    }
}

fn used(evidence: Evidence, candidate: &Candidate) -> Verdict {
    let is_enough = !is_remembered(evidence, candidate.kind);
    if is_enough || candidate.uses > 0 || candidate.sticky {
        Verdict::Activate
    } else {
        Verdict::Keep
    }
}

/// How often the folio was seen used, this visit included.
fn uses_after(evidence: Evidence, candidate: &Candidate) -> u8 {
    if candidate.locked || !is_remembered(evidence, candidate.kind) {
        return 0;
    }
    let Candidate { accessed, uses, .. } = *candidate;
    match (evidence, accessed) {
        (Evidence::Recent, _) => u8::from(accessed),
        (Evidence::Counted, true) => MAX_USES.min(uses + 1),
        (Evidence::Counted, false) => uses.saturating_sub(1),
    }
}

/// Whether a first use is only remembered, so that a second can tell.
fn is_remembered(evidence: Evidence, kind: FolioKind) -> bool {
    kind == FolioKind::File || evidence == Evidence::Counted
}

/// Judges a folio at the tail of an active list. A use does not keep it active, unless it is a sticky
/// one of a store: on the inactive list it has the time to be used again.
pub(crate) fn age(evidence: Evidence, candidate: &Candidate) -> Aging {
    let Candidate { accessed, uses, .. } = *candidate;
    if candidate.locked {
        Aging::SetAside
    } else if accessed && candidate.sticky && candidate.kind == FolioKind::File {
        Aging::Keep
    } else {
        Aging::Deactivate {
            rotated: accessed,
            uses: match evidence {
                Evidence::Recent => 0,
                Evidence::Counted => MAX_USES.min(uses + u8::from(accessed)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSED: Candidate = Candidate {
        kind: FolioKind::File,
        accessed: false,
        uses: 0,
        locked: false,
        sticky: false,
        cold: false,
        in_need: false,
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

    const BOTH: [Evidence; 2] = [Evidence::Recent, Evidence::Counted];

    #[test]
    fn what_was_not_used_goes() {
        for evidence in BOTH {
            assert_eq!(verdict(evidence, UNUSED), Verdict::Reclaim);
            assert_eq!(verdict(evidence, anon(UNUSED)), Verdict::Reclaim);
        }
    }

    #[test]
    fn a_file_that_was_used_twice_becomes_active() {
        for evidence in BOTH {
            let first = judge(evidence, &USED);
            assert_eq!((first.verdict, first.uses), (Verdict::Keep, 1));
            let again = Candidate {
                uses: first.uses,
                ..USED
            };
            assert_eq!(verdict(evidence, again), Verdict::Activate);
        }
    }

    #[test]
    fn of_old_a_file_that_was_used_once_goes_on_its_second_visit_if_it_is_clean() {
        let seen = Candidate { uses: 1, ..UNUSED };
        let judged = judge(Evidence::Recent, &seen);
        assert_eq!(judged.verdict, Verdict::ReclaimClean);
        assert_eq!(judged.uses, 0, "and on its third in any case");
    }

    #[test]
    fn counted_uses_buy_a_trip_each() {
        let visit = |uses, accessed| {
            let candidate = Candidate {
                uses,
                accessed,
                ..anon(UNUSED)
            };
            judge(Evidence::Counted, &candidate)
        };
        let mut uses = 0;
        for _ in 0..5 {
            uses = visit(uses, true).uses;
        }
        assert_eq!(uses, MAX_USES, "no more than can be counted");
        for left in (0..MAX_USES).rev() {
            let judged = visit(uses, false);
            assert_eq!((judged.verdict, judged.uses), (Verdict::Keep, left));
            uses = judged.uses;
        }
        assert_eq!(visit(uses, false).verdict, Verdict::Reclaim);
    }

    #[test]
    fn in_need_what_was_used_before_goes_and_what_is_in_use_stays() {
        let needed = |candidate| Candidate {
            in_need: true,
            uses: MAX_USES,
            ..candidate
        };
        let verdict = |candidate| verdict(Evidence::Counted, needed(candidate));
        assert_eq!(verdict(anon(UNUSED)), Verdict::Reclaim);
        assert_eq!(verdict(UNUSED), Verdict::ReclaimClean);
        assert_eq!(verdict(anon(USED)), Verdict::Activate);
    }

    #[test]
    fn one_use_makes_anonymous_folios_active_only_where_they_start_so() {
        let old = judge(Evidence::Recent, &anon(USED));
        assert_eq!((old.verdict, old.uses), (Verdict::Activate, 0));
        let new = judge(Evidence::Counted, &anon(USED));
        assert_eq!((new.verdict, new.uses), (Verdict::Keep, 1));
    }

    #[test]
    fn a_sticky_folio_needs_one_use_but_needs_it() {
        let sticky = |candidate| Candidate {
            sticky: true,
            ..candidate
        };
        for evidence in BOTH {
            assert_eq!(verdict(evidence, sticky(USED)), Verdict::Activate);
            assert_eq!(verdict(evidence, sticky(UNUSED)), Verdict::Reclaim);
        }
    }

    #[test]
    fn a_locked_folio_is_taken_so_that_it_can_be_set_aside() {
        let locked = Candidate {
            locked: true,
            uses: 1,
            ..USED
        };
        for evidence in BOTH {
            let judged = judge(evidence, &locked);
            assert_eq!((judged.verdict, judged.uses), (Verdict::Reclaim, 0));
            assert_eq!(age(evidence, &locked), Aging::SetAside);
        }
    }

    #[test]
    fn a_cold_folio_goes_dirty_or_not_unless_it_was_used_since() {
        let cold = |candidate| Candidate {
            cold: true,
            uses: MAX_USES,
            ..candidate
        };
        for evidence in BOTH {
            assert_eq!(verdict(evidence, cold(UNUSED)), Verdict::Reclaim);
            assert_eq!(verdict(evidence, cold(USED)), Verdict::Activate);
        }
    }

    fn deactivated(rotated: bool, uses: u8) -> Aging {
        Aging::Deactivate { rotated, uses }
    }

    #[test]
    fn from_the_active_list_even_used_folios_go_on_but_count_as_rotated() {
        for evidence in BOTH {
            assert_eq!(age(evidence, &UNUSED), deactivated(false, 0));
        }
        let used = Candidate { uses: 2, ..USED };
        assert_eq!(age(Evidence::Recent, &used), deactivated(true, 0));
        assert_eq!(age(Evidence::Counted, &used), deactivated(true, 3));
    }

    #[test]
    fn only_sticky_files_in_use_stay_active() {
        let aged = |candidate| {
            let sticky = Candidate {
                sticky: true,
                ..candidate
            };
            age(Evidence::Recent, &sticky)
        };
        assert_eq!(aged(USED), Aging::Keep);
        assert_eq!(aged(UNUSED), deactivated(false, 0));
        assert_eq!(aged(anon(USED)), deactivated(true, 0));
    }
}
