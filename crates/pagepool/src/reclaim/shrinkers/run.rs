//! A call of a shrinker, on its worker: how much could be freed, how much of that is to be looked at, and
//! that in batches.
//!
//! *Kernel counterpart:* `do_shrink_slab`, `shrink_slab_memcg` (v5.0).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::call::Job;
use super::desk::Desk;
use super::{Freeable, ShrinkControl, Shrinker, Stop, Table, Takings};
use crate::node::identity;
use crate::reclaim::policy::slab::{self, Load, Plan};
use crate::reclaim::policy::trust::Conduct;
use crate::reclaim::trace;
use crate::sync::atomic::Ordering;
use crate::sync::thread;

/// A call, as seen by the worker.
pub(super) struct Call<'a> {
    pub(super) desk: &'a Desk,
    pub(super) job: Job,
    ctl: ShrinkControl,
}

/// What a look at the shrinker came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// It has nothing at all.
    Empty,
    /// Anything else.
    Other(Conduct),
}

/// Why there is no answer to a callback.
enum Silence {
    /// It was not made: nobody waits any more.
    Unasked,
    Panicked,
}

/// What the batches of a call came to.
#[derive(Clone, Copy, Default)]
struct Scans {
    /// Objects looked at.
    scanned: usize,
    /// Objects that it was to look at, and did not.
    ignored: usize,
    /// Objects freed.
    freed: usize,
    has_freed_pages: bool,
    has_panicked: bool,
}

impl Scans {
    fn conduct(self, freeable: usize) -> Conduct {
        match self.scanned + self.ignored {
            _ if self.has_panicked => Conduct::Panicked,
            _ if self.freed > 0 || self.has_freed_pages => Conduct::Freed,
            0 => Conduct::Idle,
            scanned => Conduct::InVain { scanned, freeable },
        }
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(desk: &'a Desk, job: Job) -> Call<'a> {
        let ctl = ShrinkControl {
            node: job.node,
            group: desk.is_group_aware().then_some(job.group),
            priority: job.priority,
        };
        Call { desk, job, ctl }
    }

    /// Makes the call. One that is asked by group and says that it has nothing is asked again once its bit
    /// is off, in case that somebody has just added something (R20).
    pub(super) fn run(&self, table: &Table, user: &dyn Shrinker) -> Conduct {
        let mut look = self.look(user);
        if look == Look::Empty && self.desk.is_group_aware() {
            let map = table.map(self.job.group, self.job.node);
            let is_empty = |look: &Look| *look == Look::Empty;
            look = map.settle_empty(self.desk.idx, || self.look(user), is_empty);
        }
        match look {
            Look::Empty => Conduct::Idle,
            Look::Other(conduct) => conduct,
        }
    }

    fn look(&self, user: &dyn Shrinker) -> Look {
        let freeable = match self.callback(|| user.count(&self.ctl)) {
            Ok((Freeable::Empty, _)) => return Look::Empty,
            Ok((Freeable::Unknown, _)) => return Look::Other(Conduct::Idle),
            Ok((Freeable::Count(freeable), _)) => freeable,
            Err(Silence::Unasked) => return Look::Other(Conduct::Idle),
            Err(Silence::Panicked) => return Look::Other(Conduct::Panicked),
        };
        let pressed = slab::under_pressure(freeable, self.job.pressure);
        if pressed == 0 {
            return Look::Other(Conduct::Idle);
        }
        Look::Other(self.shrink(user, pressed).conduct(freeable))
    }

    /// Has a share of the objects looked at, with a part of those put off before, and puts off the rest.
    fn shrink(&self, user: &dyn Shrinker, freeable: usize) -> Scans {
        let deferred = &self.desk.deferred[self.job.at];
        // Relaxed, here and below: a count by itself. Taken as a whole, so that nobody pays it twice.
        let before = deferred.swap(0, Ordering::Relaxed);
        let load = Load {
            freeable,
            priority: self.job.priority,
            seeks: self.desk.options.seeks,
            deferred: before,
        };
        let plan = load.plan();
        let name = &self.desk.options.name;
        trace::shrink_slab_start(name, self.ctl, load, plan);

        let scans = self.scan_in_batches(user, &plan);

        let carried = plan.carry(scans.scanned);
        let after = deferred.fetch_add(carried.deferred, Ordering::Relaxed) + carried.deferred;
        let mut state = self.desk.state.lock();
        state.tally.asked += plan.delta as u64;
        state.tally.paid += carried.paid as u64;
        state.tally.forgiven += carried.forgiven as u64;
        drop(state);
        let counts = trace::SlabEnd {
            deferred_before: before,
            deferred_after: after,
            freed: scans.freed,
            left: plan.total.saturating_sub(scans.scanned),
        };
        trace::shrink_slab_end(name, self.ctl, counts);
        scans
    }

    fn scan_in_batches(&self, user: &dyn Shrinker, plan: &Plan) -> Scans {
        let batch = self.desk.options.batch_size();
        let mut scans = Scans::default();
        let mut left = plan.total;
        while let Some(nr) = plan.next_batch(left, batch) {
            let (answer, pages) = match self.callback(|| user.scan(&self.ctl, nr)) {
                Ok(answered) => answered,
                Err(silence) => {
                    scans.has_panicked = matches!(silence, Silence::Panicked);
                    break;
                }
            };
            scans.has_freed_pages |= pages > 0;
            let scanned = match answer {
                Ok(scanned) => scanned,
                Err(Stop) => break,
            };
            scans.freed += scanned.freed;
            scans.scanned += scanned.scanned;
            left = left.saturating_sub(scanned.scanned);
            self.desk.note(Takings {
                scanned: scanned.scanned,
                freed: scanned.freed,
                ..Takings::default()
            });
            if scanned.scanned == 0 {
                scans.ignored += nr;
                break;
            }
            thread::yield_now();
        }
        scans
    }

    /// Makes a callback, if somebody still waits for the call. Notes the pages that it freed, whatever came of
    /// it, and returns how many with the answer.
    fn callback<T>(&self, f: impl FnOnce() -> T) -> Result<(T, usize), Silence> {
        if !self.desk.may_go_on() {
            return Err(Silence::Unasked);
        }
        let answer = Call::guard(f);
        let pages = identity::take_freed();
        let pages_of_files = identity::take_freed_of_files();
        if pages > 0 {
            self.desk.note(Takings {
                pages,
                pages_of_files,
                ..Takings::default()
            });
        }
        answer
            .map(|answer| (answer, pages))
            .ok_or(Silence::Panicked)
    }

    /// Runs what is the user's; a panic in it ends here, and is none.
    pub(super) fn guard<T>(f: impl FnOnce() -> T) -> Option<T> {
        // After a panic nothing of the user's is looked at but by its own next call.
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(answer) => Some(answer),
            Err(payload) => {
                // What was panicked with may panic when it is dropped. That panic's payload is let go
                // undropped.
                if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    std::mem::forget(again);
                }
                None
            }
        }
    }
}
