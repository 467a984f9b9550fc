//! How many operations a second do more threads get done? We expect as many times more as there are CPUs:
//! on its way to a page a thread writes to no line that another CPU has, but once in a batch.
//!
//! The works are those of the table, with 1, 2, 4, 8 and 16 threads, each on a CPU of its own; more threads
//! than CPUs only where that is asked for. All threads begin together, and what they did together has been
//! done when the slowest is through. Efficiency is the rate divided by that of one thread and by their
//! number. Each thread does as much as the one does alone, on memory of its own. The thread of a hand-over
//! that is alone allocates 64 pages, puts them through the rings, and frees them.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use serde::Serialize;

use crate::Failure;
use crate::entrant::{MOST_LOCKED, enter_all};
use crate::harness::{Work, run};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::report::bare_name;
use crate::spread::Spread;
use crate::subject::{NULL, Pool};
use crate::table::{is_peer, of_rounds, slowest};
use crate::works::handover::Handover;
use crate::works::held::Held;
use crate::works::pair;

/// Numbers of threads.
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// A work of the scaling table.
pub(crate) struct Scaled {
    title: &'static str,
    rows: &'static [&'static str],
    run: fn(&Plan, usize) -> Result<Rates, Failure>,
}

impl Scaled {
    /// The names of its rows.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> &'static [&'static str] {
        self.rows
    }
}

const ALL: &[Scaled] = &[
    Scaled {
        title: "Allocate one page and free it",
        rows: &["pair_o0"],
        run: |plan, threads| rates(&pair::one_page(plan, threads), threads, plan),
    },
    Scaled {
        title: "Allocate an eighth of 100,000 pages each, then free them in random order",
        rows: &["held_alloc", "held_free"],
        run: |plan, threads| rates(&Held::new(plan.scale.held / 8, threads), threads, plan),
    },
    Scaled {
        title: "One thread allocates pages, another frees them: pages of all pairs together",
        rows: &["handover"],
        run: |plan, threads| {
            let work = Handover::new(plan, threads);
            rates(&work, work.pairs(), plan)
        },
    },
];

/// The names of all rows.
pub(crate) fn rows() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|work| work.rows).copied()
}

/// The works that the filter leaves.
pub(crate) fn selected(plan: &Plan) -> impl Iterator<Item = &'static Scaled> {
    let has_row = |work: &&Scaled| work.rows.iter().any(|row| plan.selects(row));
    ALL.iter().filter(has_row)
}

/// Operations a second of each subject, row by row, one for each round.
type Rates = Vec<(&'static str, Vec<Vec<f64>>)>;

/// Runs a work in which `at_once` operations are under way.
fn rates<W: Work>(work: &W, at_once: usize, plan: &Plan) -> Result<Rates, Failure> {
    let entrants = enter_all::<Pool, W>(work)?;
    let lanes = run(&entrants, work.lanes(), plan)?;
    let of_subject = |subject: usize| {
        let of_row = |row| {
            let times = of_rounds(&lanes, subject, row, slowest);
            let per_second = |ns: f64| at_once as f64 * 1e9 / ns;
            times.into_iter().map(per_second).collect()
        };
        (0..work.rows().len()).map(of_row).collect()
    };
    Ok(entrants
        .iter()
        .enumerate()
        .map(|(subject, entrant)| (entrant.name(), of_subject(subject)))
        .collect())
}

/// What a number of threads got done.
#[derive(Debug, Serialize)]
pub(crate) struct Rate {
    work: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) threads: usize,
    /// The median of the rounds.
    pub(crate) operations_per_second: f64,
    p10: f64,
    p90: f64,
    /// Divided by what one thread got done, and by the number of threads.
    pub(crate) efficiency: f64,
    /// Divided by the best peer's with as many threads. None for the harness.
    ratio_to_best: Option<f64>,
}

/// The part of the table that belongs to a work.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) rates: Vec<Rate>,
}

/// Numbers of threads that are more than there are CPUs, and were not asked for all the same.
fn beyond(plan: &Plan) -> Vec<usize> {
    let is_beyond = |threads: &usize| *threads > plan.cpus.len() && !plan.oversubscribes;
    THREADS.into_iter().filter(is_beyond).collect()
}

/// Runs a work with each number of threads, and calls `show` with the lines of the table as they come.
pub(crate) fn measure(
    work: &Scaled,
    plan: &Plan,
    show: &mut dyn FnMut(&str),
) -> Result<Table, Failure> {
    let mut table = Table { rates: Vec::new() };
    show(&heading_of(work));
    let not_run = beyond(plan);
    for threads in THREADS
        .into_iter()
        .filter(|threads| !not_run.contains(threads))
    {
        let rates = (work.run)(plan, threads)?;
        let shown = table.rates.len();
        for (row, name) in work.rows.iter().enumerate() {
            table.add(name, threads, row, &rates);
        }
        show(&lines(&table.rates[shown..]));
    }
    Ok(table)
}

impl Table {
    fn add(&mut self, work: &'static str, threads: usize, row: usize, rates: &Rates) {
        let spreads: Vec<(&'static str, Spread)> = { rates.iter() }
            .map(|(subject, rows)| (*subject, Spread::of(rows[row].clone())))
            .collect();
        let best = { spreads.iter() }
            .filter(|(subject, _)| is_peer(subject))
            .map(|(_, spread)| spread.median)
            .fold(f64::NAN, f64::max);
        for (subject, Spread { p10, median, p90 }) in spreads {
            let alone = self.rate_of_one(work, subject).unwrap_or(median);
            self.rates.push(Rate {
                work,
                subject,
                threads,
                operations_per_second: median,
                p10,
                p90,
                efficiency: median / alone / threads as f64,
                ratio_to_best: (subject != NULL).then_some(median / best),
            });
        }
    }

    fn rate_of_one(&self, work: &str, subject: &str) -> Option<f64> {
        let is_it = |rate: &&Rate| {
            rate.threads == 1 && rate.work == work && bare_name(rate.subject) == bare_name(subject)
        };
        { self.rates.iter() }
            .find(is_it)
            .map(|rate| rate.operations_per_second)
    }
}

fn heading_of(work: &Scaled) -> String {
    format!(
        "\n{}\n  {:<12} {:<20} {:>7} {:>11} {:>11} {:>11} {:>10} {:>7}\n",
        work.title, "work", "subject", "threads", "million/s", "p10", "p90", "efficiency", "ratio"
    )
}

fn lines(rates: &[Rate]) -> String {
    let mut text = String::new();
    for rate in rates {
        let millions = [rate.operations_per_second, rate.p10, rate.p90].map(|rate| rate / 1e6);
        let ratio = match rate.ratio_to_best {
            Some(ratio) => format!("{ratio:.2}"),
            None => "-".to_owned(),
        };
        writeln!(
            text,
            "  {:<12} {:<20} {:>7} {:>11.2} {:>11.2} {:>11.2} {:>8.0} % {ratio:>7}",
            rate.work,
            rate.subject,
            rate.threads,
            millions[0],
            millions[1],
            millions[2],
            rate.efficiency * 100.0
        )
        .expect("writing to a string does not fail");
    }
    text
}

/// Everything that is reported.
#[derive(Debug, Serialize)]
pub(crate) struct ScalingReport {
    schema: &'static str,
    quick: bool,
    machine: Machine,
    /// Numbers of threads for which there are too few CPUs.
    not_run: Vec<usize>,
    rates: Vec<Rate>,
}

impl ScalingReport {
    /// A report without rates.
    pub(crate) fn begin(quick: bool, plan: &Plan) -> ScalingReport {
        ScalingReport {
            schema: "pagepool-bench-scaling/1",
            quick,
            machine: Machine::read(plan.cpus.len()),
            not_run: beyond(plan),
            rates: Vec::new(),
        }
    }

    /// What stands above the table.
    pub(crate) fn heading(&self) -> String {
        let kind = if self.quick { "quick run" } else { "full run" };
        format!(
            "pagepool-bench --scaling, {kind}\n\
             machine: {}\n\
             Medians of interleaved rounds on pinned threads. efficiency: the rate over that of one thread and \
             the number\nof threads. ratio: to the best peer with as many threads; above 1: more than any. Peers behind a mutex: up \
             to {MOST_LOCKED}\nthreads.\n{}",
            self.machine,
            self.what_is_missing()
        )
    }

    fn what_is_missing(&self) -> String {
        if self.not_run.is_empty() {
            return String::new();
        }
        let threads: Vec<String> = self.not_run.iter().map(usize::to_string).collect();
        format!(
            "Not run: {} threads, for which there are too few CPUs; --oversubscribe runs them all the same, and \
             pagepool-contention\nsays what to expect of them.\n",
            threads.join(", ")
        )
    }

    /// Adds a work's part.
    pub(crate) fn add(&mut self, mut table: Table) {
        self.rates.append(&mut table.rates);
    }

    /// The report as one JSON object, one line.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("the report is plain data")
    }
}
