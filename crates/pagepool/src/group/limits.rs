//! What a group may have, and what is left to it (pure).
//!
//! *Kernel counterpart:* `memory.min`, `memory.low`, `memory.high`, `memory.max` of control groups,
//! `memory.soft_limit_in_bytes` of the older ones (v5.0).

use crate::error::RangeError;
use crate::types::PAGE_SIZE;

/// No limit, in bytes.
pub(crate) const UNLIMITED: usize = usize::MAX;

/// What a group may have, and what is left to it, in bytes; whole pages count.
///
/// ```text
///   0 ──────── min ──────── low ──────── soft_limit ──────── high ──────── max
///     never taken  taken last   taken first          throttled     refused
/// ```
///
/// Built by starting from [`GroupLimits::new`], where nothing is protected or limited:
///
/// ```
/// use pagepool::GroupLimits;
///
/// let limits = GroupLimits::new().low(16 << 20).high(56 << 20).max(64 << 20);
/// assert_eq!(limits.max_bytes(), 64 << 20);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct GroupLimits {
    min: usize,
    low: usize,
    #[cfg_attr(feature = "serde", serde(serialize_with = "none_if_unlimited"))]
    soft: usize,
    #[cfg_attr(feature = "serde", serde(serialize_with = "none_if_unlimited"))]
    high: usize,
    #[cfg_attr(feature = "serde", serde(serialize_with = "none_if_unlimited"))]
    max: usize,
}

/// As a limit is written down: none, where there is none.
#[cfg(feature = "serde")]
fn none_if_unlimited<S: serde::Serializer>(
    bytes: &usize,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let limit = (*bytes != UNLIMITED).then_some(bytes);
    serde::Serialize::serialize(&limit, serializer)
}

impl Default for GroupLimits {
    fn default() -> GroupLimits {
        GroupLimits::new()
    }
}

impl GroupLimits {
    /// Nothing is protected, and nothing limited.
    #[must_use]
    pub const fn new() -> GroupLimits {
        GroupLimits {
            min: 0,
            low: 0,
            soft: UNLIMITED,
            high: UNLIMITED,
            max: UNLIMITED,
        }
    }

    /// Of a group with no more than this nothing is reclaimed for others, whatever happens to them.
    /// Default 0.
    #[must_use]
    pub const fn min(self, bytes: usize) -> GroupLimits {
        GroupLimits { min: bytes, ..self }
    }

    /// Of a group with no more than this nothing is reclaimed for others as long as there is another way.
    /// Default 0.
    #[must_use]
    pub const fn low(self, bytes: usize) -> GroupLimits {
        GroupLimits { low: bytes, ..self }
    }

    /// When memory is short, the group that is the farthest beyond its soft limit is reclaimed from first.
    /// Default no limit.
    #[must_use]
    pub const fn soft_limit(self, bytes: usize) -> GroupLimits {
        GroupLimits {
            soft: bytes,
            ..self
        }
    }

    /// Who takes a group beyond this has to reclaim from it first, and waits a while if that does not
    /// help. Default no limit.
    #[must_use]
    pub const fn high(self, bytes: usize) -> GroupLimits {
        GroupLimits {
            high: bytes,
            ..self
        }
    }

    /// The group never has more than this: what would go beyond is reclaimed from the group, waited for,
    /// and refused at the deadline. Default no limit.
    #[must_use]
    pub const fn max(self, bytes: usize) -> GroupLimits {
        GroupLimits { max: bytes, ..self }
    }

    /// See [`min`](Self::min).
    #[must_use]
    pub const fn min_bytes(&self) -> usize {
        self.min
    }

    /// See [`low`](Self::low).
    #[must_use]
    pub const fn low_bytes(&self) -> usize {
        self.low
    }

    /// See [`soft_limit`](Self::soft_limit).
    #[must_use]
    pub const fn soft_limit_bytes(&self) -> usize {
        self.soft
    }

    /// See [`high`](Self::high).
    #[must_use]
    pub const fn high_bytes(&self) -> usize {
        self.high
    }

    /// See [`max`](Self::max).
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        self.max
    }

    /// Whether anything is protected.
    pub(crate) const fn protects(&self) -> bool {
        self.min > 0 || self.low > 0
    }

    /// Each may stand below the next only.
    pub(crate) fn check(&self) -> Result<(), RangeError> {
        let below = |field, value: usize, above: &str, most: usize| {
            if value <= most {
                return Ok(());
            }
            let accepted = format!("0 to {most} bytes, the group's {above}");
            Err(RangeError::new(field, value, accepted))
        };
        below("min", self.min, "max", self.max)?;
        below("low", self.low, "max", self.max)?;
        if self.high != UNLIMITED {
            below("min", self.min, "high", self.high)?;
            below("low", self.low, "high", self.high)?;
        }
        if self.soft != UNLIMITED {
            below("min", self.min, "soft_limit", self.soft)?;
        }
        if self.soft != UNLIMITED {
            below("soft_limit", self.soft, "max", self.max)?;
        }
        if self.high != UNLIMITED {
            below("high", self.high, "max", self.max)?;
        }
        if self.max < PAGE_SIZE {
            let accepted = format!("{PAGE_SIZE} bytes, a page, and more");
            return Err(RangeError::new("max", self.max, accepted));
        }
        Ok(())
    }
}

/// A limit in pages, rounded down; none stays none.
pub(crate) const fn pages(bytes: usize) -> usize {
    if bytes == UNLIMITED {
        usize::MAX
    } else {
        bytes / PAGE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(limits: GroupLimits) -> String {
        limits.check().unwrap_err().to_string()
    }

    #[test]
    fn limits_are_in_order() {
        let limits = GroupLimits::new().max(1 << 20);
        assert!(limits.check().is_ok());
        let all = limits.min(1 << 20).low(1 << 20).high(1 << 20);
        assert!(all.soft_limit(1 << 20).check().is_ok());
        assert_eq!(
            error(limits.soft_limit(2 << 20)),
            "soft_limit = 2097152 is out of range: accepted is 0 to 1048576 bytes, the group's max"
        );
        assert!(error(limits.min(2 << 20)).starts_with("min = 2097152"));
        assert!(error(limits.low(2 << 20)).starts_with("low = 2097152"));
        assert!(error(limits.high(2 << 20)).starts_with("high = 2097152"));
        assert!(error(GroupLimits::new().max(100)).contains("4096 bytes, a page, and more"));
    }

    #[test]
    fn no_limit_in_bytes_is_none_in_pages() {
        assert_eq!(pages(UNLIMITED), usize::MAX);
        assert_eq!(pages(8191), 1);
    }
}
