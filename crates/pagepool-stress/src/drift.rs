//! Whether a figure that should stay as it is grows: the straight line through what was seen of it. Pure.
#![forbid(unsafe_code)]

/// A figure at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) at: f64,
    pub(crate) value: f64,
}

/// A line through samples, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drift {
    /// Growth a second.
    pub(crate) slope: f64,
    /// Seconds from the first sample to the last.
    pub(crate) span: f64,
}

/// Samples below which no line says anything.
const FEWEST: usize = 4;

impl Drift {
    /// The line through all but the first quarter of the samples: until then things come to where they stay.
    pub(crate) fn of(samples: &[Sample]) -> Option<Drift> {
        let samples = &samples[samples.len() / 4..];
        let (first, last) = (samples.first()?, samples.last()?);
        let span = last.at - first.at;
        if samples.len() < FEWEST || span <= 0.0 {
            return None;
        }
        let count = samples.len() as f64;
        let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
        let (at, value) = (mean(|sample| sample.at), mean(|sample| sample.value));
        let along = samples.iter().map(|sample| (sample.at - at).powi(2));
        let up = samples
            .iter()
            .map(|sample| (sample.at - at) * (sample.value - value));
        let slope = up.sum::<f64>() / along.sum::<f64>();
        Some(Drift { slope, span })
    }

    /// By how much the figure grew along the line.
    pub(crate) fn growth(self) -> f64 {
        self.slope * self.span
    }

    /// Growth an hour.
    pub(crate) fn per_hour(self) -> f64 {
        self.slope * 3600.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: impl Fn(usize) -> f64) -> Vec<Sample> {
        let sample = |n| Sample {
            at: n as f64 * 10.0,
            value: value(n),
        };
        (0..40).map(sample).collect()
    }

    #[test]
    fn a_steady_leak_has_its_slope() {
        let drift = Drift::of(&samples(|n| 1000.0 + n as f64 * 20.0)).unwrap();
        assert!((drift.slope - 2.0).abs() < 1e-9, "{drift:?}");
        assert_eq!(drift.span, 290.0);
        assert!((drift.growth() - 580.0).abs() < 1e-6);
        assert!((drift.per_hour() - 7200.0).abs() < 1e-6);
    }

    #[test]
    fn what_grows_at_first_and_then_stays_does_not_drift() {
        let drift = Drift::of(&samples(|n| (n.min(10) * 1000) as f64)).unwrap();
        assert!(drift.slope.abs() < 1e-9, "{drift:?}");
    }

    #[test]
    fn ups_and_downs_are_no_drift() {
        let drift = Drift::of(&samples(|n| if n % 2 == 0 { 100.0 } else { -100.0 })).unwrap();
        // Of 200 between two neighbours.
        assert!(drift.growth().abs() < 30.0, "{drift:?}");
    }

    #[test]
    fn a_few_samples_say_nothing() {
        assert_eq!(Drift::of(&[]), None);
        assert_eq!(Drift::of(&samples(|_| 1.0)[..3]), None);
    }
}
