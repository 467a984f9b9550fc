//! The time: nanoseconds on the monotonic clock, constant under loom, a number in a simulation.
//!
//! An [`Instant`] is a plain number, so that it can be packed, stored in an atomic and compared
//! without a system type. Only differences and order mean anything: it counts from the first look
//! at the clock.

use std::time::Duration;

/// A point in time, in nanoseconds since the process first asked; good for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Returns the time.
    #[cfg(not(any(loom, shuttle)))]
    #[must_use]
    pub fn now() -> Instant {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let elapsed = START.get_or_init(std::time::Instant::now).elapsed();
        Instant(elapsed.as_nanos() as u64)
    }

    /// Returns the time, which stands still in a model: there, a deadline passes when the model
    /// says so.
    #[cfg(loom)]
    #[must_use]
    pub fn now() -> Instant {
        Instant(0)
    }

    /// Returns the time of the simulation.
    #[cfg(shuttle)]
    #[must_use]
    pub fn now() -> Instant {
        Instant(super::sim::now())
    }

    /// Returns the point `duration` later, or `None` where the number ends: no deadline.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Instant> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Instant)
    }

    /// Returns the time from `earlier` to this point, zero if `earlier` is later.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Returns the time.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns hundredths of a second, never 0, on a clock that costs a few nanoseconds and is a few milliseconds
/// behind at most. They come round after 497 days.
#[cfg(not(any(loom, shuttle)))]
#[must_use]
pub fn coarse_centis() -> u32 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid pointer to write to, and a clock that Linux has had since 2.6.32; should it fail all
    // the same, the time stays 0.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let whole = (time.tv_sec as u32).wrapping_mul(100);
    let centis = whole.wrapping_add(time.tv_nsec as u32 / 10_000_000);
    centis.max(1)
}

/// The same in a model, where time stands still.
#[cfg(loom)]
#[must_use]
pub fn coarse_centis() -> u32 {
    1
}

/// The same in a simulation.
#[cfg(shuttle)]
#[must_use]
pub fn coarse_centis() -> u32 {
    ((super::sim::now() / 10_000_000) as u32).max(1)
}

/// Returns the deadline that is `timeout` away, or `None` if that is beyond the clock: wait for
/// ever.
#[must_use]
pub fn deadline_after(timeout: Duration) -> Option<Instant> {
    now().checked_add(timeout)
}

/// Whether a deadline has passed.
pub fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| now() >= deadline)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn time_moves_forward() {
        let before = now();
        std::thread::sleep(Duration::from_millis(2));
        let passed = now().saturating_duration_since(before);
        assert!(passed >= Duration::from_millis(2), "{passed:?}");
        assert_eq!(before.saturating_duration_since(now()), Duration::ZERO);
    }

    #[test]
    fn a_deadline_beyond_the_clock_is_none() {
        let soon = Instant(5).checked_add(Duration::from_nanos(7));
        assert_eq!(soon, Some(Instant(12)));
        assert_eq!(Instant(5).checked_add(Duration::MAX), None);
        assert_eq!(Instant(5).checked_add(Duration::from_nanos(u64::MAX)), None);
    }
}
