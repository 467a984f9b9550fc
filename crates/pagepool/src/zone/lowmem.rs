//! How much of a lower zone is kept back from requests that could use a higher one.
//!
//! *Kernel counterpart:* `setup_per_zone_lowmem_reserve` (v5.0). Pure.

#![forbid(unsafe_code)]

use crate::types::NR_ZONES;

/// Default ratios: one page in so many of the zones above is kept back; 0 keeps back nothing.
pub(crate) const DEFAULT_RATIOS: [u32; NR_ZONES] = [256, 32, 0];

/// For each zone the pages it keeps back from requests of each class: `reserve[zone][class]`.
pub(crate) type Reserves = [[usize; NR_ZONES]; NR_ZONES];

/// Computes the reserves of one node (spec 1.8): `reserve[i][j]` is the pages of the zones above i
/// up to j, divided by the ratio of i; nothing where j is not above i, the ratio is 0 or zone i is
/// empty.
pub(crate) fn reserves(managed: [usize; NR_ZONES], ratios: [u32; NR_ZONES]) -> Reserves {
    let reserve = |zone: usize, class: usize| {
        if class <= zone || ratios[zone] == 0 || managed[zone] == 0 {
            return 0;
        }
        managed[zone + 1..=class].iter().sum::<usize>() / ratios[zone] as usize
    };
    std::array::from_fn(|zone| std::array::from_fn(|class| reserve(zone, class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_of_zero_and_an_empty_zone_reserve_nothing() {
        assert_eq!(reserves([4000, 500_000, 100], [0, 0, 0]), [[0; 3]; 3]);
        assert_eq!(reserves([0, 500_000, 100], DEFAULT_RATIOS)[0], [0; 3]);
    }

    mod tv {
        use super::*;

        #[test]
        fn s1_8_reserves() {
            // The spec's zones DMA, DMA32, NORMAL, in the places of our three, with their ratios.
            let reserves = reserves([4000, 500_000, 1_500_000], [256, 256, 32]);
            assert_eq!(reserves, [[0, 1953, 7812], [0, 0, 5859], [0, 0, 0]]);
        }
    }
}
