//! How much of each list a pass looks at (spec 5.5).
//!
//! *Kernel counterpart:* `get_scan_count` (v5.0). As in later kernels (spec 9.19), whether files are
//! few is decided once for a pass over a node ([`file_is_tiny`]) and given. In a small pool a
//! four-thousandth of a list is a page or none; what is looked at is rounded up to what one write takes
//! ([`least`](ScanInputs::least)).

use super::history::Shares;
use super::tables::{PerKind, PerList};
use crate::node::lru_list::{FolioKind, LruList};

/// What a pass knows when it sets out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScanInputs {
    /// Pages of each list in the zones that the reclaim works for.
    pub(crate) eligible: PerList<usize>,
    /// How hard it tries.
    pub(crate) priority: u8,
    /// Pages of an inactive list that it looks at in any case, if there are so many. Not of an active one:
    /// that would age folios faster than they can be used again.
    pub(crate) least: usize,
    /// The weight of anonymous folios, 0 to 200.
    pub(crate) swappiness: u8,
    /// Whether anonymous folios may be swapped, and there is room for them.
    pub(crate) can_swap: bool,
    /// Whether all files of the node together could not lift it above its high marks.
    pub(crate) file_is_tiny: bool,
    /// Whether the inactive list of a kind is short, not counting refaults.
    pub(crate) inactive_is_low: PerKind<bool>,
}

/// Which kinds are scanned, and in what proportion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ScanMode {
    /// Backed folios only.
    FileOnly,
    /// Anonymous folios only.
    AnonOnly,
    /// Both as they are.
    Equal,
    /// Both in proportion.
    Fraction,
}

/// What a pass looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScanTargets {
    /// Pages of each list.
    pub(crate) targets: PerList<usize>,
    /// Pages on all lists that could be looked at, for what is asked of others in proportion.
    pub(crate) lru_pages: usize,
}

/// Whether files are so few that taking all of them would not do: then they look ever more attractive
/// the fewer there are, and would be thrashed to nothing.
pub(crate) fn file_is_tiny(file_pages: usize, free_pages: usize, high_marks: usize) -> bool {
    file_pages + free_pages <= high_marks
}

/// Which kinds are scanned: the first rule that holds.
pub(crate) fn scan_mode(inputs: &ScanInputs) -> ScanMode {
    let has_unused = |kind: FolioKind| {
        let inactive = inputs.eligible[kind.inactive()];
        !inputs.inactive_is_low[kind] && inactive >> inputs.priority != 0
    };
    if !inputs.can_swap {
        ScanMode::FileOnly
    } else if inputs.priority == 0 && inputs.swappiness != 0 {
        // About to give up: what was cheaper so far does not matter any more.
        ScanMode::Equal
    } else if inputs.file_is_tiny && has_unused(FolioKind::Anon) {
        ScanMode::AnonOnly
    } else if has_unused(FolioKind::File) {
        // There are files that nobody uses: take those.
        ScanMode::FileOnly
    } else {
        ScanMode::Fraction
    }
}

/// How much of each list is looked at in a mode.
pub(crate) fn scan_targets(mode: ScanMode, inputs: &ScanInputs, shares: Shares) -> ScanTargets {
    let target = |list: LruList| {
        let size = inputs.eligible[list];
        let least = if list.is_active() { 0 } else { inputs.least };
        let scan = (size >> inputs.priority).max(size.min(least));
        match (mode, list.kind()) {
            (ScanMode::FileOnly, Some(FolioKind::File))
            | (ScanMode::AnonOnly, Some(FolioKind::Anon))
            | (ScanMode::Equal, Some(_)) => scan,
            (ScanMode::Fraction, Some(kind)) => share(scan, shares.of[kind], shares.whole),
            (ScanMode::FileOnly | ScanMode::AnonOnly, Some(_)) | (_, None) => 0,
        }
    };
    ScanTargets {
        targets: PerList::each(target),
        lru_pages: inputs.eligible.total(),
    }
}

/// Rounded up, so that a short list is not passed over at each priority.
fn share(pages: usize, of: u64, whole: u64) -> usize {
    let product = pages as u128 * u128::from(of);
    product.div_ceil(u128::from(whole)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> ScanInputs {
        ScanInputs {
            eligible: PerList::each(|list| [40_960, 81_920, 4096, 8192][list.idx()]),
            priority: 12,
            least: 0,
            swappiness: 60,
            can_swap: true,
            file_is_tiny: false,
            inactive_is_low: PerKind {
                anon: true,
                file: true,
            },
        }
    }

    const EVEN: Shares = Shares {
        of: PerKind {
            anon: 100,
            file: 100,
        },
        whole: 201,
    };

    fn targets(mode: ScanMode, inputs: &ScanInputs, shares: Shares) -> [usize; 4] {
        let scan = scan_targets(mode, inputs, shares);
        LruList::EVICTABLE.map(|list| scan.targets[list])
    }

    // ---- the mode, rule by rule ----

    #[test]
    fn without_room_in_swap_only_files_are_scanned() {
        let full = ScanInputs {
            can_swap: false,
            priority: 0,
            least: 0,
            file_is_tiny: true,
            ..inputs()
        };
        assert_eq!(scan_mode(&full), ScanMode::FileOnly);
    }

    #[test]
    fn at_priority_0_everything_is_scanned_alike_if_anything_may_be_swapped() {
        let last = ScanInputs {
            priority: 0,
            least: 0,
            file_is_tiny: true,
            ..inputs()
        };
        assert_eq!(scan_mode(&last), ScanMode::Equal);
        let spared = ScanInputs {
            swappiness: 0,
            ..last
        };
        assert_eq!(scan_mode(&spared), ScanMode::Fraction);
    }

    #[test]
    fn tiny_files_are_spared_while_anonymous_folios_lie_unused() {
        let tiny = ScanInputs {
            file_is_tiny: true,
            inactive_is_low: PerKind::default(),
            ..inputs()
        };
        assert_eq!(scan_mode(&tiny), ScanMode::AnonOnly);
        let mut few = tiny;
        few.eligible[LruList::InactiveAnon] = 4095;
        assert_eq!(scan_mode(&few), ScanMode::FileOnly);
        let in_use = ScanInputs {
            inactive_is_low: PerKind {
                anon: true,
                file: false,
            },
            ..tiny
        };
        assert_eq!(scan_mode(&in_use), ScanMode::FileOnly);
    }

    #[test]
    fn unused_files_go_first() {
        let unused = ScanInputs {
            inactive_is_low: PerKind {
                anon: false,
                file: false,
            },
            ..inputs()
        };
        assert_eq!(scan_mode(&unused), ScanMode::FileOnly);
        let mut few = unused;
        few.eligible[LruList::InactiveFile] = 4095;
        assert_eq!(scan_mode(&few), ScanMode::Fraction);
        assert_eq!(scan_mode(&inputs()), ScanMode::Fraction);
    }

    #[test]
    fn files_are_tiny_if_all_of_them_would_not_do() {
        assert!(file_is_tiny(60, 40, 100));
        assert!(!file_is_tiny(61, 40, 100));
    }

    // ---- the targets ----

    #[test]
    fn a_mode_scans_its_kinds_and_no_other() {
        let of = |mode| targets(mode, &inputs(), EVEN);
        assert_eq!(of(ScanMode::Equal), [10, 20, 1, 2]);
        assert_eq!(of(ScanMode::FileOnly), [0, 0, 1, 2]);
        assert_eq!(of(ScanMode::AnonOnly), [10, 20, 0, 0]);
        assert_eq!(
            scan_targets(ScanMode::AnonOnly, &inputs(), EVEN).lru_pages,
            135_168
        );
    }

    #[test]
    fn each_priority_doubles_what_is_looked_at_up_to_everything() {
        let at = |priority| {
            let inputs = ScanInputs {
                priority,
                ..inputs()
            };
            targets(ScanMode::Equal, &inputs, EVEN)
        };
        assert_eq!(at(11), [20, 40, 2, 4]);
        assert_eq!(at(0), [40_960, 81_920, 4096, 8192]);
    }

    #[test]
    fn shares_are_rounded_up_so_that_short_lists_are_not_passed_over() {
        // 10 · 100 / 201, 20 · 100 / 201 and so on.
        let of = targets(ScanMode::Fraction, &inputs(), EVEN);
        assert_eq!(of, [5, 10, 1, 1]);
        let one_sided = Shares {
            of: PerKind { anon: 0, file: 200 },
            whole: 201,
        };
        assert_eq!(
            targets(ScanMode::Fraction, &inputs(), one_sided)[..2],
            [0, 0]
        );
    }
}
