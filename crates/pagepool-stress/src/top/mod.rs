//! `top`: looks at a pool of another process, which has opted in.
//!
//! ```text
//! find  -> link          which socket; asks, and understands
//! wire  -> rates, map    what was said; what it means
//!       -> panels        as lines (row), for a pipe
//!          app -> screen as lines of a screen, by keys
//!                 watch  the terminal
//! ```
#![forbid(unsafe_code)]

mod app; // what keys do
mod emptied; // pageblocks that something was moved out of
mod find; // which pool
mod link; // a connection
mod map; // pageblocks
mod panels; // what is shown
mod rates; // what happens a second
mod row; // lines
mod screen; // cells
mod watch; // the terminal
mod wire; // what is said

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use pagepool::Server;

use self::{app::App, link::Said, map::Kinds, panels::Sight, wire::Snapshot};
use crate::{
    cli::{Common, Top},
    interrupt::Interrupt,
};

/// Columns of the text for a pipe.
const COLUMNS: usize = 80;

/// Shows a pool until the user has seen enough, or the process has ended.
pub(crate) fn perform(common: &Common, options: &Top) -> Result<(), String> {
    let (path, mut link) = find::find(options, &Server::folder())?;
    let (snapshot, raw) = match link.ask().map_err(|trouble| trouble.to_string())? {
        Said::Snapshot(snapshot, raw) => (snapshot, raw),
        // It was there when it was found.
        Said::End(why) => return say(&format!("{why}\n")),
    };
    if let Some(file) = &common.json {
        return write_json(file, &raw);
    }
    if options.once || !io::stdout().is_terminal() {
        return say(&plain(&snapshot));
    }
    let interrupt = Interrupt::heed().map_err(|error| format!("cannot start: {error}"))?;
    let pid = snapshot.pid;
    let mut app = App::new(options.interval.unwrap_or(INTERVAL), kinds());
    app.show(*snapshot);
    let watched = watch::Watched { path, link, pid };
    let ending = watch::watch(watched, &mut app, &interrupt, common.duration)
        .map_err(|error| format!("cannot use the terminal: {error}; --once does without"))?;
    ending.map_or(Ok(()), |why| say(&format!("{why}\n")))
}

/// How often the pool is asked unless the user says.
const INTERVAL: Duration = Duration::from_secs(1);

fn plain(snapshot: &Snapshot) -> String {
    let sight = Sight {
        now: snapshot,
        flows: &rates::flows(None, snapshot),
        emptied: &[],
        zone: None,
        kinds: Kinds::Letters,
    };
    panels::text(&sight, COLUMNS)
}

/// As <https://no-color.org> has it.
fn kinds() -> Kinds {
    match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => Kinds::Letters,
        _ => Kinds::Colours,
    }
}

fn say(text: &str) -> Result<(), String> {
    // Whoever closed the pipe does not want to know.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn write_json(file: &Path, raw: &str) -> Result<(), String> {
    if file == Path::new("-") {
        return say(raw);
    }
    fs::write(file, raw).map_err(|error| format!("--json {}: {error}", file.display()))
}
