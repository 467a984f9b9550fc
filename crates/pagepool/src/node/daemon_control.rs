//! Whether a daemon runs, and what its controllers ask of it: stop, or stand still.
//!
//! *Kernel counterpart:* `kthread_stop`, `kthread_should_stop`, `try_to_freeze`, `freeze_task` (v5.0).
//! There the thread's own flags say it, and looking at a thread that has ended is a use after free
//! (spec 9.9). Here one word belongs to the node and outlives every thread.
//!
//! | State | What is asked | What follows |
//! |---|---|---|
//! | Absent, Stopped, Dead | – | `begin` makes it Running |
//! | Running | nothing | the daemon works or sleeps |
//! | Running | freeze | at its next safe point the daemon makes it Frozen |
//! | Running | stop | the daemon ends, and makes it Stopped; by a panic, Dead |
//! | Frozen | nothing | the daemon makes it Running and goes on |
//! | Frozen | stop | the same; then the daemon ends |
//!
//! **Invariants**
//! - F1: state and requests are one word. A daemon leaves Frozen by a compare-exchange that fails if it
//!   was asked to freeze anew, so that whoever sees Frozen beside its own request may rely on it.
//! - F2: only the daemon's thread changes Running to anything else; `begin` and `abandon` run before
//!   there is a thread.
//!
//! **Ordering.** Controllers change the word, then wake `changed` and the queue that the daemon sleeps
//! on; the daemon publishes itself on a queue, then looks at the word. Each pair has the queue's two
//! barriers between.

use std::fmt;

use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::clock::Instant;
use crate::sync::fence::{mutated, ordering_at};
use crate::sync::{FenceNames, WaitQueue};

/// What a daemon is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
#[non_exhaustive]
pub enum DaemonState {
    /// The pool runs without it.
    Absent = 0,
    /// It works, or sleeps until it is woken.
    Running = 1,
    /// It stands at a safe point until it is thawed.
    Frozen = 2,
    /// It was stopped.
    Stopped = 3,
    /// It ended by a panic.
    Dead = 4,
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DaemonState::Absent => "absent",
            DaemonState::Running => "running",
            DaemonState::Frozen => "frozen",
            DaemonState::Stopped => "stopped",
            DaemonState::Dead => "dead",
        })
    }
}

/// How a daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It was asked to.
    Stopped,
    /// It panicked.
    Dead,
}

/// What a daemon does after a safe point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SafePoint {
    /// Go on.
    Passed,
    /// Look anew: it stood still for a while, and everything may be different.
    Thawed,
    /// End.
    Stop,
}

/// The word: a state, and two requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Word(u8);

const STATE: u8 = 0b111;
const STOP: u8 = 1 << 3;
const FREEZE: u8 = 1 << 4;

impl Word {
    fn state(self) -> DaemonState {
        match self.0 & STATE {
            1 => DaemonState::Running,
            2 => DaemonState::Frozen,
            3 => DaemonState::Stopped,
            4 => DaemonState::Dead,
            _ => DaemonState::Absent,
        }
    }

    fn is(self, asked: u8) -> bool {
        self.0 & asked != 0
    }

    fn with(self, state: DaemonState) -> Word {
        Word(self.0 & !STATE | state as u8)
    }

    /// A thread is about to be started: a former request to stop was for the former thread.
    fn begin(self) -> Option<Word> {
        match self.state() {
            DaemonState::Running | DaemonState::Frozen => None,
            DaemonState::Absent | DaemonState::Stopped | DaemonState::Dead => {
                Some(Word(self.with(DaemonState::Running).0 & !STOP))
            }
        }
    }

    /// The daemon stands still, if that is what it is asked for.
    fn freeze(self) -> Option<Word> {
        (self.is(FREEZE) && !self.is(STOP)).then(|| self.with(DaemonState::Frozen))
    }

    /// The daemon goes on, unless it was asked to stand still again meanwhile.
    fn thaw(self) -> Option<Word> {
        let may_go = !self.is(FREEZE) || self.is(STOP) || mutated("pause.again");
        may_go.then(|| self.with(DaemonState::Running))
    }
}

/// One daemon's state, and what its controllers ask of it. See the head of the module.
#[derive(Debug)]
pub(crate) struct DaemonControl {
    word: AtomicU8,
    /// Rung at each change of the word: a frozen daemon sleeps here, and who waits for it to stand.
    changed: WaitQueue,
}

impl DaemonControl {
    /// Returns the control of a daemon that is not there.
    pub(super) fn new() -> DaemonControl {
        DaemonControl {
            word: AtomicU8::new(DaemonState::Absent as u8),
            changed: WaitQueue::new(FenceNames {
                waker: "control.waker",
                sleeper: "control.sleeper",
            }),
        }
    }

    fn word(&self) -> Word {
        // Acquire: what the daemon did before it said so is visible. Pairs with the Release in `change`.
        Word(
            self.word
                .load(ordering_at("control.observe", Ordering::Acquire)),
        )
    }

    /// Applies a transition, if it is legal, and rings.
    fn change(&self, transition: impl Fn(Word) -> Option<Word>) -> bool {
        // AcqRel: publishes what was done before, to whoever sees the new word; and sees it. Acquire for the
        // look that comes before: who is refused goes by it.
        let acq_rel = if mutated("control.publish") {
            Ordering::Acquire
        } else {
            Ordering::AcqRel
        };
        let step = |word| transition(Word(word)).map(|new| new.0);
        let changed = if mutated("control.one_step") {
            let new = step(self.word.load(Ordering::Acquire));
            new.inspect(|new| self.word.store(*new, Ordering::Release))
                .is_some()
        } else {
            self.word
                .fetch_update(acq_rel, Ordering::Acquire, step)
                .is_ok()
        };
        if changed {
            self.changed.wake_all();
        }
        changed
    }

    /// What the daemon is doing.
    pub(crate) fn state(&self) -> DaemonState {
        self.word().state()
    }

    /// Whether the daemon is asked to stop, and whether to stand still: for reports.
    pub(crate) fn is_told(&self) -> (bool, bool) {
        let word = self.word();
        (word.is(STOP), word.is(FREEZE))
    }

    /// Whether the daemon should come to its next safe point soon.
    pub(crate) fn is_interrupted(&self) -> bool {
        // Relaxed: a look that decides whether to go on or to sleep; ordered by the queue's fence.
        Word(self.word.load(Ordering::Relaxed)).is(STOP | FREEZE)
    }

    /// Whether the daemon should end.
    pub(crate) fn should_stop(&self) -> bool {
        // Relaxed: as in `is_interrupted`.
        Word(self.word.load(Ordering::Relaxed)).is(STOP)
    }

    /// How often somebody slept until the state changed: a controller, or a daemon that stands still.
    #[cfg(loom)]
    pub(crate) fn nr_sleeps(&self) -> u32 {
        self.changed.nr_sleeps()
    }

    // ---- for whoever starts and stops daemons ----

    /// Says that a thread is about to be started; returns false if one runs.
    pub(crate) fn begin(&self) -> bool {
        self.change(Word::begin)
    }

    /// Says that the thread could not be started after all.
    pub(crate) fn abandon(&self) {
        self.change(|word| Some(word.with(DaemonState::Absent)));
    }

    /// Asks the daemon to end. The caller also wakes the queue that it sleeps on.
    pub(crate) fn ask_to_stop(&self) {
        self.change(|word| Some(Word(word.0 | STOP)));
    }

    /// Asks the daemon to stand still. The caller also wakes the queue that it sleeps on.
    pub(crate) fn ask_to_freeze(&self) {
        self.change(|word| Some(Word(word.0 | FREEZE)));
    }

    /// Lets the daemon go on.
    pub(crate) fn thaw(&self) {
        self.change(|word| Some(Word(word.0 & !FREEZE)));
    }

    /// Waits until the daemon stands still or has ended; returns whether it does.
    pub(crate) fn wait_until_still(&self, deadline: Option<Instant>) -> bool {
        self.changed
            .wait_until(deadline, || self.state() != DaemonState::Running)
    }

    // ---- for the daemon ----

    /// Stands still if that is asked for, until it is not any more. The daemon holds no lock and no
    /// isolated page. `on_standing` runs once the daemon is Frozen.
    pub(crate) fn safe_point(&self, on_standing: impl FnOnce()) -> SafePoint {
        let stood = self.change(Word::freeze);
        if stood {
            on_standing();
            self.changed.wait_until(None, || self.change(Word::thaw));
        }
        if self.should_stop() {
            SafePoint::Stop
        } else if stood {
            SafePoint::Thawed
        } else {
            SafePoint::Passed
        }
    }

    /// Says that the daemon has ended.
    pub(crate) fn end(&self, ending: Ending) {
        let state = match ending {
            Ending::Stopped => DaemonState::Stopped,
            Ending::Dead => DaemonState::Dead,
        };
        self.change(|word| Some(word.with(state)));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::clock;
    use std::time::Duration;

    fn control(state: DaemonState, asked: u8) -> DaemonControl {
        let control = DaemonControl::new();
        control.change(|_| Some(Word(asked).with(state)));
        control
    }

    #[test]
    fn begin_is_idempotent_and_forgets_a_former_stop() {
        let control = control(DaemonState::Stopped, STOP);
        assert!(control.begin() && !control.begin());
        assert_eq!(control.state(), DaemonState::Running);
        assert!(!control.should_stop());
        control.end(Ending::Dead);
        assert!(control.begin(), "a dead daemon can be replaced");
    }

    #[test]
    fn a_daemon_started_while_frozen_stands_still_at_once() {
        let control = control(DaemonState::Absent, FREEZE);
        assert!(control.begin());
        assert!(control.is_interrupted() && !control.should_stop());
    }

    #[test]
    fn a_safe_point_without_a_request_is_passed() {
        let control = control(DaemonState::Running, 0);
        assert_eq!(control.safe_point(|| panic!("stands")), SafePoint::Passed);
    }

    #[test]
    fn a_daemon_that_should_stop_does_not_stand_still() {
        let control = control(DaemonState::Running, STOP | FREEZE);
        assert_eq!(control.safe_point(|| panic!("stands")), SafePoint::Stop);
        assert_eq!(control.state(), DaemonState::Running);
    }

    #[test]
    fn a_daemon_stands_from_freeze_to_thaw() {
        let control = control(DaemonState::Running, FREEZE);
        let point = control.safe_point(|| {
            assert_eq!(control.state(), DaemonState::Frozen);
            control.thaw();
        });
        assert_eq!(point, SafePoint::Thawed);
        assert_eq!(control.state(), DaemonState::Running);
    }

    #[test]
    fn a_stop_ends_a_freeze() {
        let control = control(DaemonState::Running, FREEZE);
        let point = control.safe_point(|| control.ask_to_stop());
        assert_eq!(point, SafePoint::Stop);
    }

    /// F1: seen between the thaw and the moment the daemon runs, Frozen would be no promise.
    #[test]
    fn a_daemon_asked_to_freeze_again_does_not_leave() {
        let word = Word(FREEZE).with(DaemonState::Frozen);
        assert_eq!(word.thaw(), None);
        assert_eq!(Word(0).freeze(), None);
    }

    #[test]
    fn one_that_runs_on_is_told_of_after_the_deadline() {
        let control = control(DaemonState::Running, FREEZE);
        let soon = clock::deadline_after(Duration::from_millis(5));
        assert!(!control.wait_until_still(soon));
        control.end(Ending::Stopped);
        assert!(control.wait_until_still(soon), "it has ended");
    }
}
