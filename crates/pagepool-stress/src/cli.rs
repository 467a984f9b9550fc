//! The command line.
#![forbid(unsafe_code)]

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::{
    trace::Format,
    units::{CacheSize, parse_bytes, parse_count, parse_duration, parse_seed},
};

/// Replays real page traces and generated load against a pagepool, and verifies every byte.
///
/// Without a command: `run`. The exit status is 0 if everything was verified, 1 if a violation
/// was found, and 2 if the usage or the input was bad.
#[derive(Debug, Parser)]
#[command(name = "pagepool-stress", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay the page allocations of a real kernel that are part of this program (the default)
    ///
    /// First one pass that fills and verifies every byte, then one copy per thread at full speed.
    Run,
    /// Replay traces from files
    Replay(Replay),
    /// Free and allocate at random, and see how many large blocks remain
    Churn(Churn),
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// How long to play at full speed, such as 500ms, 30s or 5m [default: run 15s, replay one pass, churn until done]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Seed of contents and of random choices, decimal or 0x… [default: a new one each time; it is printed first]
    #[arg(long, global = true, value_name = "NUMBER", value_parser = parse_seed)]
    pub(crate) seed: Option<u64>,
    /// The pool's budget in bytes with metadata, such as 64M or 2G [default: run and replay what the trace needs plus 15 %, churn 256M plus metadata]
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<usize>,
    /// Number of the pool's nodes, 1 to 16
    #[arg(long, global = true, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) nodes: usize,
    /// Number of threads, each with a copy of the load, 1 to 1024 [default: run one per CPU, replay and churn 1]
    #[arg(long, global = true, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Folder with traces that are not part of the program: run and replay play all of them, and replay looks for its files there, too
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) traces: Option<PathBuf>,
    /// Write the report as one JSON object to this file; `-` is standard output, and the readable report goes to standard error
    #[arg(long, global = true, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    /// Traces, compressed by zstd, xz or gzip or not at all; required unless --traces is given
    #[arg(value_name = "FILE", required_unless_present = "traces")]
    pub(crate) files: Vec<PathBuf>,
    /// Format of the files [default: told by name, else by the first line]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) format: Option<Format>,
    /// What a trace of references may keep in memory: a share of its distinct pages, such as 10%, or bytes, such as 64M
    #[arg(long, value_name = "SHARE|BYTES", default_value = "10%", value_parser = CacheSize::parse)]
    pub(crate) cache: CacheSize,
}

/// Options of `churn`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Churn {
    /// Generations; in each, as many blocks are freed and allocated as are live
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 10,
        conflicts_with = "mixed"
    )]
    pub(crate) generations: u64,
    /// Share of the pool that is live, in percent, 1 to 99
    #[arg(long, value_name = "PERCENT", default_value_t = 50, conflicts_with = "mixed", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(crate) occupancy: u8,
    /// Order of the blocks that are freed and allocated, 0 (4 KiB) to 8 (1 MiB)
    #[arg(long, value_name = "ORDER", default_value_t = 0, conflicts_with = "mixed", value_parser = clap::value_parser!(u8).range(0..=8))]
    pub(crate) order: u8,
    /// Instead, play every kind of request: all orders and flags, node masks, bulk calls, splits, frees by other threads
    #[arg(long)]
    pub(crate) mixed: bool,
    /// With --mixed, random events of all threads together, such as 500K or 10M
    #[arg(long, value_name = "NUMBER", default_value = "1M", requires = "mixed", value_parser = parse_count)]
    pub(crate) ops: u64,
}

/// Parses the command line; on bad usage, one line goes to standard error.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Help that cannot be printed has nobody to complain to.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{}", one_line(&error.render().to_string()));
            ExitCode::from(2)
        }
    })
}

/// Makes one line of clap's message: what is wrong and the nearest right thing, without the usage.
fn one_line(message: &str) -> String {
    let paragraphs = message
        .split("\n\n")
        .take_while(|text| !text.starts_with("Usage:"));
    let parts = paragraphs
        .flat_map(str::lines)
        .map(str::trim)
        .filter(|line| !line.is_empty());
    parts.collect::<Vec<_>>().join("; ") + "; see --help"
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(
            ["pagepool-stress"]
                .into_iter()
                .chain(args.split_whitespace()),
        )
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_and_common_options_stand_anywhere() {
        assert!(parse("").unwrap().command.is_none());
        for args in [
            "--seed 7 churn",
            "churn --seed 7",
            "run --seed 0x7",
            "--seed 7",
        ] {
            assert_eq!(parse(args).unwrap().common.seed, Some(7), "{args}");
        }
    }

    #[test]
    fn bad_usage_is_one_line_that_names_the_nearest() {
        let error = parse("--sed 7").unwrap_err();
        let line = one_line(&error.render().to_string());
        assert!(line.contains("--seed") && !line.contains('\n'), "{line}");
        let error = parse("chrun").unwrap_err();
        let line = one_line(&error.render().to_string());
        assert!(line.contains("churn") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn replay_needs_a_file_or_a_folder() {
        assert!(parse("replay").is_err());
        assert!(parse("replay --traces here").is_ok());
        assert!(parse("replay a b --format pga").is_ok());
    }

    #[test]
    fn ranges_are_checked() {
        for args in [
            "--threads 0",
            "--memory x",
            "churn --occupancy 100",
            "churn --order 9",
            "--duration 0s",
        ] {
            assert!(parse(args).is_err(), "{args}");
        }
    }
}
