//! Buckets that latencies are counted in, and percentiles of them.
//!
//! Eight to an octave: a value is at most an eighth below its bucket's end. Values below 16 have a bucket each.
#![forbid(unsafe_code)]

/// Values from here on share the last bucket: about 69 s in nanoseconds, more than the report's histograms hold.
const TOO_LARGE: u64 = 1 << 36;

/// Number of buckets.
pub(crate) const BUCKETS: usize = 16 + (36 - 4) * 8;

/// The bucket of a value.
#[inline]
pub(crate) fn bucket_of(value: u64) -> usize {
    let value = value.min(TOO_LARGE - 1);
    if value < 16 {
        return value as usize;
    }
    let octave = value.ilog2();
    let eighth = (value >> (octave - 3)) & 7;
    16 + (octave as usize - 4) * 8 + eighth as usize
}

/// The largest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    if bucket < 16 {
        return bucket as u64;
    }
    let (octave, eighth) = ((bucket - 16) / 8 + 4, (bucket - 16) as u64 % 8);
    ((8 + eighth + 1) << (octave - 3)) - 1
}

/// The value that the share `quantile` of all values does not exceed, at most `max`, the largest one; none if there
/// are no values.
pub(super) fn percentile(counts: &[u32], quantile: f64, max: u64) -> Option<u64> {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if total == 0 {
        return None;
    }
    let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total);
    let mut seen = 0;
    let bucket = counts.iter().position(|&count| {
        seen += u64::from(count);
        seen >= rank
    })?;
    let begin = bucket.checked_sub(1).map_or(0, |before| end_of(before) + 1);
    // The largest value may have been seen a moment before or after its count.
    Some(end_of(bucket).min(max.max(begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_at_most_an_eighth_below_its_buckets_end() {
        for value in (0..40)
            .map(|shift| 1_u64 << shift)
            .flat_map(|n| [n - 1, n, n + n / 3])
        {
            let end = end_of(bucket_of(value));
            let value = value.min(TOO_LARGE - 1);
            assert!(end >= value && end - value <= value / 8, "{value} in {end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_of(end_of(bucket - 1) + 1), bucket);
        }
    }

    #[test]
    fn percentiles_count_from_below() {
        let mut counts = [0; BUCKETS];
        (1..=100).for_each(|value| counts[bucket_of(value)] += 1);
        assert_eq!(percentile(&counts, 0.05, 100), Some(5));
        assert_eq!(percentile(&counts, 0.5, 100), Some(end_of(bucket_of(50))));
        assert_eq!(
            percentile(&counts, 0.999, 100),
            Some(100),
            "never above the largest"
        );
        assert_eq!(percentile(&[0; BUCKETS], 0.5, 0), None);
    }
}
