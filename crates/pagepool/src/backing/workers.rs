//! The threads of a store, which call its backing, and wait for what others got tired of.
//!
//! They start when there is something to do, end when the store does, and sleep in between without a
//! deadline. A thread that does not come back from a callback is *quarantined*: it keeps its buffer, and
//! another takes its place; once it does come back, it goes.
//!
//! ```text
//!               submit                 bell                  no job
//!   Absent ──────────────→ Called ──────────────→ Busy ──────────────────→ Idle
//!      ↑                     ↑                     │ │                       │
//!      │                     └─────── submit ──────│─│───────────────────────┘
//!      │                                           │ └── stuck ──→ Quarantined
//!      └───────────────── closed, or replaced ─────┴────────────────────┘
//! ```
//!
//! Nobody watches the workers: whoever submits or waits for a transfer looks whether one is missing
//! ([`Shared::see_to_workers`]).

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::callback;
use super::counters::Counter;
use super::outcome::Outcome;
use super::store::{Job, Orphan, Shared, StillBusy, Work};
use super::transfer::Transfer;
use super::uring::Landed;
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::thread::{self, JoinHandle, ThreadId};
use crate::types::PAGE_SIZE;

/// How a store gets a thread: `sync::thread::spawn`, from a layer that may start some.
pub(crate) type Spawn = fn(&str, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>;

/// What a worker is up to. See the head of the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Worker {
    Absent,
    Idle,
    Called,
    Busy { since: Instant },
    Quarantined,
}

/// The workers of a store.
#[derive(Debug)]
pub(super) struct Crew {
    workers: [Worker; Crew::MAX],
    threads: [Option<ThreadId>; Crew::MAX],
}

impl Crew {
    /// Workers that serve the queue at once: two writes in flight, and two reads beside them.
    const MAX_ACTIVE: usize = 4;

    /// All of them, with those in quarantine.
    pub(super) const MAX: usize = 8;

    pub(super) fn new() -> Crew {
        Crew {
            workers: [Worker::Absent; Crew::MAX],
            threads: [None; Crew::MAX],
        }
    }

    /// What each is up to, by number.
    pub(super) fn workers(&self) -> impl Iterator<Item = (usize, Worker)> {
        self.workers.iter().copied().enumerate()
    }

    fn position(&self, is: impl Fn(Worker) -> bool) -> Option<usize> {
        self.workers.iter().position(|&worker| is(worker))
    }

    fn nr_active(&self) -> usize {
        let active = |worker: &&Worker| !matches!(worker, Worker::Absent | Worker::Quarantined);
        self.workers.iter().filter(active).count()
    }

    /// Workers that there are, but for `thread`.
    fn nr_beside(&self, thread: ThreadId) -> usize {
        let with_threads = self.workers.iter().zip(&self.threads);
        let others =
            with_threads.filter(|&(&worker, &of)| worker != Worker::Absent && of != Some(thread));
        others.count()
    }

    /// The worker's thread has ended, or is about to.
    fn end(&mut self, worker: usize) {
        self.workers[worker] = Worker::Absent;
        self.threads[worker] = None;
    }

    /// Puts whoever is busy for longer than `limit` into quarantine; returns how many that are.
    fn quarantine_stuck(&mut self, limit: Duration) -> u64 {
        let now = clock::now();
        let mut nr = 0;
        for worker in &mut self.workers {
            if let Worker::Busy { since } = *worker
                && now.saturating_duration_since(since) >= limit
            {
                *worker = Worker::Quarantined;
                nr += 1;
            }
        }
        nr
    }
}

/// Who is to see to the queue.
enum Help {
    Nobody,
    Wake(usize),
    Start(usize),
}

impl Shared {
    /// Calls a worker if there is work for one more, and starts one if need be.
    pub(super) fn see_to_workers(shared: &Arc<Shared>) {
        match shared.choose_help() {
            Help::Nobody => {}
            Help::Wake(worker) => {
                shared.bells[worker].wake_all();
            }
            Help::Start(worker) => Shared::start(shared, worker),
        }
    }

    fn choose_help(&self) -> Help {
        let mut state = self.state.lock();
        if !state.has_work() {
            return Help::Nobody;
        }
        let crew = &mut state.crew;
        if let Some(worker) = crew.position(|worker| worker == Worker::Idle) {
            crew.workers[worker] = Worker::Called;
            return Help::Wake(worker);
        }
        if crew.nr_active() >= Crew::MAX_ACTIVE {
            let nr = crew.quarantine_stuck(self.stuck_after);
            self.counters.add(Counter::Quarantined, nr);
        }
        if crew.nr_active() >= Crew::MAX_ACTIVE {
            return Help::Nobody;
        }
        match crew.position(|worker| worker == Worker::Absent) {
            Some(worker) => {
                crew.workers[worker] = Worker::Called;
                Help::Start(worker)
            }
            None => Help::Nobody,
        }
    }

    #[cold]
    fn start(shared: &Arc<Shared>, worker: usize) {
        let name = format!("pool-io/{worker}");
        let work = Arc::clone(shared);
        let started = (shared.spawn)(&name, Box::new(move || work.work(worker)));
        if let Err(error) = started {
            tracing::warn!(target: "pagepool::store", %error, "no thread for {name}");
            let mut state = shared.state.lock();
            state.crew.end(worker);
            let is_alone = state.crew.nr_active() == 0;
            drop(state);
            if is_alone {
                shared.refuse_queued();
            }
        }
    }

    /// The life of a worker.
    fn work(self: Arc<Shared>, me: usize) {
        self.state.lock().crew.threads[me] = Some(thread::current_id());
        while let Some(work) = self.next_work(me) {
            let (job, outcome) = match work {
                Work::Call(job) => self.perform(job),
                Work::BringBack(orphan) => (orphan.bring_back(), Outcome::DONE),
            };
            self.complete(job, outcome);
        }
        self.left.wake_all();
    }

    /// Waits for work; none if this worker is not needed any more.
    fn next_work(&self, me: usize) -> Option<Work> {
        loop {
            let mut state = self.state.lock();
            let is_replaced = state.crew.workers[me] == Worker::Quarantined
                && state.crew.nr_active() >= Crew::MAX_ACTIVE;
            if is_replaced {
                state.crew.end(me);
                return None;
            }
            if let Some(work) = state.take_work() {
                state.crew.workers[me] = Worker::Busy {
                    since: clock::now(),
                };
                return Some(work);
            }
            if state.is_closed {
                state.crew.end(me);
                return None;
            }
            state.crew.workers[me] = Worker::Idle;
            drop(state);
            self.bells[me].wait_until(None, || {
                let state = self.state.lock();
                let is_called = state.is_closed || state.crew.workers[me] != Worker::Idle;
                is_called && !mutated("store.look_at_call")
            });
        }
    }

    /// Calls the backing.
    fn perform(&self, mut job: Job) -> (Job, Outcome) {
        let request = job.request;
        let _inside = callback::enter(request.callers, self.pool);
        let transfer = Transfer {
            backing: &*self.backing,
            counters: &self.counters,
            direction: request.direction,
        };
        let bytes = &mut job.buffer.bytes_mut()[..request.nr * PAGE_SIZE];
        let outcome = transfer.run(request.page, bytes);
        (job, outcome)
    }

    /// When to look after the workers next: at the deadline, or when one may be stuck.
    pub(super) fn next_look(&self, deadline: Option<Instant>) -> Option<Instant> {
        let look = clock::deadline_after(self.stuck_after);
        match (look, deadline) {
            (Some(look), Some(deadline)) => Some(look.min(deadline)),
            (look, deadline) => look.or(deadline),
        }
    }

    /// Refuses transfers from now on. Those that are queued are served.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        for bell in &self.bells {
            bell.wake_all();
        }
    }

    /// Waits until the workers have ended, but for the calling thread, and the reads without one.
    pub(super) fn wait_for_workers(&self, deadline: Option<Instant>) -> Result<(), StillBusy> {
        let this = thread::current_id();
        let (mut nr_others, mut nr_reads) = (0, 0);
        let all_left = self.left.wait_until(deadline, || {
            let state = self.state.lock();
            (nr_others, nr_reads) = (state.crew.nr_beside(this), state.nr_by_rings());
            nr_others + nr_reads == 0
        });
        if all_left {
            return Ok(());
        }
        Err(StillBusy {
            store: self.id,
            nr_workers: nr_others,
            nr_reads,
        })
    }
}

impl Orphan {
    /// Waits for the read to end, which gives the buffer back. What it brought is nobody's.
    fn bring_back(self) -> Job {
        let Orphan {
            op,
            request,
            flight,
        } = self;
        let landed = flight.wait(None);
        let Landed { buffer, .. } = landed.expect("without a deadline, there is an end");
        Job {
            op,
            request,
            buffer,
        }
    }
}
