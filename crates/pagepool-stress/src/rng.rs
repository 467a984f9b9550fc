//! Random numbers that a seed repeats: SplitMix64.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};

/// The generator's step: 2^64 divided by the golden ratio, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the bits of `x` over the whole word.
#[inline]
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Number `n` of the stream that begins at `start`.
#[inline]
pub(crate) const fn nth(start: u64, n: u64) -> u64 {
    mix(start.wrapping_add(n.wrapping_add(1).wrapping_mul(GAMMA)))
}

/// A seed nobody chose, for runs that are given none.
pub(crate) fn any_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    start: u64,
    taken: u64,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng {
            start: mix(seed),
            taken: 0,
        }
    }

    /// Any 64-bit number.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.taken += 1;
        nth(self.start, self.taken)
    }

    /// A number below `bound`, which is above zero.
    #[inline]
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0);
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// True in the given share of times, 0 to 1.
    #[inline]
    pub(crate) fn draw(&mut self, share: f64) -> bool {
        // 53 bits: as many as the fraction of such a number has.
        let draw = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        draw < share
    }

    /// True once in `n` times.
    #[inline]
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_repeats_the_stream() {
        let stream = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next(), rng.next(), rng.next()]
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }

    #[test]
    fn a_share_is_drawn_as_often_as_it_says() {
        let mut rng = Rng::new(4);
        let mut count = |share| (0..10_000).filter(|_| rng.draw(share)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((400..600).contains(&count(0.05)));
    }

    #[test]
    fn numbers_stay_below_the_bound_and_reach_it() {
        let mut rng = Rng::new(5);
        let mut seen = [false; 7];
        (0..1000).for_each(|_| seen[rng.below(7)] = true);
        assert_eq!(seen, [true; 7]);
    }
}
