//! Whether a zone has recovered since reclaim gave up on its node.
//!
//! *Kernel counterpart:* `ZONE_BELOW_HIGH` and the reset of `kswapd_failures` where pages are freed
//! (after v5.0, spec 9.6). There the free path resets the count, if another node has memory. Here the
//! zone only notes that it rose above its high mark; whoever asks whether there is hope finds out. A
//! node of a pool with one node recovers in the same way.
//!
//! | State | Below the high mark | Above it |
//! |---|---|---|
//! | Unwatched, Recovered | stays | stays |
//! | Above | becomes Low | stays: it has not risen since |
//! | Low | stays | becomes Recovered |
//!
//! `watch_recovery` makes any state Above or Low, as it is.
//!
//! **Locking:** changes only under the zone's lock, with the free count; read without.

use super::watermark::Mark;
use super::{Core, Zone};
use crate::sync::atomic::Ordering;
use crate::sync::fence::mutated;

/// What became of a zone on whose node reclaim gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Recovery {
    /// Nobody has given up.
    Unwatched = 0,
    /// Above its high mark when reclaim gave up, and since.
    Above = 1,
    /// Below its high mark.
    Low = 2,
    /// Risen above its high mark.
    Recovered = 3,
}

impl Recovery {
    fn from_raw(raw: u8) -> Recovery {
        match raw {
            1 => Recovery::Above,
            2 => Recovery::Low,
            3 => Recovery::Recovered,
            _ => Recovery::Unwatched,
        }
    }

    /// What a zone's being above its high mark, or not, makes of it.
    fn after(self, is_above: bool) -> Recovery {
        match (self, is_above) {
            (Recovery::Above, false) => Recovery::Low,
            (Recovery::Low, true) => Recovery::Recovered,
            (state, _) => state,
        }
    }
}

impl Zone {
    /// Has the zone note, from now on, whether it rises above its high mark.
    pub(crate) fn watch_recovery(&self) {
        let core = self.core.lock();
        let state = if self.is_above_high(&core) {
            Recovery::Above
        } else {
            Recovery::Low
        };
        self.set_recovery(state);
    }

    /// Whether the zone rose above its high mark at any time since the watch began.
    pub(crate) fn has_recovered(&self) -> bool {
        self.recovery() == Recovery::Recovered
    }

    /// Notes where the zone stands. One load for a zone that is not watched.
    pub(super) fn note_recovery(&self, core: &Core) {
        let old = self.recovery();
        if matches!(old, Recovery::Above | Recovery::Low) && !mutated("failures.watch") {
            let new = old.after(self.is_above_high(core));
            if new != old {
                self.set_recovery(new);
            }
        }
    }

    fn is_above_high(&self, core: &Core) -> bool {
        // What compaction withholds for a moment is free as well: else each unit would be a fall and a rise.
        self.free_locked(core) + core.aside() > self.mark(Mark::High)
    }

    fn recovery(&self) -> Recovery {
        // Relaxed: written under the lock; who reads without takes it as it comes.
        Recovery::from_raw(self.recovery.load(Ordering::Relaxed))
    }

    fn set_recovery(&self, state: Recovery) {
        // Relaxed: under the lock.
        self.recovery.store(state as u8, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Recovery::{self, Above, Low, Recovered, Unwatched};

    #[test]
    fn only_a_rise_from_below_is_a_recovery() {
        for state in [Unwatched, Above, Low, Recovered] {
            assert_eq!(Recovery::from_raw(state as u8), state);
        }
        assert_eq!([true, false].map(|above| Above.after(above)), [Above, Low]);
        assert_eq!(
            [true, false].map(|above| Low.after(above)),
            [Recovered, Low]
        );
        for state in [Unwatched, Recovered] {
            assert_eq!([true, false].map(|above| state.after(above)), [state; 2]);
        }
    }
}
