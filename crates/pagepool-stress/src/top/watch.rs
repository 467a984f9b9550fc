//! The screen while it is there: keys come in, the pool is asked by a thread of its own, and what it says is drawn.
//!
//! Whatever the pool's process does, keys are heeded: the thread waits for answers, not the screen.
#![forbid(unsafe_code)]

use std::{
    fs, io,
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

use super::{
    app::{App, Key},
    link::{Link, Said},
    screen,
    wire::Snapshot,
};
use crate::interrupt::Interrupt;

/// How long nobody may look at what has come.
const LOOK: Duration = Duration::from_millis(50);

/// After so long without an answer the user is told.
const SLOW: Duration = Duration::from_secs(2);

/// What the thread has learned.
enum News {
    Snapshot(Box<Snapshot>),
    /// Nothing, and why.
    None(String),
}

/// Whom to watch.
pub(super) struct Watched {
    pub(super) path: PathBuf,
    pub(super) link: Link,
    pub(super) pid: u32,
}

/// The screen, until the user or `interrupt` ends it, or the process has ended, or `time` is over. Returns why, if
/// it was not the user.
pub(super) fn watch(
    watched: Watched,
    app: &mut App,
    interrupt: &Interrupt,
    time: Option<Duration>,
) -> io::Result<Option<String>> {
    let pid = watched.pid;
    let asker = Asker::start(watched)?;
    let terminal = ratatui::try_init()?;
    let restore = Restore;
    let end = time.map(|time| Instant::now() + time);
    let mut screen = Screen {
        terminal,
        app,
        asker,
        pid,
    };
    let ending = screen.run(|| interrupt.is_set() || end.is_some_and(|end| Instant::now() >= end));
    drop(restore);
    ending
}

/// Gives the terminal back as it was, whatever happens.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

struct Screen<'a> {
    terminal: DefaultTerminal,
    app: &'a mut App,
    asker: Asker,
    pid: u32,
}

impl Screen<'_> {
    fn run(&mut self, is_over: impl Fn() -> bool) -> io::Result<Option<String>> {
        let mut is_new = true;
        while !is_over() {
            let news: Vec<News> = self.asker.news.try_iter().collect();
            for news in news {
                is_new = true;
                if let Some(ending) = self.take(news) {
                    return Ok(Some(ending));
                }
            }
            is_new |= self.see_to_asking();
            if is_new {
                self.terminal.draw(|frame| screen::draw(frame, self.app))?;
            }
            is_new = event::poll(LOOK)?;
            if is_new && !self.heed(&event::read()?) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Shows what was learned; returns why there is no more, if there is not.
    fn take(&mut self, news: News) -> Option<String> {
        self.asker.answered();
        match news {
            News::Snapshot(snapshot) => {
                self.pid = snapshot.pid;
                self.app.show(*snapshot);
            }
            News::None(why) if is_alive(self.pid) => {
                let path = self.asker.path.display();
                self.app
                    .note(format!("{why}; waits for another pool at {path}"));
            }
            News::None(_) => return Some(format!("process {} has ended", self.pid)),
        }
        None
    }

    /// Asks if it is time; returns whether there is news for the user.
    fn see_to_asking(&mut self) -> bool {
        match self.asker.waits_for() {
            None if !self.app.is_paused() => {
                self.asker.ask_if_due(self.app.interval());
                false
            }
            Some(time) if time >= SLOW => {
                let (seconds, pid) = (time.as_secs(), self.pid);
                self.app.note(format!(
                    "no answer for {seconds} s: is process {pid} stopped?"
                ))
            }
            None | Some(_) => false,
        }
    }

    /// Does what a key is for; whether to go on.
    fn heed(&mut self, event: &Event) -> bool {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                key_of(key).is_none_or(|key| self.app.press(key))
            }
            // The next picture has the new size.
            _ => true,
        }
    }
}

fn key_of(event: &KeyEvent) -> Option<Key> {
    let has_control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c' | 'd') if has_control => Key::Quit,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('+' | '=') => Key::Slower,
        KeyCode::Char('-' | '_') => Key::Faster,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Tab | KeyCode::Right => Key::NextZone,
        KeyCode::BackTab | KeyCode::Left => Key::PreviousZone,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// Asks on a thread of its own.
struct Asker {
    path: PathBuf,
    wants: Sender<()>,
    news: Receiver<News>,
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    /// When it was asked last.
    last: Instant,
}

impl Asker {
    fn start(watched: Watched) -> io::Result<Asker> {
        let (wants, wanted) = mpsc::channel::<()>();
        let (teller, news) = mpsc::channel();
        let Watched { path, link, .. } = watched;
        let at = path.clone();
        // Nobody waits for it: an answer may never come.
        thread::Builder::new()
            .name("asker".to_owned())
            .spawn(move || {
                let mut link = Some(link);
                while wanted.recv().is_ok() {
                    if teller.send(learn(&at, &mut link)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Asker {
            path,
            wants,
            news,
            asked: None,
            last: Instant::now(),
        })
    }

    fn ask_if_due(&mut self, interval: Duration) {
        if self.last.elapsed() >= interval {
            self.last = Instant::now();
            // If the thread is gone, no answer comes, and the user is told so.
            let _ = self.wants.send(());
            self.asked = Some(self.last);
        }
    }

    fn waits_for(&self) -> Option<Duration> {
        self.asked.map(|since| since.elapsed())
    }

    fn answered(&mut self) {
        self.asked = None;
    }
}

/// Asks, over a new connection if the old one is gone.
fn learn(path: &std::path::Path, link: &mut Option<Link>) -> News {
    let mut current = match link.take().map_or_else(|| Link::to(path), Ok) {
        Ok(link) => link,
        Err(trouble) => return News::None(trouble.to_string()),
    };
    match current.ask() {
        Ok(Said::Snapshot(snapshot, _)) => {
            *link = Some(current);
            News::Snapshot(snapshot)
        }
        Ok(Said::End(why)) => News::None(why),
        Err(trouble) => News::None(trouble.to_string()),
    }
}

/// Whether there is such a process, and it is not only waiting for its parent to learn of its end.
pub(super) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    !state.is_some_and(|state| state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_not_alive() {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let begin = Instant::now();
        // It is a zombie until it is waited for.
        while is_alive(child.id()) && begin.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!is_alive(child.id()));
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }

    #[test]
    fn keys_have_their_meanings() {
        let key = |code, modifiers| key_of(&KeyEvent::new(code, modifiers));
        let none = KeyModifiers::NONE;
        assert_eq!(key(KeyCode::Char('q'), none), Some(Key::Quit));
        assert_eq!(
            key(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Key::Quit)
        );
        assert_eq!(key(KeyCode::Char('c'), none), None);
        assert_eq!(key(KeyCode::BackTab, none), Some(Key::PreviousZone));
    }
}
