//! Where in a zone a run begins (spec 6.5).
//!
//! *Kernel counterpart:* `compact_cached_migrate_pfn[]` (v5.0). `compact_cached_free_pfn` has none: there
//! is no scanner for targets.

use super::terms::{MigrateMode, Terms};
use super::units::Units;

/// The pageblocks before which there was nothing to gain: for runs that must not wait, and for others.
/// The first is never less, since such runs see less.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Positions {
    in_async: u32,
    in_sync: u32,
}

/// Where a run begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// The unit.
    pub(crate) unit: usize,
    /// What the run will have covered when it reaches the zone's end.
    pub(crate) coverage: Coverage,
}

/// What a run has covered that reached the zone's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coverage {
    /// All of it.
    WholeZone,
    /// What lies behind the place where it began.
    Rest,
}

impl Positions {
    /// Returns what is stored as `raw`.
    pub(crate) const fn from_raw(raw: u64) -> Positions {
        Positions {
            in_async: raw as u32,
            in_sync: (raw >> 32) as u32,
        }
    }

    /// As one word, 0 at the zone's start.
    pub(crate) const fn raw(self) -> u64 {
        (self.in_sync as u64) << 32 | self.in_async as u64
    }

    /// Where a run begins. A place outside of the zone is as good as none, and who begins at the zone's
    /// start covers all of it, whatever he set out to do.
    pub(crate) fn start(self, terms: &Terms, units: &Units) -> Start {
        let cached = match terms.mode {
            MigrateMode::Async => self.in_async,
            MigrateMode::SyncLight | MigrateMode::Sync => self.in_sync,
        };
        let unit = units.holding(cached as usize);
        if terms.whole_zone || unit == 0 || unit >= units.nr() {
            return Start {
                unit: 0,
                coverage: Coverage::WholeZone,
            };
        }
        Start {
            unit,
            coverage: Coverage::Rest,
        }
    }

    /// A run found that there is nothing to gain before `block`. One that must not wait knows it for its
    /// like only.
    #[must_use]
    pub(crate) fn advanced(self, mode: MigrateMode, block: usize) -> Positions {
        let block = block as u32;
        Positions {
            in_async: self.in_async.max(block),
            in_sync: match mode {
                MigrateMode::Async => self.in_sync,
                MigrateMode::SyncLight | MigrateMode::Sync => self.in_sync.max(block),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buddy::Geometry;
    use crate::compact::CompactPriority;
    use crate::types::{Migratetype, Order, Pfn, ZoneType};

    /// A zone of 16 pageblocks.
    fn units(order: usize) -> Units {
        let geometry = Geometry {
            start: Pfn::from_raw(0),
            pages: 16 << 9,
        };
        Units::of(geometry, Some(Order::at(order)))
    }

    fn terms(priority: CompactPriority) -> Terms {
        Terms::direct(
            priority,
            Order::at(9),
            ZoneType::Normal,
            Migratetype::Movable,
        )
    }

    fn start(positions: Positions, priority: CompactPriority) -> (usize, Coverage) {
        let start = positions.start(&terms(priority), &units(9));
        (start.unit, start.coverage)
    }

    const NONE: Positions = Positions {
        in_async: 0,
        in_sync: 0,
    };

    #[test]
    fn who_begins_at_the_zones_start_covers_all_of_it() {
        let expected = (0, Coverage::WholeZone);
        assert_eq!(start(NONE, CompactPriority::Async), expected);
        assert_eq!(start(NONE, CompactPriority::SyncLight), expected);
        let far = NONE.advanced(MigrateMode::Sync, 7);
        assert_eq!(start(far, CompactPriority::SyncFull), expected);
        assert_eq!(
            start(far, CompactPriority::SyncLight),
            (7, Coverage::Rest),
            "others go on where the last left off"
        );
    }

    #[test]
    fn who_must_not_wait_learns_for_his_like_only() {
        let positions = NONE.advanced(MigrateMode::Async, 5);
        assert_eq!(start(positions, CompactPriority::Async).0, 5);
        assert_eq!(start(positions, CompactPriority::SyncLight).0, 0);
        let positions = positions.advanced(MigrateMode::SyncLight, 8);
        assert_eq!(start(positions, CompactPriority::Async).0, 8);
        assert_eq!(start(positions, CompactPriority::SyncLight).0, 8);
        let positions = positions.advanced(MigrateMode::SyncLight, 3);
        assert_eq!(
            start(positions, CompactPriority::SyncLight).0,
            8,
            "never back"
        );
    }

    #[test]
    fn places_outside_of_the_zone_are_as_good_as_none() {
        let beyond = NONE.advanced(MigrateMode::Sync, 16);
        let expected = (0, Coverage::WholeZone);
        assert_eq!(start(beyond, CompactPriority::SyncLight), expected);
    }

    #[test]
    fn a_place_inside_a_larger_unit_stands_for_all_of_it() {
        let inside = NONE.advanced(MigrateMode::Sync, 7);
        let found = inside.start(&terms(CompactPriority::SyncLight), &units(10));
        assert_eq!((found.unit, found.coverage), (3, Coverage::Rest));
        let first = NONE.advanced(MigrateMode::Sync, 1);
        let found = first.start(&terms(CompactPriority::SyncLight), &units(10));
        assert_eq!((found.unit, found.coverage), (0, Coverage::WholeZone));
    }

    #[test]
    fn positions_survive_storing() {
        let positions = NONE
            .advanced(MigrateMode::Sync, 0x1234_5678)
            .advanced(MigrateMode::Async, 0x89ab_cdef);
        assert_eq!(Positions::from_raw(positions.raw()), positions);
        assert_eq!(NONE.raw(), 0);
    }
}
