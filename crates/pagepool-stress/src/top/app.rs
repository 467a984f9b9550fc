//! What the screen shows, and what keys do to it (pure).
#![forbid(unsafe_code)]

use std::time::Duration;

use super::{
    emptied::{Blocks, emptied},
    map::Kinds,
    panels::{Sight, body, header},
    rates::{Flow, flows},
    row::{Row, Tint},
    wire::Snapshot,
};

/// How often the pool can be asked: what `+` and `-` choose from, in milliseconds.
const INTERVALS: [u64; 7] = [100, 250, 500, 1000, 2000, 5000, 10_000];

const HELP: [&str; 14] = [
    "q, Ctrl-C       quit",
    "p, space        pause, and go on",
    "+, -            ask less often, more often",
    "up, down, k, j  scroll by a line",
    "page up, down   scroll by a page",
    "home, end       to the first line, the last",
    "tab, shift-tab  the pageblocks of the next zone, of the one before",
    "?               this, and back",
    "",
    "Counts are of pages of 4 KiB, unless they have a unit.",
    "A zone's gauge ends at twice its high mark; + says that more is free.",
    "kswapd works from low to high, and requests wait or reclaim at min.",
    "some: threads waited for memory; full: and nobody did anything else.",
    "The book's chapters on zones, pressure and groups say more.",
];

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Quit,
    Pause,
    Slower,
    Faster,
    Help,
    NextZone,
    PreviousZone,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// Lines, top to bottom; the middle ones may be scrolled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) head: Vec<Row>,
    pub(super) body: Vec<Row>,
    pub(super) foot: Vec<Row>,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct App {
    now: Option<Snapshot>,
    flows: Vec<Flow>,
    emptied: Vec<Blocks>,
    interval: Duration,
    is_paused: bool,
    has_help: bool,
    /// The first line of the body that is shown.
    scroll: usize,
    /// Lines of the body that were shown last.
    page: usize,
    /// Which zone's pageblocks are shown.
    zone: usize,
    /// What is wrong just now.
    note: Option<String>,
    kinds: Kinds,
}

impl App {
    pub(super) fn new(interval: Duration, kinds: Kinds) -> App {
        App {
            now: None,
            flows: Vec::new(),
            emptied: Vec::new(),
            interval,
            is_paused: false,
            has_help: false,
            scroll: 0,
            page: 0,
            zone: 0,
            note: None,
            kinds,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Shows another snapshot.
    pub(super) fn show(&mut self, snapshot: Snapshot) {
        self.flows = flows(self.now.as_ref(), &snapshot);
        self.emptied = emptied(self.now.as_ref(), &snapshot);
        self.now = Some(snapshot);
        self.note = None;
    }

    /// Says what is wrong, until there is another snapshot; whether that is news.
    pub(super) fn note(&mut self, note: String) -> bool {
        let note = Some(note);
        let is_news = self.note != note;
        self.note = note;
        is_news
    }

    /// Does what a key is for; whether to go on.
    pub(super) fn press(&mut self, key: Key) -> bool {
        let nr_zones = self
            .now
            .as_ref()
            .map_or(1, |now| now.zones().count().max(1));
        match key {
            Key::Quit => return false,
            Key::Pause => self.is_paused = !self.is_paused,
            Key::Slower => self.interval = next(self.interval),
            Key::Faster => self.interval = previous(self.interval),
            Key::Help => {
                self.has_help = !self.has_help;
                self.scroll = 0;
            }
            Key::NextZone => self.zone = (self.zone + 1) % nr_zones,
            Key::PreviousZone => self.zone = (self.zone + nr_zones - 1) % nr_zones,
            Key::Up => self.scroll = self.scroll.saturating_sub(1),
            Key::Down => self.scroll += 1,
            Key::PageUp => self.scroll = self.scroll.saturating_sub(self.page.max(1)),
            Key::PageDown => self.scroll += self.page.max(1),
            Key::Home => self.scroll = 0,
            Key::End => self.scroll = usize::MAX / 2,
        }
        true
    }

    /// What a screen of this size shows.
    pub(super) fn view(&mut self, width: usize, height: usize) -> View {
        let foot = self.foot(height);
        let mut head = self.now.as_ref().map(header).unwrap_or_default();
        // What is said first is said longest.
        head.truncate(height.saturating_sub(foot.len()) / 2);
        let room = height.saturating_sub(foot.len() + head.len());
        let rows = self.body(width);
        self.page = room;
        self.scroll = self.scroll.min(rows.len().saturating_sub(room));
        let body = rows.into_iter().skip(self.scroll).take(room).collect();
        View { head, body, foot }
    }

    fn body(&self, width: usize) -> Vec<Row> {
        if self.has_help {
            return HELP.iter().map(|line| Row::new(*line)).collect();
        }
        let Some(now) = &self.now else {
            return vec![Row::new("waiting for the pool's answer")];
        };
        let nr_zones = now.zones().count();
        let sight = Sight {
            now,
            flows: &self.flows,
            emptied: &self.emptied,
            zone: Some(self.zone.min(nr_zones.saturating_sub(1))),
            kinds: self.kinds,
        };
        body(&sight, width)
    }

    fn foot(&self, height: usize) -> Vec<Row> {
        let state = match self.is_paused {
            true => "paused".to_owned(),
            false => format!("every {}", seconds(self.interval)),
        };
        let keys = format!("{state}  q quit  p pause  +- interval  ↑↓ scroll  tab zone  ? help");
        let note = self
            .note
            .iter()
            .map(|note| Row::default().and(note.clone(), Tint::Warn));
        let keys = Row::default().and(keys, Tint::Dim);
        let mut rows: Vec<_> = note.chain([keys]).collect();
        rows.truncate(height);
        rows
    }
}

fn next(interval: Duration) -> Duration {
    let longer = INTERVALS.map(Duration::from_millis).into_iter();
    longer
        .filter(|one| *one > interval)
        .min()
        .unwrap_or(interval)
}

fn previous(interval: Duration) -> Duration {
    let shorter = INTERVALS.map(Duration::from_millis).into_iter();
    shorter
        .filter(|one| *one < interval)
        .max()
        .unwrap_or(interval)
}

fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::snapshot;

    fn app() -> App {
        let mut app = App::new(Duration::from_secs(1), Kinds::Letters);
        app.show(snapshot());
        app
    }

    fn texts(rows: &[Row]) -> Vec<String> {
        rows.iter().map(Row::text).collect()
    }

    #[test]
    fn keys_change_the_interval_in_steps_and_stop_at_the_ends() {
        let mut app = app();
        app.press(Key::Slower);
        assert_eq!(app.interval(), Duration::from_secs(2));
        assert!((0..9).all(|_| app.press(Key::Slower)));
        assert_eq!(app.interval(), Duration::from_secs(10));
        assert!((0..9).all(|_| app.press(Key::Faster)));
        assert_eq!(app.interval(), Duration::from_millis(100));
        assert!(texts(&app.view(80, 24).foot)[0].starts_with("every 100 ms"));
    }

    #[test]
    fn scrolling_ends_where_the_lines_end() {
        let mut app = app();
        let first = app.view(80, 24).body;
        app.press(Key::Up);
        assert_eq!(app.view(80, 24).body, first);
        app.press(Key::End);
        let last = app.view(80, 24).body;
        assert_eq!(last.len(), 20);
        app.press(Key::PageDown);
        assert_eq!(app.view(80, 24).body, last);
        app.press(Key::Up);
        assert_ne!(app.view(80, 24).body, last);
        app.press(Key::Home);
        assert_eq!(app.view(80, 24).body, first);
        app.press(Key::Down);
        assert_eq!(app.view(80, 24).body[..19], first[1..]);
    }

    #[test]
    fn tab_goes_round_the_zones() {
        let mut app = app();
        let mut shown = || {
            let rows = app.view(80, 200).body;
            let texts = texts(&rows);
            let label = texts
                .iter()
                .find(|text| text.contains(" of 2.0 MiB"))
                .cloned();
            app.press(Key::NextZone);
            label.unwrap()
        };
        assert!(shown().starts_with("node 0 Normal: 4 of"));
        assert!(shown().starts_with("node 0 Movable: 2 of"));
        assert!(shown().starts_with("node 0 Normal: 4 of"));
    }

    #[test]
    fn quitting_pausing_and_help_do_what_they_say() {
        let mut app = app();
        assert!(app.press(Key::Pause) && app.is_paused());
        assert!(texts(&app.view(80, 24).foot)[0].starts_with("paused"));
        assert!(app.press(Key::Pause) && !app.is_paused());
        app.press(Key::Help);
        assert!(texts(&app.view(80, 24).body)[0].starts_with("q, Ctrl-C"));
        app.press(Key::Help);
        assert!(texts(&app.view(80, 24).body)[0].starts_with("ZONES"));
        assert!(!app.press(Key::Quit));
    }

    #[test]
    fn what_is_wrong_is_said_until_it_is_right_again() {
        let mut app = app();
        assert!(app.note("the pool has ended".to_owned()));
        assert!(!app.note("the pool has ended".to_owned()));
        assert_eq!(texts(&app.view(80, 24).foot)[0], "the pool has ended");
        app.show(snapshot());
        assert_eq!(app.view(80, 24).foot.len(), 1);
    }

    #[test]
    fn a_screen_of_any_size_is_filled_and_not_more() {
        let mut app = app();
        app.note("note".to_owned());
        for height in 0..60 {
            for width in [0, 1, 5, 20, 80, 149, 150, 400] {
                let view = app.view(width, height);
                let lines = view.head.len() + view.body.len() + view.foot.len();
                assert!(lines <= height, "{width}x{height}");
            }
        }
    }
}
