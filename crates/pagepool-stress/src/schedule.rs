//! When requests are due, whatever becomes of those before them. Pure.
//!
//! A load that asks for the next thing when it has the last one slows down with whom it measures, and so leaves out
//! the time that others would have waited (coordinated omission). A schedule is made without looking at what happens:
//! who measures from it leaves nothing out.
#![forbid(unsafe_code)]

use clap::ValueEnum;

use crate::rng::Rng;

const SECOND_NS: u128 = 1_000_000_000;

/// What lies between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// Always the same time
    Even,
    /// Times as of many who ask independently of each other: exponentially distributed
    Poisson,
}

impl Arrivals {
    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arrivals::Even => "even",
            Arrivals::Poisson => "poisson",
        }
    }
}

/// The times of one thread's requests, in nanoseconds from the beginning, in order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    /// Requests a second of all threads.
    rate: u64,
    /// The thread's number, and how many there are.
    seat: (usize, usize),
    taken: u64,
    /// When the last one was due, where that is not known without.
    last_ns: f64,
    rng: Rng,
}

impl Schedule {
    /// Thread `seat.0` of `seat.1` that together make `rate` requests a second, above zero.
    pub(crate) fn new(arrivals: Arrivals, rate: u64, seat: (usize, usize), seed: u64) -> Schedule {
        Schedule {
            arrivals,
            rate,
            seat,
            taken: 0,
            last_ns: 0.0,
            rng: Rng::new(seed),
        }
    }

    /// When the next request is due.
    pub(crate) fn next_ns(&mut self) -> u64 {
        let (n, of) = self.seat;
        let number = u128::from(self.taken) * of as u128 + n as u128;
        self.taken += 1;
        match self.arrivals {
            Arrivals::Even => (number * SECOND_NS / u128::from(self.rate)) as u64,
            Arrivals::Poisson => {
                let mean = SECOND_NS as f64 * of as f64 / self.rate as f64;
                // From 0, excluded, to 1: its logarithm is finite.
                let chance = ((self.rng.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                self.last_ns -= chance.ln() * mean;
                self.last_ns as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_requests_of_all_threads_are_evenly_spaced() {
        let mut all: Vec<u64> = (0..3)
            .flat_map(|n| {
                let mut schedule = Schedule::new(Arrivals::Even, 1000, (n, 3), 0);
                (0..100)
                    .map(move |_| schedule.next_ns())
                    .collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        let expected: Vec<u64> = (0..300).map(|n| n * 1_000_000).collect();
        assert_eq!(all, expected);
    }

    /// The time of the millionth request does not drift, whatever the rate.
    #[test]
    fn even_requests_do_not_drift() {
        let mut schedule = Schedule::new(Arrivals::Even, 3_333, (0, 1), 0);
        let last = (0..=3_333_000).map(|_| schedule.next_ns()).last();
        assert_eq!(last, Some(1_000_000_000_000));
    }

    #[test]
    fn poisson_has_the_rate_and_its_gaps_are_exponential() {
        let mut schedule = Schedule::new(Arrivals::Poisson, 1_000_000, (1, 2), 7);
        let times: Vec<u64> = (0..100_000).map(|_| schedule.next_ns()).collect();
        assert!(times.is_sorted());
        // Two threads: half of the rate each, so 2 us apart.
        let mean = times[times.len() - 1] as f64 / times.len() as f64;
        assert!((1_950.0..2_050.0).contains(&mean), "{mean}");
        let longer = times
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > 2_000)
            .count();
        let share = longer as f64 / times.len() as f64;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
    }
}
