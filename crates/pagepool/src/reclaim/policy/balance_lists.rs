//! How long the inactive list of a kind ought to be beside the active one (spec 5.4).
//!
//! *Kernel counterpart:* `inactive_list_is_low` (v5.0). Two later changes are taken (spec 9.19): the
//! sizes are those of whole lists, not of the zones that a reclaim works for, so that one verdict holds
//! for all reclaims of a node; and folios that come back to be active count for both kinds, since
//! anonymous ones leave shadows too.

use crate::node::lru_list::FolioKind;
use crate::types::PAGE_SHIFT;

/// What the balance of a kind's lists is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Balance {
    /// The kind.
    pub(crate) kind: FolioKind,
    /// Pages on the inactive list.
    pub(crate) inactive: usize,
    /// Pages on the active list.
    pub(crate) active: usize,
    /// Whether folios of this kind came back to be active since the last reclaim of the node ended.
    /// Only a step that moves folios asks so; an estimate says no.
    pub(crate) refaulted: bool,
    /// Whether there is a swap area, with room or without.
    pub(crate) has_swap: bool,
}

/// Active pages that one inactive page suffices for, at `pages` of both.
pub(crate) fn inactive_ratio(pages: usize) -> usize {
    let gib = pages >> (30 - PAGE_SHIFT);
    if gib == 0 { 1 } else { (10 * gib).isqrt() }
}

impl Balance {
    /// Active pages that one inactive page suffices for.
    pub(crate) fn ratio(&self) -> usize {
        if self.refaulted {
            // What comes back challenges what is active: let all of that be looked at.
            return 0;
        }
        inactive_ratio(self.inactive + self.active)
    }
}

/// Whether folios should move from the active list to the inactive one.
pub(crate) fn inactive_is_low(balance: &Balance) -> bool {
    // Anonymous folios are looked at in order to be swapped, and for nothing else.
    if balance.kind == FolioKind::Anon && !balance.has_swap {
        return false;
    }
    balance.inactive * balance.ratio() < balance.active
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << (30 - PAGE_SHIFT);

    fn file(inactive: usize, active: usize) -> Balance {
        Balance {
            kind: FolioKind::File,
            inactive,
            active,
            refaulted: false,
            has_swap: true,
        }
    }

    #[test]
    fn small_lists_are_to_be_of_equal_length() {
        assert!(!inactive_is_low(&file(100, 100)));
        assert!(inactive_is_low(&file(99, 100)));
        assert!(!inactive_is_low(&file(0, 0)), "nothing could be moved");
    }

    #[test]
    fn large_lists_may_be_mostly_active() {
        assert!(!inactive_is_low(&file(GIB, 3 * GIB)));
        assert!(!inactive_is_low(&file(GIB, 9 * GIB)));
        assert!(inactive_is_low(&file(GIB, 11 * GIB)));
    }

    #[test]
    fn after_refaults_the_inactive_list_is_low_while_any_folio_is_active() {
        let refaulted = |inactive, active| Balance {
            refaulted: true,
            ..file(inactive, active)
        };
        assert!(inactive_is_low(&refaulted(1_000_000, 1)));
        assert!(!inactive_is_low(&refaulted(1_000_000, 0)));
    }

    #[test]
    fn anonymous_folios_are_left_alone_without_swap() {
        let anon = Balance {
            kind: FolioKind::Anon,
            ..file(0, 100)
        };
        assert!(inactive_is_low(&anon));
        let no_swap = |balance| Balance {
            has_swap: false,
            ..balance
        };
        assert!(!inactive_is_low(&no_swap(anon)));
        assert!(inactive_is_low(&no_swap(file(0, 100))), "files need none");
    }

    mod tv {
        use super::*;

        #[test]
        fn s5_4_ratio_by_gib() {
            let expected = [
                (0, 1),
                (1, 3),
                (2, 4),
                (4, 6),
                (10, 10),
                (16, 12),
                (64, 25),
                (100, 31),
                (1024, 101),
            ];
            for (gib, ratio) in expected {
                assert_eq!(inactive_ratio(gib * GIB), ratio, "{gib} GiB");
            }
        }
    }
}
