//! What the handles and the workers of a store share, and the steps of an op between them: those that
//! take the store's lock, tell the watcher, count, and wake who waits.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::WriteWatch;
use super::in_hand::IoBuf;
use super::ops::{Direction, Job, NR_BUFS, Request, Stage, State};
use crate::backing::Backing;
use crate::backing::buffer::Buffer;
use crate::backing::bypass::InFile;
use crate::backing::callback::PoolTag;
use crate::backing::counters::{Counter, Counters};
use crate::backing::entry::StoreId;
use crate::backing::outcome::{Outcome, StoreError};
use crate::backing::uring::Flight;
use crate::backing::workers::{Crew, Spawn};
use crate::sync::clock::Instant;
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, WaitQueue};

/// What the handles and the workers of a store share.
pub(in crate::backing) struct Shared {
    pub(in crate::backing) id: StoreId,
    pub(in crate::backing) pool: PoolTag,
    pub(in crate::backing) backing: Arc<dyn Backing>,
    /// What reads by rings need; none if there are none.
    pub(in crate::backing) source: Option<Arc<dyn InFile>>,
    pub(super) watch: Option<Arc<dyn WriteWatch>>,
    pub(in crate::backing) spawn: Spawn,
    pub(in crate::backing) stuck_after: Duration,
    pub(in crate::backing) counters: Counters,
    pub(in crate::backing) state: CoreMutex<State>,
    /// For a buffer.
    pub(super) vacated: WaitQueue,
    /// For the end of each op.
    pub(super) ended: [WaitQueue; NR_BUFS],
    /// Each worker's, for work.
    pub(in crate::backing) bells: [WaitQueue; Crew::MAX],
    /// For the end of a worker, or of a read by a ring.
    pub(in crate::backing) left: WaitQueue,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Shared");
        out.field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Why what was asked at a point in time is not waited for any more, which is counted. A store that owes
    /// another an answer for longer is judged by that.
    pub(in crate::backing) fn gave_up(&self, since: Instant) -> StoreError {
        let oldest = self.state.lock().oldest();
        let error = StoreError::after(oldest.map_or(since, |oldest| oldest.min(since)));
        if error == StoreError::Stalled {
            self.counters.add(Counter::Stalls, 1);
        }
        error
    }

    /// Queues a request, or ends it as refused.
    pub(super) fn enqueue(&self, op: usize, buffer: Buffer, mut request: Request) {
        let refused = |error| Stage::Done(Outcome::all_failed(request.nr, error));
        let mut state = self.state.lock();
        if let Some(error) = state.refusal(request) {
            state.put_buffer(op, buffer, refused(error));
            return;
        }
        // The watcher is told before a worker can see the request (B4), and without the lock.
        drop(state);
        self.tell_write_begins(request);

        let mut state = self.state.lock();
        if let Some(error) = state.refusal(request) {
            state.put_buffer(op, buffer, refused(error));
            drop(state);
            self.tell_write_ended(request);
            return;
        }
        request.ticket = state.next_ticket;
        state.next_ticket += 1;
        state.put_buffer(op, buffer, Stage::Queued(request));
    }

    /// Puts an op's buffer and outcome where they belong after the transfer.
    pub(in crate::backing) fn complete(&self, job: Job, outcome: Outcome) {
        let Job {
            op,
            request,
            buffer,
        } = job;
        self.tell_write_ended(request);

        let mut state = self.state.lock();
        let Stage::Running { is_abandoned, .. } = state.ops[op].stage else {
            unreachable!("B1: a worker has the buffer of {:?}", state.ops[op]);
        };
        count(&self.counters, request, outcome, is_abandoned);
        let stage = match is_abandoned {
            true => Stage::Vacant,
            false => Stage::Done(outcome),
        };
        state.put_buffer(op, buffer, stage);
        drop(state);

        if is_abandoned {
            self.vacated.wake_all();
        } else if !mutated("store.wake_waiter") {
            self.ended[op].wake_all();
        }
    }

    /// A buffer in hand begins to be read into by its ring, unless the request is refused.
    pub(in crate::backing) fn begin_reading(&self, buf: &IoBuf, request: Request) -> bool {
        assert!(
            std::ptr::eq(self, &*buf.shared),
            "the buffer is another store's"
        );
        let mut state = self.state.lock();
        if state.refusal(request).is_some() {
            return false;
        }
        state.ops[buf.op].stage = Stage::Reading;
        true
    }

    /// The read has ended: its buffer is in hand again.
    pub(in crate::backing) fn end_reading(self: &Arc<Shared>, op: usize, buffer: Buffer) -> IoBuf {
        let mut state = self.state.lock();
        state.ops[op].stage = Stage::Taken;
        let is_closed = state.is_closed;
        drop(state);
        if is_closed {
            self.left.wake_all();
        }
        IoBuf {
            shared: Arc::clone(self),
            op,
            buffer: Some(buffer),
        }
    }

    /// Nobody waits for the read any more.
    pub(in crate::backing) fn orphan(&self, op: usize, request: Request, flight: Flight) {
        let mut state = self.state.lock();
        state.ops[op].flight = Some(flight);
        state.ops[op].stage = Stage::Orphaned(request);
    }

    /// Counts what came of a transfer that somebody waited for.
    pub(in crate::backing) fn count(&self, request: Request, outcome: Outcome) {
        count(&self.counters, request, outcome, false);
    }

    fn tell_write_begins(&self, request: Request) {
        if let (Direction::Write, Some(watch)) = (request.direction, &self.watch) {
            watch.write_begins(request.page, request.nr);
        }
    }

    fn tell_write_ended(&self, request: Request) {
        if let (Direction::Write, Some(watch)) = (request.direction, &self.watch) {
            watch.write_ends(request.page, request.nr);
        }
    }

    /// Ends what is queued, since there is nobody to serve it.
    pub(in crate::backing) fn refuse_queued(&self) {
        loop {
            let job = self.state.lock().take_job();
            let Some(job) = job else { return };
            let outcome = Outcome::all_failed(job.request.nr, StoreError::Closed);
            self.complete(job, outcome);
        }
    }

    pub(super) fn give_back(&self, op: usize, buffer: Buffer) {
        self.state.lock().put_buffer(op, buffer, Stage::Vacant);
        self.vacated.wake_all();
    }

    /// Nobody waits for the op any more.
    pub(super) fn abandon(&self, op: usize) {
        let mut state = self.state.lock();
        let called_off = match &mut state.ops[op].stage {
            Stage::Running { is_abandoned, .. } => {
                *is_abandoned = true;
                None
            }
            Stage::Queued(request) => Some(Some(*request)),
            Stage::Done(_) => Some(None),
            Stage::Vacant | Stage::Taken | Stage::Reading | Stage::Orphaned(_) => {
                unreachable!("nobody waits for {:?}", state.ops[op])
            }
        };
        let Some(request) = called_off else { return };
        // Not vacant yet: the watcher is told first, without the lock (B4).
        let buffer = state.take_buffer(op);
        drop(state);

        if let Some(request) = request {
            self.tell_write_ended(request);
        }
        self.give_back(op, buffer);
    }

    /// The outcome of an op that has ended, with its buffer.
    pub(super) fn take_done(&self, op: usize) -> Option<(Buffer, Outcome)> {
        let mut state = self.state.lock();
        let Stage::Done(outcome) = state.ops[op].stage else {
            return None;
        };
        Some((state.take_buffer(op), outcome))
    }
}

/// Counts what came of a transfer. What an abandoned read brought is nobody's: its pages may have been
/// freed and written anew meanwhile, so that it says nothing about the device.
fn count(counters: &Counters, request: Request, outcome: Outcome, is_abandoned: bool) {
    let nr = request.nr as u64;
    let failed = u64::from(outcome.nr_failed());
    match request.direction {
        Direction::Read if is_abandoned => counters.add(Counter::Reads, 1),
        Direction::Read => {
            counters.add(Counter::Reads, 1);
            counters.add(Counter::PagesRead, nr - failed);
            counters.add(Counter::ReadErrors, failed);
            counters.add(Counter::Corrupt, outcome.nr_corrupt().into());
        }
        Direction::Write => {
            counters.add(Counter::Writes, 1);
            counters.add(Counter::PagesWritten, nr - failed);
            let why = match outcome.error() {
                Some(StoreError::Held) => Counter::Held,
                Some(StoreError::Full) => Counter::Full,
                _ => Counter::WriteErrors,
            };
            counters.add(why, failed);
        }
        Direction::Ask => {}
    }
}
