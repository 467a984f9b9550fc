//! A closed queue, exactly: so many threads, each of which thinks for a while and then passes stations, where one is
//! served at a time.
//!
//! Mean value analysis (Reiser and Lavenberg, 1980). It assumes that times of service are exponential, which they
//! are not: locks are held for nearly the same time each time, so that real queues are somewhat shorter.

/// What a passage takes, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    /// With nobody in the way.
    pub(crate) alone_ns: f64,
    /// At each place where there is one at a time.
    pub(crate) stations_ns: Vec<f64>,
}

impl Demand {
    /// Passages a second of so many threads, if they wait for each other at the stations.
    pub(crate) fn rate(&self, threads: usize) -> f64 {
        let mut queues = vec![0.0; self.stations_ns.len()];
        let mut per_ns = 0.0;
        for thread in 1..=threads {
            let at_each = { self.stations_ns.iter().zip(&queues) }
                .map(|(service, queue)| service * (1.0 + queue))
                .collect::<Vec<f64>>();
            let passage: f64 = self.alone_ns + at_each.iter().sum::<f64>();
            per_ns = thread as f64 / passage;
            queues = at_each.iter().map(|time| per_ns * time).collect();
        }
        per_ns * 1e9
    }

    /// Passages a second that no number of threads gets beyond, and so many threads neither: as if nobody ever
    /// waited, and as if the busiest station were never idle.
    pub(crate) fn bound(&self, threads: usize) -> f64 {
        let busiest = self.stations_ns.iter().copied().fold(0.0, f64::max);
        let passage = self.alone_ns + self.stations_ns.iter().sum::<f64>();
        (threads as f64 / passage).min(1.0 / busiest) * 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(is: f64, should: f64) {
        assert!((is / should - 1.0).abs() < 1e-9, "{is} instead of {should}");
    }

    /// The machine repairman's closed form: `threads` machines, one repairman.
    fn repairman(alone: f64, service: f64, threads: usize) -> f64 {
        let ratio = service / alone;
        let mut weight = 1.0;
        let mut sum = 1.0;
        for waiting in 0..threads {
            weight *= (threads - waiting) as f64 * ratio;
            sum += weight;
        }
        (1.0 - 1.0 / sum) / service * 1e9
    }

    #[test]
    fn one_station_is_the_machine_repairman() {
        let demand = Demand {
            alone_ns: 100.0,
            stations_ns: vec![20.0],
        };
        for threads in [1, 2, 4, 8, 16, 32, 64] {
            assert_near(demand.rate(threads), repairman(100.0, 20.0, threads));
        }
    }

    #[test]
    fn without_stations_threads_add_up() {
        let demand = Demand {
            alone_ns: 50.0,
            stations_ns: Vec::new(),
        };
        assert_near(demand.rate(64), 64.0 * 1e9 / 50.0);
        assert_near(demand.bound(64), 64.0 * 1e9 / 50.0);
    }

    #[test]
    fn equal_stations_without_thought_have_their_known_rate() {
        // n threads in a ring of m equal stations: n / (m + n - 1) of a station's rate.
        let demand = Demand {
            alone_ns: 0.0,
            stations_ns: vec![10.0; 3],
        };
        for threads in [1, 2, 5, 64] {
            let share = threads as f64 / (threads + 2) as f64;
            assert_near(demand.rate(threads), share * 1e9 / 10.0);
        }
    }

    #[test]
    fn no_rate_is_beyond_the_bound_and_many_threads_come_close() {
        let demand = Demand {
            alone_ns: 100.0,
            stations_ns: vec![20.0, 7.0],
        };
        for threads in 1..=64 {
            assert!(demand.rate(threads) <= demand.bound(threads) * (1.0 + 1e-12));
        }
        assert!(demand.rate(64) > 0.999 * demand.bound(64));
        assert_near(demand.bound(64), 1e9 / 20.0);
        assert_near(demand.bound(2), 2.0 * 1e9 / 127.0);
    }
}
