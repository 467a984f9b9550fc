//! What happens at 64 threads? Runs the pool's real code on CPUs that this machine does not have, and counts what
//! threads cost each other.
//!
//! [`stepper`] executes threads one instruction at a time, [`machine`] says which is next and what it costs:
//! by its [`directory`] it knows who has which cache line. [`loads`] are what the threads do, here and, on one and two
//! real CPUs, in [`native`], where the costs come from and what the prediction is compared with. [`queue`] says the
//! same by a formula.
//!
//! *Not here:* caches that are too small, memory, and what a CPU does at the same time: of these there is what the one
//! thread's time contains.
#![allow(
    clippy::disallowed_types,
    reason = "a bench measures real threads in real time: nothing here is ever modelled"
)]

#[path = "../../failure.rs"]
mod failure;
#[path = "../../pin.rs"]
mod pin;

mod cli;
mod decode;
mod directory;
mod loads;
mod machine;
mod native;
mod places;
mod queue;
mod report;
mod stepper;
mod virtual_cpus;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::loads::{Load, Scene};
use crate::machine::{Books, Costs, Extent, Machine};
use crate::native::Measured;
use crate::pin::{allowed_cpus, pin_to};
use crate::report::Row;
use crate::stepper::CallTimes;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pagepool-contention: {}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let loads = cli.loads()?;
    let cpus = allowed_cpus()?;
    for load in loads {
        predict(load, cli, &cpus)?;
    }
    Ok(())
}

/// Prints the table of a load, row by row.
fn predict(load: Load, cli: &Cli, cpus: &[usize]) -> Result<(), Failure> {
    // Anew each time: what a line costs depends on where the system's host has the two CPUs.
    let mut measured = native::measure(cpus)?;
    measured.line_ns = cli.line.unwrap_or(measured.line_ns);
    measured.wake_ns = cli.wake.unwrap_or(measured.wake_ns);
    let alone = native::rate(load, &cpus[..1])?;
    let both = native::rate(load, &cpus[..2])?;
    // What an instruction takes, one thread alone says, who waits for nobody.
    let mut costs = Costs {
        instruction_ns: 1.0,
        locked_ns: measured.locked_ns,
        line_ns: measured.line_ns,
        far: cli.far,
        socket: cli.socket.into(),
        wake_ns: measured.wake_ns,
    };
    let (books, span) = play(load, 1, costs, measured, cpus)?;
    let one = Row::of(&books, span, 1);
    costs.instruction_ns =
        (1e9 / alone - one.locked * costs.locked_ns) / (one.instructions - one.locked);
    print!(
        "\n{}: here one thread gets {:.2} million/s done, two {:.2}\n\
         an instruction {:.3} ns, a locked one {:.1}, a line {:.0} (from another socket of {} CPUs, times {}), \
         a call {:.0}, a pause {:.0}, a wake {:.0}\n{}",
        load.name(),
        alone / 1e6,
        both / 1e6,
        costs.instruction_ns,
        measured.locked_ns,
        measured.line_ns,
        cli.socket,
        cli.far,
        measured.syscall_ns,
        measured.pause_ns,
        measured.wake_ns,
        report::heading()
    );
    let mut rows = Vec::new();
    for threads in cli.threads() {
        let (books, span) = play(load, threads, costs, measured, cpus)?;
        let row = Row::of(&books, span, threads);
        print!("{}", report::line(&row, alone));
        if threads == 2 {
            let error = (row.rate / both - 1.0) * 100.0;
            println!("        two threads: {error:+.0} % off what was measured");
        }
        if cli.details {
            print!("{}", report::details(&books, span));
        }
        rows.push(row);
    }
    print!("{}", report::verdict(&rows));
    Ok(())
}

/// Plays a load, with so many threads, for as long as it takes to see all of it.
fn play(
    load: Load,
    threads: usize,
    costs: Costs,
    measured: Measured,
    cpus: &[usize],
) -> Result<(Books, f64), Failure> {
    let counted = load.counted_operations(threads);
    let extent = Extent {
        warm: counted.div_ceil(3),
        counted,
    };
    pin_to(cpus[0])?;
    play_for(extent, load, threads, costs, measured)
}

fn play_for(
    extent: Extent,
    load: Load,
    threads: usize,
    costs: Costs,
    measured: Measured,
) -> Result<(Books, f64), Failure> {
    let places: Vec<usize> = (0..threads).map(|thread| load.cpu_of(thread)).collect();
    let scene = Scene::new(load, threads).map_err(|error| Failure::broken(error.to_string()))?;
    let times = CallTimes {
        syscall_ns: measured.syscall_ns,
        pause_ns: measured.pause_ns,
    };
    let machine = Machine::new(costs, extent, &places);
    let machine = stepper::play(machine, times, &places, |thread| scene.worker(thread))?;
    scene.check()?;
    Ok(machine.into_books())
}
