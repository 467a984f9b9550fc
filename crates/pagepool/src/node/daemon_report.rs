//! A daemon at a moment: what it is at, and what is asked of it.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use super::{DaemonActivity, DaemonPost, DaemonState};
use crate::types::{Order, ZoneType};

/// A daemon at a moment. Prints as a line.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DaemonReport {
    /// Its name, which is its thread's.
    pub name: String,
    /// Whether it runs.
    pub state: DaemonState,
    /// What it is at, while it runs.
    pub activity: DaemonActivity,
    /// For how long, to about a hundredth of a second.
    pub activity_for: Duration,
    /// Its request word: the greatest order that is asked for with each class of zone, and not taken.
    pub asked: Vec<(ZoneType, Order)>,
    /// Whether it is to look for itself whether there is something to do.
    pub has_look: bool,
    /// Whether it is asked to stop.
    pub should_stop: bool,
    /// Whether it is asked to stand still.
    pub should_freeze: bool,
    /// Runs in a row that brought nothing.
    pub failures: u32,
    /// How often in a row the system had no thread for it. Who asks something of it tries again, but not at once.
    pub start_failures: u32,
    /// What the system said the last time.
    pub start_error: Option<String>,
}

impl DaemonReport {
    pub(crate) fn of(name: String, post: &DaemonPost) -> DaemonReport {
        let (activity, activity_for) = post.activity();
        let (should_stop, should_freeze) = post.control().is_told();
        let (start_failures, start_error) = post.start_failure();
        let asked = post.asked();
        let lanes = asked.iter().map(|(class, order)| {
            let order = Order::at(usize::from(order));
            (ZoneType::ALL[class], order)
        });
        DaemonReport {
            name,
            state: post.state(),
            activity,
            activity_for,
            asked: lanes.collect(),
            has_look: asked.has_look(),
            should_stop,
            should_freeze,
            failures: post.failures(),
            start_failures,
            start_error,
        }
    }
}

impl fmt::Display for DaemonReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.state)?;
        if self.state == DaemonState::Running {
            let seconds = self.activity_for.as_secs_f32();
            write!(f, ", {} for {seconds:.2} s", self.activity)?;
        }
        if let Some(why) = &self.start_error {
            let nr = self.start_failures;
            write!(f, ", no thread to be had {nr} times in a row: {why}")?;
        }
        f.write_str("; request word:")?;
        for (class, order) in &self.asked {
            write!(f, " {} {order:?}", class.name())?;
        }
        if self.has_look {
            f.write_str(" look")?;
        }
        if self.asked.is_empty() && !self.has_look {
            f.write_str(" empty")?;
        }
        if self.should_stop {
            f.write_str("; asked to stop")?;
        }
        if self.should_freeze {
            f.write_str("; asked to stand still")?;
        }
        match self.failures {
            0 => Ok(()),
            nr => write!(f, "; {nr} runs in a row in vain"),
        }
    }
}
