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
const WINDOW_BLOCKS: usize = if cfg!(any(loom, miri)) { 8 } else { 8192 };

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
            rules: UnitRules::of(terms),
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
    pub(crate) fn rules(&self) -> UnitRules {
        self.rules
    }

    /// What the run covers by the time it has met its end.
    pub(crate) fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// The first pageblock that is not passed: where the next run may begin.
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
