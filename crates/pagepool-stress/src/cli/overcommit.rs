//! The options of `overcommit`.
#![forbid(unsafe_code)]

use clap::Args;
use pagepool::PAGE_SIZE;

use super::Load;
use crate::units::{parse_bytes, parse_count};

/// Options of `overcommit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Overcommit {
    /// Size of the working set as a multiple of the pool's memory, 0.1 to 64; with --groups that of each neighbour
    #[arg(long, value_name = "NUMBER", default_value_t = 2.0, value_parser = parse_factor)]
    pub(crate) factor: f64,
    /// Play a container whose limit is cut by half after half of --duration, and see that the pool follows
    ///
    /// The pool has half of the limit (--memory is what that makes), and follows it. Reported: how long it took until
    /// the pool was within its share, and what it gave back to the system. A pool that has not followed after 30 s is a
    /// violation.
    #[arg(long, conflicts_with = "groups")]
    pub(crate) container_cut: bool,
    #[command(flatten)]
    pub(crate) groups: GroupOptions,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// What `--groups` is about.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Groups")]
pub(crate) struct GroupOptions {
    /// Share the pool between so many groups, 2 to 16: a protected one, and neighbours that loop over more than the pool has [default without a number: 2]
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u8).range(2..=16))]
    pub(crate) groups: Option<u8>,
    /// What a neighbour may have at most, in bytes, at least 4K [default: no limit]
    #[arg(long, value_name = "BYTES", requires = "groups", value_parser = parse_limit)]
    pub(crate) max: Option<usize>,
    /// What a neighbour must reclaim and wait beyond, in bytes, at least 4K [default: no limit]
    #[arg(long, value_name = "BYTES", requires = "groups", value_parser = parse_limit)]
    pub(crate) high: Option<usize>,
    /// Touches a second of each thread of the protected group, 100 and more
    #[arg(long, value_name = "NUMBER", requires = "groups", default_value = "20K", value_parser = parse_pace)]
    pub(crate) pace: u64,
    /// Give the group that is to be protected no low limit, to see what it would lose
    #[arg(long, requires = "groups")]
    pub(crate) unprotected: bool,
}

pub(super) fn parse_factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.1..=64.0).contains(&factor) => Ok(factor),
        _ => Err("write a number from 0.1 to 64".to_owned()),
    }
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match parse_bytes(text)? {
        bytes if bytes >= PAGE_SIZE => Ok(bytes),
        _ => Err("a limit is 4K or more".to_owned()),
    }
}

fn parse_pace(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        pace if pace >= 100 => Ok(pace),
        _ => Err("write 100 touches a second or more, such as 500 or 20K".to_owned()),
    }
}
