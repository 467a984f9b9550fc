//! Whether a daemon runs, and what its controllers ask of it: stop, or stand still.
//!
//! *Kernel counterpart:* `kthread_stop`, `kthread_should_stop`, `try_to_freeze`, `freeze_task` (v5.0).
//! There the thread's own flags say it, and looking at a thread that has ended is a use after free
//! (spec 9.9). Here one word belongs to the node and outlives every thread.
//!
//! | State | What is asked | What follows |
//! |---|---|---|
//! | Absent, Stopped, Dead | – | `begin` makes it Running, `stand_by` OnCall |
//! | OnCall, Failed | nothing | `begin` makes it Running, and so does `answer`, for whoever asks first |
//! | OnCall, Failed | freeze | the same by `begin`; nobody is answered before the thaw |
//! | OnCall, Failed | stop | `retire` makes it Stopped |
//! | Running | nothing | the daemon works or sleeps |
//! | Running | freeze | at its next safe point the daemon makes it Frozen |
//! | Running | stop | the daemon ends, and makes it Stopped; by a panic, Dead |
//! | Frozen | nothing | the daemon makes it Running and goes on |
//! | Frozen | stop | the same; then the daemon ends |
//!
//! **Invariants**
//! - F1: state and requests are one word. A daemon leaves Frozen by a compare-exchange that fails if it
//!   was asked to freeze anew, so that whoever sees Frozen beside its own request may rely on it.
//! - F2: only the daemon's thread changes Running to anything else; `begin`, `answer` and `abandon` run before
//!   there is a thread. So what is Running without a thread has somebody at work on one, who says how that ends.
//! - F3: a daemon on call that is frozen stays so: whoever stands still has no thread that begins.
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
    /// It has no thread yet: whoever first asks something of it starts one.
    OnCall = 5,
    /// The system had no thread for it: requests do its work themselves, and from time to time one of them tries
    /// again.
    Failed = 6,
}

impl DaemonState {
    /// Whether it will see to what is asked of it, now or when it is thawed.
    pub(crate) fn is_in_service(self) -> bool {
        match self {
            DaemonState::Running | DaemonState::Frozen | DaemonState::OnCall => true,
            DaemonState::Absent
            | DaemonState::Stopped
            | DaemonState::Dead
            | DaemonState::Failed => false,
        }
    }

    /// Whether whoever asks something of it may start it.
    pub(crate) fn lacks_thread(self) -> bool {
        matches!(self, DaemonState::OnCall | DaemonState::Failed)
    }
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DaemonState::Absent => "absent",
            DaemonState::Running => "running",
            DaemonState::Frozen => "frozen",
            DaemonState::Stopped => "stopped",
            DaemonState::Dead => "dead",
            DaemonState::OnCall => "on call",
            DaemonState::Failed => "failed",
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
            5 => DaemonState::OnCall,
            6 => DaemonState::Failed,
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
            _ => Some(Word(self.with(DaemonState::Running).0 & !STOP)),
        }
    }

    /// There is to be a thread once something is asked.
    fn stand_by(self) -> Option<Word> {
        match self.state() {
            DaemonState::Running | DaemonState::Frozen | DaemonState::OnCall => None,
            _ => Some(Word(self.with(DaemonState::OnCall).0 & !STOP)),
        }
    }

    /// Whether somebody who asks may start a thread now.
    fn may_answer(self) -> bool {
        let may_start = !self.is(FREEZE) || mutated("first.frozen");
        self.state().lacks_thread() && may_start && !self.is(STOP)
    }

    /// Something was asked, and a thread is about to be started for it.
    fn answer(self) -> Option<Word> {
        let may = self.may_answer() || mutated("first.once");
        may.then(|| self.with(DaemonState::Running))
    }

    /// There is not to be a thread.
    fn retire(self) -> Option<Word> {
        let may = self.state().lacks_thread() && !mutated("first.retire");
        may.then(|| self.with(DaemonState::Stopped))
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

    /// Says that there is no thread, and that whoever first asks is to start one; returns false if there is one,
    /// or that was said already.
    pub(crate) fn stand_by(&self) -> bool {
        self.change(Word::stand_by)
    }

    /// Whether the daemon has no thread, and whoever asks may start one. For who has put a full barrier between
    /// what he asks and this: either he sees here that the daemon was thawed, or who thaws it sees that it is
    /// asked ([`DaemonPost::see_to_thread`](super::DaemonPost::see_to_thread)).
    pub(crate) fn may_answer(&self) -> bool {
        // Relaxed: ordered by that barrier; `answer` looks anew.
        Word(self.word.load(Ordering::Relaxed)).may_answer()
    }

    /// Says that a thread is about to be started for who asks; returns false if that is not to be.
    pub(crate) fn answer(&self) -> bool {
        self.change(Word::answer)
    }

    /// Says that there is not to be a thread, if there is none.
    pub(crate) fn retire(&self) {
        self.change(Word::retire);
    }

    /// Says that the thread could not be started after all.
    pub(crate) fn abandon(&self, state: DaemonState) {
        self.change(|word| Some(word.with(state)));
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
mod tests;
