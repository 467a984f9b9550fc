//! The table a person reads, and the object a script reads.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use serde::Serialize;

use crate::machine::Machine;
use crate::plan::Plan;
use crate::spread::Spread;
use crate::subject::NULL;
use crate::tally::Answers;
use crate::works::Entry;

/// One figure: a work of a subject.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The work's name.
    pub(crate) work: &'static str,
    /// The allocator's name.
    pub(crate) subject: &'static str,
    /// Nanoseconds per operation, the median of the rounds.
    pub(crate) median_ns: f64,
    p10_ns: f64,
    p90_ns: f64,
    /// The median over the best peer's; in a [contest](crate::contest), the median of the rounds' ratios
    /// to the yardstick. None for the harness, and where there is no peer.
    pub(crate) ratio_to_best: Option<f64>,
    /// Nanoseconds more than the yardstick, the median of the rounds' differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) over_yardstick_ns: Option<f64>,
    rounds: usize,
    /// Times the figure of the same with one thread, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_one_thread: Option<f64>,
    /// Blocks that were asked for, where they are counted, in all rounds and before.
    requests: u64,
    /// Of those, refused although that much memory was free.
    refusals: u64,
    /// The same as a share.
    refused_share: f64,
    /// Growth of resident memory, where that is part of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_growth_kib: Option<f64>,
    /// That of anonymous memory: without pages of the program's file, which the system maps around each that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anonymous_growth_kib: Option<f64>,
    /// How often what was looked at was moved meanwhile, in all rounds, where that is part of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moves: Option<u64>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<String>,
}

impl Row {
    /// The row of `figures`, one per round.
    pub(crate) fn new(work: &'static str, subject: &'static str, figures: Vec<f64>) -> Row {
        let rounds = figures.len();
        let Spread { p10, median, p90 } = Spread::of(figures);
        Row {
            work,
            subject,
            median_ns: median,
            p10_ns: p10,
            p90_ns: p90,
            ratio_to_best: None,
            over_yardstick_ns: None,
            rounds,
            ratio_to_one_thread: None,
            requests: 0,
            refusals: 0,
            refused_share: 0.0,
            rss_growth_kib: None,
            anonymous_growth_kib: None,
            moves: None,
            remark: None,
        }
    }

    /// Adds what was asked for and refused.
    pub(crate) fn count(&mut self, answers: Answers) {
        self.requests = answers.requests;
        self.refusals = answers.refusals;
        self.refused_share = answers.refused_share();
    }
}

/// What came of a work.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was run.
    Rows(Vec<Row>),
    /// It cannot be run here.
    Skipped {
        /// The names of the rows that are missing.
        works: &'static [&'static str],
        /// Why.
        why: String,
    },
}

#[derive(Debug, Serialize)]
struct Skipped {
    work: &'static str,
    why: String,
}

/// Everything that is reported.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    quick: bool,
    machine: Machine,
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
}

impl Report {
    /// A report without rows.
    pub(crate) fn begin(quick: bool, plan: &Plan) -> Report {
        Report {
            schema: "pagepool-bench/1",
            quick,
            machine: Machine::read(plan.cpus.len()),
            rows: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// What stands above the table.
    pub(crate) fn heading(&self) -> String {
        let kind = if self.quick { "quick run" } else { "full run" };
        format!(
            "pagepool-bench, {kind}\n\
             machine: {}\n\
             Medians of interleaved rounds on pinned threads; memory is touched before the clock \
             starts,\nand the peers are told to keep it. \
             ratio: to the best peer's median, or to the first \
             line of a contest,\nround by round; null: what the harness costs.\n",
            self.machine
        )
    }

    /// Fills in what a figure is beside that of one thread, if that is in the report.
    pub(crate) fn compare(&self, outcome: &mut Outcome) {
        let Outcome::Rows(rows) = outcome else { return };
        for row in rows {
            row.ratio_to_one_thread = self.of_one_thread(row).map(|ns| row.median_ns / ns);
        }
    }

    /// The figure of the same work and subject with one thread.
    fn of_one_thread(&self, row: &Row) -> Option<f64> {
        let work = row.work.strip_suffix("_t2")?;
        let subject = bare_name(row.subject);
        let is_same = |one: &&Row| {
            one.work.strip_suffix("_t1") == Some(work) && bare_name(one.subject) == subject
        };
        { self.rows.iter() }
            .find(is_same)
            .map(|one| one.median_ns)
            .filter(|&ns| ns > 0.0)
    }

    /// The table of one work.
    pub(crate) fn section(&self, work: &Entry, outcome: &Outcome) -> String {
        let mut text = format!("\n{}\n", work.title);
        match outcome {
            Outcome::Skipped { why, .. } => writeln!(text, "  skipped: {why}"),
            Outcome::Rows(rows) => writeln!(
                text,
                "  {:<20} {:<20} {:>11} {:>11} {:>11} {:>7}\n{}",
                "work",
                "subject",
                "median ns",
                "p10",
                "p90",
                "ratio",
                lines(rows).join("\n")
            ),
        }
        .expect("writing to a string does not fail");
        text
    }

    /// Adds what came of a work.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Rows(mut rows) => self.rows.append(&mut rows),
            Outcome::Skipped { works, why } => {
                self.skipped.extend(works.iter().map(|&work| Skipped {
                    work,
                    why: why.clone(),
                }));
            }
        }
    }

    /// The report as one JSON object, one line.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("the report is plain data")
    }

    /// Shows on a terminal what is being run; says nothing in a pipe.
    pub(crate) fn progress(&self, work: &str) {
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K… {work}");
            let _ = io::stderr().flush();
        }
    }

    /// Takes the progress line away.
    pub(crate) fn forget_progress(&self) {
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// A line for each row, and the remarks below.
fn lines(rows: &[Row]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let remarks = rows
        .iter()
        .filter_map(|row| row.remark.as_ref().map(|remark| (row.subject, remark)));
    let mut said: Vec<String> = remarks
        .map(|(subject, remark)| format!("  {subject}: {remark}"))
        .collect();
    said.dedup();
    lines.append(&mut said);
    lines
}

/// The subject's name without how it is kept.
pub(crate) fn bare_name(subject: &str) -> &str {
    subject.split(',').next().unwrap_or(subject)
}

fn line(row: &Row) -> String {
    let ratio = match row.ratio_to_best {
        Some(ratio) => format!("{ratio:.2}"),
        None => "-".to_owned(),
    };
    let mut text = format!(
        "  {:<20} {:<20} {:>11.1} {:>11.1} {:>11.1} {ratio:>7}",
        row.work, row.subject, row.median_ns, row.p10_ns, row.p90_ns
    );
    if let Some(ns) = row.over_yardstick_ns {
        write!(text, "   {ns:+.2} ns").expect("writing to a string does not fail");
    }
    if let Some(ratio) = row.ratio_to_one_thread {
        write!(text, "   x {ratio:.2} of 1 thread").expect("writing to a string does not fail");
    }
    if row.refusals > 0 && row.subject != NULL {
        let percent = row.refused_share * 100.0;
        let (refusals, requests) = (row.refusals, row.requests);
        write!(text, "   {refusals} of {requests} refused ({percent:.2} %)")
            .expect("writing to a string does not fail");
    }
    if let Some(kib) = row.rss_growth_kib {
        write!(text, "   resident memory + {kib} KiB").expect("writing to a string does not fail");
    }
    if let Some(kib) = row.anonymous_growth_kib {
        write!(text, ", anonymous + {kib} KiB").expect("writing to a string does not fail");
    }
    if let Some(moves) = row.moves {
        write!(text, "   moved {moves} times").expect("writing to a string does not fail");
    }
    text
}
