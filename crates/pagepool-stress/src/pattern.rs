//! Which of a number of things is touched next.
#![forbid(unsafe_code)]

use clap::ValueEnum;

use crate::rng::{Rng, mix};

/// The shape of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pattern {
    /// Few are touched often, most rarely: by Zipf's law, scattered over the whole set.
    Zipf,
    /// Half of the touches as in zipf but to an eighth of the set, half to the rest in order, each once.
    Scan,
    /// All in order, over and over: the worst for whoever evicts the least recently used.
    Loop,
    /// As in zipf, but to a quarter of the set, and to another quarter after a while.
    Phases,
}

/// Touches of one phase of [`Pattern::Phases`], as a multiple of the number of things.
const PHASE_LENGTH: u64 = 2;

/// A stream of indices below `len`.
#[derive(Clone, Debug)]
pub(crate) struct Touches {
    pattern: Pattern,
    len: usize,
    zipf: Zipf,
    /// Where this stream stands in an ordered pass.
    cursor: usize,
    taken: u64,
}

impl Touches {
    /// A stream of the given shape; the `n`-th of `of` streams begins its passes at its own part of the set.
    pub(crate) fn new(
        pattern: Pattern,
        len: usize,
        theta: f64,
        (n, of): (usize, usize),
    ) -> Touches {
        assert!(len > 0, "there is something to touch");
        let hot = match pattern {
            Pattern::Zipf | Pattern::Loop => len,
            Pattern::Scan => len.div_ceil(8),
            Pattern::Phases => len.div_ceil(4),
        };
        Touches {
            pattern,
            len,
            zipf: Zipf::new(hot, theta),
            cursor: len * n / of,
            taken: 0,
        }
    }

    /// The next index.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> usize {
        self.taken += 1;
        match self.pattern {
            Pattern::Zipf => self.zipf.scattered(rng),
            Pattern::Scan if rng.one_in(2) => self.zipf.scattered(rng),
            Pattern::Scan => self.in_order(self.zipf.len),
            Pattern::Loop => self.in_order(0),
            Pattern::Phases => {
                let phase = self.taken / (self.len as u64 * PHASE_LENGTH);
                let first = mix(phase) as usize % self.len;
                (first + self.zipf.scattered(rng)) % self.len
            }
        }
    }

    /// The next of a pass over all from `first` on.
    fn in_order(&mut self, first: usize) -> usize {
        self.cursor += 1;
        if self.cursor >= self.len {
            self.cursor = first.min(self.len - 1);
        }
        self.cursor
    }
}

/// Zipf's law over `len` ranks, by the method of Gray et al. ("Quickly generating billion-record
/// synthetic databases", 1994), with which YCSB made it common.
#[derive(Clone, Debug)]
struct Zipf {
    len: usize,
    theta: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// `theta` lies in 0 to 1, both excluded; the higher, the more uneven.
    fn new(len: usize, theta: f64) -> Zipf {
        let sum = |n: usize| (1..=n).map(|rank| (rank as f64).powf(-theta)).sum::<f64>();
        let zeta = sum(len);
        let eta = (1.0 - (2.0 / len as f64).powf(1.0 - theta)) / (1.0 - sum(2) / zeta);
        Zipf {
            len,
            theta,
            alpha: 1.0 / (1.0 - theta),
            zeta,
            eta,
        }
    }

    /// A rank, 0 the most frequent.
    fn rank(&self, rng: &mut Rng) -> usize {
        let u = (rng.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let uz = u * self.zeta;
        if uz < 1.0 || self.len == 1 {
            return 0;
        }
        if uz < 1.0 + 0.5_f64.powf(self.theta) {
            return 1;
        }
        let rank = self.len as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as usize).min(self.len - 1)
    }

    /// An index whose rank has nothing to do with where it is; the same for all streams.
    fn scattered(&self, rng: &mut Rng) -> usize {
        mix(self.rank(rng) as u64 ^ 0x5ca7_7e2e_d000_0001) as usize % self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pattern: Pattern, touches: usize) -> Vec<u64> {
        let mut counts = vec![0; 1000];
        let mut rng = Rng::new(1);
        let mut stream = Touches::new(pattern, counts.len(), 0.99, (0, 1));
        (0..touches).for_each(|_| counts[stream.next(&mut rng)] += 1);
        counts
    }

    #[test]
    fn zipf_is_uneven_and_reaches_most() {
        let mut counts = counts(Pattern::Zipf, 100_000);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let hottest: u64 = counts[..10].iter().sum();
        assert!((30_000..60_000).contains(&hottest), "{hottest}");
        assert!(counts.iter().filter(|count| **count > 0).count() > 500);
    }

    #[test]
    fn a_loop_touches_each_as_often() {
        assert!(
            counts(Pattern::Loop, 10_000)
                .iter()
                .all(|count| *count == 10)
        );
    }

    #[test]
    fn a_scan_passes_over_the_rest_and_leaves_the_hot_eighth_hot() {
        let counts = counts(Pattern::Scan, 20_000);
        let hot: u64 = counts[..125].iter().sum();
        assert!((9_000..11_500).contains(&hot), "{hot}");
        assert!(counts[125..].iter().all(|count| (8..=16).contains(count)));
    }

    #[test]
    fn phases_move() {
        let touched = |touches| {
            counts(Pattern::Phases, touches)
                .iter()
                .filter(|c| **c > 0)
                .count()
        };
        assert!(touched(1900) <= 250);
        assert!(touched(8000) > 250);
    }

    #[test]
    fn a_set_of_one_is_touched() {
        for pattern in Pattern::value_variants() {
            let mut stream = Touches::new(*pattern, 1, 0.99, (0, 1));
            assert_eq!(stream.next(&mut Rng::new(3)), 0);
        }
    }
}
