//! One shrinker: what is known of it, and the ways of those who meet over it: who has it called and waits
//! for the end, the worker that makes the call, and who takes it out of service.
//!
//! *Kernel counterpart:* `struct shrinker` (v5.0), and the thread that calls it.

use std::fmt;
use std::sync::Arc;

use super::call::{Admission, Job, Running, Stage, State};
use super::shrinker::MAX_NAME;
use super::{Shrinker, ShrinkerOptions, Table, Takings};
use crate::backing::{PoolTag, Spawn};
use crate::reclaim::policy::trust::Conduct;
use crate::sync::atomic::AtomicUsize;
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, WaitQueue};

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
    /// Objects put off, by group and node.
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
            state: CoreMutex::new(State::new()),
            bell: WaitQueue::unfenced(),
            ended: WaitQueue::unfenced(),
        }
    }

    /// Bytes of one, if there are so many maps.
    pub(super) fn bytes_for(nr_maps: usize) -> usize {
        size_of::<Desk>() + nr_maps * size_of::<AtomicUsize>() + MAX_NAME
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
