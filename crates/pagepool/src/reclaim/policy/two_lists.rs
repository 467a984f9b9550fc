//! The policy of two lists a kind, active and inactive: that of v5.0, and that of its later versions.
//!
//! *Kernel counterpart:* `mm/vmscan.c`, `mm/workingset.c` (v5.0). The pool uses
//! [`TwoLists::REFINED`], which takes from later kernels (spec 9.19):
//! - Fresh anonymous folios start inactive and are judged as files are. Else whatever is written once and
//!   never again ages the folios that are in use.
//! - Anonymous folios leave shadows, as only these can tell a working set that does not fit from one that
//!   was started inactive without need.
//! - A folio that comes back may take the place of any folio that its refault distance does not tell of,
//!   of the other kind too: with both tracked by one clock, active files alone say too little.
//! - Lists are weighed by what they cost in refaults and writes, not by rotations, which say nothing
//!   about I/O.
//!
//! Not from there, but from the literature on buffer pools: uses are counted instead of forgotten
//! ([`verdict`]). Under Zipf's law with a working set of twice the memory that saves one miss in eight;
//! where the working set moves it costs one in twenty more.
//!
//! [`TwoLists::V5_0`] is the old rules side by side, so that the two can be compared. What both share
//! (whole lists for the inactive ratio, tiny files judged once a pass) is said where it is.

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
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests set the refined rules against these")
    )]
    pub(crate) const V5_0: TwoLists = TwoLists {
        evidence: Evidence::Recent,
        weighing: Weighing::Rotations,
        rivals: Rivals::ActiveOfItsKind,
    };

    /// With what later kernels improved.
    pub(crate) const REFINED: TwoLists = TwoLists {
        evidence: Evidence::Counted,
        weighing: Weighing::Costs,
        rivals: Rivals::AllOthers,
    };

    /// Whether one use is enough for a folio that nothing else is known of.
    fn starts_active(&self, newcomer: &Newcomer) -> bool {
        let is_eager = self.evidence == Evidence::Recent && newcomer.kind == FolioKind::Anon;
        match newcomer.arrival {
            Arrival::Fresh => is_eager && !newcomer.cold,
            Arrival::ReadAhead => false,
            Arrival::Back(refault) => is_eager || refault.activates(),
        }
    }
}

impl Policy for TwoLists {
    fn place(&self, newcomer: &Newcomer) -> Placement {
        // What is read ahead was in use once, together with what is needed now (spec 5.13).
        let restored = matches!(
            newcomer.arrival,
            Arrival::ReadAhead | Arrival::Back(Refault::Restore)
        );
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
        verdict::age(self.evidence, candidate)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reclaim::policy::PerKind;
    use crate::reclaim::policy::verdict::Verdict;
    use crate::reclaim::policy::workingset::Buckets;

    const FRESH_ANON: Newcomer = Newcomer {
        kind: FolioKind::Anon,
        arrival: Arrival::Fresh,
        locked: false,
        cold: false,
    };
    const FRESH_FILE: Newcomer = Newcomer {
        kind: FolioKind::File,
        ..FRESH_ANON
    };

    fn list(policy: TwoLists, newcomer: Newcomer) -> LruList {
        policy.place(&newcomer).list
    }

    #[test]
    fn fresh_folios_start_inactive_but_anonymous_ones_of_old() {
        let (old, new) = (TwoLists::V5_0, TwoLists::REFINED);
        assert_eq!(list(old, FRESH_ANON), LruList::ActiveAnon);
        assert_eq!(list(new, FRESH_ANON), LruList::InactiveAnon);
        for policy in [old, new] {
            assert_eq!(list(policy, FRESH_FILE), LruList::InactiveFile);
        }
    }

    #[test]
    fn hints_outrank_the_start() {
        let cold = Newcomer {
            cold: true,
            ..FRESH_ANON
        };
        assert_eq!(list(TwoLists::V5_0, cold), LruList::InactiveAnon);
        let locked = Newcomer {
            locked: true,
            ..FRESH_ANON
        };
        assert_eq!(list(TwoLists::V5_0, locked), LruList::Unevictable);
    }

    #[test]
    fn folios_that_come_back_start_where_their_shadow_says() {
        for (refault, expected, workingset) in [
            (Refault::Transition, LruList::InactiveFile, false),
            (Refault::Activate, LruList::ActiveFile, false),
            (Refault::Restore, LruList::ActiveFile, true),
        ] {
            let back = Newcomer {
                arrival: Arrival::Back(refault),
                ..FRESH_FILE
            };
            let expected = Placement {
                list: expected,
                workingset,
            };
            assert_eq!(TwoLists::REFINED.place(&back), expected, "{refault:?}");
        }
    }

    #[test]
    fn what_is_read_ahead_has_yet_to_prove_itself() {
        let ahead = Newcomer {
            arrival: Arrival::ReadAhead,
            ..FRESH_ANON
        };
        for policy in [TwoLists::V5_0, TwoLists::REFINED] {
            assert_eq!(list(policy, ahead), LruList::InactiveAnon);
        }
    }

    #[test]
    fn anonymous_folios_leave_shadows_where_they_start_inactive() {
        assert!(!TwoLists::V5_0.leaves_shadow(FolioKind::Anon));
        assert!(TwoLists::V5_0.leaves_shadow(FolioKind::File));
        assert!(FolioKind::ALL.map(|kind| TwoLists::REFINED.leaves_shadow(kind)) == [true; 2]);
    }

    #[test]
    fn a_deficit_can_be_made_up_by_the_other_kind_where_both_are_tracked() {
        // Ten active files and a thousand anonymous pages.
        let sizes = PerList::each(|list| [500, 500, 0, 10][list.idx()]);
        let shadow = Buckets::for_pages(4096).shadow(0, false);
        let refault = |policy: TwoLists, can_swap| {
            policy.refault(FolioKind::File, 100, shadow, &sizes, can_swap)
        };
        assert_eq!(refault(TwoLists::V5_0, true), Refault::Transition);
        assert_eq!(refault(TwoLists::REFINED, true), Refault::Activate);
        assert_eq!(refault(TwoLists::REFINED, false), Refault::Transition);
    }

    #[test]
    fn each_weighs_by_what_it_knows() {
        let inputs = ScanInputs {
            eligible: PerList::each(|_| 100_000),
            priority: 4,
            least: 0,
            swappiness: 100,
            can_swap: true,
            file_is_tiny: false,
            inactive_is_low: PerKind {
                anon: true,
                file: true,
            },
        };
        let anon_part = |policy: TwoLists, history: &History| {
            let scan = policy.scan_targets(&inputs, history);
            scan.targets.of_kind(FolioKind::Anon) as f64 / scan.targets.total() as f64
        };
        let mut rotated = History::default();
        rotated.note_scanned(FolioKind::Anon, 1000);
        rotated.note_rotated(FolioKind::Anon, 1000);
        rotated.note_scanned(FolioKind::File, 1000);
        assert!(anon_part(TwoLists::V5_0, &rotated) < 0.01);
        assert!((anon_part(TwoLists::REFINED, &rotated) - 0.5).abs() < 0.01);

        let mut costly = History::default();
        costly.charge(FolioKind::Anon, 10_000, 400_000);
        assert!((anon_part(TwoLists::V5_0, &costly) - 0.5).abs() < 0.01);
        assert!((anon_part(TwoLists::REFINED, &costly) - 1.0 / 3.0).abs() < 0.01);
    }

    /// A stream of folios that are used once goes by while a few are used again and again.
    #[test]
    fn what_is_used_once_leaves_before_what_is_used_often() {
        let visit = |uses, accessed| {
            TwoLists::REFINED.judge(&Candidate {
                kind: FolioKind::Anon,
                accessed,
                uses,
                locked: false,
                sticky: false,
                cold: false,
                in_need: false,
            })
        };
        let first = visit(0, true);
        let trips = |accessed| {
            let next = visit(first.uses, accessed);
            (next.verdict, visit(next.uses, false).verdict)
        };
        assert_eq!(first.verdict, Verdict::Keep);
        assert_eq!(trips(true), (Verdict::Activate, Verdict::Keep), "often");
        assert_eq!(trips(false), (Verdict::Keep, Verdict::Reclaim), "once");
        assert_eq!(visit(0, false).verdict, Verdict::Reclaim, "never since");
    }
}
