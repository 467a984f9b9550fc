//! What is emptied in one go, what that costs, and whether it can be worth it.
//!
//! *Kernel counterpart:* `suitable_migration_source`, `suitable_migration_target`, and the isolate
//! check in `__isolate_free_page` (v5.0), for a unit at a time.
//!
//! A unit of order max(order wanted, order of a pageblock) is one pageblock or a group of adjacent ones,
//! aligned to its size. All its free pages are withheld while it is emptied; then they are one block.
//!
//! ```text
//!   unit of order 10    ┌──────── pageblock ────────┬──────── pageblock ────────┐
//!                       │ in use    free (targets)  │         wholly free       │
//!                       └───────────────────────────┴───────────────────────────┘
//!     occupied: pages in use       free: all that is withheld       targets: lost as targets
//! ```
//!
//! The pages at the zone's end that fill no unit are never emptied: no block of the order can be there.

use std::ops::Range;

use super::terms::{Terms, User};
use crate::buddy::{Geometry, is_sparse};
use crate::types::{Migratetype, Order};
use crate::zone::watermark::FreeView;

/// What a pageblock looks like; read without the zone's lock, so a hint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockView {
    /// Pages of it that are free: in one that was never touched, all.
    pub(crate) free: usize,
    /// Its type.
    pub(crate) mt: Migratetype,
    /// Whether its free pages are withheld already: it is being emptied, or offline.
    pub(crate) isolated: bool,
}

/// The pageblocks of a zone, by number from its start.
pub(crate) trait Blocks {
    /// What one looks like.
    fn block(&self, block: usize) -> BlockView;

    /// Whether it bears the mark that it lately could not be emptied.
    fn is_skipped(&self, block: usize) -> bool;
}

/// Which units may be emptied, and where what is in them may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnitRules {
    /// Whether marks of vain attempts count.
    pub(crate) honour_skips: bool,
    /// The only type of pageblock to empty, if there is such a limit.
    pub(crate) only_from: Option<Migratetype>,
    /// Whether a unit may be emptied only if a third of it is free: then at most two pages are moved for each
    /// that is gained.
    pub(crate) only_cheap: bool,
}

impl UnitRules {
    /// Those of a run.
    pub(crate) fn of(terms: &Terms, block_order: Order) -> UnitRules {
        // Marks say that something is in the way of a whole pageblock: a part may be free of it.
        let is_part = terms.order.is_some_and(|order| order < block_order);
        UnitRules {
            honour_skips: !terms.ignore_skip_hints && !is_part,
            only_from: terms.only_from(),
            only_cheap: terms.user == User::Proactive,
        }
    }
}

/// Whether a pageblock of this type may hold targets.
const fn may_hold_targets(mt: Migratetype) -> bool {
    matches!(mt, Migratetype::Movable)
}

/// How a zone is divided into units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Units {
    block_order: Order,
    order: Order,
    nr: usize,
}

impl Units {
    /// The units of a zone, for a run for `order`, or for pageblocks if it has none.
    pub(crate) fn of(geometry: Geometry, order: Option<Order>) -> Units {
        let block_order = geometry.block_order();
        let order = order.map_or(block_order, |order| order.max(block_order));
        Units {
            block_order,
            order,
            nr: geometry.pages >> order.get(),
        }
    }

    /// How many there are; none in a zone that cannot hold a block of the order.
    pub(crate) fn nr(&self) -> usize {
        self.nr
    }

    /// Their order.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Pageblocks in each.
    pub(crate) fn blocks_per_unit(&self) -> usize {
        1 << (self.order.idx() - self.block_order.idx())
    }

    /// The pageblocks of a unit.
    pub(crate) fn blocks(&self, unit: usize) -> Range<usize> {
        let first = unit * self.blocks_per_unit();
        first..first + self.blocks_per_unit()
    }

    /// The unit that a pageblock lies in.
    pub(crate) fn holding(&self, block: usize) -> usize {
        block / self.blocks_per_unit()
    }

    /// What a unit looks like.
    pub(crate) fn view(&self, unit: usize, blocks: &impl Blocks, rules: UnitRules) -> UnitView {
        let size = self.block_order.pages();
        let mut view = UnitView {
            blocks: self.blocks(unit),
            unit,
            occupied: 0,
            free: 0,
            targets: 0,
            is_source: true,
        };
        for number in view.blocks.clone() {
            let block = blocks.block(number);
            let is_partly_free = block.free != 0 && block.free < size;
            view.free += block.free;
            view.occupied += size - block.free;
            // A whole block inside a larger unit is smaller than it: others could use it as well.
            let is_target = is_partly_free || (block.free == size && self.order > self.block_order);
            if is_target && may_hold_targets(block.mt) {
                view.targets += block.free;
            }
            view.is_source &= !block.isolated && block.mt != Migratetype::HighAtomic;
            // What is wholly free needs no emptying, whatever was tried there before.
            if block.free < size {
                view.is_source &= rules.only_from.is_none_or(|mt| mt == block.mt);
                view.is_source &= !(rules.honour_skips && blocks.is_skipped(number));
            }
        }
        view.is_source &= view.occupied > 0;
        view.is_source &= !rules.only_cheap || is_sparse(view.occupied, view.occupied + view.free);
        view
    }
}

/// What a unit looks like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UnitView {
    /// Its number, from the zone's start.
    pub(crate) unit: usize,
    /// Its pageblocks.
    pub(crate) blocks: Range<usize>,
    /// Pages in use, to be moved.
    pub(crate) occupied: usize,
    /// Pages free, to be withheld.
    pub(crate) free: usize,
    /// Those of them that could else be targets.
    pub(crate) targets: usize,
    /// Whether it may be emptied.
    pub(crate) is_source: bool,
}

/// What a zone has to move things around in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Free pages that may hold targets: in partly free pageblocks, and in whole ones that are smaller than
    /// what is made.
    pub(crate) targets: usize,
    /// Free pages that can be withheld or taken while the order-0 check at the minimum holds.
    pub(crate) spare: usize,
}

impl Room {
    /// The room of a zone with so many `targets`, above its minimum.
    pub(crate) fn above(view: FreeView, min: usize, targets: usize) -> Room {
        let free = view.free.saturating_sub(view.highatomic);
        Room {
            targets,
            // Exactly at the mark fails.
            spare: free.saturating_sub(min + 1),
        }
    }

    /// Whether a unit of `order` can be emptied at all. While one is, as many pages as it has are
    /// missing: the free ones of it, and a target for each of the others. This also bounds what small
    /// orders cost, which need less room than the pageblock that they are made in.
    pub(crate) fn holds(&self, order: Order) -> bool {
        self.spare >= order.pages()
    }

    /// Whether emptying a unit is worth it: what is in it has to find room in what is partly free
    /// already, outside of it. To break another whole block for it would gain nothing.
    pub(crate) fn admits(&self, view: &UnitView) -> bool {
        let outside = self.targets.saturating_sub(view.targets);
        outside >= view.occupied && self.spare >= view.occupied + view.free
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{FakeZone, SIZE, isolated, movable, of_type};
    use super::*;
    use crate::buddy::Availability;
    use crate::compact::CompactPriority;
    use crate::types::{Pfn, ZoneType};

    const UNMOVABLE: Migratetype = Migratetype::Unmovable;
    const HIGHATOMIC: Migratetype = Migratetype::HighAtomic;

    fn rules(priority: CompactPriority) -> UnitRules {
        let terms = Terms::direct(
            priority,
            Order::at(9),
            ZoneType::Normal,
            Migratetype::Movable,
        );
        UnitRules::of(&terms, Order::at(9))
    }

    fn light() -> UnitRules {
        rules(CompactPriority::SyncLight)
    }

    /// The first unit of `order` of a zone that begins with these pageblocks.
    fn first(order: usize, zone: &FakeZone, rules: UnitRules) -> UnitView {
        Units::of(zone.geometry(), Some(Order::at(order))).view(0, zone, rules)
    }

    /// A zone that begins with these pageblocks.
    fn zone(blocks: &[BlockView]) -> FakeZone {
        FakeZone::new(blocks.iter().copied().chain([movable(SIZE); 6]))
    }

    fn is_source(block: BlockView, rules: UnitRules) -> bool {
        first(9, &zone(&[block]), rules).is_source
    }

    #[test]
    fn a_unit_is_a_pageblock_or_a_group_of_them() {
        let geometry = Geometry {
            start: Pfn::from_raw(0),
            pages: 9 * SIZE + 100,
        };
        for (order, of_order, nr, per_unit) in [
            (None, 9, 9, 1),
            (Some(0), 9, 9, 1),
            (Some(9), 9, 9, 1),
            (Some(10), 10, 4, 2),
        ] {
            let units = Units::of(geometry, order.map(Order::at));
            assert_eq!(units.order(), Order::at(of_order));
            assert_eq!((units.nr(), units.blocks_per_unit()), (nr, per_unit));
        }
        let pairs = Units::of(geometry, Some(Order::MAX));
        assert_eq!(pairs.blocks(3), 6..8);
        assert_eq!((pairs.holding(7), pairs.holding(8)), (3, 4));
    }

    #[test]
    fn a_zone_too_small_for_the_order_has_no_units() {
        let geometry = Geometry {
            start: Pfn::from_raw(0),
            pages: 700,
        };
        assert_eq!(Units::of(geometry, Some(Order::MAX)).nr(), 0);
        assert_eq!(Units::of(geometry, None).order(), Order::at(7));
    }

    #[test]
    fn a_unit_counts_what_is_in_use_free_and_lost_as_targets() {
        let zone = zone(&[movable(100), of_type(UNMOVABLE, 50)]);
        let view = first(10, &zone, light());
        assert_eq!((view.occupied, view.free), (2 * SIZE - 150, 150));
        assert_eq!(view.targets, 100, "only Movable ones hold targets");
    }

    #[test]
    fn marks_say_nothing_about_parts_of_a_pageblock() {
        let terms = |order| {
            Terms::direct(
                CompactPriority::SyncLight,
                Order::at(order),
                ZoneType::Normal,
                Migratetype::Movable,
            )
        };
        let honoured = |order| UnitRules::of(&terms(order), Order::at(9)).honour_skips;
        assert_eq!([3, 8, 9, 10].map(honoured), [false, false, true, true]);
    }

    #[test]
    fn what_is_wholly_free_in_a_group_costs_nothing() {
        let view = first(10, &zone(&[movable(SIZE), movable(500)]), light());
        assert!(view.is_source);
        assert_eq!((view.occupied, view.free, view.targets), (12, 1012, 1012));
    }

    #[test]
    fn what_is_wholly_free_isolated_or_reserved_is_never_emptied() {
        for rules in [light(), rules(CompactPriority::SyncFull)] {
            assert!(is_source(movable(100), rules) && is_source(movable(0), rules));
            assert!(!is_source(movable(SIZE), rules));
            assert!(!is_source(isolated(100), rules));
            assert!(!is_source(of_type(HIGHATOMIC, 100), rules));
            let group = zone(&[movable(100), isolated(SIZE)]);
            assert!(!first(10, &group, rules).is_source);
        }
    }

    #[test]
    fn who_must_not_wait_empties_pageblocks_of_his_own_type_only() {
        let hasty = rules(CompactPriority::Async);
        assert!(is_source(movable(100), hasty));
        assert!(!is_source(of_type(UNMOVABLE, 100), hasty));
        assert!(is_source(of_type(UNMOVABLE, 100), light()));
        let group = zone(&[movable(100), of_type(UNMOVABLE, SIZE)]);
        assert!(
            first(10, &group, hasty).is_source,
            "what is wholly free has nothing of any type in it"
        );
    }

    #[test]
    fn marks_of_vain_attempts_count_unless_they_are_to_be_ignored() {
        let zone = zone(&[movable(100)]).skipping([0]);
        assert!(!first(9, &zone, light()).is_source);
        assert!(first(9, &zone, rules(CompactPriority::SyncFull)).is_source);
        let group = FakeZone::new([movable(SIZE), movable(100), movable(9), movable(9)]);
        assert!(first(10, &group.skipping([0]), light()).is_source);
    }

    #[test]
    fn a_unit_is_worth_it_if_what_is_in_it_fits_into_what_is_partly_free_elsewhere() {
        let zone = zone(&[movable(500), movable(5), movable(6)]);
        let admits = |room: Room| room.admits(&first(9, &zone, light()));
        assert!(!admits(zone.room()), "12 pages in use, 11 free elsewhere");
        let more = Room {
            targets: zone.room().targets + 1,
            ..zone.room()
        };
        assert!(admits(more));
        let short = Room {
            spare: SIZE - 1,
            ..more
        };
        assert!(!admits(short) && !short.holds(Order::at(9)));
        let enough = Room {
            spare: SIZE,
            ..more
        };
        assert!(admits(enough) && enough.holds(Order::at(9)));
    }

    #[test]
    fn room_is_what_the_order_0_check_at_the_minimum_leaves() {
        use crate::zone::watermark::{self, AllocFlags};
        for free in 0..40 {
            let view = FreeView {
                free,
                highatomic: 7,
                available: Availability::default(),
            };
            let room = Room::above(view, 10, 0);
            for pages in 1..40 {
                let verdict =
                    watermark::check(view, Order::ZERO, 10 + pages, 0, AllocFlags::empty());
                assert_eq!(verdict.passes(), pages <= room.spare, "{free} {pages}");
            }
        }
    }
}
