//! How a daemon without a thread gets one: who may start it, and when to try again.
//!
//! *Kernel counterpart:* none: `kswapd_run` and `kcompactd_run` (v5.0) start their threads at boot, and a
//! thread that cannot be had there is a warning. A process opens a pool for much less than a thread costs, and
//! may never need one.
//!
//! - [`StartBy`], [`pause_after`] (pure): whether who asks starts the thread himself; how long nobody tries
//!   after a failure.
//! - [`Starter`]: what the pool gives to a post, which knows no threads.
//! - [`StartRecord`]: what came of it.
//!
//! **Invariants**
//! - G1: a thread is started with no ranked lock held, and never by a request that may not block, but for one
//!   that is about to be refused: nobody else may ever come.
//! - G2: nobody waits for a thread that is being started, nor for one that could not be.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::gfp::Gfp;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::clock;

/// Who starts a daemon's thread, if it has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StartBy {
    /// Who asks.
    Caller,
    /// Whoever asks next and may. What is asked stays recorded.
    Another,
}

impl StartBy {
    /// For a request of these flags. To start a thread takes tens of microseconds and memory from the program's
    /// allocator; a request that may not block may come from where neither is to be had.
    pub(crate) fn of(gfp: Gfp) -> StartBy {
        if gfp.may_block() {
            StartBy::Caller
        } else {
            StartBy::Another
        }
    }
}

/// How long nobody tries to start a thread after the first failure. Each failure in turn doubles it: what a
/// process is short of then, threads or address space, comes back by others.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// How long nobody tries again after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

/// Starts a daemon's thread.
pub(crate) trait Starter: Send + Sync {
    /// Starts it, if this thread may, and nobody else is about to, nor to end it. Returns at once.
    fn start(&self);
}

impl fmt::Debug for dyn Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Starter")
    }
}

/// Attempts to start a thread that failed.
#[derive(Debug, Default)]
pub(crate) struct StartRecord {
    /// In a row.
    failures: AtomicU32,
    /// What the system said last.
    errno: AtomicU32,
    /// Until when nobody tries, in hundredths of a second; they come round.
    not_before: AtomicU32,
}

impl StartRecord {
    /// Whether it is worth trying now. The clock is looked at only after a failure.
    pub(super) fn is_due(&self) -> bool {
        // Relaxed, all here: notes for the next who tries; what he goes by is the state.
        if self.failures.load(Relaxed) == 0 {
            return true;
        }
        let left = { self.not_before.load(Relaxed) }.wrapping_sub(clock::coarse_centis());
        left == 0 || left > u32::MAX / 2
    }

    /// Notes a failure; returns how many there were in a row.
    pub(super) fn note_failure(&self, error: &io::Error) -> u32 {
        let failures = self.failures.load(Relaxed).saturating_add(1);
        let pause = (pause_after(failures).as_millis() / 10) as u32;
        let not_before = clock::coarse_centis().wrapping_add(pause);
        self.not_before.store(not_before, Relaxed);
        let errno = error.raw_os_error().unwrap_or(0);
        self.errno.store(errno.cast_unsigned(), Relaxed);
        self.failures.store(failures, Relaxed);
        failures
    }

    /// Notes that there is a thread.
    pub(super) fn note_success(&self) {
        self.failures.store(0, Relaxed);
    }

    /// Failures in a row, and why the last.
    pub(super) fn last_failure(&self) -> (u32, Option<String>) {
        let failures = self.failures.load(Relaxed);
        let why = (failures > 0).then(|| match self.errno.load(Relaxed) {
            0 => "the system had no thread to give".to_owned(),
            errno => io::Error::from_raw_os_error(errno.cast_signed()).to_string(),
        });
        (failures, why)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_block_leaves_the_start_to_another() {
        for gfp in [Gfp::KERNEL, Gfp::NOIO, Gfp::USER_MOVABLE, Gfp::TRANSHUGE] {
            assert_eq!(StartBy::of(gfp), StartBy::Caller, "{gfp:?}");
        }
        for gfp in [Gfp::NOWAIT, Gfp::ATOMIC, Gfp::TRANSHUGE_LIGHT, Gfp::empty()] {
            assert_eq!(StartBy::of(gfp), StartBy::Another, "{gfp:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let millis = |failures| pause_after(failures).as_millis();
        assert_eq!([1, 2, 3].map(millis), [100, 200, 400]);
        assert_eq!([9, 10, u32::MAX].map(millis), [25_600, 32_000, 32_000]);
    }

    #[test]
    fn after_a_failure_nobody_tries_for_a_while_and_the_cause_is_known_until_a_success() {
        let record = StartRecord::default();
        assert!(record.is_due());
        assert_eq!(record.last_failure(), (0, None));
        assert_eq!(
            record.note_failure(&io::Error::from_raw_os_error(libc::EAGAIN)),
            1
        );
        assert!(!record.is_due());
        std::thread::sleep(Duration::from_millis(130));
        assert!(record.is_due());
        assert_eq!(record.note_failure(&io::Error::other("told to")), 2);
        assert!(!record.is_due());
        let (failures, why) = record.last_failure();
        assert_eq!(failures, 2);
        assert_eq!(why.as_deref(), Some("the system had no thread to give"));
        record.note_failure(&io::Error::from_raw_os_error(libc::EAGAIN));
        let (_, why) = record.last_failure();
        assert!(why.is_some_and(|why| why.contains("os error 11")));
        record.note_success();
        assert!(record.is_due());
        assert_eq!(record.last_failure(), (0, None));
    }
}
