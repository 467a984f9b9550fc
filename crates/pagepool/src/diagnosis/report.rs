//! The report of an allocation that failed or came late.

use std::fmt;
use std::time::Duration;

use super::explanation::{Sentence, deciding};
use super::remedy::Remedy;
use super::tried::Tried;
use super::zone::ZoneReport;
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::types::{GroupId, NodeMask, Order, ZoneType};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was refused.
    Refused,
    /// It had its block, but only after longer than [`report_after`](crate::Tunables::report_after).
    Late,
}

/// A folio that is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PinHolder {
    /// Its order.
    pub order: Order,
    /// Its pins.
    pub pins: u32,
    /// How long it has been pinned without a break, at least: it was when the pool last came to a slow path
    /// before that, a tenth of a second apart.
    pub age: Duration,
    /// Where the first of these pins was taken, in a hardened pool.
    pub site: Option<&'static std::panic::Location<'static>>,
}

/// How many pinned folios a report names.
pub(crate) const MAX_HOLDERS: usize = 4;

/// Folios that are pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PinReport {
    /// How many were found.
    pub folios: usize,
    /// How many folios were looked at: all, unless there are very many.
    pub looked_at: usize,
    /// The oldest that were found, the oldest of all first.
    pub oldest: [Option<PinHolder>; MAX_HOLDERS],
}

impl PinReport {
    /// Notes a pinned folio.
    pub(crate) fn note(&mut self, holder: PinHolder) {
        self.folios += 1;
        let is_older = |other: &Option<PinHolder>| other.is_none_or(|other| holder.age > other.age);
        if let Some(at) = self.oldest.iter().position(is_older) {
            self.oldest[at..].rotate_right(1);
            self.oldest[at] = Some(holder);
        }
    }

    /// How long the oldest has been pinned.
    pub(crate) fn oldest_age(&self) -> Duration {
        self.oldest[0].map_or(Duration::ZERO, |holder| holder.age)
    }
}

/// Memory that could go, and where to, in pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct MemoryFigures {
    /// Anonymous folios on lists of what can go.
    pub anon: usize,
    /// Folios of mappings on such lists.
    pub file: usize,
    /// Locked folios.
    pub locked: usize,
    /// Swap.
    pub swap_total: usize,
    /// Of that, what holds nothing.
    pub swap_free: usize,
}

/// Why an allocation failed or came late. [`PagePool::failures`](crate::PagePool::failures) has the last of
/// them.
///
/// It prints as a sentence that names the cause, what would help, and the figures, a line each. Neither
/// making nor printing it takes memory from the heap.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailureReport {
    /// How many were made before in this pool, and 1.
    pub number: u64,
    /// What became of the request.
    pub outcome: Outcome,
    /// Why it was refused, or what it waited for.
    pub cause: AllocError,
    /// What would help.
    pub remedy: Remedy,
    /// The order asked for.
    pub order: Order,
    /// Its flags, less what the thread's scopes take away.
    pub gfp: Gfp,
    /// The highest zone that it may use.
    pub class: ZoneType,
    /// The nodes that it may use.
    pub nodes: NodeMask,
    /// The group that it is for.
    pub group: GroupId,
    /// How long it took.
    pub waited: Duration,
    /// How long this report took to make.
    pub took: Duration,
    /// What was tried.
    pub tried: Tried,
    /// The zones of all nodes, as they stand to the request.
    pub zones: Vec<ZoneReport>,
    /// What could leave memory.
    pub memory: MemoryFigures,
    /// What is pinned.
    pub pins: PinReport,
}

/// What a report is made of that its maker knows beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportParts {
    pub(crate) outcome: Outcome,
    pub(crate) cause: AllocError,
    pub(crate) order: Order,
    pub(crate) gfp: Gfp,
    pub(crate) class: ZoneType,
    pub(crate) nodes: NodeMask,
    pub(crate) group: GroupId,
    pub(crate) waited: Duration,
    pub(crate) tried: Tried,
}

impl FailureReport {
    /// A place for a report on so many zones.
    pub(crate) fn place(nr_zones: usize) -> FailureReport {
        FailureReport {
            number: 0,
            outcome: Outcome::Refused,
            cause: AllocError::BelowMin,
            remedy: Remedy::Compact,
            order: Order::ZERO,
            gfp: Gfp::empty(),
            class: ZoneType::Normal,
            nodes: NodeMask::ALL,
            group: GroupId::ROOT,
            waited: Duration::ZERO,
            took: Duration::ZERO,
            tried: Tried::default(),
            zones: Vec::with_capacity(nr_zones),
            memory: MemoryFigures::default(),
            pins: PinReport::default(),
        }
    }

    /// Bytes that such a place takes.
    pub(crate) fn bytes_for(nr_zones: usize) -> usize {
        size_of::<FailureReport>() + nr_zones * size_of::<ZoneReport>()
    }

    /// Begins a report in the place of an older one.
    pub(crate) fn begin(&mut self, number: u64, parts: &ReportParts) {
        let ReportParts {
            outcome,
            cause,
            order,
            gfp,
            class,
            nodes,
            group,
            waited,
            tried,
        } = *parts;
        self.zones.clear();
        *self = FailureReport {
            number,
            outcome,
            cause,
            remedy: self.remedy,
            order,
            gfp,
            class,
            nodes,
            group,
            waited,
            took: Duration::ZERO,
            tried,
            zones: std::mem::take(&mut self.zones),
            memory: MemoryFigures::default(),
            pins: PinReport::default(),
        };
    }

    /// Adds a zone, for which there is room.
    pub(crate) fn add_zone(&mut self, zone: ZoneReport) {
        debug_assert!(self.zones.len() < self.zones.capacity(), "F1");
        self.zones.push(zone);
    }

    /// The zone that decided: the one that came closest to let the request pass, of those that it may use.
    #[must_use]
    pub fn deciding_zone(&self) -> Option<&ZoneReport> {
        let may_use =
            |zone: &&ZoneReport| self.nodes.contains(zone.node) && zone.zone <= self.class;
        let closest = deciding(self.zones.iter().filter(may_use).copied())?;
        self.zones.iter().find(|zone| **zone == closest)
    }
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.outcome {
            Outcome::Refused => "refused",
            Outcome::Late => "late",
        };
        let waited = self.waited.as_secs_f64() * 1e3;
        writeln!(
            f,
            "allocation of order {} {what} after {waited:.3} ms: {}",
            self.order, self.cause
        )?;
        if let Some(zone) = self.deciding_zone() {
            let order = self.order;
            writeln!(f, "  {}", Sentence { order, zone })?;
        }
        writeln!(f, "  what would help: {}", self.remedy)?;
        writeln!(
            f,
            "  request: {:?}, zones up to {}, group {}",
            self.gfp,
            self.class,
            self.group.get()
        )?;
        writeln!(f, "  tried: {}", self.tried)?;
        let MemoryFigures {
            anon,
            file,
            locked,
            swap_total,
            swap_free,
        } = self.memory;
        writeln!(
            f,
            "  could go: anon {anon} file {file} pages; locked {locked}; swap free {swap_free} of {swap_total}"
        )?;
        self.fmt_pins(f)?;
        for zone in &self.zones {
            writeln!(f, "  {zone}")?;
        }
        write!(f, "  made in {:.3} ms", self.took.as_secs_f64() * 1e3)
    }
}

impl FailureReport {
    fn fmt_pins(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PinReport {
            folios,
            looked_at,
            oldest,
        } = self.pins;
        write!(f, "  pinned: {folios} of {looked_at} folios looked at")?;
        for holder in oldest.iter().flatten() {
            let PinHolder {
                order,
                pins,
                age,
                site,
            } = holder;
            write!(
                f,
                "\n    order {order}, {pins} pins, for at least {:.2} s",
                age.as_secs_f64()
            )?;
            if let Some(site) = site {
                write!(f, ", since {site}")?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::explanation::tests::of_the_readers;
    use super::*;

    fn parts() -> ReportParts {
        ReportParts {
            outcome: Outcome::Refused,
            cause: AllocError::Fragmented,
            order: Order::new(4).unwrap(),
            gfp: Gfp::KERNEL,
            class: ZoneType::Normal,
            nodes: NodeMask::ALL,
            group: GroupId::ROOT,
            waited: Duration::from_micros(1500),
            tried: Tried::default(),
        }
    }

    #[test]
    fn a_report_begins_with_the_cause_and_the_remedy() {
        let mut report = FailureReport::place(1);
        report.begin(7, &parts());
        report.add_zone(of_the_readers());
        report.remedy = Remedy::Compact;
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("allocation of order 4 refused after 1.500 ms: fragmented"));
        assert!(lines[1].contains("6985 pages free"), "{text}");
        assert_eq!(lines[2], "  what would help: compact (`PagePool::compact`)");
        assert!(text.contains("Unmovable: 2985 1000 300 100 0"), "{text}");
    }

    #[test]
    fn a_place_is_used_again_without_growing() {
        let mut report = FailureReport::place(2);
        let place = report.zones.as_ptr();
        for number in 0..3 {
            report.begin(number, &parts());
            report.add_zone(of_the_readers());
            report.add_zone(of_the_readers());
        }
        assert_eq!((report.zones.len(), report.zones.as_ptr()), (2, place));
    }

    #[test]
    fn the_oldest_pins_are_kept() {
        let mut pins = PinReport::default();
        for age in [3, 9, 1, 7, 5, 8] {
            pins.note(PinHolder {
                order: Order::ZERO,
                pins: 1,
                age: Duration::from_secs(age),
                site: None,
            });
        }
        let ages = pins.oldest.map(|holder| holder.unwrap().age.as_secs());
        assert_eq!((pins.folios, ages), (6, [9, 8, 7, 5]));
    }
}
