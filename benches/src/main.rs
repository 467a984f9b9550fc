//! Times pagepool beside nine other allocators, interleaved in one process.
//!
//! Every allocator ([`subject`]) does every work ([`works`]) in rounds: in each round all of them
//! run once, in an order drawn anew, on threads pinned to the same CPUs, so that a slow moment of
//! the machine hits them alike. A figure is the median of the rounds, with the 10th and the 90th
//! percentile beside it, and its ratio to the best peer. The `null` subject does nothing: its rows
//! are what the harness costs. Memory is touched once, page by page, before the clock starts.
//!
//! A bench cannot skip its work: what pagepool counted (`pgalloc_*`, `pgfree`) must equal the pages
//! asked for, and afterwards every page must be free again and [`PagePool::verify`] must pass.
//!
//! What only a pool has, folios, swap and daemons, is measured in a [`contest`] against what it is made
//! of: locked instructions, loads, plain writes and reads, a bare wake.
//!
//! [`scaling`] is a table of its own: the same works in 1, 2, 4, 8 and 16 threads.
//!
//! *Not here:* instructions, which `bin/instructions.rs` executes for `.ci/instructions` to count; and the
//! kernel's own swap, which `scripts/memcg_swap.sh` compares with.
//!
//! [`PagePool::verify`]: pagepool::PagePool::verify
#![allow(
    clippy::disallowed_types,
    reason = "a bench measures real threads in real time: nothing here is ever modelled or simulated"
)]

mod background;
mod cli;
mod contest;
mod entrant;
mod failure;
mod harness;
mod machine;
mod meet;
mod pin;
mod plan;
mod report;
mod scaling;
mod spread;
mod subject;
mod table;
mod tally;
mod touch;
mod works;

use std::panic;
use std::process::{self, ExitCode};

use clap::Parser;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::report::Report;
use crate::scaling::ScalingReport;

fn main() -> ExitCode {
    end_on_panic();
    let cli = Cli::parse();
    let outcome = if cli.open_once {
        works::open::once()
    } else if let Some(outcome) = cli.run_touch() {
        outcome
    } else if cli.scaling {
        scale(&cli)
    } else {
        run(&cli)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pagepool-bench: {}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

/// Runs the works that the command line selects, and reports.
fn run(cli: &Cli) -> Result<(), Failure> {
    let plan = cli.plan()?;
    let json = cli.open_json()?;
    let mut report = Report::begin(cli.quick, &plan);
    if !cli.json_to_stdout() {
        print!("{}", report.heading());
    }
    for work in plan.works() {
        report.progress(work.name);
        let mut outcome = (work.run)(&plan)?;
        report.forget_progress();
        report.compare(&mut outcome);
        if !cli.json_to_stdout() {
            print!("{}", report.section(work, &outcome));
        }
        report.add(outcome);
    }
    match json {
        Some(target) => target.write(&report.to_json()),
        None => Ok(()),
    }
}

/// Runs the works of the scaling table, and reports.
fn scale(cli: &Cli) -> Result<(), Failure> {
    let plan = cli.plan_of(&scaling::rows().collect::<Vec<_>>())?;
    let json = cli.open_json()?;
    let mut report = ScalingReport::begin(cli.quick, &plan);
    if !cli.json_to_stdout() {
        print!("{}", report.heading());
    }
    for work in scaling::selected(&plan) {
        let mut show = |lines: &str| {
            if !cli.json_to_stdout() {
                print!("{lines}");
            }
        };
        report.add(scaling::measure(work, &plan, &mut show)?);
    }
    match json {
        Some(target) => target.write(&report.to_json()),
        None => Ok(()),
    }
}

/// Ends the process when any thread panics: the other lane would wait for it for ever.
fn end_on_panic() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        process::exit(101);
    }));
}

#[cfg(test)]
mod tests;
