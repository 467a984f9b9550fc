//! Shows how far a run is and how its pool stands: lines that are redrawn in place on a terminal, a plain line a second
//! elsewhere. All of it goes to standard error.
//!
//! A thread of its own looks at the pool, in ways that wait for nobody, so that a load that hangs is shown as well as
//! one that gets on.
#![forbid(unsafe_code)]

mod busy; // while there is no pool yet
mod view; // what is shown, as text

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pagepool::PagePool;

use self::view::View;
use crate::{control::Control, report::Sink};

/// How often the lines on a terminal are redrawn, and how often a plain one is written.
const REDRAW: Duration = Duration::from_millis(200);
const PLAIN: Duration = Duration::from_secs(1);

const STACK: usize = 256 << 10;

/// The beginning of a time that has not begun.
const NOT_YET: u64 = u64::MAX;

/// What `--progress` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// Lines that are redrawn in place if standard error is a terminal, else as plain
    Auto,
    /// A line a second
    Plain,
    /// Nothing
    None,
}

/// What a phase's end is measured in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    Events(u64),
    Time(Duration),
    /// Time that begins when [`Progress::restart`] says so.
    Later(Duration),
}

impl Goal {
    /// How much of it is reached after `events` and `time`: 0 to 1.
    fn share(self, events: u64, time: Duration) -> f64 {
        let share = match self {
            Goal::Events(goal) => events as f64 / goal.max(1) as f64,
            Goal::Time(goal) | Goal::Later(goal) => time.as_secs_f64() / goal.as_secs_f64(),
        };
        share.clamp(0.0, 1.0)
    }
}

/// Where progress is shown.
#[derive(Clone, Debug)]
pub(crate) enum Screen {
    Terminal(MultiProgress),
    Plain,
    Nowhere,
}

impl Screen {
    /// The one that the user wants.
    pub(crate) fn new(show: Show) -> Screen {
        match show {
            Show::Auto if stderr().is_terminal() => {
                Screen::Terminal(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
            }
            Show::Auto | Show::Plain => Screen::Plain,
            Show::None => Screen::Nowhere,
        }
    }

    /// Writes text for people while something may be shown.
    pub(crate) fn say(&self, sink: &Sink, text: &str) {
        match self {
            Screen::Terminal(lines) => lines.suspend(|| sink.say(text)),
            Screen::Plain | Screen::Nowhere => sink.say(text),
        }
    }
}

/// The lines that show a phase; they go when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// When it began, in nanoseconds from a beginning of its own; a word that stands for itself.
    begin_ns: Arc<AtomicU64>,
    origin: Instant,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins a phase called `name` in `pool`. One without a goal is not shown.
    pub(crate) fn begin(
        screen: &Screen,
        name: &str,
        goal: Goal,
        pool: &PagePool,
        control: &Arc<Control>,
    ) -> Progress {
        let mut progress = Progress {
            begin_ns: Arc::new(AtomicU64::new(match goal {
                Goal::Events(_) | Goal::Time(_) => 0,
                Goal::Later(_) => NOT_YET,
            })),
            origin: Instant::now(),
            stop: None,
            thread: None,
        };
        if goal == Goal::Events(0) || matches!(screen, Screen::Nowhere) {
            return progress;
        }
        let (stop, stopped) = mpsc::channel();
        let watcher = Watcher {
            name: name.to_owned(),
            goal,
            pool: pool.clone(),
            control: Arc::clone(control),
            begin_ns: Arc::clone(&progress.begin_ns),
            origin: progress.origin,
            seen: (0, Instant::now()),
        };
        let screen = screen.clone();
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .stack_size(STACK)
            .spawn(move || match screen {
                Screen::Terminal(lines) => draw(watcher, &lines, &stopped),
                Screen::Plain => write_lines(watcher, &stopped),
                Screen::Nowhere => {}
            });
        // A run without it is the same run.
        progress.thread = thread.ok();
        progress.stop = Some(stop);
        progress
    }

    /// The time that the goal is about begins now.
    pub(crate) fn restart(&self) {
        let ns = self.origin.elapsed().as_nanos() as u64;
        self.begin_ns.store(ns, Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It cannot fail; if it did, there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// Looks at a phase.
struct Watcher {
    name: String,
    goal: Goal,
    pool: PagePool,
    control: Arc<Control>,
    begin_ns: Arc<AtomicU64>,
    origin: Instant,
    /// Events at the last look, and when that was.
    seen: (u64, Instant),
}

impl Watcher {
    fn look(&mut self) -> View {
        let events = self.control.played();
        let (before, when) = std::mem::replace(&mut self.seen, (events, Instant::now()));
        let seconds = when.elapsed().as_secs_f64().max(1e-3);
        let begin = Duration::from_nanos(self.begin_ns.load(Relaxed));
        // Nothing has passed of a time that has not begun.
        let time = self.origin.elapsed().saturating_sub(begin);
        View::of(&self.pool).of_load(
            &self.name,
            self.goal.share(events, time),
            events,
            (events.saturating_sub(before) as f64 / seconds) as u64,
        )
    }
}

/// Waits; whether nobody wants it to stop.
fn goes_on(stopped: &mpsc::Receiver<()>, time: Duration) -> bool {
    stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

fn write_lines(mut watcher: Watcher, stopped: &mpsc::Receiver<()>) {
    while goes_on(stopped, PLAIN) {
        let line = watcher.look().plain();
        // Whoever closed the pipe does not want to know.
        let _ = stderr().write_all(line.as_bytes());
    }
}

fn draw(mut watcher: Watcher, lines: &MultiProgress, stopped: &mpsc::Receiver<()>) {
    let bar = lines.add(new_bar(&watcher.name));
    let mut below: Vec<ProgressBar> = Vec::new();
    while goes_on(stopped, REDRAW) {
        let view = watcher.look();
        bar.set_position((view.share() * SCALE as f64) as u64);
        bar.set_message(view.load());
        let texts = view.lines();
        while below.len() < texts.len() {
            below.push(lines.add(new_line()));
        }
        for (line, text) in below.iter().zip(texts) {
            line.set_message(text);
        }
    }
    below.iter().for_each(ProgressBar::finish_and_clear);
    bar.finish_and_clear();
    lines.clear().unwrap_or_default();
}

/// Parts of the bar.
const SCALE: u64 = 10_000;

fn new_bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %  {wide_msg}")
        .expect("the template is valid")
        .progress_chars("=> ");
    let bar = ProgressBar::new(SCALE).with_style(style);
    bar.set_prefix(name.to_owned());
    bar
}

fn new_line() -> ProgressBar {
    let style = ProgressStyle::with_template("  {wide_msg}").expect("the template is valid");
    ProgressBar::new_spinner().with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_by_events_or_by_time() {
        let second = Duration::from_secs(1);
        assert_eq!(Goal::Events(200).share(50, second), 0.25);
        assert_eq!(Goal::Events(0).share(50, second), 1.0);
        assert_eq!(Goal::Time(4 * second).share(50, second), 0.25);
        assert_eq!(Goal::Time(second).share(0, 4 * second), 1.0);
    }
}
