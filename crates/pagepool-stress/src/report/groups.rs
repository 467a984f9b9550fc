//! Groups that share a pool: what each had, whom the others left alone, and whether limits were kept.
#![forbid(unsafe_code)]

mod text; // the readable form

use std::time::Duration;

use pagepool::{GroupLimits, GroupStats, PAGE_SIZE};
use serde::Serialize;

use super::pressure::Pressure;
use crate::{levels::Level, tally::Violations, units::wide};

pub(super) use text::write;

/// What the protected group may lose of its hit rate beside its neighbours, in percentage points.
const HIT_RATE_GOAL_POINTS: f64 = 1.0;

/// How far beyond its high limit a group may be seen, for each of its threads, in pages.
const HIGH_GOAL_PAGES: u64 = 32;

/// How far a group's pressure may be from the sum of its waits, in percent.
const PRESSURE_GOAL_PERCENT: f64 = 2.0;

/// The protected group alone, and all of them side by side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupsReport {
    /// Whether the group that is to be protected had a low limit.
    pub(crate) protected: bool,
    /// Each neighbour's set, as a multiple of the pool.
    pub(crate) factor: f64,
    /// Touches a second of each thread of the protected group.
    pub(crate) pace: u64,
    /// None if there was no time for the second phase.
    pub(crate) isolation: Option<Isolation>,
    /// None if it could not be made, or was not.
    pub(crate) pressure_check: Option<PressureCheck>,
    pub(crate) phases: Vec<GroupPhase>,
}

/// What the protected group lost to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Isolation {
    pub(crate) hit_rate_alone: f64,
    pub(crate) hit_rate_beside: f64,
    /// In percentage points; negative if it gained.
    pub(crate) lost_points: f64,
    pub(crate) goal_points: f64,
    pub(crate) reached: bool,
}

impl Isolation {
    pub(crate) fn new(alone: f64, beside: f64) -> Isolation {
        let lost_points = (alone - beside) * 100.0;
        Isolation {
            hit_rate_alone: alone,
            hit_rate_beside: beside,
            lost_points,
            goal_points: HIT_RATE_GOAL_POINTS,
            reached: lost_points <= HIT_RATE_GOAL_POINTS,
        }
    }
}

/// What a group's pressure counted beside what its only thread waited by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct PressureCheck {
    pub(crate) waits: u64,
    pub(crate) waited_us: u64,
    pub(crate) counted_us: u64,
    /// How far they differ, in percent of what was waited.
    pub(crate) error_percent: f64,
    pub(crate) goal_percent: f64,
    pub(crate) reached: bool,
}

impl PressureCheck {
    pub(crate) fn new(waits: u64, waited: Duration, counted: Duration) -> PressureCheck {
        let seconds = waited.as_secs_f64().max(1e-9);
        let error_percent = (waited.as_secs_f64() - counted.as_secs_f64()).abs() / seconds * 100.0;
        PressureCheck {
            waits,
            waited_us: wide(waited.as_micros()),
            counted_us: wide(counted.as_micros()),
            error_percent,
            goal_percent: PRESSURE_GOAL_PERCENT,
            reached: error_percent <= PRESSURE_GOAL_PERCENT,
        }
    }
}

/// A phase, the fill not included.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupPhase {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// Looks at what the groups have.
    pub(crate) samples: u64,
    pub(crate) groups: Vec<GroupFigures>,
}

/// A group in a phase. What is counted is counted from the end of the fill on; the peak is that of all time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupFigures {
    pub(crate) path: String,
    pub(crate) threads: usize,
    /// Pages of its folios, in memory or away.
    pub(crate) set_pages: u64,
    pub(crate) touches: u64,
    pub(crate) touches_per_s: f64,
    /// Touches that found their folio away.
    pub(crate) touches_away: u64,
    /// Of the touches, those that did not.
    pub(crate) hit_rate: f64,
    pub(crate) current_bytes: u64,
    pub(crate) peak_bytes: u64,
    /// The most that was seen by the sampler.
    pub(crate) sampled_max_bytes: u64,
    pub(crate) limits: Limits,
    /// How far beyond its max it was seen, at most; none without one.
    pub(crate) over_max_pages_max: Option<u64>,
    /// The same of its high limit.
    pub(crate) over_high_pages_max: Option<u64>,
    /// As far as that may be.
    pub(crate) over_high_goal_pages: u64,
    pub(crate) low_events: u64,
    pub(crate) high_events: u64,
    pub(crate) max_events: u64,
    pub(crate) refusals: u64,
    pub(crate) pgscan: u64,
    pub(crate) pgsteal: u64,
    pub(crate) workingset_refault: u64,
    pub(crate) pressure: Pressure,
}

/// A group's limits in bytes; none is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Limits {
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) soft_limit: Option<u64>,
    pub(crate) high: Option<u64>,
    pub(crate) max: Option<u64>,
}

impl From<GroupLimits> for Limits {
    fn from(limits: GroupLimits) -> Limits {
        let limit = |bytes: usize| (bytes != usize::MAX).then(|| wide(bytes));
        Limits {
            min: wide(limits.min_bytes()),
            low: wide(limits.low_bytes()),
            soft_limit: limit(limits.soft_limit_bytes()),
            high: limit(limits.high_bytes()),
            max: limit(limits.max_bytes()),
        }
    }
}

impl GroupFigures {
    /// From how a group stood at the beginning and at the end, and what was seen between.
    pub(crate) fn new(before: &GroupStats, after: &GroupStats, level: Level) -> GroupFigures {
        let limits = Limits::from(after.limits);
        let since = |count: fn(&GroupStats) -> u64| count(after) - count(before);
        let pages = |bytes: usize| wide(bytes.div_ceil(PAGE_SIZE));
        GroupFigures {
            path: after.path.clone(),
            threads: 0,
            set_pages: 0,
            touches: 0,
            touches_per_s: 0.0,
            touches_away: 0,
            hit_rate: 1.0,
            current_bytes: wide(after.current_bytes),
            peak_bytes: wide(after.peak_bytes),
            sampled_max_bytes: wide(level.most),
            limits,
            over_max_pages_max: limits.max.map(|_| pages(level.over_max)),
            over_high_pages_max: limits.high.map(|_| pages(level.over_high)),
            over_high_goal_pages: 0,
            low_events: since(|stats| stats.low_events),
            high_events: since(|stats| stats.high_events),
            max_events: since(|stats| stats.max_events),
            refusals: since(|stats| stats.refusals),
            pgscan: since(|stats| stats.pgscan),
            pgsteal: since(|stats| stats.pgsteal),
            workingset_refault: since(|stats| stats.workingset_refault),
            pressure: Pressure::default(),
        }
    }

    /// The same with the pressure between these two moments.
    pub(crate) fn under_pressure(
        self,
        before: &pagepool::Pressure,
        after: &pagepool::Pressure,
    ) -> Self {
        let (before, mut pressure) = (Pressure::from(*before), Pressure::from(*after));
        pressure.some.total -= before.some.total;
        pressure.full.total -= before.full.total;
        GroupFigures { pressure, ..self }
    }

    /// The same with what its members did in so many seconds: touches, and those that found their folio away.
    pub(crate) fn of_members(
        self,
        members: Members,
        (touches, away): (u64, u64),
        seconds: f64,
    ) -> Self {
        let Members { threads, set_pages } = members;
        GroupFigures {
            threads,
            set_pages,
            touches,
            touches_per_s: touches as f64 / seconds.max(1e-9),
            touches_away: away,
            hit_rate: 1.0 - away as f64 / touches.max(1) as f64,
            over_high_goal_pages: HIGH_GOAL_PAGES * threads as u64,
            ..self
        }
    }

    /// Holds the group to its max.
    pub(crate) fn check(&self, violations: &mut Violations) {
        let most = self.peak_bytes.max(self.sampled_max_bytes);
        if let Some(max) = self.limits.max.filter(|max| most > *max) {
            violations.add(format_args!(
                "group {} had {most} bytes, its max is {max}",
                self.path
            ));
        }
    }
}

/// Who touches a group's folios.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members {
    pub(crate) threads: usize,
    /// Pages of the folios.
    pub(crate) set_pages: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_point_may_be_lost_and_no_more() {
        assert!(Isolation::new(1.0, 0.9901).reached);
        assert!(Isolation::new(0.5, 0.6).reached, "it may gain");
        let lost = Isolation::new(0.99, 0.97);
        assert!(!lost.reached);
        assert!((lost.lost_points - 2.0).abs() < 1e-9);
    }

    /// A group without folios, whose limits are checked against what it had at most.
    fn figures(limits: GroupLimits, peak_bytes: u64, level: Level) -> GroupFigures {
        let pool = pagepool::PagePool::builder()
            .memory(8 << 20)
            .build()
            .unwrap();
        let group = pool.create_group("g", limits).unwrap();
        let stats = group.stats();
        GroupFigures {
            peak_bytes,
            ..GroupFigures::new(&stats, &stats, level)
        }
    }

    #[test]
    fn whatever_is_above_max_is_a_violation_seen_or_remembered() {
        let limits = GroupLimits::new().high(4096).max(8192);
        let count = |peak, most| {
            let level = Level {
                most,
                over_high: 4097,
                over_max: most.saturating_sub(8192),
            };
            let figures = figures(limits, peak, level);
            assert_eq!(figures.over_high_pages_max, Some(2));
            let mut violations = Violations::default();
            figures.check(&mut violations);
            violations.count
        };
        assert_eq!(count(8192, 8192), 0);
        assert_eq!(count(8193, 8192), 1);
        assert_eq!(count(8192, 8193), 1);
        let unlimited = figures(GroupLimits::new(), 1 << 40, Level::default());
        assert_eq!(
            (unlimited.over_max_pages_max, unlimited.over_high_pages_max),
            (None, None)
        );
    }

    #[test]
    fn pressure_may_be_two_percent_off_in_either_direction() {
        let check = |counted| {
            let ms = Duration::from_millis;
            PressureCheck::new(1, ms(1000), ms(counted)).reached
        };
        assert_eq!(
            [979, 981, 1019, 1021].map(check),
            [false, true, true, false]
        );
    }

    #[test]
    fn no_limit_is_none() {
        let limits = Limits::from(GroupLimits::new().low(4096).max(8192));
        assert_eq!(
            (limits.low, limits.high, limits.max),
            (4096, None, Some(8192))
        );
    }
}
