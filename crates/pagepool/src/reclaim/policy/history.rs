//! What reclaim has learned about each kind of folio: which is cheaper to take from (spec 5.5, 9.19).
//!
//! *Kernel counterpart:* `recent_scanned`, `recent_rotated` (v5.0); `anon_cost`, `file_cost` (later).
//! Guarded by a lock of its own (`reclaim::state`); this file only counts.
//!
//! Both ways of weighing are kept: v5.0 compares what was looked at with what was found in use
//! ([`by_rotations`]); later kernels compare what mistakes cost, in refaults and writes ([`by_costs`]).

use super::tables::PerKind;
use crate::node::lru_list::FolioKind;

/// The largest `swappiness`: no I/O for a backed page is worth more than for an anonymous one.
pub(crate) const MAX_SWAPPINESS: u8 = 200;

/// The default of `swappiness`.
pub(crate) const DEFAULT_SWAPPINESS: u8 = 60;

/// What happened lately, each kind by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct History {
    /// Pages that were added, activated or isolated by reclaim.
    scanned: PerKind<u64>,
    /// Of these, pages that were found in use.
    rotated: PerKind<u64>,
    /// Pages that came back, or had to be written out.
    cost: PerKind<u64>,
}

/// The shares of the two kinds in what is scanned: of each list `of[kind] / whole`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    /// A kind's share.
    pub(crate) of: PerKind<u64>,
    /// What it is a share of; at least 1.
    pub(crate) whole: u64,
}

impl History {
    /// Pages of a kind were added, activated or isolated.
    pub(crate) fn note_scanned(&mut self, kind: FolioKind, pages: usize) {
        self.scanned[kind] += pages as u64;
    }

    /// Pages of a kind were found in use.
    pub(crate) fn note_rotated(&mut self, kind: FolioKind, pages: usize) {
        self.rotated[kind] += pages as u64;
    }

    /// Pages of a kind came back or were written out, with `lru_pages` on all lists. Old costs count
    /// for less: both are halved when they exceed a quarter of the lists.
    pub(crate) fn charge(&mut self, kind: FolioKind, pages: usize, lru_pages: usize) {
        self.cost[kind] += pages as u64;
        while self.cost.anon + self.cost.file > (lru_pages / 4).max(1) as u64 {
            self.cost.anon /= 2;
            self.cost.file /= 2;
        }
    }

    /// Halves what was scanned of a kind, and what of it rotated, if that is more than a quarter of its
    /// `pages`. Before each weighing by rotations.
    pub(crate) fn fade(&mut self, pages: PerKind<usize>) {
        for kind in FolioKind::ALL {
            if self.scanned[kind] > pages[kind] as u64 / 4 {
                self.scanned[kind] /= 2;
                self.rotated[kind] /= 2;
            }
        }
    }
}

/// What each kind weighs before anything is known of it.
fn weights(swappiness: u8) -> PerKind<u64> {
    let anon = swappiness.min(MAX_SWAPPINESS);
    PerKind {
        anon: u64::from(anon),
        file: u64::from(MAX_SWAPPINESS - anon),
    }
}

fn shares(of: PerKind<u64>) -> Shares {
    Shares {
        of,
        whole: of.anon + of.file + 1,
    }
}

/// Weighs as v5.0 does: the more of a kind was found in use, the less of it is scanned.
pub(crate) fn by_rotations(history: &History, swappiness: u8) -> Shares {
    let weights = weights(swappiness);
    shares(PerKind::each(|kind| {
        weights[kind] * (history.scanned[kind] + 1) / (history.rotated[kind] + 1)
    }))
}

/// Weighs as later kernels do: the more a kind costs, the less of it is scanned, but before
/// `swappiness` at least a third: each kind is held to cost what both did together, and its own on top.
pub(crate) fn by_costs(history: &History, swappiness: u8) -> Shares {
    let weights = weights(swappiness);
    let total = history.cost.anon + history.cost.file;
    let both = 3 * total;
    shares(PerKind::each(|kind| {
        weights[kind] * (both + 1) / (total + history.cost[kind] + 1)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: History = History {
        scanned: PerKind { anon: 0, file: 0 },
        rotated: PerKind { anon: 0, file: 0 },
        cost: PerKind { anon: 0, file: 0 },
    };

    fn expect(shares: Shares, anon: u64, file: u64) {
        let expected = Shares {
            of: PerKind { anon, file },
            whole: anon + file + 1,
        };
        assert_eq!(shares, expected);
    }

    #[test]
    fn without_a_history_swappiness_decides() {
        for by in [by_rotations, by_costs] {
            expect(by(&NOTHING, 60), 60, 140);
            expect(by(&NOTHING, 0), 0, 200);
            expect(by(&NOTHING, 200), 200, 0);
            expect(by(&NOTHING, 255), 200, 0);
        }
    }

    #[test]
    fn what_is_found_in_use_is_scanned_less() {
        let mut history = NOTHING;
        history.note_scanned(FolioKind::Anon, 999);
        history.note_rotated(FolioKind::Anon, 499);
        history.note_scanned(FolioKind::File, 999);
        history.note_rotated(FolioKind::File, 99);
        // 60 · 1000 / 500, and 140 · 1000 / 100.
        expect(by_rotations(&history, 60), 120, 1400);
    }

    #[test]
    fn old_scans_fade_once_they_are_more_than_a_quarter_of_the_pages() {
        let mut history = NOTHING;
        for kind in FolioKind::ALL {
            history.note_scanned(kind, 100);
            history.note_rotated(kind, 50);
        }
        history.fade(PerKind {
            anon: 400,
            file: 399,
        });
        assert_eq!(history.scanned.anon, 100);
        assert_eq!(history.rotated.anon, 50);
        assert_eq!(history.scanned.file, 50);
        assert_eq!(history.rotated.file, 25);
    }

    #[test]
    fn what_costs_is_scanned_less_but_never_less_than_half_of_the_other() {
        let mut history = NOTHING;
        history.charge(FolioKind::Anon, 500, 1_000_000);
        // Anonymous folios count 1000, files 500, of 1500.
        expect(by_costs(&history, 100), 149, 299);
        history.charge(FolioKind::File, 500, 1_000_000);
        let even = by_costs(&history, 100);
        assert_eq!(even.of.anon, even.of.file);
    }

    #[test]
    fn old_costs_fade_once_they_are_more_than_a_quarter_of_the_lists() {
        let mut history = NOTHING;
        history.charge(FolioKind::File, 200, 1000);
        history.charge(FolioKind::Anon, 50, 1000);
        assert_eq!((history.cost.anon, history.cost.file), (50, 200));
        history.charge(FolioKind::Anon, 1, 1000);
        assert_eq!((history.cost.anon, history.cost.file), (25, 100));
    }

    #[test]
    fn costs_without_lists_fade_at_once() {
        let mut history = NOTHING;
        history.charge(FolioKind::File, 1 << 20, 0);
        assert!(history.cost.file <= 1);
    }

    proptest! {
        #[test]
        fn by_cost_each_kind_has_a_third(anon in 0..100_000_usize, file in 0..100_000_usize) {
            let mut history = NOTHING;
            history.charge(FolioKind::Anon, anon, usize::MAX);
            history.charge(FolioKind::File, file, usize::MAX);
            let shares = by_costs(&history, 100);
            let sum = shares.of.anon + shares.of.file;
            for kind in FolioKind::ALL {
                // Rounded down, hence one less.
                prop_assert!(3 * (shares.of[kind] + 1) >= sum, "{shares:?}");
            }
        }
    }
}
