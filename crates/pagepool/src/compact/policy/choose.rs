//! Which unit is emptied next: the cheapest, and among equals the lowest.
//!
//! *Kernel counterpart:* the migration scanner, `isolate_migratepages` (v5.0), which takes whatever
//! comes next. Here it looks ahead: a *window* of the zone is looked at in one pass, and the units with
//! the fewest pages in use are kept, [`CANDIDATES`] at most, in a fixed array (nothing is allocated:
//! this runs where memory is short). A window in which more was found is looked at again once those
//! were offered; a window of which nothing is left gives way to the next, and past the zone's last one
//! the run has *met* its end (in the kernel the two scanners have).
//!
//! ```text
//!   zone    ├── window ──┼── window ──┼── window ──┼─ … ─┤
//!           passed        ▲ looked at: 3 units are offered, cheapest first
//!           (cached position)
//! ```
//!
//! **Invariants**
//! - C1: candidates are sorted by pages in use, then by number.
//! - C2: what is offered of a window is offered in that order, so that each look at it begins above
//!   `floor`, and the looks come to an end.
//!
//! Words are read without a lock, so a candidate may have changed since it was kept: it is looked at
//! again before it is offered. What is taken meanwhile makes units fuller, and a unit that has become
//! dearer waits for its new turn; so the order is that of a sort of the whole window at each step, as
//! long as nothing is freed in it.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::positions::{Coverage, Positions};
use super::terms::Terms;
use super::units::{Blocks, Room, UnitRules, UnitView, Units};
use crate::buddy::Geometry;

/// Units that a look keeps.
pub(crate) const CANDIDATES: usize = 64;

/// Pageblocks in a window: 16 GiB of a zone. Their words are 32 KiB, a few microseconds' reading, less
/// than a tenth of what it takes to move the pages of one pageblock; a wider window would find cheaper
/// units in very large zones, but make the first of them wait.
const WINDOW_BLOCKS: usize = if cfg!(any(loom, shuttle, miri)) {
    8
} else {
    8192
};

/// A unit that may be worth emptying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Candidate {
    /// Pages in use when it was last looked at.
    occupied: u32,
    unit: u32,
}

impl Candidate {
    fn of(view: &UnitView) -> Candidate {
        Candidate {
            occupied: view.occupied as u32,
            unit: view.unit as u32,
        }
    }
}

/// The cheapest units of a window.
#[derive(Debug, Default)]
struct Candidates {
    /// The cheapest last (C1).
    sorted: ArrayVec<Candidate, CANDIDATES>,
    /// The dearest that was kept, if others had to give way: nothing dearer is known.
    bound: Option<Candidate>,
}

impl Candidates {
    /// Keeps a candidate if it is among the cheapest.
    fn offer(&mut self, candidate: Candidate) {
        if self.sorted.is_full() {
            let dearest = self.sorted[0];
            if candidate < dearest {
                self.sorted.remove(0);
                self.insert(candidate);
            }
            self.bound = Some(self.sorted[0]);
            return;
        }
        self.insert(candidate);
    }

    fn insert(&mut self, candidate: Candidate) {
        let at = self.sorted.partition_point(|kept| *kept > candidate);
        self.sorted.insert(at, candidate);
    }

    /// Takes the cheapest.
    fn pop(&mut self) -> Option<Candidate> {
        self.sorted.pop()
    }

    /// Whether nothing cheaper than `candidate` is known or can be there.
    fn have_none_below(&self, candidate: Candidate) -> bool {
        let least = self.sorted.last().copied().or(self.bound);
        least.is_none_or(|least| candidate <= least)
    }

    /// Keeps one again that has become dearer, unless the next look will find it.
    fn put_back(&mut self, candidate: Candidate) {
        if self.bound.is_none_or(|bound| candidate <= bound) {
            self.insert(candidate);
        }
    }
}

/// The units of a zone, in the order in which a run empties them.
#[derive(Debug)]
pub(crate) struct Chooser {
    units: Units,
    rules: UnitRules,
    coverage: Coverage,
    /// The units that are looked at.
    window: Range<usize>,
    /// The dearest of the window that earlier looks have offered (C2).
    floor: Option<Candidate>,
    /// Whether the window was looked at since it was opened, or since `floor` was set.
    looked: bool,
    candidates: Candidates,
}

impl Chooser {
    /// Begins a run in a zone.
    pub(crate) fn begin(terms: &Terms, geometry: Geometry, positions: Positions) -> Chooser {
        let units = Units::of(geometry, terms.order);
        let start = positions.start(terms, &units);
        Chooser {
            units,
            rules: UnitRules::of(terms, geometry.block_order()),
            coverage: start.coverage,
            window: window_from(&units, start.unit),
            floor: None,
            looked: false,
            candidates: Candidates::default(),
        }
    }

    /// How the zone is divided.
    pub(crate) fn units(&self) -> &Units {
        &self.units
    }

    /// Which units may be emptied, and where their contents may go.
    #[cfg(test)]
    pub(crate) fn rules(&self) -> UnitRules {
        self.rules
    }

    /// What the run covers by the time it has met its end.
    pub(crate) fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// The first pageblock of the window: before it nothing is left to gain, and a run like this one need
    /// not look there again.
    pub(crate) fn passed(&self) -> usize {
        self.units.blocks(self.window.start).start
    }

    /// The next unit to empty, as it looks now; `None` once the run has met its end.
    pub(crate) fn next(&mut self, blocks: &impl Blocks, room: Room) -> Option<UnitView> {
        loop {
            if let Some(view) = self.next_of_look(blocks, room) {
                return Some(view);
            }
            if self.window.is_empty() {
                return None;
            }
            self.look(blocks, room);
        }
    }

    /// The cheapest candidate that still is one.
    fn next_of_look(&mut self, blocks: &impl Blocks, room: Room) -> Option<UnitView> {
        while let Some(kept) = self.candidates.pop() {
            let view = self.units.view(kept.unit as usize, blocks, self.rules);
            if !view.is_source || !room.admits(&view) {
                continue;
            }
            let now = Candidate::of(&view);
            if now > kept && !self.candidates.have_none_below(now) {
                self.candidates.put_back(now);
                continue;
            }
            return Some(view);
        }
        None
    }

    /// Looks at the window again if there was more in it than could be kept, else at the next one.
    fn look(&mut self, blocks: &impl Blocks, room: Room) {
        match self.candidates.bound.take() {
            Some(bound) => self.floor = Some(bound),
            None if self.looked => {
                self.window = window_from(&self.units, self.window.end);
                self.floor = None;
            }
            None => {}
        }
        self.looked = true;
        for unit in self.window.clone() {
            let view = self.units.view(unit, blocks, self.rules);
            let candidate = Candidate::of(&view);
            let is_new = self.floor.is_none_or(|floor| candidate > floor);
            if is_new && view.is_source && room.admits(&view) {
                self.candidates.offer(candidate);
            }
        }
    }
}

/// The window that begins at a unit.
fn window_from(units: &Units, unit: usize) -> Range<usize> {
    let length = (WINDOW_BLOCKS / units.blocks_per_unit()).max(1);
    unit..(unit + length).min(units.nr())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::fixture::{FakeZone, SIZE, isolated, movable, of_type};
    use super::super::terms::MigrateMode;
    use super::super::units::BlockView;
    use super::*;
    use crate::compact::CompactPriority;
    use crate::types::{Migratetype, Order, ZoneType};

    fn terms(priority: CompactPriority, order: usize) -> Terms {
        let order = Order::at(order);
        Terms::direct(priority, order, ZoneType::Normal, Migratetype::Movable)
    }

    fn begin(zone: &FakeZone, terms: &Terms) -> Chooser {
        Chooser::begin(terms, zone.geometry(), Positions::default())
    }

    /// Room for whatever is to be moved.
    const ENDLESS: Room = Room {
        targets: usize::MAX,
        spare: usize::MAX,
    };

    /// The units that are offered if none of them can be emptied.
    fn offered(chooser: &mut Chooser, zone: &FakeZone) -> Vec<usize> {
        std::iter::from_fn(|| chooser.next(zone, ENDLESS))
            .map(|view| view.unit)
            .collect()
    }

    /// What sorts all units anew before each step.
    fn oracle(zone: &FakeZone, chooser: &Chooser) -> Option<UnitView> {
        let (units, room) = (chooser.units(), zone.room());
        (0..units.nr())
            .map(|unit| units.view(unit, zone, chooser.rules()))
            .filter(|view| view.is_source && room.admits(view))
            .min_by_key(Candidate::of)
    }

    #[test]
    fn the_cheapest_comes_first_and_among_equals_the_lowest() {
        let zone = FakeZone::new([100, 500, 0, 500, SIZE, 501].map(movable));
        let terms = terms(CompactPriority::SyncLight, 9);
        let mut chooser = begin(&zone, &terms);
        assert_eq!(offered(&mut chooser, &zone), [5, 1, 3, 0, 2]);
        assert_eq!(chooser.coverage(), Coverage::WholeZone);
        assert_eq!(chooser.next(&zone, ENDLESS), None, "met");
    }

    #[test]
    fn a_zone_with_more_units_than_can_be_kept_is_looked_at_again() {
        let free = |block: usize| 1 + block * 37 % (SIZE - 1);
        let zone = FakeZone::new((0..300).map(|block| movable(free(block))));
        let terms = terms(CompactPriority::SyncLight, 9);
        let mut sorted: Vec<usize> = (0..300).collect();
        sorted.sort_by_key(|block| (SIZE - free(*block), *block));
        assert_eq!(offered(&mut begin(&zone, &terms), &zone), sorted);
    }

    #[test]
    fn a_candidate_that_became_dearer_waits_for_its_new_turn() {
        let zone = FakeZone::new([510, 500, 400, 300].map(movable));
        let mut chooser = begin(&zone, &terms(CompactPriority::SyncLight, 9));
        assert_eq!(chooser.next(&zone, ENDLESS).unwrap().unit, 0);
        zone.set_free(1, 350);
        let next = chooser.next(&zone, ENDLESS).unwrap();
        assert_eq!((next.unit, next.occupied), (2, 112));
        zone.set_free(1, SIZE);
        assert_eq!(
            chooser.next(&zone, ENDLESS).unwrap().unit,
            3,
            "what became free is none any more"
        );
    }

    #[test]
    fn the_last_candidate_is_not_offered_if_what_was_not_kept_may_be_cheaper() {
        // 64 are kept, the last of them with 100 pages in use; of two with 110 nothing is known.
        let free = |unit| match unit {
            0..63 => SIZE - 10,
            63 => SIZE - 100,
            _ => SIZE - 110,
        };
        let zone = FakeZone::new((0..66).map(|unit| movable(free(unit))));
        let mut chooser = begin(&zone, &terms(CompactPriority::SyncLight, 9));
        for unit in 0..63 {
            assert_eq!(chooser.next(&zone, ENDLESS).unwrap().unit, unit);
        }
        zone.set_free(63, SIZE - 120);
        assert_eq!(offered(&mut chooser, &zone), [64, 65, 63]);
    }

    #[test]
    fn without_room_nothing_is_chosen() {
        let zone = FakeZone::new([300, 100, 0, 0].map(movable));
        let mut chooser = begin(&zone, &terms(CompactPriority::SyncLight, 9));
        assert_eq!(chooser.next(&zone, zone.room()), None, "212 into 100");
        assert_eq!(chooser.coverage(), Coverage::WholeZone);
    }

    #[test]
    fn windows_follow_each_other_from_where_the_last_run_got_to() {
        let nr = 2 * WINDOW_BLOCKS + 100;
        let sparse = [0, WINDOW_BLOCKS - 1, WINDOW_BLOCKS, nr - 1];
        let free = |block| {
            let wholly = if sparse.contains(&block) { 500 } else { SIZE };
            movable(wholly)
        };
        let zone = FakeZone::new((0..nr).map(free));
        let terms = terms(CompactPriority::SyncLight, 9);
        let mut chooser = begin(&zone, &terms);
        for (unit, passed) in [
            (0, 0),
            (WINDOW_BLOCKS - 1, 0),
            (WINDOW_BLOCKS, WINDOW_BLOCKS),
            (nr - 1, 2 * WINDOW_BLOCKS),
        ] {
            assert_eq!(chooser.next(&zone, ENDLESS).unwrap().unit, unit);
            assert_eq!(chooser.passed(), passed);
        }
        assert_eq!(chooser.next(&zone, ENDLESS), None);
        assert_eq!(chooser.passed(), nr);

        let positions = Positions::default().advanced(MigrateMode::SyncLight, WINDOW_BLOCKS);
        let mut chooser = Chooser::begin(&terms, zone.geometry(), positions);
        assert_eq!(offered(&mut chooser, &zone), [WINDOW_BLOCKS, nr - 1]);
        assert_eq!(chooser.coverage(), Coverage::Rest);
    }

    #[test]
    fn a_zone_without_units_is_met_at_once() {
        let zone = FakeZone::new([movable(100)]);
        let mut chooser = begin(&zone, &terms(CompactPriority::SyncLight, 10));
        assert_eq!(chooser.next(&zone, ENDLESS), None);
        assert_eq!(chooser.coverage(), Coverage::WholeZone);
    }

    /// Pageblocks as they come: most of them Movable.
    fn any_block() -> impl Strategy<Value = BlockView> {
        let free = prop_oneof![Just(0), Just(SIZE), 0..=SIZE, 480..SIZE];
        prop_oneof![
            6 => free.prop_map(movable),
            1 => (0..=SIZE).prop_map(|free| of_type(Migratetype::Unmovable, free)),
            1 => (0..=SIZE).prop_map(|free| of_type(Migratetype::HighAtomic, free)),
            1 => (0..=SIZE).prop_map(isolated),
        ]
    }

    fn any_terms() -> impl Strategy<Value = Terms> {
        let priority = prop_oneof![
            Just(CompactPriority::Async),
            Just(CompactPriority::SyncLight)
        ];
        (priority, 8..=10_usize).prop_map(|(priority, order)| terms(priority, order))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Each block costs what it costs if all units are sorted before each step: no more pages are
        /// moved for as many blocks.
        #[test]
        fn no_block_costs_more_than_if_all_units_were_sorted_at_each_step(
            blocks in vec(any_block(), 8..260),
            terms in any_terms(),
        ) {
            let zone = FakeZone::new(blocks.clone());
            let sorted = FakeZone::new(blocks);
            let mut chooser = begin(&zone, &terms);
            loop {
                let expected = oracle(&sorted, &chooser);
                let chosen = chooser.next(&zone, zone.room());
                prop_assert_eq!(&chosen, &expected);
                let Some(view) = chosen else { break };
                prop_assert_eq!(zone.empty(&view), sorted.empty(&view));
            }
        }

        /// The end is met although nothing can be emptied, and while others take and free.
        #[test]
        fn every_run_meets_its_end(
            blocks in vec(any_block(), 8..260),
            terms in any_terms(),
            changes in vec((0..260_usize, 0..=SIZE), 1..50),
        ) {
            let zone = FakeZone::new(blocks);
            let nr = zone.geometry().pages / SIZE;
            let mut chooser = begin(&zone, &terms);
            let mut changes = changes.iter().cycle();
            let mut steps = 0;
            while chooser.next(&zone, ENDLESS).is_some() {
                let (block, free) = changes.next().unwrap();
                zone.set_free(block % nr, *free);
                steps += 1;
                prop_assert!(steps <= 2 * nr, "{steps} steps for {nr} pageblocks");
            }
        }
    }
}
