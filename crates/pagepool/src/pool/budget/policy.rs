//! Which zone gives next when a pool becomes smaller, and how much (pure).
//!
//! Zones shrink in proportion: the one that has kept the largest share of what it was built with is next. So the
//! proportions of nodes and zones stay, and what is reclaimed from a whole node serves all of its zones. One that
//! has nothing more to give is made up for by the others.

#![forbid(unsafe_code)]

use crate::types::PAGE_SIZE;

/// Memory that leaves service in one step, in pages, unless the pool is very large: 4 MiB, the time of a few
/// dozen writes to swap.
const STEP: usize = (4 << 20) / PAGE_SIZE;

/// The part of a zone that leaves service in one step of a large pool.
const STEP_DIVISOR: usize = 64;

/// A zone that memory could be taken from. All in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ZoneView {
    /// What it was built with.
    pub(super) built: usize,
    /// What it has in service.
    pub(super) in_service: usize,
    /// What it must keep.
    pub(super) least: usize,
    /// A pageblock of it.
    pub(super) block: usize,
}

impl ZoneView {
    /// Pages that could leave: whole pageblocks.
    pub(super) fn to_give(self) -> usize {
        let rest = self.in_service.saturating_sub(self.least);
        rest / self.block * self.block
    }
}

/// The zone that gives next, of those that were not passed over. Of equals the last, which is the Movable one.
pub(super) fn next_zone(
    zones: impl Iterator<Item = ZoneView>,
    is_passed: impl Fn(usize) -> bool,
) -> Option<usize> {
    let giving = zones
        .enumerate()
        .filter(|(n, zone)| zone.to_give() > 0 && !is_passed(*n));
    // Shares, compared as products: a/b < c/d is ad < cb.
    let share = |zone: &ZoneView, other: &ZoneView| zone.in_service as u128 * other.built as u128;
    giving
        .max_by(|(_, a), (_, b)| share(a, b).cmp(&share(b, a)))
        .map(|(n, _)| n)
}

/// How many pages of a zone leave in the next step: whole pageblocks, one at least.
pub(super) fn step(missing: usize, zone: ZoneView) -> usize {
    let most = STEP.max(zone.built / STEP_DIVISOR);
    let wanted = missing.min(most).next_multiple_of(zone.block);
    wanted.min(zone.to_give())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(built: usize, in_service: usize) -> ZoneView {
        ZoneView {
            built,
            in_service,
            least: 512,
            block: 512,
        }
    }

    fn next(zones: &[ZoneView], passed: &[usize]) -> Option<usize> {
        next_zone(zones.iter().copied(), |n| passed.contains(&n))
    }

    #[test]
    fn zones_give_in_proportion() {
        let mut zones = [zone(7 << 12, 7 << 12), zone(1 << 12, 1 << 12)];
        for _ in 0..32 {
            let n = next(&zones, &[]).unwrap();
            zones[n].in_service -= 512;
        }
        assert_eq!(zones[0].in_service, 7 << 11);
        assert_eq!(zones[1].in_service, 1 << 11);
    }

    #[test]
    fn who_has_only_what_it_must_keep_gives_nothing() {
        let zones = [zone(4096, 1023), zone(4096, 1024), zone(512, 512)];
        assert_eq!(next(&zones, &[]), Some(1));
        assert_eq!(next(&zones, &[1]), None);
        assert_eq!(zones.map(ZoneView::to_give), [0, 512, 0]);
    }

    #[test]
    fn a_step_is_whole_pageblocks_and_not_too_much() {
        let small = zone(16384, 16384);
        assert_eq!(step(1, small), 512, "less is not to be had");
        assert_eq!(step(600, small), 1024);
        assert_eq!(step(10_000, small), 1024);
        assert_eq!(step(10_000, zone(16384, 1030)), 512, "no more than it has");
        let large = zone(1 << 20, 1 << 20);
        assert_eq!(step(1 << 19, large), 1 << 14);
    }
}

#[cfg(all(test, not(loom)))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn zone() -> impl Strategy<Value = ZoneView> {
        let block = prop::sample::select(vec![1usize, 16, 512]);
        (1..50_000usize, 0..=100usize, 0..=120usize, block).prop_map(
            |(built, in_service, least, block)| ZoneView {
                built,
                in_service: built * in_service / 100,
                least: built * least / 100,
                block,
            },
        )
    }

    proptest! {
        #[test]
        fn a_budget_falls_by_what_is_missing_or_as_far_as_it_can(
            mut zones in prop::collection::vec(zone(), 1..6), missing in 0..100_000usize, passed in 0..6usize,
        ) {
            let before = zones.clone();
            let could: usize = { zones.iter().enumerate() }
                .filter(|(n, _)| *n != passed)
                .map(|(_, zone)| zone.to_give())
                .sum();
            let mut given = 0;
            let mut last_block = 0;
            while given < missing {
                let Some(next) = next_zone(zones.iter().copied(), |n| n == passed) else {
                    break;
                };
                prop_assert_ne!(next, passed);
                // Nobody who could give has kept a larger part of what it was built with.
                let share = |zone: &ZoneView| zone.in_service as f64 / zone.built as f64;
                for (n, other) in zones.iter().enumerate() {
                    let gives = n != passed && other.to_give() > 0;
                    prop_assert!(!gives || share(other) <= share(&zones[next]) + 1e-9);
                }
                let pages = step(missing - given, zones[next]);
                prop_assert!(pages > 0 && pages.is_multiple_of(zones[next].block));
                zones[next].in_service -= pages;
                given += pages;
                last_block = zones[next].block;
            }
            prop_assert!(given >= missing || given == could);
            prop_assert!(given < missing + last_block.max(1), "no more than a pageblock too much");
            for (zone, before) in zones.iter().zip(&before) {
                prop_assert!(zone.in_service >= zone.least.min(before.in_service));
            }
        }
    }
}
