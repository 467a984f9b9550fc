//! Pressure, as users read it.
//!
//! *Kernel counterpart:* `/proc/pressure/memory`, `psi_show` (v5.0, spec 4.16).

use std::fmt;
use std::time::Duration;

use super::average::NR_SPANS;

/// How much is at a standstill.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PressureKind {
    /// At least one thread waits for memory.
    Some,
    /// At least one thread waits for memory, and no worker does anything else: see
    /// [`PagePool::register_worker`](crate::PagePool::register_worker).
    Full,
}

impl PressureKind {
    /// Both, in the order of the kernel's lines.
    pub(crate) const ALL: [PressureKind; 2] = [PressureKind::Some, PressureKind::Full];

    /// Its place in [`ALL`](Self::ALL).
    pub(crate) const fn idx(self) -> usize {
        self as usize
    }
}

/// For how long threads have waited for memory: pressure stall information.
///
/// Prints as the kernel's `/proc/pressure/memory`:
///
/// ```
/// # use pagepool::PagePool;
/// # let pool = PagePool::builder().memory(64 << 20).build()?;
/// assert_eq!(
///     pool.pressure().to_string(),
///     "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n\
///      full avg10=0.00 avg60=0.00 avg300=0.00 total=0"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Pressure {
    /// While at least one thread waited.
    pub some: PressureLine,
    /// While at least one thread waited, and no worker did anything else.
    pub full: PressureLine,
}

/// One kind of pressure.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PressureLine {
    /// The part of the last 10 seconds, in percent (0 to 100), the recent past counting most.
    pub avg10: f64,
    /// The same for the last minute.
    pub avg60: f64,
    /// The same for the last 5 minutes.
    pub avg300: f64,
    /// The whole time since the pool was built.
    pub total: Duration,
}

impl PressureLine {
    /// From shares between 0 and 1.
    pub(super) fn new(shares: [f64; NR_SPANS], total: Duration) -> PressureLine {
        let [avg10, avg60, avg300] = shares.map(|share| share * 100.0);
        PressureLine {
            avg10,
            avg60,
            avg300,
            total,
        }
    }
}

impl fmt::Display for PressureLine {
    /// Writes the averages in percent, and the total in microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PressureLine {
            avg10,
            avg60,
            avg300,
            total,
        } = self;
        let total = total.as_micros();
        write!(
            f,
            "avg10={avg10:.2} avg60={avg60:.2} avg300={avg300:.2} total={total}"
        )
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "some {}\nfull {}", self.some, self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_16_pressure_prints_as_the_kernels_does() {
        let line = |share, micros| PressureLine::new([share; 3], Duration::from_micros(micros));
        let pressure = Pressure {
            some: line(0.123_456, 1_234_567),
            full: line(1.0, 42),
        };
        assert_eq!(
            pressure.to_string(),
            "some avg10=12.35 avg60=12.35 avg300=12.35 total=1234567\n\
             full avg10=100.00 avg60=100.00 avg300=100.00 total=42"
        );
    }

    #[test]
    fn kinds_have_their_places() {
        for (idx, kind) in PressureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.idx(), idx);
        }
    }
}
