//! A store: one backing with its staging buffers, its transfers under way and its counters.
//!
//! A buffer and the transfer that it is used for are one thing, an *op*:
//!
//! ```text
//!             take_buf              submit                  a worker takes it
//!    Vacant ───────────→ Taken ───────────────→ Queued ───────────────────────→ Running
//!      ↑                  │ ↑                     │                               │   │
//!      │←─────────────────┘ └──────── wait ───────│──────────────────── Done ←────┘   │
//!      │←──────────────────── abandoned ──────────┘                       │           │
//!      │←──────────────────── abandoned ──────────────────────────────────┘           │
//!      │←──────────────────── abandoned: once the worker comes back ──────────────────┘
//! ```
//!
//! **Invariants**
//! - B1: a buffer lies in its op, but for four stages: `Taken`, where an [`IoBuf`] has it, `Running`,
//!   where the worker has it, and `Reading` and `Orphaned` (see `bypass`), where a [`Flight`] has it. So
//!   what a device may still read or write belongs to nobody else.
//! - B2: an op is `Done` only while an [`InFlight`] waits for it. One that was abandoned goes from
//!   `Running` straight to `Vacant`.
//! - B3: neither direction has more buffers than [`Direction::max_bufs`], whatever becomes of them, so
//!   that stalled writes leave some for faults, and faults some for reclaim, whose memory they need.
//! - B4: between `write_begins` and `write_ends` for a page, the device may still write it. `write_ends`
//!   comes before the op is `Done` or `Vacant`.
//! - B5: what overlaps a write that is queued or running is refused as stalled, so that an abandoned write
//!   that ends late never undoes a later one.
//!
//! **Locking and ordering.** One lock for everything above; callbacks, watchers and wake-ups run without
//! it. Queues wait for conditions that only change under that lock, and a sleeper looks at its condition
//! under it after it published its entry. So whichever comes first, the other sees, and the queues need
//! no barrier of their own.
//!
//! Not here: the worker threads (`workers`), what a worker does with a transfer (`transfer`), reads that
//! need none (`bypass`).

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Backing;
use super::buffer::{Buffer, IO_PAGES};
use super::bypass::{self, InFile};
use super::callback::{self, Callers, PoolTag};
use super::counters::{Counter, Counters, Counts};
use super::entry::StoreId;
use super::uring::Flight;
use super::workers::{Crew, Spawn};
use crate::error::BuildError;
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, WaitQueue};
use crate::types::PAGE_SIZE;

/// Buffers of a store, 1 MiB. Two writes are enough to keep a disk busy while the next is filled; more
/// reads than these only queue up at the device.
const NR_BUFS: usize = 8;

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// From the backing into memory.
    Read,
    /// From memory to the backing.
    Write,
}

impl Direction {
    /// Buffers that one direction may have at once (B3).
    const fn max_bufs(self) -> usize {
        match self {
            Direction::Read => 6,
            Direction::Write => 4,
        }
    }
}

const _: () =
    assert!(Direction::Read.max_bufs() < NR_BUFS && Direction::Write.max_bufs() < NR_BUFS);

/// Why a transfer did not bring what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The deadline passed. Whatever was under way goes on by itself.
    #[error("the store has stalled")]
    Stalled,
    /// The device failed, and trying again did not help.
    #[error("the device failed")]
    Failed,
    /// What was read is not what was written.
    #[error("the data is damaged: its checksum does not match")]
    Corrupt,
    /// The device has no room.
    #[error("the device is full")]
    Full,
    /// The backing holds the pages back for now.
    #[error("the backing holds the pages back")]
    Held,
    /// The callback panicked.
    #[error("the backing panicked")]
    Panicked,
    /// The store was shut down, or the system has no thread for it.
    #[error("the store is closed")]
    Closed,
}

/// What came of a transfer, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// A bit for each page that failed.
    failed: u32,
    /// How many of those are damaged.
    nr_corrupt: u8,
    /// Why the first of them did.
    error: Option<StoreError>,
}

const _: () = assert!(IO_PAGES == u32::BITS as usize);

impl Outcome {
    /// Every page was transferred.
    pub(crate) const DONE: Outcome = Outcome {
        failed: 0,
        nr_corrupt: 0,
        error: None,
    };

    /// None of `nr` pages was.
    pub(super) fn all_failed(nr: usize, error: StoreError) -> Outcome {
        let mut outcome = Outcome::DONE;
        (0..nr).for_each(|page| outcome.add_failure(page, error));
        outcome
    }

    pub(super) fn add_failure(&mut self, page: usize, error: StoreError) {
        self.failed |= 1 << page;
        self.nr_corrupt += u8::from(error == StoreError::Corrupt);
        self.error.get_or_insert(error);
    }

    /// Why pages failed, if any did.
    pub(crate) fn error(self) -> Option<StoreError> {
        self.error
    }

    /// How many did.
    pub(crate) fn nr_failed(self) -> u32 {
        self.failed.count_ones()
    }

    /// How many did because they are damaged.
    pub(super) fn nr_corrupt(self) -> u32 {
        self.nr_corrupt.into()
    }

    /// Whether all of `nr` pages were transferred, counting from page `first` of the buffer.
    pub(crate) fn of(self, first: usize, nr: usize) -> Result<(), StoreError> {
        debug_assert!(first + nr <= IO_PAGES, "pages {first} to {}", first + nr);
        let mask = ((1u64 << nr) - 1) << first;
        match self.error {
            Some(error) if u64::from(self.failed) & mask != 0 => Err(error),
            _ => Ok(()),
        }
    }
}

/// Is told which pages of a store the device may be writing at the moment (B4). Called with no lock
/// held, on the submitter's thread and on a worker's.
pub(crate) trait WriteWatch: Send + Sync {
    /// A write of these pages was submitted.
    fn write_begins(&self, page: u64, nr: usize);

    /// It ended, well or not, or was called off before it began.
    fn write_ends(&self, page: u64, nr: usize);
}

/// What a store is made of.
pub(crate) struct StoreSpec {
    /// Its number.
    pub(crate) id: StoreId,
    /// The pool that it serves.
    pub(crate) pool: PoolTag,
    /// What it calls.
    pub(crate) backing: Arc<dyn Backing>,
    /// The file that it lies in, if it does.
    pub(crate) in_file: Option<Arc<dyn InFile>>,
    /// Who is told of writes.
    pub(crate) watch: Option<Arc<dyn WriteWatch>>,
    /// How it gets its threads, at its first transfer.
    pub(crate) spawn: Spawn,
    /// After how long a callback counts as stuck, and its worker is replaced.
    pub(crate) stuck_after: Duration,
}

impl StoreSpec {
    /// What [`stuck_after`](Self::stuck_after) is where nobody has a better idea: a disk that spins up
    /// takes this long.
    pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);
}

/// A transfer that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) direction: Direction,
    pub(super) page: u64,
    pub(super) nr: usize,
    pub(super) callers: Callers,
    /// Requests of one direction are served in this order.
    ticket: u64,
}

impl Request {
    /// A request of the calling thread's.
    fn new(direction: Direction, page: u64, nr: usize) -> Request {
        assert!((1..=IO_PAGES).contains(&nr), "{nr} pages in one transfer");
        Request {
            direction,
            page,
            nr,
            callers: callback::current(),
            ticket: 0,
        }
    }

    /// A read that the calling thread needs.
    pub(super) fn read(page: u64, nr: usize) -> Request {
        Request::new(Direction::Read, page, nr)
    }
}

/// Where an op stands. See the head of the module.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Vacant,
    Taken,
    Queued(Request),
    Running {
        request: Request,
        is_abandoned: bool,
    },
    Done(Outcome),
    /// Whoever needs the pages reads them by the buffer's ring.
    Reading,
    /// Nobody waits for that read any more, and its buffer is for a worker to bring back.
    Orphaned(Request),
}

#[derive(Debug)]
struct Op {
    buffer: Option<Buffer>,
    /// An orphaned read, which has the buffer.
    flight: Option<Flight>,
    stage: Stage,
    /// What it was last taken for.
    direction: Direction,
}

/// Everything under a store's lock.
#[derive(Debug)]
pub(super) struct State {
    ops: [Op; NR_BUFS],
    next_ticket: u64,
    pub(super) crew: Crew,
    pub(super) is_closed: bool,
}

/// A job that a worker took: what to do, and with which buffer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) op: usize,
    pub(super) request: Request,
    pub(super) buffer: Buffer,
}

/// A read that nobody waits for, and that a worker took.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) op: usize,
    pub(super) request: Request,
    pub(super) flight: Flight,
}

/// What a worker is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Call the backing.
    Call(Job),
    /// Wait for a read by a ring to end, however long that takes.
    BringBack(Orphan),
}

impl State {
    /// Takes a vacant buffer (B3).
    fn take_vacant(&mut self, direction: Direction) -> Option<(usize, Buffer)> {
        let is_vacant = |op: &Op| matches!(op.stage, Stage::Vacant);
        let same = |op: &&Op| !is_vacant(op) && op.direction == direction;
        if self.ops.iter().filter(same).count() >= direction.max_bufs() {
            return None;
        }
        let op = self.ops.iter().position(is_vacant)?;
        self.ops[op].direction = direction;
        let buffer = self.take_buffer(op);
        Some((op, buffer))
    }

    /// Takes the buffer out of an op that has it.
    fn take_buffer(&mut self, op: usize) -> Buffer {
        self.ops[op].stage = Stage::Taken;
        self.ops[op].buffer.take().expect("B1: it is in its op")
    }

    /// Puts the buffer of an op back, which is then at `stage`.
    fn put_buffer(&mut self, op: usize, buffer: Buffer, stage: Stage) {
        debug_assert!(self.ops[op].buffer.is_none(), "B1: two buffers");
        self.ops[op].buffer = Some(buffer);
        self.ops[op].stage = stage;
    }

    /// Why a request is not even queued, if it is not (B5).
    fn refusal(&self, request: Request) -> Option<StoreError> {
        if self.is_closed {
            Some(StoreError::Closed)
        } else if self.is_being_written(request.page, request.nr) {
            Some(StoreError::Stalled)
        } else {
            None
        }
    }

    /// Whether one of these pages is being written, or is about to be.
    fn is_being_written(&self, page: u64, nr: usize) -> bool {
        self.ops.iter().any(|op| match op.stage {
            Stage::Queued(other) | Stage::Running { request: other, .. } => {
                other.direction == Direction::Write
                    && page < other.page + other.nr as u64
                    && other.page < page + nr as u64
            }
            Stage::Vacant | Stage::Taken | Stage::Done(_) | Stage::Reading | Stage::Orphaned(_) => {
                false
            }
        })
    }

    pub(super) fn has_work(&self) -> bool {
        let waits = |op: &Op| matches!(op.stage, Stage::Queued(_) | Stage::Orphaned(_));
        self.ops.iter().any(waits)
    }

    /// What is to be done next: orphans last, since nobody waits for them.
    pub(super) fn take_work(&mut self) -> Option<Work> {
        match self.take_job() {
            Some(job) => Some(Work::Call(job)),
            None => self.take_orphan().map(Work::BringBack),
        }
    }

    fn take_orphan(&mut self) -> Option<Orphan> {
        self.ops.iter_mut().enumerate().find_map(|(op, orphan)| {
            let Stage::Orphaned(request) = orphan.stage else {
                return None;
            };
            orphan.stage = Stage::Running {
                request,
                is_abandoned: true,
            };
            let flight = orphan.flight.take();
            let flight = flight.expect("B1: an orphan's flight lies in its op");
            Some(Orphan {
                op,
                request,
                flight,
            })
        })
    }

    /// Reads by rings that no worker has taken over.
    pub(super) fn nr_by_rings(&self) -> usize {
        let by_ring = |op: &&Op| matches!(op.stage, Stage::Reading | Stage::Orphaned(_));
        self.ops.iter().filter(by_ring).count()
    }

    /// The next job: the oldest read, or else the oldest write, since faults are waited for.
    fn take_job(&mut self) -> Option<Job> {
        let queued = self
            .ops
            .iter()
            .enumerate()
            .filter_map(|(n, op)| match op.stage {
                Stage::Queued(request) => Some((n, request)),
                _ => None,
            });
        let (op, request) = queued
            .min_by_key(|(_, request)| (request.direction == Direction::Write, request.ticket))?;
        let buffer = self.take_buffer(op);
        self.ops[op].stage = Stage::Running {
            request,
            is_abandoned: false,
        };
        Some(Job {
            op,
            request,
            buffer,
        })
    }
}

/// What the handles and the workers of a store share.
pub(super) struct Shared {
    pub(super) id: StoreId,
    pub(super) pool: PoolTag,
    pub(super) backing: Arc<dyn Backing>,
    /// What reads by rings need; none if there are none.
    pub(super) source: Option<Arc<dyn InFile>>,
    watch: Option<Arc<dyn WriteWatch>>,
    pub(super) spawn: Spawn,
    pub(super) stuck_after: Duration,
    pub(super) counters: Counters,
    pub(super) state: CoreMutex<State>,
    /// For a buffer.
    vacated: WaitQueue,
    /// For the end of each op.
    ended: [WaitQueue; NR_BUFS],
    /// Each worker's, for work.
    pub(super) bells: [WaitQueue; Crew::MAX],
    /// For the end of a worker, or of a read by a ring.
    pub(super) left: WaitQueue,
}

impl Shared {
    /// Queues a request, or ends it as refused.
    fn enqueue(&self, op: usize, buffer: Buffer, mut request: Request) {
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
    pub(super) fn complete(&self, job: Job, outcome: Outcome) {
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
    pub(super) fn begin_reading(&self, buf: &IoBuf, request: Request) -> bool {
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
    pub(super) fn end_reading(self: &Arc<Shared>, op: usize, buffer: Buffer) -> IoBuf {
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
    pub(super) fn orphan(&self, op: usize, request: Request, flight: Flight) {
        let mut state = self.state.lock();
        state.ops[op].flight = Some(flight);
        state.ops[op].stage = Stage::Orphaned(request);
    }

    /// Counts what came of a transfer that somebody waited for.
    pub(super) fn count(&self, request: Request, outcome: Outcome) {
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
    pub(super) fn refuse_queued(&self) {
        loop {
            let job = self.state.lock().take_job();
            let Some(job) = job else { return };
            let outcome = Outcome::all_failed(job.request.nr, StoreError::Closed);
            self.complete(job, outcome);
        }
    }

    fn give_back(&self, op: usize, buffer: Buffer) {
        self.state.lock().put_buffer(op, buffer, Stage::Vacant);
        self.vacated.wake_all();
    }

    /// Nobody waits for the op any more.
    fn abandon(&self, op: usize) {
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
    fn take_done(&self, op: usize) -> Option<(Buffer, Outcome)> {
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
    }
}

/// One backing at work. A handle: clones are the same store, and the last one dropped closes it.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Owner>);

/// What the handles of a store have in common. Its workers have only the [`Shared`] part.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Store {
    /// Returns a store that has done nothing and started nothing.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for the buffers.
    pub(crate) fn new(spec: StoreSpec) -> Result<Store, BuildError> {
        let mut buffers = Vec::with_capacity(NR_BUFS);
        for _ in 0..NR_BUFS {
            buffers.push(Buffer::new()?);
        }
        let mut buffers = buffers.into_iter();
        let ops = std::array::from_fn(|_| Op {
            buffer: buffers.next(),
            flight: None,
            stage: Stage::Vacant,
            direction: Direction::Read,
        });
        let source = bypass::source(&spec);
        let StoreSpec {
            id,
            pool,
            backing,
            in_file: _,
            watch,
            spawn,
            stuck_after,
        } = spec;
        let shared = Arc::new(Shared {
            id,
            pool,
            backing,
            source,
            watch,
            spawn,
            stuck_after,
            counters: Counters::new(),
            state: CoreMutex::new(State {
                ops,
                next_ticket: 0,
                crew: Crew::new(),
                is_closed: false,
            }),
            vacated: WaitQueue::unfenced(),
            ended: std::array::from_fn(|_| WaitQueue::unfenced()),
            bells: std::array::from_fn(|_| WaitQueue::unfenced()),
            left: WaitQueue::unfenced(),
        });
        Ok(Store(Arc::new(Owner(shared))))
    }

    /// Bytes that a store may come to take.
    pub(crate) fn bytes() -> usize {
        NR_BUFS * Buffer::bytes_for()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// The store's number.
    pub(crate) fn id(&self) -> StoreId {
        self.shared().id
    }

    /// Takes a buffer for a transfer, which may mean to wait for one.
    ///
    /// # Errors
    /// [`StoreError::Stalled`] if none was free before the deadline.
    pub(crate) fn take_buf(
        &self,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> Result<IoBuf, StoreError> {
        let mut taken = None;
        let take = || {
            taken = self.shared().state.lock().take_vacant(direction);
            taken.is_some()
        };
        self.shared().vacated.wait_until(deadline, take);
        match taken {
            Some((op, buffer)) => Ok(IoBuf {
                shared: Arc::clone(self.shared()),
                op,
                buffer: Some(buffer),
            }),
            None => {
                self.shared().counters.add(Counter::Stalls, 1);
                Err(StoreError::Stalled)
            }
        }
    }

    /// Takes a buffer if one is free.
    pub(crate) fn try_take_buf(&self, direction: Direction) -> Option<IoBuf> {
        let (op, buffer) = self.shared().state.lock().take_vacant(direction)?;
        Some(IoBuf {
            shared: Arc::clone(self.shared()),
            op,
            buffer: Some(buffer),
        })
    }

    /// Writes the first `nr` pages of the buffer out, to the store's pages from `page` on.
    pub(crate) fn submit_write(&self, buf: IoBuf, page: u64, nr: usize) -> InFlight {
        self.submit(buf, Direction::Write, page, nr)
    }

    /// Fills the first `nr` pages of the buffer from the store's pages from `page` on.
    pub(crate) fn submit_read(&self, buf: IoBuf, page: u64, nr: usize) -> InFlight {
        self.submit(buf, Direction::Read, page, nr)
    }

    fn submit(&self, mut buf: IoBuf, direction: Direction, page: u64, nr: usize) -> InFlight {
        let shared = self.shared();
        assert!(
            Arc::ptr_eq(shared, &buf.shared),
            "the buffer is another store's"
        );
        let request = Request::new(direction, page, nr);
        let buffer = buf.buffer.take().expect("a buffer in hand has its memory");
        shared.enqueue(buf.op, buffer, request);
        Shared::see_to_workers(shared);
        InFlight {
            shared: Some(Arc::clone(shared)),
            op: buf.op,
        }
    }

    /// What happened so far.
    pub(crate) fn counts(&self) -> Counts {
        self.shared().counters.read()
    }

    /// Transfers that are queued or running, those that nobody waits for among them.
    #[cfg(test)]
    pub(crate) fn nr_in_flight(&self) -> usize {
        let state = self.shared().state.lock();
        let in_flight = |op: &&Op| matches!(op.stage, Stage::Queued(_) | Stage::Running { .. });
        state.ops.iter().filter(in_flight).count() + state.nr_by_rings()
    }

    /// Whether it was shut down, or is about to be.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared().state.lock().is_closed
    }

    /// Refuses further transfers, lets those under way end, and waits for the worker threads to do so;
    /// but for the calling thread, if it is one.
    ///
    /// # Errors
    /// [`StillBusy`] if some have not at the deadline. They end by themselves, once the callbacks that
    /// hold them up return.
    pub(crate) fn shut_down(&self, deadline: Option<Instant>) -> Result<(), StillBusy> {
        self.shared().close();
        self.shared().wait_for_workers(deadline)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Shared");
        out.field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Worker threads, and reads without one, that have not ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{store:?} has {nr_workers} worker threads that do not return from its backing's callbacks, and \
     {nr_reads} reads that its file does not answer"
)]
pub(crate) struct StillBusy {
    pub(super) store: StoreId,
    pub(super) nr_workers: usize,
    pub(super) nr_reads: usize,
}

/// A staging buffer in somebody's hands; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct IoBuf {
    shared: Arc<Shared>,
    op: usize,
    /// None only while it is being passed on.
    buffer: Option<Buffer>,
}

impl IoBuf {
    /// Takes the buffer out of the hands of whoever has this, to be passed on with its op.
    pub(super) fn into_parts(mut self) -> (usize, Buffer) {
        let buffer = self.buffer.take();
        (self.op, buffer.expect("a buffer in hand has its memory"))
    }

    pub(super) fn buffer_mut(&mut self) -> &mut Buffer {
        let buffer = self.buffer.as_mut();
        buffer.expect("a buffer in hand has its memory")
    }

    fn buffer(&self) -> &Buffer {
        self.buffer
            .as_ref()
            .expect("a buffer in hand has its memory")
    }

    /// All bytes, those of [`IO_PAGES`] pages.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer().bytes()
    }

    /// All bytes, to be filled.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer_mut().bytes_mut()
    }

    /// The bytes of `nr` pages from page `first` of the buffer on.
    pub(crate) fn pages(&self, first: usize, nr: usize) -> &[u8] {
        &self.bytes()[first * PAGE_SIZE..(first + nr) * PAGE_SIZE]
    }

    /// The same, to be filled.
    pub(crate) fn pages_mut(&mut self, first: usize, nr: usize) -> &mut [u8] {
        &mut self.bytes_mut()[first * PAGE_SIZE..(first + nr) * PAGE_SIZE]
    }
}

impl Drop for IoBuf {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.shared.give_back(self.op, buffer);
        }
    }
}

/// A transfer under way; dropping it abandons it. The buffer stays with the transfer until that ends.
#[must_use = "a transfer that is dropped is abandoned"]
#[derive(Debug)]
pub(crate) struct InFlight {
    /// None once it has ended.
    shared: Option<Arc<Shared>>,
    op: usize,
}

/// A transfer that has ended, with its buffer.
#[derive(Debug)]
pub(crate) struct Completed {
    /// The buffer: what was read, or what was written.
    pub(crate) buf: IoBuf,
    /// Which of its pages were transferred.
    pub(crate) outcome: Outcome,
}

impl InFlight {
    /// Whether the transfer has ended: then [`wait`](Self::wait) does not sleep.
    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.shared().state.lock();
        matches!(state.ops[self.op].stage, Stage::Done(_))
    }

    fn shared(&self) -> &Arc<Shared> {
        self.shared
            .as_ref()
            .expect("a transfer in hand was not waited for")
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`StoreError::Stalled`] if that did not come before the deadline: the transfer is abandoned.
    pub(crate) fn wait(mut self, deadline: Option<Instant>) -> Result<Completed, StoreError> {
        let shared = self.shared();
        let mut done = None;
        loop {
            let look = shared.next_look(deadline);
            let take = || {
                done = shared.take_done(self.op);
                done.is_some()
            };
            if shared.ended[self.op].wait_until(look, take) {
                break;
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                shared.counters.add(Counter::Stalls, 1);
                return Err(StoreError::Stalled); // and dropped: abandoned
            }
            Shared::see_to_workers(shared);
        }

        let (buffer, outcome) = done.expect("it has ended");
        let shared = self.shared.take().expect("it was there just now");
        let buf = IoBuf {
            shared,
            op: self.op,
            buffer: Some(buffer),
        };
        Ok(Completed { buf, outcome })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.counters.add(Counter::Abandoned, 1);
            shared.abandon(self.op);
        }
    }
}

/// The stores of a pool, by number.
#[derive(Debug)]
pub(crate) struct Stores {
    stores: [CoreMutex<Option<Store>>; StoreId::MAX],
}

impl Stores {
    /// Returns a table without stores.
    pub(crate) fn new() -> Stores {
        Stores {
            stores: std::array::from_fn(|_| CoreMutex::new(None)),
        }
    }

    /// Makes a store under the first number that is vacant; none if there is none.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn add<E>(
        &self,
        make: impl FnOnce(StoreId) -> Result<Store, E>,
    ) -> Result<Option<Store>, E> {
        for id in StoreId::all() {
            let mut place = self.stores[id.idx()].lock();
            if place.is_none() {
                let store = make(id)?;
                *place = Some(store.clone());
                return Ok(Some(store));
            }
        }
        Ok(None)
    }

    /// A store, if there is one of this number.
    pub(crate) fn get(&self, id: StoreId) -> Option<Store> {
        self.stores[id.idx()].lock().clone()
    }

    /// Forgets a store, whose number may then be another's. It was shut down.
    pub(crate) fn remove(&self, id: StoreId) -> Option<Store> {
        self.stores[id.idx()].lock().take()
    }

    /// All stores.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Store> {
        StoreId::all().filter_map(|id| self.get(id))
    }
}
