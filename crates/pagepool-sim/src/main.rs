//! `pagepool-sim`: plays cases, and makes those that fail shorter.

#![cfg_attr(
    shuttle,
    expect(
        clippy::disallowed_types,
        reason = "real time, in which cases are played"
    )
)]

mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Plays a whole pool, its daemons and its failing devices by a seed.
///
/// Each case is a world and a list of operations, both of them a function of its seed. What is read is compared
/// with what was written, and every invariant is checked after each round. A case that fails is made shorter,
/// printed, and fails again whenever it is played.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Exit status: 0 all is well, 1 a case failed, 2 bad usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Plays case after case.
    Run(Run),
    /// Plays a case from a file, twice, and compares the two histories.
    Play {
        /// A world and its steps, as `show` prints them.
        file: PathBuf,
    },
    /// Prints the case of a seed.
    Show {
        /// The case's.
        seed: u64,
        /// Its length.
        #[arg(long, default_value_t = STEPS)]
        steps: usize,
    },
    /// Makes a case from a file shorter, as long as it fails, and prints what remains.
    Minimise {
        /// A world and its steps.
        file: PathBuf,
    },
    /// What `run` starts: plays some cases and says of each how it went.
    #[command(hide = true)]
    Work {
        first: u64,
        count: u64,
        #[arg(long, default_value_t = STEPS)]
        steps: usize,
    },
}

/// Operations of a case.
const STEPS: usize = 400;

#[derive(Args, Debug)]
struct Run {
    /// Seed of the first case; the others follow. By default, the time.
    #[arg(long)]
    seed: Option<u64>,
    /// For how long to go on.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How many cases at most.
    #[arg(long)]
    cases: Option<u64>,
    /// Operations of each case.
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// Processes that play at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Goes on after a case that failed, without making it shorter, and lists all at the end.
    #[arg(long)]
    keep_going: bool,
    /// Prints a case that failed as long as it is.
    #[arg(long, conflicts_with = "keep_going")]
    whole: bool,
}

#[cfg(shuttle)]
fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => supervisor::run(&run),
        Command::Play { file } => supervisor::play(&file),
        Command::Show { seed, steps } => {
            print!("{}", pagepool_sim::case::Case::random(seed, steps));
            ExitCode::SUCCESS
        }
        Command::Minimise { file } => supervisor::minimise(&file),
        Command::Work {
            first,
            count,
            steps,
        } => supervisor::work(first, count, steps),
    }
}

#[cfg(not(shuttle))]
fn main() -> ExitCode {
    let _understood = Cli::parse();
    eprintln!("pagepool-sim: this program was built without `--cfg shuttle`; run `.ci/simulate`");
    ExitCode::from(2)
}
