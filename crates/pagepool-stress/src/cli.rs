//! The command line.
#![forbid(unsafe_code)]

mod common; // the options of all commands
mod fragment; // those of one command
mod latency;
mod load; // those of loads that touch folios
mod overcommit;
mod replay;
mod soak;
mod top;

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::units::{parse_count, parse_duration};

pub(crate) use common::Common;
pub(crate) use fragment::{Fragment, FragmentPattern};
pub(crate) use latency::Latency;
pub(crate) use load::{Faults, Load};
pub(crate) use overcommit::Overcommit;
pub(crate) use replay::{Contestant, Replay};
pub(crate) use soak::{Soak, SoakPlant};
pub(crate) use top::Top;

/// Replays real page traces and generated load against a pagepool, and verifies every byte.
///
/// Without a command: `run`. The exit status is 0 if everything was verified, 1 if a violation
/// was found, and 2 if the usage or the input was bad. Ctrl-C (SIGINT, SIGTERM) ends every command
/// with the report so far; a second one ends the process at once, with status 130.
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
    /// The pool is half as large as the trace's peak, with a swap file: kswapd and swap have work to do. Movable
    /// blocks of the trace become folios, all others raw pages. After each allocation one reference of a database
    /// (sqlite.pages) is made: page p, numbered from 0 in order of first use, means live folio p modulo their number,
    /// in a table in which a new folio comes last and the last one fills the place of one that goes; R reads and
    /// verifies, W verifies and writes anew.
    ///
    /// First one pass of at most 30 s that fills and verifies every byte, then one copy per thread at full speed for --duration
    /// (15s), which verifies the first and last word of each page. Exit status: 0 all verified, 1 a violation, 2 bad
    /// usage.
    Run,
    /// Replay traces from files, and compare what is missed with what well-known policies would miss
    ///
    /// A trace of blocks (pga, mtr, malloc) is played as it is, each in a pool of its own, every byte filled and
    /// verified. Objects of malloc: one of a page or more has a block of its own, of the smallest order that holds it
    /// and its alignment, beyond 4 MiB several; smaller ones share pages of their size class, a power of two from 16 to
    /// 2048 bytes, and a page goes with its last object.
    ///
    /// A trace of references (pages, key, vscsi, lis, obj, u32le, u32be, u64be) is played once for each of --sizes: by
    /// each of --policies without a pool, and through a pool that hands out just so much memory, with swap. There each
    /// key is a folio, allocated at its first reference; the pool alone decides what stays in memory. A request of
    /// blocks references every 4 KiB page that it overlaps. An object of obj is one folio of the smallest order that
    /// holds its size, 0 (4 KiB) to 10 (4 MiB); with another order it is another object, and larger ones are left out.
    /// Contents are verified: the first and last word of each page at each hit, all bytes of what came back.
    ///
    /// Reported for each size: the miss ratio, which is references that found nothing in memory / references, first
    /// ones included. Of the pool also how many pages were in use at the end (it keeps some free, which the policies do
    /// not) and refaults (references that found their folio away). Read-ahead is off.
    ///
    /// Exit status: 0 all verified, 1 a violation, 2 bad usage or bad input.
    Replay(Replay),
    /// Free and allocate at random, and see how many large blocks remain
    Churn(Churn),
    /// Break free memory into pieces, and see how much of it comes as large blocks all the same
    ///
    /// Fills the pool with folios of one page (--pattern checkerboard), or has folios of orders 0 to 9 come and go in a
    /// full pool for --duration (--pattern churn); then frees all but --keep of each pageblock's folios, at random.
    /// Waits for --settle, so that kcompactd may do what it sees fit. Then takes raw blocks of each order from 10 to 0,
    /// or of --order, until one is refused; what an order has taken is given back before the next one's turn.
    ///
    /// Reported, with the pool's daemons and without: pageblocks by how full they are, before and after; by order the
    /// blocks, their share of the memory that was free when the order's turn came, the latency of requests that got
    /// their block (ns in JSON, a readable unit in text), folios moved (pgmigrate_success), requests that compacted for
    /// themselves (compact_stall), how often kcompactd was asked to (compact_daemon_wake), and why the last one was refused; what
    /// happened while the pool settled, and the CPU time of the pool's threads in the second half of that.
    ///
    /// With --pattern mixed nothing is thinned and nothing stands still: folios of orders 0 to 3, now and then one up to
    /// order 9, and raw blocks of orders 0 to 3 (--unmovable of the pages) come and go at random for --events, or
    /// --duration, in a pool that is held at --fill. A quarter of them is short-lived. After each 200th of the events,
    /// and each second, order-9 blocks are asked for, as many as half of what is free above the high marks would make,
    /// and given back. Reported: the share of these requests that was granted, of all, of the last tenth by itself, and
    /// at the worst point; the pageblocks that hold both kinds; latency; folios moved. --keep, --settle and --order
    /// mean nothing here. The first and last word of each page are compared.
    ///
    /// It plays on one thread, whatever --threads says. Every byte of every folio that was kept is compared.
    ///
    /// Exit status: 0 all verified, whatever was refused, 1 a violation (wrong bytes, an invariant, more blocks than
    /// free memory, a thread that hangs), 2 bad usage.
    Fragment(Fragment),
    /// Make requests at a given rate, and measure each from when it was due
    ///
    /// Holds --fill times the pool's memory in raw blocks and folios, so that kswapd has work to do all the time. Then
    /// for --duration --rate requests a second are due by a schedule that does not wait for anybody (open loop). Each
    /// allocates a block of an order drawn from --orders, and what is held beyond --fill is freed, the oldest first.
    ///
    /// Reported, as HdrHistogram percentiles (ns in JSON, a readable unit in text): latency, from when a request was
    /// due until it was served or refused, so that a stall counts for all who would have come meanwhile (no coordinated
    /// omission); service time, from when it was begun; service time by order; how far the threads were behind the
    /// schedule; and whether the rate was kept: it was not if, when the time was up, more than 1 % of the requests that
    /// were due were not begun, and more than are due in 100 ms. Those count with the time that they had waited by then. A folio's time includes that
    /// it is zeroed.
    ///
    /// Exit status: 0 all verified, whether or not the rate was kept, 1 a violation, 2 bad usage.
    Latency(Latency),
    /// Touch more folios than there is memory, verify each, and measure faults and reclaim
    ///
    /// Fills a working set of --factor times the pool with folios, then touches them in the order of --pattern for
    /// --duration. What a folio must hold follows from its number and how often it was written; each read compares
    /// the first and last word of every page, one in eight all bytes, and the end all bytes of all folios.
    ///
    /// Reported: touches per second; miss ratio (folios read back / touches); latency of the accesses that found
    /// their folio away and of allocations (ns in JSON, a readable unit in text); the share of reclaimed pages that
    /// kswapd reclaimed, not the threads that allocate; slow-path entries per allocation; how far free memory stood
    /// above the high mark (pages and percent of the zone, sampled at 1 kHz); RSS against the budget; swap I/O.
    ///
    /// With --groups the pool is shared by that many memory groups. One is protected: its set is a quarter of the pool,
    /// its low limit as large, and it is touched at --pace. The others are its neighbours: each loops over --factor
    /// times the pool as fast as it can. First the protected group plays alone, for a third of --duration, then
    /// beside its neighbours. Reported of each group, the fill not included: hit rate (touches that did not find their
    /// folio away / touches), what it has and had at most, its limits and how often they were met, what was reclaimed and
    /// came back, pressure; and, sampled at 1 kHz, how far it was beyond --max and --high. Goals: the protected group
    /// loses at most 1 percentage point of its hit rate; high is exceeded by at most 32 pages a thread.
    ///
    /// Exit status: 0 all verified, 1 a violation (wrong bytes, a lost write, an invariant, RSS above the budget, a
    /// group above its max, a thread that hangs), 2 bad usage.
    Overcommit(Overcommit),
    /// Touch folios on a swap device that fails, and see that nothing is lost without an error
    ///
    /// As overcommit, with a device that fails at one call in so many, by kind. An access that ends in an error is
    /// counted by its cause and tried again; contents that are gone for good (the error says so) are made anew.
    /// When the time is up the device works again, and every folio is read once more.
    ///
    /// Exit status: 0 no violation, however many errors; 1 wrong bytes, an older version read back without an error,
    /// an invariant that does not hold, or a thread that finishes nothing for 30 s (who stands where is printed);
    /// 2 bad usage.
    Faults(Faults),
    /// Leave a pool alone, and see that its threads sleep
    ///
    /// Puts a pool under pressure for a second, waits for --settle, then counts for --duration how often the pool's
    /// threads (kswapd*, kcompactd*, pool-io*) wake up (voluntary context switches) and what CPU time they take (ms).
    ///
    /// Exit status: 0 nobody woke up (with --hopeless or --dead-store: they took at most 2 % of a CPU), 1 somebody
    /// did, or another violation, 2 bad usage, or a system that does not tell.
    Idle(Idle),
    /// Play every kind of load at once, for hours, and see that nothing breaks, hangs or grows
    ///
    /// In one pool with swap, each on a thread of its own or more: folios of mixed orders by Zipf's law; raw blocks of
    /// all orders and flags, with splits, bulk calls and frees by other threads; a memory group that loops over half of
    /// the memory within a limit; one that is protected; movable and unmovable memory side by side with requests for
    /// large blocks. They need twice the memory together. Every few seconds all of them stand still, and the pool is
    /// verified.
    ///
    /// Reported: a line of state each --state-every; what was verified; and the slope, by least squares over all but the
    /// first quarter of the samples, of the process's memory and of what of it is not the pool's (bytes an hour). Growth
    /// beside the pool of more than 4 MiB along that line is a leak; metadata must not change at all. It ends early at
    /// the first violation. A thread that finishes nothing for 30 s has hung: who stands where is printed.
    ///
    /// Exit status: 0 nothing found, 1 a violation (wrong bytes, an invariant, a leak, a thread that hangs), 2 bad
    /// usage.
    Soak(Soak),
    /// Show a pool of another process while it works: one that is served by --serve, or by the library's `serve`
    ///
    /// On a terminal, a screen that is redrawn each --interval: memory and swap in use, zones beside their marks, LRU
    /// lists, daemons, free blocks by order, what happens a second, pressure, the largest groups, and a map of a zone's
    /// pageblocks by type and occupancy. Keys: q quits, p pauses, + and - change the interval, arrows scroll, tab shows
    /// the next zone's pageblocks, ? helps. NO_COLOR is heeded: then letters say what colours would.
    ///
    /// With --once, or where standard output is no terminal, one snapshot as text; with --json, as it was sent, one
    /// JSON object. --duration ends it. --serve, --seed and what else is about loads mean nothing here.
    ///
    /// Exit status: 0 if a pool was shown, also when its process has ended meanwhile; 2 if there is none, nobody may
    /// look at it, or it speaks another version of the protocol.
    Top(Top),
}

impl Command {
    /// As it is called on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Run => "run",
            Command::Replay(_) => "replay",
            Command::Churn(_) => "churn",
            Command::Fragment(_) => "fragment",
            Command::Latency(_) => "latency",
            Command::Overcommit(_) => "overcommit",
            Command::Faults(_) => "faults",
            Command::Idle(_) => "idle",
            Command::Soak(_) => "soak",
            Command::Top(_) => "top",
        }
    }
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

/// Options of `idle`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Idle {
    /// Lock as many folios in memory as fit, and ask for memory in vain ten times a second
    #[arg(long, conflicts_with = "dead_store")]
    pub(crate) hopeless: bool,
    /// Let the swap device stall for ever, and ask for memory in vain ten times a second
    #[arg(long)]
    pub(crate) dead_store: bool,
    /// How long to wait before counting begins [default: 2s; with --hopeless or --dead-store 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) settle: Option<Duration>,
}

/// Parses the command line; on bad usage, one line goes to standard error.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(args).map_err(|error| match complaint(&error) {
        None => {
            // Help that cannot be printed has nobody to complain to.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        Some(line) => {
            eprintln!("{line}");
            ExitCode::from(2)
        }
    })
}

/// What is wrong with a command line, in one line; nothing if it was a call for help.
pub(crate) fn complaint(error: &clap::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        _ => Some(one_line(&error.render().to_string())),
    }
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
    let line = parts.collect::<Vec<_>>().join("; ") + "; see --help";
    // Of what the user wrote, too, which may be anything.
    let printable = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    line.chars().map(printable).collect()
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
            "latency --rate 0",
            "latency --orders 0:1,11:1",
            "latency --raw-share 101",
            "latency --fill 9",
            "latency --log-interval 1s",
            "--threads 0",
            "--memory x",
            "churn --occupancy 100",
            "churn --order 9",
            "--duration 0s",
            "--swap 12q",
            "overcommit --factor 0",
            "overcommit --theta 1",
            "overcommit --order 11",
            "overcommit --order 1 --orders mixed",
            "overcommit --groups 1",
            "overcommit --groups 17",
            "overcommit --max 1M",
            "overcommit --groups --high 4095",
            "overcommit --groups --pace 99",
            "faults --write-share 101",
            "faults --error-rate often",
            "idle --hopeless --dead-store",
            "fragment --keep 1.5",
            "fragment --order 11",
            "fragment --daemons maybe",
            "fragment --pattern mixed --fill 0.99",
            "fragment --pattern mixed --events some",
            "top --interval 10ms",
            "top here --pid 7",
        ] {
            assert!(parse(args).is_err(), "{args}");
        }
    }
}
