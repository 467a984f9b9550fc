//! A store at a moment: its transfers, its workers, and who waits.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use super::ops::{Request, Stage, State};
use super::table::Stores;
use super::{Direction, Shared, Store};
use crate::backing::entry::StoreId;
use crate::backing::workers::Worker;
use crate::sync::{WaitQueue, clock};

/// A store at a moment: a swap area's, or a user's. Prints as a few lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreReport {
    /// Its number in the pool.
    pub number: usize,
    /// Threads that wait for one of its buffers.
    pub nr_waiting_for_buffer: u32,
    /// Threads that wait for the end of a transfer.
    pub nr_waiting_for_end: u32,
    /// What is under its lock; none if that is held at this moment.
    pub inside: Option<StoreInside>,
}

/// What a store keeps under its lock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreInside {
    /// Each transfer that is not over, in words.
    pub transfers: Vec<String>,
    /// The threads that call it, by number: `pool-io/0` and so on.
    pub workers: Vec<(usize, WorkerActivity)>,
    /// Whether it takes no more transfers.
    pub is_closed: bool,
}

/// What a worker of a store is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WorkerActivity {
    /// It sleeps until there is work.
    Idle,
    /// It was woken or started, and has taken no work yet.
    Called,
    /// It is in a call, or waits for a device.
    Busy {
        /// For so long.
        busy_for: Duration,
    },
    /// It did not come back from a call in time; another has taken its place.
    LeftBehind,
}

impl fmt::Display for WorkerActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerActivity::Idle => f.write_str("idle"),
            WorkerActivity::Called => f.write_str("called"),
            WorkerActivity::Busy { busy_for } => {
                write!(f, "busy for {:.2} s", busy_for.as_secs_f32())
            }
            WorkerActivity::LeftBehind => f.write_str("left behind in a call"),
        }
    }
}

impl fmt::Display for StoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "store {}: {} threads wait for a buffer, {} for the end of a transfer",
            self.number, self.nr_waiting_for_buffer, self.nr_waiting_for_end
        )?;
        let Some(inside) = &self.inside else {
            return f.write_str("; its lock is held");
        };
        if inside.is_closed {
            f.write_str("; closed")?;
        }
        for transfer in &inside.transfers {
            write!(f, "\n  {transfer}")?;
        }
        for (worker, activity) in &inside.workers {
            write!(f, "\n  pool-io/{worker}: {activity}")?;
        }
        Ok(())
    }
}

impl StoreInside {
    fn of(state: &State) -> StoreInside {
        let transfers = state.ops.iter().filter_map(|op| in_words(&op.stage));
        let now = clock::now();
        let workers = state.crew.workers().filter_map(|(number, worker)| {
            let activity = match worker {
                Worker::Absent => return None,
                Worker::Idle => WorkerActivity::Idle,
                Worker::Called => WorkerActivity::Called,
                Worker::Busy { since } => WorkerActivity::Busy {
                    busy_for: now.saturating_duration_since(since),
                },
                Worker::Quarantined => WorkerActivity::LeftBehind,
            };
            Some((number, activity))
        });
        StoreInside {
            transfers: transfers.collect(),
            workers: workers.collect(),
            is_closed: state.is_closed,
        }
    }
}

/// What a transfer is and where it stands; nothing of a buffer without one.
fn in_words(stage: &Stage) -> Option<String> {
    let of = |request: &Request| {
        let what = match request.direction {
            Direction::Read => "read",
            Direction::Write => "write",
            Direction::Ask => "question",
        };
        format!("{what} of {} pages at {}", request.nr, request.page)
    };
    Some(match stage {
        Stage::Vacant => return None,
        Stage::Taken => "a buffer that somebody has".into(),
        Stage::Queued(request) => format!("{}: queued", of(request)),
        Stage::Running {
            request,
            is_abandoned: false,
        } => format!("{}: under way", of(request)),
        Stage::Running { request, .. } => format!("{}: under way, abandoned", of(request)),
        Stage::Done(_) => "a transfer that is done, and that nobody has taken".into(),
        Stage::Reading => "a read by a ring: under way".into(),
        Stage::Orphaned(request) => format!("{} by a ring: abandoned", of(request)),
    })
}

impl Shared {
    fn report(&self) -> StoreReport {
        let ended = self.ended.iter();
        StoreReport {
            number: self.id.idx(),
            nr_waiting_for_buffer: self.vacated.nr_sleepers(),
            nr_waiting_for_end: ended.map(WaitQueue::nr_sleepers).sum(),
            inside: { self.state.try_lock() }.map(|state| StoreInside::of(&state)),
        }
    }
}

impl Stores {
    /// How each store stands, but for those whose places are locked at this moment. Waits for nobody.
    pub(crate) fn report(&self) -> Vec<StoreReport> {
        let reports = StoreId::all().filter_map(|id| {
            let place = self.place(id).try_lock()?;
            // Not cloned: this must not be the last handle.
            place.as_ref().map(|Store(owner)| owner.0.report())
        });
        reports.collect()
    }
}
