//! Runs contestants that have nothing in common but a question, in interleaved rounds on one thread.
//!
//! Where the [`harness`](crate::harness) puts one work to every allocator, a contest is between things
//! that only pagepool has and what they are to be measured against: a bare load, a bare write, a bare
//! wake. One contestant is the yardstick. Each other one is compared with it round by round, and the
//! median of the comparisons is reported: a slow moment that covers a round covers both.

#![forbid(unsafe_code)]

use std::time::Instant;

use crate::Failure;
use crate::harness::order_of_round;
use crate::pin::{pin_to, pin_to_any};
use crate::plan::Plan;
use crate::report::{Outcome, Row};
use crate::spread::Spread;

/// Something that is timed.
pub(crate) struct Contestant<'a> {
    name: &'static str,
    round: Box<dyn FnMut() -> Result<Vec<f64>, Failure> + 'a>,
}

impl<'a> Contestant<'a> {
    /// `round` does the work once and returns its figures, one for each row of the contest, in
    /// nanoseconds.
    pub(crate) fn new(
        name: &'static str,
        round: impl FnMut() -> Result<Vec<f64>, Failure> + 'a,
    ) -> Contestant<'a> {
        Contestant {
            name,
            round: Box::new(round),
        }
    }

    /// The same for one row and work that cannot fail.
    pub(crate) fn of_one(
        name: &'static str,
        mut round: impl FnMut() -> f64 + 'a,
    ) -> Contestant<'a> {
        Contestant::new(name, move || Ok(vec![round()]))
    }
}

/// Where a contest runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// On the first CPU of the plan: for work that one thread does alone.
    OneCpu,
    /// On any of them: for work that threads share, of which some are started on the way.
    AnyCpu,
}

/// Runs the contest, whose first contestant is the yardstick.
pub(crate) fn contest(
    rows: &'static [&'static str],
    mut contestants: Vec<Contestant<'_>>,
    plan: &Plan,
    placement: Placement,
) -> Result<Outcome, Failure> {
    if placement == Placement::OneCpu {
        pin_to(plan.cpus[0])?;
    }
    let figures = run_rounds(&mut contestants, plan);
    // Threads that later works start inherit this thread's CPUs.
    pin_to_any(&plan.cpus)?;
    let figures = figures?;
    let names: Vec<&'static str> = contestants.iter().map(|one| one.name).collect();
    Ok(Outcome::Rows(table(rows, &names, &figures)))
}

/// Per round, per contestant, one figure per row.
pub(crate) type Figures = Vec<Vec<Vec<f64>>>;

fn run_rounds(contestants: &mut [Contestant<'_>], plan: &Plan) -> Result<Figures, Failure> {
    for one in &mut *contestants {
        (one.round)()?;
    }
    let begun = Instant::now();
    let mut figures = Figures::new();
    while plan.has_another_round(figures.len(), begun) {
        let mut of_round = vec![Vec::new(); contestants.len()];
        for turn in order_of_round(figures.len(), contestants.len()) {
            of_round[turn] = (contestants[turn].round)()?;
        }
        figures.push(of_round);
    }
    Ok(figures)
}

/// The rows of figures whose first contestant is the yardstick.
pub(crate) fn table(rows: &[&'static str], names: &[&'static str], figures: &Figures) -> Vec<Row> {
    let mut table = Vec::new();
    for (row, work) in rows.iter().enumerate() {
        for (contestant, name) in names.iter().enumerate() {
            let of = |who: usize| figures.iter().map(move |round| round[who][row]);
            let mut made = Row::new(work, name, of(contestant).collect());
            let against = |compare: fn(f64, f64) -> f64| {
                let compared = of(contestant)
                    .zip(of(0))
                    .map(|(mine, its)| compare(mine, its));
                Spread::of(compared.collect()).median
            };
            made.ratio_to_best = Some(against(|mine, its| mine / its));
            if contestant > 0 {
                made.over_yardstick_ns = Some(against(|mine, its| mine - its));
            }
            table.push(made);
        }
    }
    table
}
