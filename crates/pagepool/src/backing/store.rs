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
//!   where the worker has it, and `Reading` and `Orphaned` (see `bypass`), where a
//!   [`Flight`](super::uring::Flight) has it. So what a device may still read or write belongs to nobody
//!   else.
//! - B2: an op is `Done` only while an [`InFlight`] waits for it. One that was abandoned goes from
//!   `Running` straight to `Vacant`.
//! - B3: neither direction has more buffers than [`Direction::max_bufs`], whatever becomes of them, so
//!   that stalled writes leave some for faults, and faults some for reclaim, whose memory they need; and a
//!   question that is not answered, some for both.
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
//! Here: what a store is made of, and what may be asked of it. The ops are in `ops`, the steps of one in
//! `shared`, what a user has in hand meanwhile in `in_hand`, and the stores of a pool in `table`.
//!
//! Not here: the worker threads (`workers`), what a worker does with a transfer (`transfer`), what comes
//! of it (`outcome`), reads that need no worker (`bypass`).

#![forbid(unsafe_code)]

mod in_hand;
mod ops;
mod report;
mod shared;
mod table;

use std::sync::Arc;
use std::time::Duration;

use self::ops::{NR_BUFS, Op, Stage, State};
use super::Backing;
use super::buffer::Buffer;
use super::bypass::{self, InFile};
use super::callback::PoolTag;
use super::counters::{Counters, Counts};
use super::entry::StoreId;
use super::outcome::StoreError;
use super::workers::{Crew, Spawn};
use crate::error::BuildError;
use crate::sync::clock::{self, Instant};
use crate::sync::{CoreMutex, WaitQueue};

pub(crate) use self::in_hand::{Completed, InFlight, IoBuf};
pub(crate) use self::ops::Direction;
pub(super) use self::ops::{Job, Orphan, Request, Work};
pub use self::report::{StoreInside, StoreReport, WorkerActivity};
pub(super) use self::shared::Shared;
pub(crate) use self::table::Stores;

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
    /// How many questions it may have open at once.
    pub(crate) max_asks: usize,
}

impl StoreSpec {
    /// What [`stuck_after`](Self::stuck_after) is where nobody has a better idea: a disk that spins up
    /// takes this long.
    pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

    /// What [`max_asks`](Self::max_asks) is where a store transfers pages: one that owes an answer has its
    /// buffers for those.
    pub(crate) const ONE_ASK: usize = 1;
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
            max_asks,
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
                max_asks,
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

    /// How often workers slept until they were called, and submitters until their transfers ended.
    #[cfg(loom)]
    pub(crate) fn nr_sleeps(&self) -> [u32; 2] {
        let shared = self.shared();
        [&shared.bells[..], &shared.ended[..]]
            .map(|queues| queues.iter().map(WaitQueue::nr_sleeps).sum())
    }

    /// The store's number.
    pub(crate) fn id(&self) -> StoreId {
        self.shared().id
    }

    /// Takes a buffer for a transfer, which may mean to wait for one.
    ///
    /// # Errors
    /// [`StoreError::Stalled`] or [`StoreError::Late`] if none was free before the deadline.
    pub(crate) fn take_buf(
        &self,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> Result<IoBuf, StoreError> {
        let since = clock::now();
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
            None => Err(self.shared().gave_up(since)),
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

    /// Asks the backing whether the folio that begins at its page `page` may be moved, and waits for the
    /// answer.
    ///
    /// # Errors
    /// [`StoreError::Stalled`] or [`StoreError::Late`] if there was none before the deadline, or if the backing
    /// owes one already;
    /// else why not.
    pub(crate) fn ask(&self, page: u64, deadline: Option<Instant>) -> Result<(), StoreError> {
        let buf = self.try_take_buf(Direction::Ask);
        let asked = self.submit(buf.ok_or(StoreError::Stalled)?, Direction::Ask, page, 1);
        asked.wait(deadline)?.outcome.of(0, 1)
    }

    fn submit(&self, mut buf: IoBuf, direction: Direction, page: u64, nr: usize) -> InFlight {
        let shared = self.shared();
        assert!(
            Arc::ptr_eq(shared, &buf.shared),
            "the buffer is another store's"
        );
        let request = Request::new(direction, page, nr);
        let since = request.since;
        let buffer = buf.buffer.take().expect("a buffer in hand has its memory");
        shared.enqueue(buf.op, buffer, request);
        Shared::see_to_workers(shared);
        InFlight {
            shared: Some(Arc::clone(shared)),
            op: buf.op,
            since,
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
