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
