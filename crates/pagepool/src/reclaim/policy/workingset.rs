//! How long a folio was away, in evictions, and whether it deserves to be active when it comes back
//! (spec 5.7).
//!
//! *Kernel counterpart:* `mm/workingset.c` (v5.0).
//!
//! A node has a clock, its *age*, which is advanced by each page that is evicted or activated. When a
//! folio is evicted, the age is kept where its contents went, as its [`Shadow`]. When it comes back, the
//! age has advanced by the *refault distance*: the pages that the inactive list was too short for the
//! folio to be used a second time there. If the pages that compete with it are at least as many, one
//! of them can spare the place.
//!
//! ```text
//!  14   13                                  0
//! +----+-------------------------------------+
//! | ws |      age >> bucket_order            |     ws: it had been active before
//! +----+-------------------------------------+
//! ```
//!
//! Fourteen bits count 16,384 ages. A node with more pages counts in buckets of 2^bucket_order, so that
//! the clock goes once around in no less than all the node's pages. A distance is thereby up to one
//! bucket too long; one of more than a whole turn is taken for a short one, which activates a folio too
//! many.
//!
//! Anonymous folios leave shadows too (spec 9.19): both kinds use one clock. Of which node's clock a
//! shadow is, the kernel keeps in it; here the folio's slot remembers its node.

use super::tables::PerList;
use crate::folio::SHADOWS;
use crate::node::lru_list::FolioKind;

const AGE_BITS: u32 = 14;
const AGE_MASK: u64 = (1 << AGE_BITS) - 1;
const WORKINGSET: u16 = 1 << AGE_BITS;

const _: () = assert!(WORKINGSET as u32 * 2 <= SHADOWS);

/// What is remembered of a folio that was evicted, in 15 bits. All may be 0: whether there is a shadow, its
/// keeper must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shadow(u16);

impl Shadow {
    /// Returns the shadow that [`raw`](Self::raw) gave.
    pub(crate) const fn from_raw(raw: u16) -> Shadow {
        Shadow(raw)
    }

    /// The shadow as a number.
    pub(crate) const fn raw(self) -> u16 {
        self.0
    }

    /// Whether the folio had been active before it was evicted.
    pub(crate) const fn was_workingset(self) -> bool {
        self.0 & WORKINGSET != 0
    }

    fn bucket(self) -> u64 {
        u64::from(self.0) & AGE_MASK
    }
}

/// How ages are kept in shadows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Buckets {
    order: u32,
}

impl Buckets {
    /// Buckets for a pool of `pages` pages.
    pub(crate) const fn for_pages(pages: usize) -> Buckets {
        let needed = usize::BITS - pages.saturating_sub(1).leading_zeros();
        Buckets {
            order: needed.saturating_sub(AGE_BITS),
        }
    }

    /// The shadow of a folio that is evicted at `age`.
    pub(crate) const fn shadow(self, age: u64, is_workingset: bool) -> Shadow {
        let bucket = (age >> self.order & AGE_MASK) as u16;
        Shadow(if is_workingset {
            bucket | WORKINGSET
        } else {
            bucket
        })
    }

    /// How far the clock advanced since `shadow` was made, if it did not go around meanwhile.
    pub(crate) fn distance(self, now: u64, shadow: Shadow) -> u64 {
        let then = shadow.bucket() << self.order;
        now.wrapping_sub(then) & self.mask()
    }

    const fn mask(self) -> u64 {
        (1 << (AGE_BITS + self.order)) - 1
    }
}

/// Whose place a folio that comes back may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rivals {
    /// That of active folios of its kind, as in v5.0.
    ActiveOfItsKind,
    /// That of all folios but the inactive ones of its kind, of which the distance already tells. For
    /// where both kinds leave shadows.
    AllOthers,
}

impl Rivals {
    /// Pages that compete with a folio of this kind. Anonymous folios do not where there is no room for
    /// them in swap.
    pub(crate) fn pages(self, kind: FolioKind, sizes: &PerList<usize>, can_swap: bool) -> usize {
        match self {
            Rivals::ActiveOfItsKind => sizes[kind.active()],
            Rivals::AllOthers => {
                let other = kind.other();
                let can_go = other == FolioKind::File || can_swap;
                sizes[kind.active()] + if can_go { sizes.of_kind(other) } else { 0 }
            }
        }
    }
}

/// What it means that a folio comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refault {
    /// It was away for long: the working set changes.
    Transition,
    /// It would have been used again if the inactive list had been longer. It starts active, and the
    /// clock advances.
    Activate,
    /// As `Activate`, and it had been active before it was evicted: memory is too small for what is in
    /// use. It bears the mark of the working set again.
    Restore,
}

impl Refault {
    /// Judges a return after `distance` evictions and activations, beside `rivals` pages.
    pub(crate) fn judge(distance: u64, rivals: usize, shadow: Shadow) -> Refault {
        if distance > rivals as u64 {
            Refault::Transition
        } else if shadow.was_workingset() {
            Refault::Restore
        } else {
            Refault::Activate
        }
    }

    /// Whether the folio starts active.
    pub(crate) const fn activates(self) -> bool {
        match self {
            Refault::Transition => false,
            Refault::Activate | Refault::Restore => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Buckets = Buckets::for_pages(1000);

    #[test]
    fn buckets_are_of_one_age_until_fourteen_bits_do_not_hold_them() {
        let order = |pages| Buckets::for_pages(pages).order;
        assert_eq!([0, 1, 2, 1000, 1 << 14].map(order), [0; 5]);
        assert_eq!(order((1 << 14) + 1), 1);
        assert_eq!(order(1 << 15), 1);
        assert_eq!(order(1 << 18), 4, "1 GiB");
        assert_eq!(order(1 << 27), 13, "512 GiB");
    }

    #[test]
    fn a_shadow_keeps_the_age_and_the_mark() {
        for workingset in [false, true] {
            let shadow = SMALL.shadow(77, workingset);
            assert_eq!(Shadow::from_raw(shadow.raw()), shadow);
            assert_eq!(shadow.was_workingset(), workingset);
            assert_eq!(SMALL.distance(100, shadow), 23);
        }
    }

    #[test]
    fn distances_span_the_end_of_the_clock() {
        let shadow = SMALL.shadow((1 << 14) - 3, true);
        assert_eq!(SMALL.distance((1 << 14) + 4, shadow), 7);
        let last = SMALL.shadow(u64::MAX, false);
        assert_eq!(SMALL.distance(4, last), 5);
    }

    #[test]
    fn a_distance_of_a_whole_turn_is_taken_for_none() {
        assert_eq!(SMALL.distance(5 + (1 << 14), SMALL.shadow(5, false)), 0);
    }

    #[test]
    fn who_comes_back_soon_starts_active() {
        let (plain, marked) = (SMALL.shadow(0, false), SMALL.shadow(0, true));
        assert_eq!(Refault::judge(100, 100, plain), Refault::Activate);
        assert_eq!(Refault::judge(101, 100, plain), Refault::Transition);
        assert_eq!(Refault::judge(100, 100, marked), Refault::Restore);
        assert_eq!(Refault::judge(101, 100, marked), Refault::Transition);
        assert!(Refault::Activate.activates() && Refault::Restore.activates());
        assert!(!Refault::Transition.activates());
    }

    #[test]
    fn rivals_are_active_folios_or_all_that_the_distance_does_not_tell_of() {
        // Inactive and active anonymous pages, then files.
        let sizes = PerList::each(|list| [1, 20, 300, 4000][list.idx()]);
        let old = |kind| Rivals::ActiveOfItsKind.pages(kind, &sizes, true);
        assert_eq!((old(FolioKind::Anon), old(FolioKind::File)), (20, 4000));
        let all = |kind, can_swap| Rivals::AllOthers.pages(kind, &sizes, can_swap);
        assert_eq!(all(FolioKind::File, true), 4021);
        assert_eq!(all(FolioKind::File, false), 4000);
        assert_eq!(all(FolioKind::Anon, true), 4320);
    }

    proptest! {
        #[test]
        fn a_distance_is_right_but_for_one_bucket(
            then in any::<u64>(),
            pages in 1_usize..1 << 30,
            part in 0.0..1.0_f64,
            mark in any::<bool>(),
        ) {
            let buckets = Buckets::for_pages(pages);
            let bucket = 1_u64 << buckets.order;
            // As far as a turn of the clock reaches, less the bucket that is lost.
            let passed = (part * (pages as u64 - 1) as f64) as u64;
            let passed = passed.min(buckets.mask() + 1 - bucket);
            let distance = buckets.distance(then.wrapping_add(passed), buckets.shadow(then, mark));
            prop_assert!(distance >= passed, "{distance} for {passed}");
            prop_assert!(distance - passed < bucket, "{distance} for {passed}");
        }

        #[test]
        fn the_clock_takes_all_pages_to_go_around(pages in 1_usize..1 << 40) {
            let turn = Buckets::for_pages(pages).mask() + 1;
            prop_assert!(turn >= pages as u64);
        }

        #[test]
        fn the_mark_does_not_disturb_the_age(now in any::<u64>(), then in any::<u64>()) {
            let distance = |mark| SMALL.distance(now, SMALL.shadow(then, mark));
            prop_assert_eq!(distance(false), distance(true));
        }
    }
}
