//! The answer to "why is nothing being swapped?", in one line.

use std::fmt;

/// Why nothing is being swapped, or that something could be. Prints as one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SwapVerdict {
    /// There is nowhere to swap to.
    NoArea,
    /// All of swap is used.
    Full {
        /// Its pages.
        pages: usize,
    },
    /// A store does not answer.
    Stalled,
    /// There is nothing that could go.
    NothingToSwap {
        /// Pages of anonymous folios in memory that are locked there.
        locked: usize,
    },
    /// There is no need: every zone has more free than kswapd strives for.
    NoNeed {
        /// Pages free where least is free beyond the mark.
        free: usize,
        /// The mark, in pages: its high one, boost included.
        high: usize,
        /// Where kswapd is woken, in pages: the low mark, boost included.
        low: usize,
    },
    /// Backed folios go first, and there are enough of them.
    BackedFirst {
        /// `swappiness`, 0 to 200.
        swappiness: u8,
        /// Pages of backed folios that can be dropped or written out.
        backed: usize,
    },
    /// kswapd does not run: only requests that find memory short swap.
    NoKswapd,
    /// Everything that kswapd has tried lately was in vain.
    Hopeless {
        /// Its runs in a row that reclaimed nothing.
        failures: u32,
    },
    /// Nothing stands in the way: there is need, and something to swap.
    Swapping {
        /// Pages swapped out so far.
        pages: u64,
    },
}

/// What the verdict is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SwapFacts {
    /// Pages of swap.
    pub(crate) total: usize,
    /// Of these, those that hold nothing.
    pub(crate) vacant: usize,
    /// Whether a store does not answer.
    pub(crate) is_stalled: bool,
    /// Pages of anonymous folios on lists of what can go.
    pub(crate) anon: usize,
    /// Pages of backed folios on such lists.
    pub(crate) file: usize,
    /// Pages of folios that are locked.
    pub(crate) locked: usize,
    /// Free pages of the zone that is closest to its high mark.
    pub(crate) free: usize,
    /// Its high mark.
    pub(crate) high: usize,
    /// Its low mark.
    pub(crate) low: usize,
    /// `swappiness`.
    pub(crate) swappiness: u8,
    /// Whether there is a kswapd at all.
    pub(crate) has_kswapd: bool,
    /// Runs in a row that were in vain, of the node where there were most.
    pub(crate) failures: u32,
    /// From how many on a node is hopeless.
    pub(crate) hopeless: u32,
    /// Pages swapped out so far.
    pub(crate) swapped: u64,
}

/// Why nothing is being swapped: the first reason that would be enough by itself.
pub(crate) fn swap_verdict(facts: SwapFacts) -> SwapVerdict {
    let SwapFacts {
        total,
        vacant,
        anon,
        file,
        locked,
        free,
        high,
        low,
        swappiness,
        failures,
        ..
    } = facts;
    if total == 0 {
        SwapVerdict::NoArea
    } else if free > high {
        SwapVerdict::NoNeed { free, high, low }
    } else if anon == 0 {
        SwapVerdict::NothingToSwap { locked }
    } else if vacant == 0 {
        SwapVerdict::Full { pages: total }
    } else if facts.is_stalled {
        SwapVerdict::Stalled
    } else if failures >= facts.hopeless {
        SwapVerdict::Hopeless { failures }
    } else if swappiness == 0 && file > high {
        SwapVerdict::BackedFirst {
            swappiness,
            backed: file,
        }
    } else if !facts.has_kswapd {
        SwapVerdict::NoKswapd
    } else {
        SwapVerdict::Swapping {
            pages: facts.swapped,
        }
    }
}

impl fmt::Display for SwapVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwapVerdict::NoArea => {
                f.write_str("there is no swap area: add one (`PagePool::swap_on`)")
            }
            SwapVerdict::Full { pages } => write!(
                f,
                "all {pages} pages of swap are used: add an area (`PagePool::swap_on`), or drop folios"
            ),
            SwapVerdict::Stalled => {
                f.write_str("the store does not answer: see to the device of the swap area")
            }
            SwapVerdict::NothingToSwap { locked } => write!(
                f,
                "there is nothing to swap: no anonymous folio in memory may leave it ({locked} pages are locked); raw blocks never do"
            ),
            SwapVerdict::NoNeed { free, high, low } => write!(
                f,
                "there is no need: {free} pages are free, above the high mark of {high}; kswapd sleeps until less than {low} are"
            ),
            SwapVerdict::BackedFirst { swappiness, backed } => write!(
                f,
                "backed folios go first: swappiness is {swappiness}, and {backed} pages of them are in memory; raise swappiness"
            ),
            SwapVerdict::NoKswapd => f.write_str(
                "kswapd does not run, so that only requests that find memory short swap: start it (`PagePool::start_daemons`)",
            ),
            SwapVerdict::Hopeless { failures } => write!(
                f,
                "kswapd has given up after {failures} runs that reclaimed nothing: drop pins and guards, or free memory"
            ),
            SwapVerdict::Swapping { pages } => {
                write!(f, "nothing stands in the way: {pages} pages were swapped out so far")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The zone that readers sent in, with swap.
    const READERS: SwapFacts = SwapFacts {
        total: 10_000,
        vacant: 9000,
        is_stalled: false,
        anon: 5000,
        file: 5000,
        locked: 7,
        free: 6985,
        high: 4540,
        low: 4204,
        swappiness: 60,
        has_kswapd: true,
        failures: 0,
        hopeless: 16,
        swapped: 12,
    };

    #[test]
    fn why_is_nothing_being_swapped() {
        assert_eq!(
            swap_verdict(READERS).to_string(),
            "there is no need: 6985 pages are free, above the high mark of 4540; kswapd sleeps until less than 4204 are"
        );
    }

    #[test]
    fn the_first_reason_that_is_enough_is_given() {
        let short = SwapFacts {
            free: 4300,
            ..READERS
        };
        let verdict = |change: fn(&mut SwapFacts)| {
            let mut facts = short;
            change(&mut facts);
            swap_verdict(facts)
        };
        assert_eq!(verdict(|_| ()), SwapVerdict::Swapping { pages: 12 });
        assert_eq!(verdict(|f| f.total = 0), SwapVerdict::NoArea);
        assert_eq!(
            verdict(|f| f.vacant = 0),
            SwapVerdict::Full { pages: 10_000 }
        );
        assert_eq!(verdict(|f| f.is_stalled = true), SwapVerdict::Stalled);
        assert_eq!(
            verdict(|f| f.anon = 0),
            SwapVerdict::NothingToSwap { locked: 7 }
        );
        assert_eq!(
            verdict(|f| f.failures = 16),
            SwapVerdict::Hopeless { failures: 16 }
        );
        assert_eq!(
            verdict(|f| f.swappiness = 0),
            SwapVerdict::BackedFirst {
                swappiness: 0,
                backed: 5000
            }
        );
        assert_eq!(verdict(|f| f.has_kswapd = false), SwapVerdict::NoKswapd);
    }
}
