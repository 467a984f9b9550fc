//! The middle and the spread of repeated measurements.

/// Median, and the 10th and 90th percentile.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) p10: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
}

impl Spread {
    /// Returns the spread of `samples`.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn of(mut samples: Vec<f64>) -> Spread {
        assert!(!samples.is_empty(), "no rounds were run");
        samples.sort_by(f64::total_cmp);
        Spread {
            p10: at(&samples, 0.1),
            median: at(&samples, 0.5),
            p90: at(&samples, 0.9),
        }
    }
}

/// The value at `share` of the sorted samples, linear between neighbours.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = place.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}
