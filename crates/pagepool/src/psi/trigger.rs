//! A thread that waits for pressure.
//!
//! *Kernel counterpart:* `struct psi_trigger`, `psi_trigger_poll` (5.2; v5.0 has none, spec 4.16). Nobody
//! polls on its behalf: while nothing stalls it sleeps without a timer, until a stall wakes it; then it sleeps
//! until the threshold can first have been reached, and looks.

use std::time::Duration;

use super::report::PressureKind;
use super::state::PsiState;
use super::window::{Verdict, Window};
use crate::sync::clock::{self, Instant};
use crate::sync::{CoreMutex, thread};

pub(crate) use super::window::Terms;

/// What is waited for. Belongs to one state.
#[derive(Debug)]
pub(crate) struct Trigger {
    kind: PressureKind,
    window: CoreMutex<Window>,
}

impl Trigger {
    /// Returns a trigger for stalls of a state from now on.
    pub(crate) fn new(state: &PsiState, kind: PressureKind, terms: Terms) -> Trigger {
        Trigger {
            kind,
            window: CoreMutex::new(Window::begin(terms, state.reading(kind))),
        }
    }

    /// Waits until stalls of the state have lasted for the threshold within a window; returns whether they
    /// have before `timeout`. Of several who wait, one is told.
    pub(crate) fn wait(&self, state: &PsiState, timeout: Duration) -> bool {
        let deadline = clock::deadline_after(timeout);
        loop {
            match self.look(state) {
                Verdict::Fire => return true,
                Verdict::NotBefore(_) if clock::is_over(deadline) => return false,
                Verdict::NotBefore(at) => sleep_until(deadline.map_or(at, |end| end.min(at))),
                Verdict::Idle => {
                    if !state.wait_for_stall(self.kind, deadline) {
                        return false;
                    }
                }
            }
        }
    }

    fn look(&self, state: &PsiState) -> Verdict {
        let reading = state.reading(self.kind);
        self.window.lock().look(reading)
    }
}

/// Nothing that happens meanwhile can matter, so nobody wakes the thread.
fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(clock::now()));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::psi::Stall;
    use crate::psi::worker::Standing;

    fn trigger(state: &PsiState, kind: PressureKind, threshold_ms: u64) -> Trigger {
        let threshold = Duration::from_millis(threshold_ms);
        let terms = Terms::new(threshold, Duration::from_millis(500)).unwrap();
        Trigger::new(state, kind, terms)
    }

    #[test]
    fn a_trigger_without_a_stall_waits_to_its_end() {
        let state = PsiState::new();
        let trigger = trigger(&state, PressureKind::Some, 1);
        let before = clock::now();
        assert!(!trigger.wait(&state, Duration::from_millis(30)));
        let waited = clock::now().saturating_duration_since(before);
        assert!(waited >= Duration::from_millis(30), "{waited:?}");
        assert!(!trigger.wait(&state, Duration::ZERO));
    }

    #[test]
    fn a_stall_that_begins_wakes_who_waits_and_lasts_as_long_as_it_must() {
        let state = PsiState::new();
        let trigger = trigger(&state, PressureKind::Full, 40);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| trigger.wait(&state, Duration::from_secs(20)));
            std::thread::sleep(Duration::from_millis(20));
            let stall = Stall::enter([(&state, Standing::Other)]);
            assert!(waiter.join().unwrap());
            let lasted = state.pressure().full.total;
            assert!(lasted >= Duration::from_millis(40), "{lasted:?}");
            drop(stall);
        });
        // What has fired does not fire again in the same window.
        assert!(!trigger.wait(&state, Duration::from_millis(10)));
    }

    #[test]
    fn a_stall_that_others_work_through_is_not_full() {
        let state = PsiState::new();
        state.change(super::super::worker::Change::Join);
        let full = trigger(&state, PressureKind::Full, 1);
        let some = trigger(&state, PressureKind::Some, 1);
        let _stall = Stall::enter([(&state, Standing::Other)]);
        assert!(!full.wait(&state, Duration::from_millis(30)));
        assert!(some.wait(&state, Duration::from_millis(300)));
    }
}
