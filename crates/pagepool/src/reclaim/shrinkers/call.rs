//! How far the call of a shrinker is, what has come of all calls, and whether another may begin.
//!
//! *Kernel counterpart:* none: there whoever reclaims calls a shrinker itself, and waits for it.
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

use std::time::Duration;

use super::Takings;
use crate::backing::callback::Callers;
use crate::reclaim::policy::trust::{Conduct, Trust};
use crate::sync::clock::Instant;
use crate::sync::thread::ThreadId;
use crate::types::{GroupId, NodeId};

/// What a worker is asked to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) node: NodeId,
    pub(super) group: GroupId,
    /// Where what is known of that is kept.
    pub(super) at: usize,
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

/// What is known of a shrinker's calls, under its lock.
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
pub(super) enum Admission {
    Now,
    /// Somebody waits for one that is under way.
    Later,
    Never,
}

impl State {
    /// That of a shrinker that was never called.
    pub(super) fn new() -> State {
        State {
            stage: Stage::Idle,
            has_worker: false,
            thread: None,
            is_closed: false,
            trust: Trust::default(),
            barred_until: None,
            late: Takings::default(),
            tally: Tally::default(),
        }
    }

    pub(super) fn is_barred(&self, now: Instant) -> bool {
        self.barred_until.is_some_and(|until| now < until)
    }

    /// Whether a call may begin. A call that nobody waits for is looked at for whether it takes too long.
    pub(super) fn admit(&mut self, now: Instant, patience: Duration) -> Admission {
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

    pub(super) fn running(&mut self) -> &mut Running {
        match &mut self.stage {
            Stage::Running(running) => running,
            other => unreachable!("H1: the worker is in a call, which is {other:?}"),
        }
    }

    /// What the call brought, for the one who waits for it, if there is no more reason to.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        patience: Duration,
        is_late: bool,
    ) -> Option<Takings> {
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

    pub(super) fn complete(&mut self, conduct: Conduct, now: Instant) {
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
