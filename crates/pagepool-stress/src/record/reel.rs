//! Samples of a run whose length nobody knows, in memory that does not grow.
//!
//! A row is a sample: figures, each with a rule by which two of them become one, and counts that add up. When all rows
//! are taken, each two neighbours become one, and from then on a row is to stand for twice the time: whoever looks does
//! so half as often, or the reel takes twice as many looks to a row ([`Reel::lengthen`]). No event is lost, and a long
//! run has between half of the rows and all of them.
//!
//! Invariants
//! 1. Two rows that become one stand for the same time.
//! 2. Memory is taken, and touched, when the reel is made, and not after.
#![forbid(unsafe_code)]

/// Rows at most.
const MOST_ROWS: usize = 1024;

/// Figures of all rows at most.
const MOST_FIGURES: usize = 768 << 10;

/// How two figures of neighbours in time become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// What happened meanwhile adds up.
    Sum,
    /// The mean.
    Mean,
    /// The smaller one: how short it was.
    Least,
    /// The larger one.
    Most,
    /// The later one.
    Last,
}

impl Merge {
    /// One figure of two, which stand for so many looks each. What is not known, NaN, gives way.
    fn join(self, (a, nr_a): (f64, f64), (b, nr_b): (f64, f64)) -> f64 {
        if a.is_nan() || b.is_nan() {
            return if b.is_nan() { a } else { b };
        }
        match self {
            Merge::Sum => a + b,
            Merge::Mean => (a * nr_a + b * nr_b) / (nr_a + nr_b),
            Merge::Least => a.min(b),
            Merge::Most => a.max(b),
            Merge::Last => b,
        }
    }
}

/// The memory of a reel.
#[derive(Debug)]
pub(super) struct Blank {
    figures: Vec<f64>,
    counts: Vec<u32>,
}

impl Blank {
    /// For rows of `nr_counts` counts each. All of it is touched.
    pub(super) fn new(nr_counts: usize) -> Blank {
        let mut blank = Blank {
            figures: vec![1.0; MOST_FIGURES],
            counts: vec![1; MOST_ROWS * nr_counts],
        };
        blank.figures.clear();
        blank.counts.clear();
        blank
    }
}

/// Rows of samples.
#[derive(Debug)]
pub(super) struct Reel {
    rules: Vec<Merge>,
    nr_counts: usize,
    most_rows: usize,
    /// Looks that each row stands for.
    looks: Vec<f64>,
    figures: Vec<f64>,
    counts: Vec<u32>,
    stride: u32,
    /// Looks in the last row that is not whole.
    begun: u32,
}

impl Reel {
    /// An empty reel of rows of a figure for each of `rules`, and `nr_counts` counts.
    pub(super) fn new(blank: Blank, rules: Vec<Merge>, nr_counts: usize) -> Reel {
        let fit = MOST_FIGURES / rules.len().max(1);
        Reel {
            // Even, so that all have a neighbour.
            most_rows: MOST_ROWS.min(fit).max(2) & !1,
            looks: Vec::with_capacity(MOST_ROWS),
            rules,
            nr_counts,
            figures: blank.figures,
            counts: blank.counts,
            stride: 1,
            begun: 0,
        }
    }

    /// Adds a look; whether two rows have become one everywhere, to make room for it.
    pub(super) fn add(&mut self, figures: &[f64], counts: &[u32]) -> bool {
        assert_eq!(
            (figures.len(), counts.len()),
            (self.rules.len(), self.nr_counts)
        );
        let mut has_halved = false;
        match self.begun {
            0 => {
                if self.looks.len() == self.most_rows {
                    self.halve();
                    has_halved = true;
                }
                self.looks.push(1.0);
                self.figures.extend_from_slice(figures);
                self.counts.extend_from_slice(counts);
            }
            _ => self.join_last(figures, counts),
        }
        self.begun = (self.begun + 1) % self.stride;
        has_halved
    }

    fn join_last(&mut self, figures: &[f64], counts: &[u32]) {
        let row = self.looks.len() - 1;
        let (nr, width) = (self.looks[row], self.rules.len());
        let old = &mut self.figures[row * width..];
        for ((old, &new), rule) in old.iter_mut().zip(figures).zip(&self.rules) {
            *old = rule.join((*old, nr), (new, 1.0));
        }
        let old = &mut self.counts[row * self.nr_counts..];
        for (old, new) in old.iter_mut().zip(counts) {
            *old = old.saturating_add(*new);
        }
        self.looks[row] += 1.0;
    }

    /// Makes one of each two rows.
    fn halve(&mut self) {
        let (width, nr_counts, rows) = (self.rules.len(), self.nr_counts, self.looks.len() / 2);
        for row in 0..rows {
            let (a, b) = (2 * row, 2 * row + 1);
            let (nr_a, nr_b) = (self.looks[a], self.looks[b]);
            for (n, rule) in self.rules.iter().enumerate() {
                let one = (self.figures[a * width + n], nr_a);
                let two = (self.figures[b * width + n], nr_b);
                self.figures[row * width + n] = rule.join(one, two);
            }
            for n in 0..nr_counts {
                let sum =
                    self.counts[a * nr_counts + n].saturating_add(self.counts[b * nr_counts + n]);
                self.counts[row * nr_counts + n] = sum;
            }
            self.looks[row] = nr_a + nr_b;
        }
        self.looks.truncate(rows);
        self.figures.truncate(rows * width);
        self.counts.truncate(rows * nr_counts);
    }

    /// From the row on that was begun just now, twice as many looks make one. For right after [`add`](Self::add) has
    /// said that rows have become longer.
    pub(super) fn lengthen(&mut self) {
        self.stride *= 2;
        self.begun = 1;
    }

    /// A figure of all rows, in the order of time.
    pub(super) fn column(&self, n: usize) -> Vec<f64> {
        let rows = self.figures.chunks_exact(self.rules.len().max(1));
        rows.map(|row| row[n]).collect()
    }

    /// The counts of each row.
    pub(super) fn counts(&self) -> impl Iterator<Item = &[u32]> {
        self.counts.chunks_exact(self.nr_counts.max(1))
    }

    /// Gives the memory back.
    pub(super) fn into_blank(self) -> Blank {
        let (mut figures, mut counts) = (self.figures, self.counts);
        figures.clear();
        counts.clear();
        Blank { figures, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Merge; 5] = [
        Merge::Sum,
        Merge::Mean,
        Merge::Least,
        Merge::Most,
        Merge::Last,
    ];

    fn reel_of(looks: u32) -> Reel {
        let mut reel = Reel::new(Blank::new(1), RULES.to_vec(), 1);
        let mut nr_halved = 0;
        for look in 1..=looks {
            if reel.add(&[f64::from(look); 5], &[1]) {
                reel.lengthen();
                nr_halved += 1;
            }
        }
        assert_eq!(nr_halved, halvings(looks));
        reel
    }

    fn halvings(looks: u32) -> u32 {
        (1..12)
            .take_while(|n| looks > MOST_ROWS as u32 * (1 << (n - 1)))
            .count() as u32
    }

    #[test]
    fn a_short_run_keeps_every_look() {
        let reel = reel_of(1000);
        assert_eq!(
            reel.column(0),
            (1..=1000).map(f64::from).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_long_run_loses_no_event_and_has_as_many_rows() {
        for looks in [1024, 1025, 3000, 40_001] {
            let reel = reel_of(looks);
            let rows = reel.column(0).len();
            assert!((512..=1024).contains(&rows), "{rows} rows of {looks}");
            assert_eq!(reel.counts().map(|row| row[0]).sum::<u32>(), looks);
            let sum: f64 = (1..=looks).map(f64::from).sum();
            assert_eq!(reel.column(0).iter().sum::<f64>(), sum);
            assert_eq!(reel.column(4).last(), Some(&f64::from(looks)));
            assert_eq!(reel.column(2)[0], 1.0);
        }
    }

    #[test]
    fn figures_of_neighbours_become_one_by_their_rules() {
        let reel = reel_of(1025);
        let first: Vec<f64> = (0..5).map(|n| reel.column(n)[0]).collect();
        assert_eq!(first, [3.0, 1.5, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn what_is_not_known_gives_way() {
        for rule in RULES {
            assert_eq!(rule.join((f64::NAN, 1.0), (4.0, 1.0)), 4.0);
            assert_eq!(rule.join((4.0, 1.0), (f64::NAN, 1.0)), 4.0);
        }
    }

    #[test]
    fn a_wide_row_makes_fewer_of_them() {
        let width = MOST_FIGURES / 10;
        let mut reel = Reel::new(Blank::new(0), vec![Merge::Sum; width], 0);
        let row = vec![1.0; width];
        (0..100).for_each(|_| _ = reel.add(&row, &[]));
        assert!(reel.column(7).len() <= 10);
        assert_eq!(reel.column(7).iter().sum::<f64>(), 100.0);
    }

    #[test]
    fn memory_goes_on_to_the_next() {
        let blank = reel_of(5000).into_blank();
        assert_eq!(
            (blank.figures.len(), blank.figures.capacity()),
            (0, MOST_FIGURES)
        );
    }
}
