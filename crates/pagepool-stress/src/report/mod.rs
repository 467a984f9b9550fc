//! What a run found: one model, written as JSON for programs and as text for people.
#![forbid(unsafe_code)]

mod churn; // large blocks after churn
mod cut; // a container's limit that was cut
mod fragment; // blocks out of free memory in pieces
mod groups; // groups that share a pool
mod idle; // what threads do while nothing happens
mod latency; // requests that were due
mod misses; // what was missed of a trace, by policy and size
mod model; // the report's fields, by the names that scripts rely on
mod nodes; // nodes and zones, and a real kernel's
mod paging; // more folios than memory
mod phase; // one pool and its load
mod picture; // pageblocks by how full they are
mod pressure; // for how long threads waited
mod reclaim; // what was reclaimed, and by whom
mod soak; // how things stood for hours, and what grew
mod table; // columns that line up
mod text; // the readable form
mod two_kinds; // movable and unmovable memory side by side
mod what_if; // a recorded load in two pools
mod zones; // zones and free lists as text, beside a real kernel's

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub(crate) use churn::{ChurnReport, Generation};
pub(crate) use fragment::{
    BlockLatency, Compaction, FragmentReport, FragmentRun, Settling, Taking,
};
pub(crate) use groups::{
    GroupFigures, GroupPhase, GroupsReport, Isolation, Members, PressureCheck,
};
pub(crate) use idle::IdleReport;
pub(crate) use latency::{Asked as AskedLatency, LatencyReport};
pub(crate) use misses::{MissReport, MissesAtSize, PolicyMisses, PoolMisses};
pub(crate) use model::{Fragmentation, Report};
pub(crate) use paging::{Injected, PagingReport, WorkingSetFacts};
pub(crate) use phase::Facts;
pub(crate) use picture::Picture;
pub(crate) use soak::{Growth, SoakReport, SoakState};
pub(crate) use two_kinds::{Asked, BothKinds, Held, MixedReport, MixedRun};
pub(crate) use what_if::{RecordedCounts, RunFigures, WhatIfReport};

/// Where the report goes.
#[derive(Debug)]
pub(crate) struct Sink {
    json: Option<Json>,
}

#[derive(Debug)]
enum Json {
    Stdout,
    File(PathBuf, File),
}

impl Sink {
    /// Opens the JSON file, so that a run does not end with nowhere to report to.
    pub(crate) fn open(json: Option<&Path>) -> Result<Sink, String> {
        let json = match json {
            None => None,
            Some(path) if path == Path::new("-") => Some(Json::Stdout),
            Some(path) => {
                let file = File::create(path)
                    .map_err(|error| format!("--json {}: {error}", path.display()))?;
                Some(Json::File(path.to_owned(), file))
            }
        };
        Ok(Sink { json })
    }

    /// Writes text for people: to standard output, unless that is taken by JSON.
    pub(crate) fn say(&self, text: &str) {
        let text = text.as_bytes();
        // Whoever closed the pipe does not want to know.
        let _ = match self.json {
            Some(Json::Stdout) => io::stderr().write_all(text),
            _ => io::stdout().write_all(text),
        };
    }

    /// Writes the report.
    pub(crate) fn deliver(&self, report: &Report) -> Result<(), String> {
        self.say(&text::write(report));
        let json = || serde_json::to_string_pretty(report).expect("a report has plain keys") + "\n";
        match &self.json {
            None => Ok(()),
            Some(Json::Stdout) => io::stdout()
                .write_all(json().as_bytes())
                .map_err(|error| format!("--json -: {error}")),
            Some(Json::File(path, file)) => (&mut &*file)
                .write_all(json().as_bytes())
                .map_err(|error| format!("--json {}: {error}", path.display())),
        }
    }
}
