//! The table a person reads, and the object a script reads.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use serde::Serialize;

use crate::harness::{Answers, Plan};
use crate::machine::Machine;
use crate::spread::Spread;
use crate::subject::NULL;
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
    /// Requests that were refused although that much memory was free, of all.
    refused_share: f64,
    /// Growth of resident memory, where that is part of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_growth_kib: Option<f64>,
    /// How often what was looked at was moved meanwhile, in all rounds, where that is part of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moves: Option<u64>,
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
            refused_share: 0.0,
            rss_growth_kib: None,
            moves: None,
        }
    }

    /// The row with the share of refusals in `answers`.
    pub(crate) fn with_answers(mut self, answers: Answers) -> Row {
        self.refused_share = answers.refused_share();
        self
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

    /// The table of one work.
    pub(crate) fn section(&self, work: &Entry, outcome: &Outcome) -> String {
        let mut text = format!("\n{}\n", work.title);
        match outcome {
            Outcome::Skipped { why, .. } => writeln!(text, "  skipped: {why}"),
            Outcome::Rows(rows) => writeln!(
                text,
                "  {:<20} {:<18} {:>11} {:>11} {:>11} {:>7}\n{}",
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

fn lines(rows: &[Row]) -> Vec<String> {
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> String {
    let ratio = match row.ratio_to_best {
        Some(ratio) => format!("{ratio:.2}"),
        None => "-".to_owned(),
    };
    let mut text = format!(
        "  {:<20} {:<18} {:>11.1} {:>11.1} {:>11.1} {ratio:>7}",
        row.work, row.subject, row.median_ns, row.p10_ns, row.p90_ns
    );
    if let Some(ns) = row.over_yardstick_ns {
        write!(text, "   {ns:+.2} ns").expect("writing to a string does not fail");
    }
    if row.refused_share > 0.0 && row.subject != NULL {
        let percent = row.refused_share * 100.0;
        write!(text, "   {percent:.2} % refused").expect("writing to a string does not fail");
    }
    if let Some(kib) = row.rss_growth_kib {
        write!(text, "   resident memory + {kib} KiB").expect("writing to a string does not fail");
    }
    if let Some(moves) = row.moves {
        write!(text, "   moved {moves} times").expect("writing to a string does not fail");
    }
    text
}
