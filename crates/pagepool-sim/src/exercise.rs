//! What a run has exercised: a run in which nothing was reclaimed, swapped or moved proves little.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

/// What a run must have some of: calls of the owner, and events of the pool's own counters.
const EVENTS: [&str; 14] = [
    OWNER_CALLS,
    "pgscan_kswapd",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgscan_direct_throttle",
    "slabs_scanned",
    "pswpout",
    "pswpin",
    "pgmajfault",
    "pgmigrate_success",
    "pgmigrate_fail",
    "compact_success",
    "compact_fail",
    "compact_daemon_migrate_scanned",
];

const OWNER_CALLS: &str = "owner_calls";

/// How often each of them happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exercise([u64; EVENTS.len()]);

impl Exercise {
    /// What has happened in a pool.
    #[cfg(shuttle)]
    pub(crate) fn of(pool: &pagepool::PagePool) -> Exercise {
        let vmstat = pool.stats().vmstat;
        let count = |name| match name {
            OWNER_CALLS => pool.oom_stats().calls,
            name => vmstat
                .get(name)
                .unwrap_or_else(|| panic!("{name} is counted")),
        };
        Exercise(EVENTS.map(count))
    }

    /// Each count with its name, a line each.
    #[must_use]
    pub fn named(&self) -> String {
        let lines = EVENTS.iter().zip(&self.0);
        lines
            .map(|(name, count)| format!("{name} {count}\n"))
            .collect()
    }

    /// What never happened.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        let nothing = |(name, &count): (&'static str, &u64)| (count == 0).then_some(name);
        EVENTS.into_iter().zip(&self.0).filter_map(nothing)
    }
}

impl Sum for Exercise {
    fn sum<I: Iterator<Item = Exercise>>(parts: I) -> Exercise {
        parts.fold(Exercise::default(), |all, part| {
            let mut counts = all.0;
            for (count, more) in counts.iter_mut().zip(part.0) {
                *count += more;
            }
            Exercise(counts)
        })
    }
}

/// The counts, by commas.
impl fmt::Display for Exercise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.map(|count| count.to_string());
        f.write_str(&counts.join(","))
    }
}

/// Reads what was so written.
impl FromStr for Exercise {
    type Err = String;

    fn from_str(text: &str) -> Result<Exercise, String> {
        let counts: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        let counts = counts.ok().and_then(|counts| counts.try_into().ok());
        counts
            .map(Exercise)
            .ok_or_else(|| format!("`{text}` are not {} counts", EVENTS.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_as_they_were_written_and_add_up() {
        let mut one = Exercise::default();
        one.0[0] = 3;
        one.0[2] = 5;
        assert_eq!(one.to_string().parse(), Ok(one));
        let both: Exercise = [one, one].into_iter().sum();
        assert_eq!(both.0[..3], [6, 0, 10]);
        assert_eq!(both.missing().count(), EVENTS.len() - 2);
        assert!("1,2".parse::<Exercise>().is_err());
    }
}
