//! Shows how far a run is, on a terminal; in a pipe nothing is shown.
#![forbid(unsafe_code)]

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units::grouped;

/// How often the line is drawn.
pub(crate) const REFRESH: Duration = Duration::from_millis(100);

/// What a phase's end is measured in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    Events(u64),
    Time(Duration),
}

/// The line that shows how far a phase is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    goal: Goal,
    begin: Instant,
}

impl Progress {
    /// Begins a phase called `name`.
    pub(crate) fn begin(name: &str, goal: Goal) -> Progress {
        let bar = stderr().is_terminal().then(|| new_bar(name, goal));
        Progress {
            bar,
            goal,
            begin: Instant::now(),
        }
    }

    /// Draws the line, after `events` events.
    pub(crate) fn show(&self, events: u64) {
        let Some(bar) = &self.bar else { return };
        let seconds = self.begin.elapsed().as_secs_f64().max(1e-3);
        let rate = grouped((events as f64 / seconds) as u64);
        bar.set_message(format!("{} events, {rate}/s", grouped(events)));
        match self.goal {
            Goal::Events(_) => bar.set_position(events),
            Goal::Time(_) => bar.set_position(self.begin.elapsed().as_millis() as u64),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(name: &str, goal: Goal) -> ProgressBar {
    let length = match goal {
        Goal::Events(events) => events,
        Goal::Time(time) => time.as_millis() as u64,
    };
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %  {msg}")
        .expect("the template is valid")
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar.set_prefix(name.to_owned());
    bar
}
