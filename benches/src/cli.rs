//! The command line.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::Failure;
use crate::pin::allowed_cpus;
use crate::plan::{Plan, Scale};
use crate::touch::{self, Terms};
use crate::works;

/// Times pagepool beside nine other allocators, interleaved in one process.
///
/// Every row is one work of one allocator: the median of the rounds in nanoseconds, the 10th and
/// the 90th percentile, and the ratio to the best peer (below 1: faster than every peer). Rows of
/// the subject `null` show what the harness itself costs. Figures of a busy machine compare within
/// one run only.
#[derive(Debug, Parser)]
#[command(name = "pagepool-bench", version)]
pub(crate) struct Cli {
    /// Fewer and shorter rounds: ends within two minutes
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

    /// Instead of the table: pages a second with 1, 2, 4, 8 and 16 threads, as far as there are CPUs
    #[arg(long)]
    pub(crate) scaling: bool,

    /// With --scaling: more threads than CPUs, too
    #[arg(long, requires = "scaling")]
    oversubscribe: bool,

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

impl Cli {
    /// Returns what is to be run for the table, or bad usage.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let rows: Vec<&str> = works::ALL
            .iter()
            .flat_map(|work| work.rows)
            .copied()
            .collect();
        self.plan_of(&rows)
    }

    /// The same for a table of these rows.
    pub(crate) fn plan_of(&self, rows: &[&str]) -> Result<Plan, Failure> {
        let mut scale = if self.quick {
            Scale::QUICK
        } else {
            Scale::FULL
        };
        if let Some(rounds) = self.rounds {
            scale.rounds = rounds as usize;
            scale.limit = Duration::MAX; // Whoever asks for a number of rounds gets them.
        }
        let plan = Plan {
            filter: self.filter.clone(),
            cpus: allowed_cpus()?,
            oversubscribes: self.oversubscribe,
            directory: self.directory(),
            scale,
        };
        if !rows.iter().any(|row| plan.selects(row)) {
            return Err(Failure::usage(format!(
                "no work has a row whose name contains {:?}; there are {}",
                self.filter,
                rows.join(", ")
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
    /// Writes the report, one object, on one line.
    pub(crate) fn write(mut self, report: &str) -> Result<(), Failure> {
        writeln!(self.writer, "{report}").map_err(|error| cannot_write(&self.name, &error))
    }
}

fn cannot_write(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot write {name}: {error}"))
}
