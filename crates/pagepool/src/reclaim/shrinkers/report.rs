//! How shrinkers stand, and whether what is known of them agrees.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use super::Shrinkers;
use super::call::{Stage, State};
use super::desk::Desk;
use crate::error::{Violation, ensure};
use crate::reclaim::policy::trust::MAX_FAILURES;
use crate::sync::atomic::Ordering;
use crate::sync::clock::{self, Instant};

/// What a shrinker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ShrinkerState {
    /// It is called when memory is short.
    Ready,
    /// It is in a call. If nobody waits for that any more, it is called again only after it has returned.
    Busy,
    /// It has blocked, panicked or freed nothing several times in a row.
    Quarantined {
        /// It is not called for so long; twice as long after the next failure.
        left: Duration,
    },
    /// Its handle was dropped, and a call of it has not returned: it keeps its place.
    Leaving,
}

/// A shrinker at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShrinkerStats {
    /// What it is called.
    pub name: String,
    /// What it is doing.
    pub state: ShrinkerState,
    /// Times that it was asked.
    pub calls: u64,
    /// Objects that it has looked at.
    pub scanned: u64,
    /// Objects that it has freed, as it says.
    pub freed: u64,
    /// Pages of the pool that its calls have freed.
    pub pages_freed: u64,
    /// Objects that it was to look at, and that were put off.
    pub deferred: u64,
    /// Calls that were not waited for any more, since it did not return in time.
    pub timeouts: u64,
    /// Calls that ended in a panic.
    pub panics: u64,
    /// Failures in a row: from 3 on it is quarantined after each.
    pub failures: u32,
}

impl Desk {
    pub(super) fn stats(&self) -> ShrinkerStats {
        let deferred = self.sum_of_deferred();
        let state = self.state.lock();
        let tally = state.tally;
        ShrinkerStats {
            name: self.options.name.clone(),
            state: state.shown(clock::now()),
            calls: tally.calls,
            scanned: tally.scanned,
            freed: tally.freed,
            pages_freed: tally.pages,
            deferred,
            timeouts: tally.timeouts,
            panics: tally.panics,
            failures: state.trust.failures(),
        }
    }

    fn sum_of_deferred(&self) -> u64 {
        // Relaxed: counts by themselves; exact while there is no call.
        let deferred = self.deferred.iter().map(|nr| nr.load(Ordering::Relaxed));
        deferred.map(|nr| nr as u64).sum()
    }

    /// Checks what is true of a shrinker whether or not something runs, and, while it is at rest, that nothing
    /// it was asked for was lost.
    fn verify(&self) -> Result<(), Violation> {
        let state = self.state.lock();
        let name = &self.options.name;
        let is_at_rest = matches!(state.stage, Stage::Idle);
        ensure!(
            state.has_worker || is_at_rest || matches!(state.stage, Stage::Done(_)),
            "H1",
            "{name} is {:?}, and has no worker",
            state.stage
        );
        ensure!(
            state.barred_until.is_none() || state.trust.failures() >= MAX_FAILURES,
            "Q1",
            "{name} is quarantined after {} failures",
            state.trust.failures()
        );
        let tally = state.tally;
        let deferred = self.sum_of_deferred();
        ensure!(
            !is_at_rest || tally.asked == tally.paid + tally.forgiven + deferred,
            "H2",
            "{name} was asked for {} objects: {} paid, {} forgiven and {deferred} deferred",
            tally.asked,
            tally.paid,
            tally.forgiven
        );
        Ok(())
    }
}

impl State {
    fn shown(&self, now: Instant) -> ShrinkerState {
        match self.stage {
            _ if self.is_closed => ShrinkerState::Leaving,
            Stage::Called(_) | Stage::Running(_) => ShrinkerState::Busy,
            Stage::Idle | Stage::Done(_) if self.is_barred(now) => {
                let until = self.barred_until.unwrap_or(now);
                let left = until.saturating_duration_since(now);
                ShrinkerState::Quarantined { left }
            }
            Stage::Idle | Stage::Done(_) => ShrinkerState::Ready,
        }
    }
}

/// A shrinker at a moment, as its lock allows. Prints as a line.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShrinkerReport {
    /// What it is called.
    pub name: String,
    /// The number of its worker: `pool-shrink/0` and so on.
    pub number: usize,
    /// What it is doing; none if its lock is held at this moment.
    pub state: Option<ShrinkerState>,
    /// For how long its last callback has been under way, if one is.
    pub busy_for: Option<Duration>,
    /// Threads that wait for the end of a call, or for their turn.
    pub nr_waiting: u32,
}

impl fmt::Display for ShrinkerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shrinker {} ({:?}): ", self.number, self.name)?;
        match self.state {
            None => f.write_str("its lock is held")?,
            Some(ShrinkerState::Ready) => f.write_str("ready")?,
            Some(ShrinkerState::Busy) => f.write_str("called")?,
            Some(ShrinkerState::Quarantined { left }) => {
                write!(f, "left alone for {:.2} s", left.as_secs_f32())?;
            }
            Some(ShrinkerState::Leaving) => f.write_str("leaving")?,
        }
        if let Some(busy_for) = self.busy_for {
            write!(f, ", in a callback for {:.2} s", busy_for.as_secs_f32())?;
        }
        write!(f, "; {} threads wait", self.nr_waiting)
    }
}

impl Desk {
    fn report(&self) -> ShrinkerReport {
        let now = clock::now();
        let state = self.state.try_lock();
        let busy_for = state.as_ref().and_then(|state| match &state.stage {
            Stage::Running(running) => Some(now.saturating_duration_since(running.since)),
            Stage::Idle | Stage::Called(_) | Stage::Done(_) => None,
        });
        ShrinkerReport {
            name: self.options.name.clone(),
            number: self.idx,
            state: state.map(|state| state.shown(now)),
            busy_for,
            nr_waiting: self.ended.nr_sleepers(),
        }
    }
}

impl Shrinkers {
    /// How each stands, but for those whose places are locked at this moment. Waits for nobody.
    pub(crate) fn report(&self) -> Vec<ShrinkerReport> {
        let places = self.0.places.iter();
        let reports = places.filter_map(|place| {
            let place = place.try_lock()?;
            place.as_ref().map(|desk| desk.report())
        });
        reports.collect()
    }

    /// How each stands, by their places.
    pub(crate) fn stats(&self) -> Vec<ShrinkerStats> {
        self.0.in_order(0).map(|desk| desk.stats()).collect()
    }

    /// Checks the invariants of shrinkers.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        self.0.in_order(0).try_for_each(|desk| desk.verify())
    }
}
