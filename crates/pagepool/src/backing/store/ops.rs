//! The ops of a store: each a buffer and the transfer that it is used for, and what may become of it.
//! All of it is under the store's lock; the stages and the rules are in the head of [`store`](super).

#![forbid(unsafe_code)]

use super::StoreSpec;
use crate::backing::buffer::{Buffer, IO_PAGES};
use crate::backing::callback::{self, Callers};
use crate::backing::outcome::{Outcome, StoreError};
use crate::backing::uring::Flight;
use crate::backing::workers::Crew;
use crate::sync::clock::{self, Instant};

/// Buffers of a store, 1 MiB. Two writes are enough to keep a disk busy while the next is filled; more
/// reads than these only queue up at the device.
pub(super) const NR_BUFS: usize = 8;

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// From the backing into memory.
    Read,
    /// From memory to the backing.
    Write,
    /// Nowhere: the backing is asked whether a folio may be moved.
    Ask,
}

impl Direction {
    /// Buffers that one direction may have at once (B3). Asking needs none of its own, but keeps one for as
    /// long as it takes: a backing that does not answer is not asked again and again.
    const fn max_bufs(self, max_asks: usize) -> usize {
        match self {
            Direction::Read => 6,
            Direction::Write => 4,
            Direction::Ask => max_asks,
        }
    }

    /// Which is served first, lowest: faults are waited for, and a move is worth less than either.
    fn rank(self) -> u8 {
        match self {
            Direction::Read => 0,
            Direction::Write => 1,
            Direction::Ask => 2,
        }
    }
}

const _: () = {
    const MAX_ASKS: usize = StoreSpec::ONE_ASK;
    assert!(Direction::Read.max_bufs(MAX_ASKS) + MAX_ASKS < NR_BUFS);
    assert!(Direction::Write.max_bufs(MAX_ASKS) + MAX_ASKS < NR_BUFS);
};

/// A transfer that was asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::backing) struct Request {
    pub(in crate::backing) direction: Direction,
    pub(in crate::backing) page: u64,
    pub(in crate::backing) nr: usize,
    pub(in crate::backing) callers: Callers,
    /// When it was asked for.
    pub(in crate::backing) since: Instant,
    /// Requests of one direction are served in this order.
    pub(super) ticket: u64,
}

impl Request {
    /// A request of the calling thread's.
    pub(super) fn new(direction: Direction, page: u64, nr: usize) -> Request {
        assert!((1..=IO_PAGES).contains(&nr), "{nr} pages in one transfer");
        Request {
            direction,
            page,
            nr,
            callers: callback::current(),
            since: clock::now(),
            ticket: 0,
        }
    }

    /// A read that the calling thread needs.
    pub(in crate::backing) fn read(page: u64, nr: usize) -> Request {
        Request::new(Direction::Read, page, nr)
    }
}

/// Where an op stands. See the head of [`store`](super).
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
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
pub(super) struct Op {
    pub(super) buffer: Option<Buffer>,
    /// An orphaned read, which has the buffer.
    pub(super) flight: Option<Flight>,
    pub(super) stage: Stage,
    /// What it was last taken for.
    pub(super) direction: Direction,
}

/// Everything under a store's lock.
#[derive(Debug)]
pub(in crate::backing) struct State {
    pub(super) ops: [Op; NR_BUFS],
    pub(super) next_ticket: u64,
    /// Questions that may be open at once.
    pub(super) max_asks: usize,
    pub(in crate::backing) crew: Crew,
    pub(in crate::backing) is_closed: bool,
}

/// A job that a worker took: what to do, and with which buffer.
#[derive(Debug)]
pub(in crate::backing) struct Job {
    pub(in crate::backing) op: usize,
    pub(in crate::backing) request: Request,
    pub(in crate::backing) buffer: Buffer,
}

/// A read that nobody waits for, and that a worker took.
#[derive(Debug)]
pub(in crate::backing) struct Orphan {
    pub(in crate::backing) op: usize,
    pub(in crate::backing) request: Request,
    pub(in crate::backing) flight: Flight,
}

/// What a worker is to do.
#[derive(Debug)]
pub(in crate::backing) enum Work {
    /// Call the backing.
    Call(Job),
    /// Wait for a read by a ring to end, however long that takes.
    BringBack(Orphan),
}

impl State {
    /// Takes a vacant buffer (B3).
    pub(super) fn take_vacant(&mut self, direction: Direction) -> Option<(usize, Buffer)> {
        let is_vacant = |op: &Op| matches!(op.stage, Stage::Vacant);
        let same = |op: &&Op| !is_vacant(op) && op.direction == direction;
        if self.ops.iter().filter(same).count() >= direction.max_bufs(self.max_asks) {
            return None;
        }
        let op = self.ops.iter().position(is_vacant)?;
        self.ops[op].direction = direction;
        let buffer = self.take_buffer(op);
        Some((op, buffer))
    }

    /// Takes the buffer out of an op that has it.
    pub(super) fn take_buffer(&mut self, op: usize) -> Buffer {
        self.ops[op].stage = Stage::Taken;
        self.ops[op].buffer.take().expect("B1: it is in its op")
    }

    /// Puts the buffer of an op back, which is then at `stage`.
    pub(super) fn put_buffer(&mut self, op: usize, buffer: Buffer, stage: Stage) {
        debug_assert!(self.ops[op].buffer.is_none(), "B1: two buffers");
        self.ops[op].buffer = Some(buffer);
        self.ops[op].stage = stage;
    }

    /// Why a request is not even queued, if it is not (B5).
    pub(super) fn refusal(&self, request: Request) -> Option<StoreError> {
        if self.is_closed {
            return Some(StoreError::Closed);
        }
        let in_the_way = self.being_written(request.page, request.nr)?;
        Some(StoreError::after(in_the_way.since))
    }

    /// When that was asked which the store owes an answer for longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let since = |op: &Op| match op.stage {
            Stage::Queued(request) | Stage::Running { request, .. } | Stage::Orphaned(request) => {
                Some(request.since)
            }
            Stage::Vacant | Stage::Taken | Stage::Done(_) | Stage::Reading => None,
        };
        self.ops.iter().filter_map(since).min()
    }

    /// The request by which one of these pages is being written, or is about to be.
    fn being_written(&self, page: u64, nr: usize) -> Option<Request> {
        self.ops.iter().find_map(|op| match op.stage {
            Stage::Queued(other) | Stage::Running { request: other, .. } => {
                let is_in_the_way = other.direction == Direction::Write
                    && page < other.page + other.nr as u64
                    && other.page < page + nr as u64;
                is_in_the_way.then_some(other)
            }
            Stage::Vacant | Stage::Taken | Stage::Done(_) | Stage::Reading | Stage::Orphaned(_) => {
                None
            }
        })
    }

    pub(in crate::backing) fn has_work(&self) -> bool {
        let waits = |op: &Op| matches!(op.stage, Stage::Queued(_) | Stage::Orphaned(_));
        self.ops.iter().any(waits)
    }

    /// What is to be done next: orphans last, since nobody waits for them.
    pub(in crate::backing) fn take_work(&mut self) -> Option<Work> {
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
    pub(in crate::backing) fn nr_by_rings(&self) -> usize {
        let by_ring = |op: &&Op| matches!(op.stage, Stage::Reading | Stage::Orphaned(_));
        self.ops.iter().filter(by_ring).count()
    }

    /// The next job: the oldest of the direction that comes first.
    pub(super) fn take_job(&mut self) -> Option<Job> {
        let queued = self
            .ops
            .iter()
            .enumerate()
            .filter_map(|(n, op)| match op.stage {
                Stage::Queued(request) => Some((n, request)),
                _ => None,
            });
        let (op, request) =
            queued.min_by_key(|(_, request)| (request.direction.rank(), request.ticket))?;
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
