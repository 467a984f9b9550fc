//! What is known of one state: who is stalled and who works, how long that has lasted, and the averages.
//!
//! *Kernel counterpart:* `struct psi_group_cpu`, `test_state`, `record_times` (v5.0, spec 4.16). Counts are of
//! threads, not of tasks on a CPU; time is brought up to date at each change and at each look.

use std::time::Duration;

use super::average::{Averages, Gain};
use super::report::{Pressure, PressureKind, PressureLine};
use crate::error::{Violation, ensure};
use crate::sync::clock::Instant;

/// What a thread is to a state, stalled or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It is registered as a worker, and counts as one whatever it does.
    Worker,
    /// It is not, and counts as one for as long as it is stalled.
    Other,
}

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// It begins to wait for memory.
    Stall(Standing),
    /// It goes on.
    Resume(Standing),
    /// It becomes a worker.
    Join,
    /// It is a worker no more.
    Leave,
}

/// Threads, by what they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    stalled: u32,
    workers: u32,
}

impl Counts {
    /// Whether the state is in this kind of stall.
    fn is(self, kind: PressureKind) -> bool {
        match kind {
            PressureKind::Some => self.stalled > 0,
            PressureKind::Full => self.stalled > 0 && self.stalled == self.workers,
        }
    }

    fn after(self, change: Change) -> Counts {
        let Counts { stalled, workers } = self;
        let (stalled, workers) = match change {
            Change::Stall(Standing::Worker) => (stalled + 1, workers),
            Change::Stall(Standing::Other) => (stalled + 1, workers + 1),
            Change::Resume(Standing::Worker) => (stalled - 1, workers),
            Change::Resume(Standing::Other) => (stalled - 1, workers - 1),
            Change::Join => (stalled, workers + 1),
            Change::Leave => (stalled, workers - 1),
        };
        Counts { stalled, workers }
    }
}

/// One kind of stall so far.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    total: Duration,
    averages: Averages,
    /// When the present stall began, if there is one.
    since: Option<Instant>,
}

impl Line {
    /// Goes on by an interval in which nothing changed.
    fn pass(&mut self, interval: Duration, gain: Gain) {
        let on = self.since.is_some();
        self.averages = self.averages.after(gain, on);
        if on {
            self.total += interval;
        }
    }

    /// Enters or leaves the stall; returns whether it begins now.
    fn turn(&mut self, on: bool, now: Instant) -> bool {
        let was_on = self.since.is_some();
        if on != was_on {
            self.since = on.then_some(now);
        }
        on && !was_on
    }

    fn report(&self) -> PressureLine {
        PressureLine::new(self.averages.shares(), self.total)
    }
}

/// Which kinds of stall begin with a change, in the order of [`PressureKind::ALL`].
pub(crate) type Begins = [bool; PressureKind::ALL.len()];

/// How long a kind of stall has lasted so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    /// The time that this is of.
    pub(crate) now: Instant,
    /// The total.
    pub(crate) total: Duration,
    /// When the present stall began, if there is one.
    pub(crate) since: Option<Instant>,
}

/// All that is known of one state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    counts: Counts,
    /// Up to when the lines go.
    at: Instant,
    lines: [Line; PressureKind::ALL.len()],
}

impl Account {
    /// Nobody is stalled, and nobody works.
    pub(crate) fn begin(now: Instant) -> Account {
        Account {
            counts: Counts::default(),
            at: now,
            lines: [Line::default(); PressureKind::ALL.len()],
        }
    }

    /// Brings totals and averages up to date.
    fn advance(&mut self, now: Instant) {
        let interval = now.saturating_duration_since(self.at);
        if interval.is_zero() {
            return;
        }
        let gain = Gain::over(interval);
        for line in &mut self.lines {
            line.pass(interval, gain);
        }
        self.at = now;
    }

    /// A thread does something; returns what that begins.
    pub(crate) fn change(&mut self, now: Instant, change: Change) -> Begins {
        self.advance(now);
        self.counts = self.counts.after(change);
        debug_assert!(
            self.counts.stalled <= self.counts.workers,
            "V1: {:?} after {change:?}",
            self.counts
        );
        let (counts, at) = (self.counts, self.at);
        PressureKind::ALL.map(|kind| self.lines[kind.idx()].turn(counts.is(kind), at))
    }

    /// Whether there is this kind of stall now.
    pub(crate) fn is_stalled(&self, kind: PressureKind) -> bool {
        self.counts.is(kind)
    }

    /// How long a kind of stall has lasted so far.
    pub(crate) fn reading(&mut self, now: Instant, kind: PressureKind) -> Reading {
        self.advance(now);
        let Line { total, since, .. } = self.lines[kind.idx()];
        let now = self.at;
        Reading { now, total, since }
    }

    /// Everything, for users.
    pub(crate) fn pressure(&mut self, now: Instant) -> Pressure {
        self.advance(now);
        let [some, full] = PressureKind::ALL.map(|kind| self.lines[kind.idx()].report());
        Pressure { some, full }
    }

    /// Threads that are stalled.
    pub(crate) fn stalled(&self) -> u32 {
        self.counts.stalled
    }

    /// Checks V1 to V3.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        let Counts { stalled, workers } = self.counts;
        ensure!(
            stalled <= workers,
            "V1",
            "{stalled} of {workers} workers are stalled"
        );
        let [some, full] = PressureKind::ALL.map(|kind| self.lines[kind.idx()]);
        ensure!(
            some.total >= full.total,
            "V2",
            "some has lasted {:?}, full {:?}",
            some.total,
            full.total
        );
        for (kind, line) in [("some", some), ("full", full)] {
            let shares = line.averages.shares();
            let are_shares = shares.iter().all(|share| (0.0..=1.0).contains(share));
            ensure!(are_shares, "V3", "the averages of {kind} are {shares:?}");
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::clock;
    use proptest::prelude::*;

    const STALL: Change = Change::Stall(Standing::Other);
    const RESUME: Change = Change::Resume(Standing::Other);
    const WORKER_STALLS: Change = Change::Stall(Standing::Worker);
    const WORKER_RESUMES: Change = Change::Resume(Standing::Worker);

    /// An account with a clock that a test moves.
    struct Rig {
        account: Account,
        now: Instant,
    }

    impl Rig {
        fn new() -> Rig {
            let now = clock::now();
            Rig {
                account: Account::begin(now),
                now,
            }
        }

        fn pass(&mut self, millis: u64) {
            let later = self.now.checked_add(Duration::from_millis(millis));
            self.now = later.expect("the clock goes on for centuries");
        }

        fn change(&mut self, change: Change) -> Begins {
            self.account.change(self.now, change)
        }

        /// Milliseconds of some and full.
        fn totals(&mut self) -> [u128; 2] {
            let Pressure { some, full } = self.account.pressure(self.now);
            [some, full].map(|line| line.total.as_millis())
        }
    }

    #[test]
    fn s4_16_some_is_one_stalled_and_full_is_nobody_else_working() {
        let mut rig = Rig::new();
        rig.change(Change::Join);
        rig.change(Change::Join);
        assert_eq!(rig.change(WORKER_STALLS), [true, false]);
        rig.pass(10);
        assert_eq!(rig.change(WORKER_STALLS), [false, true]);
        rig.pass(100);
        assert_eq!(rig.change(WORKER_RESUMES), [false, false]);
        rig.pass(1000);
        rig.change(WORKER_RESUMES);
        rig.pass(10_000);
        assert_eq!(rig.totals(), [1110, 100]);
    }

    #[test]
    fn who_is_not_registered_works_while_it_stalls_so_that_full_equals_some() {
        let mut rig = Rig::new();
        assert_eq!(rig.change(STALL), [true, true]);
        rig.pass(5);
        assert_eq!(rig.change(STALL), [false, false]);
        rig.pass(7);
        rig.change(RESUME);
        rig.change(RESUME);
        rig.pass(100);
        assert_eq!(rig.totals(), [12, 12]);
    }

    #[test]
    fn full_begins_when_the_last_worker_goes_and_ends_when_one_comes() {
        let mut rig = Rig::new();
        rig.change(Change::Join);
        assert_eq!(rig.change(STALL), [true, false]);
        rig.pass(3);
        assert_eq!(rig.change(Change::Leave), [false, true]);
        rig.pass(4);
        assert_eq!(rig.change(Change::Join), [false, false]);
        rig.pass(5);
        assert_eq!(rig.totals(), [12, 4]);
        rig.account.verify().unwrap();
    }

    #[test]
    fn a_reading_says_since_when_the_stall_lasts() {
        let mut rig = Rig::new();
        rig.pass(50);
        rig.change(STALL);
        let began = rig.now;
        rig.pass(20);
        let reading = rig.account.reading(rig.now, PressureKind::Full);
        let expected = Reading {
            now: rig.now,
            total: Duration::from_millis(20),
            since: Some(began),
        };
        assert_eq!(reading, expected);
        rig.change(RESUME);
        let reading = rig.account.reading(rig.now, PressureKind::Full);
        assert_eq!(reading.since, None);
    }

    #[test]
    fn a_look_into_the_past_changes_nothing() {
        let mut rig = Rig::new();
        let start = rig.now;
        rig.change(STALL);
        rig.pass(10);
        rig.change(RESUME);
        let late = rig.account.pressure(rig.now);
        assert_eq!(rig.account.pressure(start), late);
        assert_eq!(rig.change(STALL), [true, true]);
    }

    #[test]
    fn violations_are_named() {
        let mut account = Rig::new().account;
        account.counts.stalled = 1;
        assert_eq!(account.verify().unwrap_err().invariant(), "V1");
        let mut account = Rig::new().account;
        account.lines[1].total = Duration::from_millis(1);
        assert_eq!(account.verify().unwrap_err().invariant(), "V2");
    }

    /// A thread of the model: whether it is registered, and whether it stalls.
    type Thread = (bool, bool);

    fn change_of(thread: &mut Thread, stalls: bool) -> Change {
        let (registered, stalled) = *thread;
        let standing = if registered {
            Standing::Worker
        } else {
            Standing::Other
        };
        match (stalls, stalled) {
            (true, false) => {
                thread.1 = true;
                Change::Stall(standing)
            }
            (true, true) => {
                thread.1 = false;
                Change::Resume(standing)
            }
            // Nobody registers in a section: then it goes on first.
            (false, true) => {
                thread.1 = false;
                Change::Resume(standing)
            }
            (false, false) => {
                thread.0 = !registered;
                if registered {
                    Change::Leave
                } else {
                    Change::Join
                }
            }
        }
    }

    proptest! {
        #[test]
        fn totals_are_those_of_a_plain_model(
            steps in prop::collection::vec((0..3_usize, any::<bool>(), 0_u64..50), 1..60),
        ) {
            let mut rig = Rig::new();
            let mut threads: [Thread; 3] = [(false, false); 3];
            let mut expected = [0_u128; 2];
            for (thread, stalls, millis) in steps {
                rig.change(change_of(&mut threads[thread], stalls));
                rig.pass(millis);
                let some = threads.iter().any(|(_, stalled)| *stalled);
                let works = threads.iter().any(|(registered, stalled)| *registered && !stalled);
                expected[0] += u128::from(some) * u128::from(millis);
                expected[1] += u128::from(some && !works) * u128::from(millis);
                prop_assert_eq!(rig.totals(), expected);
                prop_assert!(rig.account.verify().is_ok());
            }
        }
    }
}
