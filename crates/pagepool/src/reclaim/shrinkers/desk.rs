//! One shrinker: its record, and the call of it that is under way, for whoever asks.
//!
//! ```text
//!              ask              the worker begins          it ends
//!    Idle ──────────→ Called ─────────────────→ Running ───────────→ Done
//!     ↑                 │                        │                    │
//!     │←── withdrawn ───┘                        │ nobody waits       │
//!     │←──────────────── it ends ────────────────┘                    │
//!     └────────────────────── what it brought is taken ───────────────┘
//! ```
//!
//! Who waits for a call leaves when its own deadline has passed, or when a single callback has taken longer
//! than the shrinker's. Then the call is nobody's: the worker ends it after the callback that it is in, and
//! puts off what is left. What it still brings is counted by who asks next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::shrinker::MAX_NAME;
use super::{Shrinker, ShrinkerOptions, Table, Takings};
use crate::backing::callback::Callers;
use crate::backing::{PoolTag, Spawn};
use crate::reclaim::policy::trust::{Conduct, Trust};
use crate::sync::atomic::AtomicUsize;
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::thread::ThreadId;
use crate::sync::{CoreMutex, WaitQueue};
use crate::types::{GroupId, NodeId};

/// What a worker is asked to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) node: NodeId,
    pub(super) group: GroupId,
    pub(super) priority: u8,
    /// What the count counts for, in percent.
    pub(super) pressure: u32,
    /// Whose callbacks the one who asks is inside of.
    pub(super) callers: Callers,
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// When its last callback began.
    pub(super) since: Instant,
    /// What it has brought that nobody has taken.
    pub(super) takings: Takings,
    /// Whether somebody waits for it.
    pub(super) is_attended: bool,
    /// Whether a callback has taken too long: that was counted.
    pub(super) is_overdue: bool,
}

/// How far the call is. See the head of the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Idle,
    Called(Job),
    Running(Running),
    Done(Takings),
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) scanned: u64,
    pub(super) freed: u64,
    pub(super) pages: u64,
    pub(super) timeouts: u64,
    pub(super) panics: u64,
    /// Objects that it was to look at, and what became of them (H2).
    pub(super) asked: u64,
    pub(super) paid: u64,
    pub(super) forgiven: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) has_worker: bool,
    /// The worker's, once it runs.
    pub(super) thread: Option<ThreadId>,
    pub(super) is_closed: bool,
    pub(super) trust: Trust,
    /// Until when it is left alone.
    pub(super) barred_until: Option<Instant>,
    /// What calls brought after they had been left alone.
    late: Takings,
    pub(super) tally: Tally,
}

/// Whether a call may begin.
enum Admission {
    Now,
    /// Somebody waits for one that is under way.
    Later,
    Never,
}

/// How a call begins.
enum Begun {
    Not,
    /// There is a worker to be woken.
    Worker,
    /// There is none.
    Alone,
}

/// One shrinker.
pub(super) struct Desk {
    /// Its place in the table.
    pub(super) idx: usize,
    pub(super) options: ShrinkerOptions,
    pub(super) pool: PoolTag,
    pub(super) spawn: Spawn,
    /// None once its handle was dropped (H4).
    pub(super) user: CoreMutex<Option<Arc<dyn Shrinker>>>,
    /// Objects put off, by node.
    pub(super) deferred: Box<[AtomicUsize]>,
    pub(super) state: CoreMutex<State>,
    /// For the worker: there is a call to make.
    pub(super) bell: WaitQueue,
    /// For the end of a call, of a turn, and of the worker.
    pub(super) ended: WaitQueue,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("options", &self.options)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// Returns a shrinker that was never called, without a place.
    pub(super) fn new(options: ShrinkerOptions, user: Arc<dyn Shrinker>, table: &Table) -> Desk {
        Desk {
            idx: 0,
            options,
            pool: table.pool,
            spawn: table.spawn,
            user: CoreMutex::new(Some(user)),
            deferred: table.maps.iter().map(|_| AtomicUsize::new(0)).collect(),
            state: CoreMutex::new(State {
                stage: Stage::Idle,
                has_worker: false,
                thread: None,
                is_closed: false,
                trust: Trust::default(),
                barred_until: None,
                late: Takings::default(),
                tally: Tally::default(),
            }),
            bell: WaitQueue::unfenced(),
            ended: WaitQueue::unfenced(),
        }
    }

    /// Bytes of one, in a pool of so many nodes.
    pub(super) fn bytes_for(nr_nodes: usize) -> usize {
        size_of::<Desk>() + nr_nodes * size_of::<AtomicUsize>() + MAX_NAME
    }

    pub(super) fn is_numa_aware(&self) -> bool {
        self.options.is_numa_aware
    }

    pub(super) fn is_group_aware(&self) -> bool {
        self.options.is_group_aware
    }

    /// Whether it would be called if it were asked now, perhaps after somebody else's call.
    pub(super) fn is_ready(&self) -> bool {
        let admission = self.admit(&mut self.state.lock());
        !matches!(admission, Admission::Never)
    }

    fn admit(&self, state: &mut State) -> Admission {
        state.admit(clock::now(), self.options.deadline)
    }

    /// Has the shrinker called on its worker, and waits for the end, or until `deadline`. Returns what that
    /// brought so far.
    pub(super) fn ask(
        self: &Arc<Desk>,
        table: &Arc<Table>,
        job: Job,
        deadline: Option<Instant>,
    ) -> Takings {
        match self.begin(job, deadline) {
            Begun::Not => return Takings::default(),
            Begun::Worker => {
                self.bell.wake_all();
            }
            Begun::Alone => {
                if !self.start_worker(table) {
                    return Takings::default();
                }
            }
        }
        let takings = self.wait_for_end(deadline);
        // Whoever waits for a turn may have it.
        self.ended.wake_all();
        takings
    }

    /// Waits for this thread's turn, and takes it.
    fn begin(&self, job: Job, deadline: Option<Instant>) -> Begun {
        let mut begun = Begun::Not;
        self.ended.wait_until(deadline, || {
            let mut state = self.state.lock();
            match self.admit(&mut state) {
                Admission::Later => false,
                Admission::Never => true,
                Admission::Now => {
                    state.stage = Stage::Called(job);
                    state.tally.calls += 1;
                    begun = match std::mem::replace(&mut state.has_worker, true) {
                        true => Begun::Worker,
                        false => Begun::Alone,
                    };
                    true
                }
            }
        });
        begun
    }

    fn wait_for_end(&self, deadline: Option<Instant>) -> Takings {
        let patience = self.options.deadline;
        loop {
            let mut takings = None;
            let look = [self.next_look(), deadline].into_iter().flatten().min();
            self.ended.wait_until(look, || {
                let now = clock::now();
                let is_late = clock::is_over(deadline);
                takings = self.state.lock().answer(now, patience, is_late);
                takings.is_some()
            });
            if let Some(takings) = takings {
                return takings;
            }
            // It has come to the next callback, whose time begins anew.
        }
    }

    /// When the callback that is under way has taken too long.
    fn next_look(&self) -> Option<Instant> {
        let since = match &self.state.lock().stage {
            Stage::Running(running) => running.since,
            Stage::Idle | Stage::Called(_) | Stage::Done(_) => clock::now(),
        };
        since.checked_add(self.options.deadline)
    }

    /// Refuses calls from now on, and has the worker end, once it has returned from a call. Vacates the place
    /// if there is no worker to do that.
    pub(super) fn close(self: &Arc<Desk>, table: &Table) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let has_worker = state.has_worker;
        drop(state);
        self.bell.wake_all();
        if !has_worker {
            table.vacate(self);
        }
    }

    // ---- for the worker ----

    /// The next call to make; none if the worker is to end.
    pub(super) fn next_job(&self) -> Option<Job> {
        loop {
            let mut state = self.state.lock();
            if state.is_closed {
                return None;
            }
            if let Stage::Called(job) = state.stage {
                state.stage = Stage::Running(Running {
                    since: clock::now(),
                    takings: Takings::default(),
                    is_attended: true,
                    is_overdue: false,
                });
                return Some(job);
            }
            drop(state);
            self.bell.wait_until(None, || {
                let state = self.state.lock();
                let is_called = state.is_closed || matches!(state.stage, Stage::Called(_));
                is_called && !mutated("shrinker.look_at_call")
            });
        }
    }

    /// Whether to make another callback in the call under way; then its time begins.
    pub(super) fn may_go_on(&self) -> bool {
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let running = state.running();
        running.since = clock::now();
        running.is_attended && !is_closed
    }

    /// Notes what a callback brought.
    pub(super) fn note(&self, takings: Takings) {
        let mut state = self.state.lock();
        state.tally.scanned += takings.scanned as u64;
        state.tally.freed += takings.freed as u64;
        state.tally.pages += takings.pages as u64;
        state.running().takings += takings;
    }

    /// The call has ended.
    pub(super) fn complete(&self, conduct: Conduct) {
        self.state.lock().complete(conduct, clock::now());
        if !mutated("shrinker.wake_waiter") {
            self.ended.wake_all();
        }
    }
}

impl State {
    pub(super) fn is_barred(&self, now: Instant) -> bool {
        self.barred_until.is_some_and(|until| now < until)
    }

    /// Whether a call may begin. A call that nobody waits for is looked at for whether it takes too long.
    fn admit(&mut self, now: Instant, patience: Duration) -> Admission {
        if self.is_closed || self.is_barred(now) {
            return Admission::Never;
        }
        match self.stage {
            Stage::Idle => Admission::Now,
            Stage::Running(running) if !running.is_attended => {
                self.note_if_overdue(now, patience);
                Admission::Never
            }
            Stage::Called(_) | Stage::Running(_) | Stage::Done(_) => Admission::Later,
        }
    }

    fn running(&mut self) -> &mut Running {
        match &mut self.stage {
            Stage::Running(running) => running,
            other => unreachable!("H1: the worker is in a call, which is {other:?}"),
        }
    }

    /// What the call brought, for the one who waits for it, if there is no more reason to.
    fn answer(&mut self, now: Instant, patience: Duration, is_late: bool) -> Option<Takings> {
        let stage = self.stage;
        let brought = match stage {
            Stage::Done(takings) => {
                self.stage = Stage::Idle;
                takings
            }
            Stage::Called(_) if is_late => {
                self.stage = Stage::Idle;
                Takings::default()
            }
            Stage::Running(_) if self.note_if_overdue(now, patience) || is_late => {
                let running = self.running();
                running.is_attended = false;
                std::mem::take(&mut running.takings)
            }
            Stage::Called(_) | Stage::Running(_) => return None,
            Stage::Idle => unreachable!("H1: somebody waits for a call that nobody makes"),
        };
        let mut takings = std::mem::take(&mut self.late).without_merit();
        takings += brought;
        Some(takings)
    }

    /// Whether a callback takes too long; counts it once a call.
    fn note_if_overdue(&mut self, now: Instant, patience: Duration) -> bool {
        let running = self.running();
        let is_new =
            !running.is_overdue && now.saturating_duration_since(running.since) >= patience;
        if is_new {
            running.is_overdue = true;
            self.tally.timeouts += 1;
            self.judge(Conduct::Overdue, now);
        }
        self.running().is_overdue
    }

    /// Draws the conclusion from what the shrinker did.
    pub(super) fn judge(&mut self, conduct: Conduct, now: Instant) {
        let failures = self.trust.failures();
        self.trust = self.trust.after(conduct);
        if self.trust.failures() != failures {
            self.bar(now);
        }
    }

    fn bar(&mut self, now: Instant) {
        let quarantine = self.trust.quarantine();
        self.barred_until = quarantine.and_then(|quarantine| now.checked_add(quarantine));
    }

    fn complete(&mut self, conduct: Conduct, now: Instant) {
        let running = *self.running();
        if conduct == Conduct::Panicked {
            self.tally.panics += 1;
        }
        if running.is_overdue {
            // That was its failure; what it is barred for begins when it is back.
            self.bar(now);
        } else {
            self.judge(conduct, now);
        }
        self.stage = if running.is_attended {
            Stage::Done(running.takings)
        } else {
            self.late += running.takings;
            Stage::Idle
        };
    }

    /// The worker ends, and with it a call that it has not begun.
    pub(super) fn end_worker(&mut self) {
        self.has_worker = false;
        self.thread = None;
        if let Stage::Called(_) = self.stage {
            self.stage = Stage::Done(Takings::default());
        }
    }

    /// There is no worker to be had, and so no call.
    pub(super) fn give_up_worker(&mut self, now: Instant) {
        self.has_worker = false;
        self.stage = Stage::Idle;
        self.judge(Conduct::NoThread, now);
    }
}
