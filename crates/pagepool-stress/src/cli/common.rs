//! The options that every command takes.
#![forbid(unsafe_code)]

use std::{path::PathBuf, time::Duration};

use clap::Args;
use pagepool::HugePages;

use crate::{
    progress::Show,
    serving::ServeAt,
    swapping::SwapChoice,
    units::{parse_bytes, parse_bytes_or_all, parse_duration, parse_huge_pages, parse_seed},
};

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// How long to play at full speed, such as 500ms, 30s or 5m [default: run, latency and overcommit 15s, faults and idle 60s, soak 1h, fragment 10s of churn or mixed, replay one pass, churn until done]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Seed of contents and of random choices, decimal or 0x… [default: a new one each time; it is printed first]
    #[arg(long, global = true, value_name = "NUMBER", value_parser = parse_seed)]
    pub(crate) seed: Option<u64>,
    /// The pool's budget in bytes with metadata, such as 64M or 2G [default: run half of the trace's peak, replay its peak plus 15 %, or each of --sizes, churn 256M plus metadata, fragment 1G plus metadata, others 64M]
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<usize>,
    /// Number of the pool's nodes, 1 to 16
    #[arg(long, global = true, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) nodes: usize,
    /// Number of threads, 1 to 1024 [default: run, overcommit and faults one per CPU, overcommit --groups one per group, soak 5, others 1]
    #[arg(long, global = true, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Swap: a size for a temporary file, such as 256M, or the path of a file to make and remove again; churn, fragment and replay of blocks have none [default: a temporary file that is large enough]
    #[arg(long, global = true, value_name = "SIZE|PATH", value_parser = SwapChoice::parse)]
    pub(crate) swap: Option<SwapChoice>,
    /// Bytes of the pool that are made resident before anybody plays, such as 64M, or `all`, so that no first touch pays; the report has what that cost
    #[arg(long, global = true, value_name = "SIZE|all", default_value = "0", value_parser = parse_bytes_or_all)]
    pub(crate) prefault: usize,
    /// Where the pool asks the system for huge pages: as the `host` does for everybody, `when-whole` for whole pageblocks that get their memory at once, `always` or `never`
    #[arg(long, global = true, value_name = "NAME", default_value = "host", value_parser = parse_huge_pages)]
    pub(crate) huge_pages: HugePages,
    /// Serve the pool at this socket meanwhile, so that `pagepool-stress top` can show it; `auto` is one in the folder where that looks
    #[arg(long, global = true, value_name = "PATH|auto")]
    pub(crate) serve: Option<ServeAt>,
    /// What is shown on standard error meanwhile: on a terminal lines that are redrawn in place, elsewhere a line a second
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        value_enum,
        default_value = "auto"
    )]
    pub(crate) progress: Show,
    /// How long a thread may finish nothing before that is a violation
    #[arg(long, global = true, hide = true, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) hang_after: Duration,
    /// Folder with traces that are not part of the program: run and replay play all of them, and replay looks for its files there, too
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) traces: Option<PathBuf>,
    /// Record what happens to the first pool into this file, for `replay`
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Write the report as one JSON object to this file; `-` is standard output, and the readable report goes to standard error
    #[arg(long, global = true, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page to look at, report.html, into this folder, with plots over time and a map of all pageblocks; and report.json, the same as data. The folder is made if the one above it exists
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}
