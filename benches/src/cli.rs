//! The command line.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::Failure;
use crate::harness::{Plan, Scale};
use crate::pin::allowed_cpus;
use crate::report::Report;
use crate::touch::{self, Terms};
use crate::works;

/// Times pagepool beside jemalloc, mimalloc and the C library, interleaved in one process.
///
/// Every row is one work of one allocator: the median of the rounds in nanoseconds, the 10th and
/// the 90th percentile, and the ratio to the best peer (below 1: faster than every peer). Rows of
/// the subject `null` show what the harness itself costs. Figures of a busy machine compare within
/// one run only.
#[derive(Debug, Parser)]
#[command(name = "pagepool-bench", version)]
pub(crate) struct Cli {
    /// Fewer and shorter rounds: ends within 60 seconds
    #[arg(long)]
    pub(crate) quick: bool,

    /// Also writes the rows as one JSON object to FILE; "-" is standard output, and then there is no
    /// table
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,

    /// Runs only works that have a row whose name contains TEXT
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,

    /// Timed rounds per work [default: 31, with --quick 9]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,

    /// Where works that need a disk make their files [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// Touches plain memory, twice MIB, by Zipf's law, and prints what came of it; for scripts
    #[arg(long, value_name = "MIB", hide = true)]
    plain_touch: Option<usize>,

    /// The same for a pool of MIB with swap
    #[arg(long, value_name = "MIB", hide = true, conflicts_with = "plain_touch")]
    pool_touch: Option<usize>,

    /// For how long
    #[arg(long, value_name = "SECONDS", hide = true, default_value_t = 30)]
    touch_seconds: u64,

    /// Opens one pool and prints what it took; the bench starts itself this way
    #[arg(long, hide = true)]
    pub(crate) open_once: bool,
}

/// The whole table.
const FULL: Scale = Scale {
    rounds: 31,
    limit: Duration::from_secs(60),
    pairs: 1_000_000,
    huge_pairs: 100_000,
    held: 100_000,
    mixed_bytes: 1 << 30,
    mixed_ops: 100_000,
    opens: 31,
    holds: 1_000_000,
    scattered: 256 << 10,
    swapped_bytes: 128 << 20,
    faults: 2_000,
    wakes: 2_000,
    compacted_bytes: 256 << 20,
    moved_reads: 2_000_000,
};

/// What shows the order of things: all works in at most 60 seconds. As many pages are held, and
/// the memory is as large, as in the full run.
const QUICK: Scale = Scale {
    rounds: 9,
    limit: Duration::from_secs(2),
    pairs: 200_000,
    huge_pairs: 20_000,
    mixed_ops: 20_000,
    opens: 11,
    holds: 200_000,
    swapped_bytes: 32 << 20,
    faults: 500,
    wakes: 500,
    compacted_bytes: 128 << 20,
    moved_reads: 200_000,
    ..FULL
};

impl Cli {
    /// Returns what is to be run, or bad usage.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let mut scale = if self.quick { QUICK } else { FULL };
        if let Some(rounds) = self.rounds {
            scale.rounds = rounds as usize;
            scale.limit = Duration::MAX; // Whoever asks for a number of rounds gets them.
        }
        let plan = Plan {
            filter: self.filter.clone(),
            cpus: allowed_cpus()?,
            directory: self.directory(),
            scale,
        };
        if plan.works().next().is_none() {
            let all: Vec<&str> = works::ALL
                .iter()
                .flat_map(|work| work.rows)
                .copied()
                .collect();
            return Err(Failure::usage(format!(
                "no work has a row whose name contains {:?}; there are {}",
                self.filter,
                all.join(", ")
            )));
        }
        Ok(plan)
    }

    /// Where files are made.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(env::temp_dir)
    }

    /// Runs what was asked for instead of the table, if anything was.
    pub(crate) fn run_touch(&self) -> Option<Result<(), Failure>> {
        let terms = |mib: usize| Terms {
            memory: mib << 20,
            seconds: self.touch_seconds,
        };
        match (self.plain_touch, self.pool_touch) {
            (Some(mib), _) => Some(touch::plain(terms(mib))),
            (None, Some(mib)) => Some(touch::pool(terms(mib), &self.directory())),
            (None, None) => None,
        }
    }

    /// Whether standard output is for the JSON object alone.
    pub(crate) fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some("-")
    }

    /// Opens what the JSON object is to be written to, so that a bad path shows before the run.
    pub(crate) fn open_json(&self) -> Result<Option<JsonTarget>, Failure> {
        let Some(name) = &self.json else {
            return Ok(None);
        };
        let writer: Box<dyn Write> = if name == "-" {
            Box::new(io::stdout())
        } else {
            let file = File::create(name).map_err(|error| cannot_write(name, &error))?;
            Box::new(file)
        };
        let name = name.clone();
        Ok(Some(JsonTarget { name, writer }))
    }
}

/// Where the JSON object goes.
pub(crate) struct JsonTarget {
    name: String,
    writer: Box<dyn Write>,
}

impl JsonTarget {
    /// Writes the report as one object on one line.
    pub(crate) fn write(mut self, report: &Report) -> Result<(), Failure> {
        writeln!(self.writer, "{}", report.to_json())
            .map_err(|error| cannot_write(&self.name, &error))
    }
}

fn cannot_write(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot write {name}: {error}"))
}
