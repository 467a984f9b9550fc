//! The policy of two lists a kind, active and inactive: that of v5.0, and that of its later versions.
//!
//! *Kernel counterpart:* `mm/vmscan.c`, `mm/workingset.c` (v5.0). The pool uses
//! [`TwoLists::REFINED`], which takes from later kernels (spec 9.19):
//! - Fresh anonymous folios start inactive and are judged by two uses, like files. Else whatever is
//!   written once and never again ages the folios that are in use.
//! - Anonymous folios leave shadows, as only these can tell a working set that does not fit from one that
//!   was started inactive without need.
//! - Lists are weighed by what they cost in refaults and writes, not by rotations, which say nothing
//!   about I/O.
//!
//! Not taken: nothing. [`TwoLists::V5_0`] keeps the old rules side by side, for comparison.

use super::balance_lists::{self, Balance};
use super::history::{self, History};
use super::scan_count::{self, ScanInputs, ScanTargets};
use super::tables::PerList;
use super::verdict::{self, Aging, Candidate, Evidence, Judgement};
use super::workingset::{Refault, Rivals, Shadow};
use super::{Arrival, Newcomer, Placement, Policy};
use crate::node::lru_list::{FolioKind, LruList};

/// How a pass weighs the kinds against each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Weighing {
    Rotations,
    Costs,
}

/// Two lists a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TwoLists {
    evidence: Evidence,
    weighing: Weighing,
    rivals: Rivals,
}

impl TwoLists {
    /// As in v5.0.
    pub(crate) const V5_0: TwoLists = TwoLists {
        evidence: Evidence::OneUse,
        weighing: Weighing::Rotations,
        rivals: Rivals::ActiveOfItsKind,
    };

    /// With what later kernels improved.
    pub(crate) const REFINED: TwoLists = TwoLists {
        evidence: Evidence::TwoUses,
        weighing: Weighing::Costs,
        rivals: Rivals::AllOthers,
    };

    /// Whether one use is enough for a folio that nothing else is known of.
    fn starts_active(&self, newcomer: &Newcomer) -> bool {
        let is_eager = self.evidence == Evidence::OneUse && newcomer.kind == FolioKind::Anon;
        match newcomer.arrival {
            Arrival::Fresh => is_eager && !newcomer.cold,
            Arrival::ReadAhead => false,
            Arrival::Back(refault) => is_eager || refault.activates(),
        }
    }
}

impl Policy for TwoLists {
    fn place(&self, newcomer: &Newcomer) -> Placement {
        let restored = matches!(newcomer.arrival, Arrival::Back(Refault::Restore));
        let list = if newcomer.locked {
            LruList::Unevictable
        } else if self.starts_active(newcomer) {
            newcomer.kind.active()
        } else {
            newcomer.kind.inactive()
        };
        Placement {
            list,
            workingset: restored,
        }
    }

    fn judge(&self, candidate: &Candidate) -> Judgement {
        verdict::judge(self.evidence, candidate)
    }

    fn age(&self, candidate: &Candidate) -> Aging {
        verdict::age(candidate)
    }

    fn inactive_is_low(&self, balance: &Balance) -> bool {
        balance_lists::inactive_is_low(balance)
    }

    fn scan_targets(&self, inputs: &ScanInputs, history: &History) -> ScanTargets {
        let shares = match self.weighing {
            Weighing::Rotations => history::by_rotations(history, inputs.swappiness),
            Weighing::Costs => history::by_costs(history, inputs.swappiness),
        };
        scan_count::scan_targets(scan_count::scan_mode(inputs), inputs, shares)
    }

    fn leaves_shadow(&self, kind: FolioKind) -> bool {
        match self.rivals {
            Rivals::ActiveOfItsKind => kind == FolioKind::File,
            Rivals::AllOthers => true,
        }
    }

    fn refault(
        &self,
        kind: FolioKind,
        distance: u64,
        shadow: Shadow,
        sizes: &PerList<usize>,
        can_swap: bool,
    ) -> Refault {
        Refault::judge(distance, self.rivals.pages(kind, sizes, can_swap), shadow)
    }
}
