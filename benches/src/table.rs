//! From the figures of the lanes to the rows of the table: pure arithmetic.

#![forbid(unsafe_code)]

use crate::entrant::Entrants;
use crate::harness::{LaneFigures, Work};
use crate::report::Row;
use crate::subject::{NULL, POOL};

/// Turns the lanes' figures into rows, work by work, subject by subject. Lanes are averaged.
pub(crate) fn rows<W: Work>(work: &W, entrants: &Entrants<'_>, lanes: &[LaneFigures]) -> Vec<Row> {
    let harness = entrants
        .iter()
        .position(|entrant| entrant.name() == NULL)
        .expect("the null subject is always entered");
    let mut rows = Vec::new();
    for (row, name) in work.rows().iter().enumerate() {
        let cost_of_harness = of_rounds(lanes, harness, row, mean);
        let mut of_work: Vec<Row> = Vec::new();
        for (subject, entrant) in entrants.iter().enumerate() {
            let mut figures = of_rounds(lanes, subject, row, mean);
            if work.is_net() && subject != harness {
                for (figure, cost) in figures.iter_mut().zip(&cost_of_harness) {
                    *figure = (*figure - cost).max(0.0);
                }
            }
            let mut made = Row::new(name, entrant.name(), figures);
            made.count(entrant.tally().total());
            made.remark = entrant.remark();
            of_work.push(made);
        }
        compare(&mut of_work);
        rows.append(&mut of_work);
    }
    rows
}

/// One figure for each round: what `fold` makes of the lanes that have one.
pub(crate) fn of_rounds(
    lanes: &[LaneFigures],
    subject: usize,
    row: usize,
    fold: fn(&mut dyn Iterator<Item = f64>) -> f64,
) -> Vec<f64> {
    (0..lanes[0].len())
        .map(|round| {
            let mut of_lanes = { lanes.iter() }
                .filter_map(|lane| lane[round][subject].get(row))
                .copied();
            fold(&mut of_lanes)
        })
        .collect()
}

/// Fills in the ratio to the best peer, which is neither the pool nor the harness.
fn compare(rows: &mut [Row]) {
    let best = rows
        .iter()
        .filter(|row| is_peer(row.subject))
        .map(|row| row.median_ns)
        .min_by(f64::total_cmp);
    for row in rows.iter_mut().filter(|row| row.subject != NULL) {
        row.ratio_to_best = best.filter(|&ns| ns > 0.0).map(|ns| row.median_ns / ns);
    }
}

/// Whether a subject is neither the pool nor the harness.
pub(crate) fn is_peer(subject: &str) -> bool {
    subject != NULL && subject != POOL
}

/// The lanes' average.
pub(crate) fn mean(figures: &mut dyn Iterator<Item = f64>) -> f64 {
    let (count, sum) = figures.fold((0.0, 0.0), |(count, sum), ns| (count + 1.0, sum + ns));
    sum / count
}

/// The slowest lane's figure: what was done together has been done when it has.
pub(crate) fn slowest(figures: &mut dyn Iterator<Item = f64>) -> f64 {
    figures.fold(0.0, f64::max)
}
