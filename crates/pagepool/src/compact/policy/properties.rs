//! The rules of compaction against what must hold of them for any numbers.

use proptest::prelude::*;

use super::finish::{Aim, Moment, Next, compact_finished};
use super::fixture::{FakeZone, SIZE, isolated, of_type};
use super::positions::{Coverage, Positions};
use super::terms::{Lesson, MigrateMode, Terms, User};
use super::units::{Blocks, UnitRules, Units};
use crate::buddy::Availability;
use crate::compact::{CompactPriority, CompactResult};
use crate::types::{Migratetype, NR_ORDERS, Order, ZoneType};

const BLOCK: Order = Order::at(9);

fn order() -> impl Strategy<Value = Order> {
    (0..NR_ORDERS).prop_map(Order::at)
}

fn migratetype() -> impl Strategy<Value = Migratetype> {
    prop::sample::select(Migratetype::ALL.to_vec())
}

fn terms() -> impl Strategy<Value = Terms> {
    (0..6u8, order(), migratetype()).prop_map(|(user, order, want)| match user {
        0 => Terms::direct(CompactPriority::Async, order, ZoneType::Movable, want),
        1 => Terms::direct(CompactPriority::SyncLight, order, ZoneType::Movable, want),
        2 => Terms::direct(CompactPriority::SyncFull, order, ZoneType::Movable, want),
        3 => Terms::kcompactd(order, ZoneType::Movable),
        4 => Terms::manual(),
        _ => Terms::proactive(),
    })
}

fn zone() -> impl Strategy<Value = (FakeZone, usize)> {
    let free = prop_oneof![Just(0usize), Just(SIZE), 0..=SIZE];
    let block = (free, migratetype(), prop::bool::weighted(0.1));
    // In smaller zones pageblocks are smaller.
    let blocks = prop::collection::vec(block, 4..24);
    (blocks, prop::collection::vec(0..24usize, 0..6)).prop_map(|(blocks, skipped)| {
        let nr = blocks.len();
        let blocks = blocks
            .into_iter()
            .map(|(free, mt, withheld)| match withheld {
                true => isolated(free),
                false => of_type(mt, free),
            });
        (FakeZone::new(blocks).skipping(skipped), nr)
    })
}

proptest! {
    #[test]
    fn units_divide_a_zone_and_count_its_pages((zone, nr) in zone(), terms in terms()) {
        let units = Units::of(zone.geometry(), terms.order);
        let rules = UnitRules::of(&terms, BLOCK);
        prop_assert!(units.order() >= BLOCK && Some(units.order()) >= terms.order);
        let per_unit = units.order().pages() / SIZE;
        prop_assert_eq!(units.nr(), nr / per_unit);
        let mut next = 0;
        for unit in 0..units.nr() {
            let view = units.view(unit, &zone, rules);
            prop_assert_eq!(view.blocks.clone(), next..next + per_unit, "one after the other");
            next = view.blocks.end;
            let blocks: Vec<_> = view.blocks.clone().map(|block| zone.block(block)).collect();
            let free: usize = blocks.iter().map(|block| block.free).sum();
            prop_assert_eq!((view.free, view.occupied), (free, per_unit * SIZE - free));
            prop_assert!(view.targets <= view.free);
            prop_assert!(view.blocks.clone().all(|block| units.holding(block) == unit));
            if view.is_source {
                prop_assert!(view.occupied > 0, "there is something to move");
                prop_assert!(blocks.iter().all(|block| !block.isolated && block.mt != Migratetype::HighAtomic));
                // Who is free to choose takes what can be moved for at most twice what is gained.
                prop_assert!(terms.user != User::Proactive || view.occupied <= 2 * view.free);
            }
            // Less heed never takes a source away.
            let heedless = UnitRules { honour_skips: false, only_from: None, only_cheap: false };
            prop_assert!(!view.is_source || units.view(unit, &zone, heedless).is_source);
            // What is admitted finds room outside of itself.
            let room = zone.room();
            if room.admits(&view) {
                prop_assert!(room.targets >= view.occupied);
            }
        }
    }

    #[test]
    fn who_tries_harder_waits_for_more_and_begins_earlier(order in order(), want in migratetype()) {
        let at = |priority| Terms::direct(priority, order, ZoneType::Normal, want);
        let steps = [CompactPriority::Async, CompactPriority::SyncLight, CompactPriority::SyncFull].map(at);
        for pair in steps.windows(2) {
            prop_assert!(pair[0].mode <= pair[1].mode);
            prop_assert!(pair[0].whole_zone <= pair[1].whole_zone);
            prop_assert!(pair[0].ignore_skip_hints <= pair[1].ignore_skip_hints);
            prop_assert!(pair[0].heeds_deferral() >= pair[1].heeds_deferral());
        }
        prop_assert!(steps.iter().all(|terms| terms.is_direct() && !terms.may_ask()));
    }

    #[test]
    fn only_a_run_that_could_tell_puts_others_off(terms in terms(), result in 0..6u8) {
        let result = match result {
            0 => CompactResult::Success,
            1 => CompactResult::Complete,
            2 => CompactResult::PartialSkipped,
            3 => CompactResult::Skipped,
            4 => CompactResult::Deferred,
            _ => CompactResult::Contended,
        };
        let lesson = terms.lesson(result);
        if lesson == Lesson::Defer {
            prop_assert!(terms.mode != MigrateMode::Async && terms.order.is_some());
            prop_assert!(matches!(result, CompactResult::Complete | CompactResult::PartialSkipped));
        }
        prop_assert!(lesson != Lesson::Reset || result == CompactResult::Success);
    }

    #[test]
    fn positions_only_advance_and_async_is_never_behind(
        steps in prop::collection::vec((terms(), 0..40usize), 0..20), nr in 4..40usize,
    ) {
        let zone = FakeZone::new((0..nr).map(|_| of_type(Migratetype::Movable, 0)));
        let mut positions = Positions::default();
        // The farthest that each kind of run got.
        let (mut waiting, mut any) = (0, 0);
        for (terms, block) in steps {
            positions = positions.advanced(terms.mode, block);
            any = any.max(block);
            if terms.mode != MigrateMode::Async {
                waiting = waiting.max(block);
            }
            prop_assert_eq!(Positions::from_raw(positions.raw()), positions);
            let units = Units::of(zone.geometry(), terms.order);
            let start = positions.start(&terms, &units);
            prop_assert!(start.unit == 0 || start.unit < units.nr());
            prop_assert_eq!(start.unit == 0, start.coverage == Coverage::WholeZone);
            let farthest = if terms.mode == MigrateMode::Async { any } else { waiting };
            if start.unit > 0 {
                prop_assert!(!terms.whole_zone);
                prop_assert!(units.blocks(start.unit).contains(&farthest));
            }
        }
    }

    #[test]
    fn a_run_succeeds_only_if_the_block_can_be_had(
        order in order(), want in migratetype(), bits in any::<u64>(), mode in 0..3u8,
        at_boundary in any::<bool>(), finishing in any::<bool>(), interrupted in prop::bool::weighted(0.1),
        met in prop::sample::select(vec![None, None, Some(Coverage::Rest), Some(Coverage::WholeZone)]),
    ) {
        let mode = [MigrateMode::Async, MigrateMode::SyncLight, MigrateMode::Sync][usize::from(mode)];
        let available = Availability::from_raw(bits);
        let aim = Aim::Block { order, want, mode, available, block_order: BLOCK };
        let moment = Moment { interrupted, met, at_boundary, finishing, aim };
        let any = Migratetype::ALL.iter().any(|mt| available.at_least(*mt, order));
        match compact_finished(&moment) {
            Next::End(CompactResult::Success) => {
                prop_assert!(any && !interrupted && met.is_none());
                // What stays for ever does not move into a pageblock that is half emptied.
                let own = available.at_least(want, order);
                prop_assert!(own || at_boundary || mode == MigrateMode::Async || want == Migratetype::Movable);
            }
            Next::End(CompactResult::Contended) => prop_assert!(interrupted),
            Next::End(result) => {
                let expected = match met {
                    Some(Coverage::WholeZone) => CompactResult::Complete,
                    _ => CompactResult::PartialSkipped,
                };
                prop_assert!(met.is_some() && result == expected);
            }
            Next::GoOn { finishing: to_the_end } => {
                prop_assert!(!interrupted && met.is_none());
                // At the end of a unit there is an answer if the block is there for the taking.
                let own = available.at_least(want, order);
                prop_assert!(!own || finishing && !at_boundary);
                prop_assert!(!to_the_end || !at_boundary);
            }
        }
    }
}
