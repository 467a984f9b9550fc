//! The command line.

use clap::Parser;

use crate::Failure;
use crate::directory::MAX_CPUS;
use crate::loads::{self, Load};

/// What happens at 64 threads? Runs the pool's code on as many CPUs as are asked for, and counts.
///
/// Each thread executes one instruction at a time, and which thread is next is decided by clocks: an instruction
/// takes as long as it takes one thread alone on this machine, a cache line that comes from another CPU as long as
/// between two CPUs of this machine. So locks are found taken, and lines are away, when they would be on so many CPUs.
///
/// A row is a number of threads. million/s: allocations with their frees in a second; instr, transfers, handovers,
/// taken, sleeps, locked: instructions, lines that came from another CPU, locks that another thread had last, attempts
/// that found one taken, sleeps, and locked instructions, for one allocation with its free; queue, bound: million/s by
/// the formula for closed queues, and beyond reach, both from what was counted; then the lock and the line that are
/// in use for the greatest share of the time.
#[derive(Debug, Parser)]
#[command(name = "pagepool-contention", version)]
pub(crate) struct Cli {
    /// Runs only loads whose name contains TEXT
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,

    /// Threads at most: 1, 2, 4, ... up to N
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,

    /// N threads only, and none of the smaller numbers
    #[arg(long)]
    only: bool,

    /// Nanoseconds that a line takes from another CPU [default: as measured between two CPUs here]
    #[arg(long, value_name = "NS")]
    pub(crate) line: Option<f64>,

    /// Nanoseconds from a call that wakes to the woken thread running [default: as measured]
    #[arg(long, value_name = "NS")]
    pub(crate) wake: Option<f64>,

    /// CPUs in a socket
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) socket: u8,

    /// How many times longer a line takes from another socket
    #[arg(long, value_name = "FACTOR", default_value_t = 3.0)]
    pub(crate) far: f64,

    /// Names the busiest locks and lines of each row
    #[arg(long)]
    pub(crate) details: bool,
}

impl Cli {
    /// The loads that the filter leaves.
    pub(crate) fn loads(&self) -> Result<Vec<Load>, Failure> {
        let names = || loads::ALL.iter().map(|load| load.name());
        let chosen = loads::ALL
            .into_iter()
            .filter(|load| load.name().contains(&self.filter));
        let chosen: Vec<Load> = chosen.collect();
        if chosen.is_empty() {
            return Err(Failure::usage(format!(
                "no load has a name that contains {:?}; there are {}",
                self.filter,
                names().collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(chosen)
    }

    /// How many threads, one after the other.
    pub(crate) fn threads(&self) -> Vec<usize> {
        let most = usize::from(self.threads).min(MAX_CPUS);
        if self.only {
            return vec![most];
        }
        let powers = (0..).map(|power| 1 << power);
        powers.take_while(|threads| *threads <= most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::parse_from([&["pagepool-contention"], arguments].concat())
    }

    #[test]
    fn threads_double_up_to_what_is_asked_for() {
        assert_eq!(parse(&[]).threads(), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(parse(&["--threads", "6"]).threads(), [1, 2, 4]);
        assert_eq!(parse(&["--threads", "6", "--only"]).threads(), [6]);
    }

    #[test]
    fn a_filter_that_leaves_nothing_is_bad_usage() {
        let failure = parse(&["--filter", "nothing"]).loads().unwrap_err();
        assert_eq!(failure.status, 2);
        assert!(
            failure.message.contains("held/4-nodes"),
            "{}",
            failure.message
        );
        assert_eq!(parse(&["--filter", "mixed"]).loads().unwrap().len(), 2);
    }
}
