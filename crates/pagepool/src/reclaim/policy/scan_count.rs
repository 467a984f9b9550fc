//! How much of each list a pass looks at (spec 5.5).
//!
//! *Kernel counterpart:* `get_scan_count` (v5.0). As in later kernels (spec 9.19), whether files are
//! few is decided once for a pass over a node ([`file_is_tiny`]) and given.

use super::history::Shares;
use super::tables::{PerKind, PerList};
use crate::node::lru_list::{FolioKind, LruList};

/// Whom the reclaim is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// For whoever needs memory of the node.
    Node,
    /// For a group at its limit.
    Group,
}

/// What a pass knows when it sets out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScanInputs {
    /// Pages of each list in the zones that the reclaim works for.
    pub(crate) eligible: PerList<usize>,
    /// How hard it tries.
    pub(crate) priority: u8,
    /// The weight of anonymous folios, 0 to 200.
    pub(crate) swappiness: u8,
    /// Whether anonymous folios may be swapped, and there is room for them.
    pub(crate) can_swap: bool,
    /// Whom it is for.
    pub(crate) scope: Scope,
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
    let is_for_node = inputs.scope == Scope::Node;

    if !inputs.can_swap || (!is_for_node && inputs.swappiness == 0) {
        ScanMode::FileOnly
    } else if inputs.priority == 0 && inputs.swappiness != 0 {
        // About to give up: what was cheaper so far does not matter any more.
        ScanMode::Equal
    } else if is_for_node && inputs.file_is_tiny && has_unused(FolioKind::Anon) {
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
        let scan = inputs.eligible[list] >> inputs.priority;
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
