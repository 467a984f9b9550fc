//! One call at a time, on a thread of its own, which can be left behind.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::situation::{OomAnswer, OomHandler, OomStats, OutOfMemory};
use crate::backing::{PoolTag, Spawn, callback};
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::{CoreMutex, WaitQueue};
use crate::types::GroupId;

/// How long nobody asks again after the first call that was in vain, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long nobody asks again after `vain` calls in a row that were in vain.
fn pause_after(vain: u32) -> Duration {
    let doubled = vain.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doubled)).min(LONGEST_PAUSE)
}

/// Calls for the same group that were in vain.
#[derive(Clone, Copy, Debug)]
struct Pause {
    within: GroupId,
    /// How many there were in a row.
    vain: u32,
    /// Until when nobody asks again.
    until: Option<Instant>,
}

/// How many groups are remembered that have asked in vain: those of longer ago may ask again.
const MAX_PAUSES: usize = 8;

/// Where the call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// The worker has not seen it yet.
    Asked,
    Calling,
}

#[derive(Default)]
struct State {
    handler: Option<Arc<dyn OomHandler>>,
    phase: Phase,
    /// What the next call is about.
    situation: Option<OutOfMemory>,
    has_worker: bool,
    is_closed: bool,
    /// Calls that have ended.
    nr_ended: u64,
    last: Option<OomAnswer>,
    /// Who has asked in vain lately, the latest first.
    pauses: ArrayVec<Pause, MAX_PAUSES>,
    stats: OomStats,
}

struct Shared {
    state: CoreMutex<State>,
    /// The worker sleeps here.
    asked: WaitQueue,
    /// Who waits for the end of a call sleeps here.
    ended: WaitQueue,
    pool: PoolTag,
    spawn: Spawn,
}

/// Where the pool's owner is asked to give memory up. Dropping it ends the worker, once a call has returned.
pub(crate) struct OomDesk(Arc<Shared>);

impl std::fmt::Debug for OomDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OomDesk").field(&self.stats()).finish()
    }
}

impl OomDesk {
    /// A desk without a handler. `spawn` is how it gets its thread, when it is first needed.
    pub(crate) fn new(pool: PoolTag, spawn: Spawn) -> OomDesk {
        OomDesk(Arc::new(Shared {
            state: CoreMutex::new(State::default()),
            // The lock of the state orders who leaves something there and who looks.
            asked: WaitQueue::unfenced(),
            ended: WaitQueue::unfenced(),
            pool,
            spawn,
        }))
    }

    /// Sets who is called; returns who was.
    pub(crate) fn set_handler(
        &self,
        handler: Option<Arc<dyn OomHandler>>,
    ) -> Option<Arc<dyn OomHandler>> {
        let mut state = self.0.state.lock();
        state.pauses.clear();
        std::mem::replace(&mut state.handler, handler)
    }

    /// How it went so far.
    pub(crate) fn stats(&self) -> OomStats {
        let state = self.0.state.lock();
        OomStats {
            is_calling: state.phase != Phase::Idle,
            ..state.stats
        }
    }

    /// Whether a call of the owner is under way, and how many threads wait for its end; neither if the desk's
    /// lock is held at this moment.
    pub(crate) fn look(&self) -> Option<(bool, u32)> {
        let is_calling = self.0.state.try_lock()?.phase != Phase::Idle;
        Some((is_calling, self.0.ended.nr_sleepers()))
    }

    /// Has the owner called for who is short of memory within a group, or waits for a call that is under way,
    /// no longer than to the deadline; returns whether memory was given up.
    pub(crate) fn ask(
        &self,
        within: GroupId,
        situation: impl FnOnce() -> OutOfMemory,
        deadline: Option<Instant>,
    ) -> bool {
        // It would wait for itself.
        if callback::is_inside(self.0.pool) {
            return false;
        }
        let Some(awaited) = self.enter(within, situation) else {
            return false;
        };
        let shared = &*self.0;
        let ended = || shared.state.lock().nr_ended >= awaited;
        let in_time = shared.ended.wait_until(deadline, ended);
        let mut state = shared.state.lock();
        if !in_time {
            state.stats.abandoned += 1;
        }
        in_time && state.last == Some(OomAnswer::Released)
    }

    /// How often somebody who asked slept until a call had ended.
    #[cfg(loom)]
    pub(crate) fn nr_waits(&self) -> u32 {
        self.0.ended.nr_sleeps()
    }

    /// Leaves a call for the worker, unless one is under way; returns the number of the call whose end is
    /// to be awaited, or none if nobody is to be called.
    fn enter(&self, within: GroupId, situation: impl FnOnce() -> OutOfMemory) -> Option<u64> {
        let mut state = self.0.state.lock();
        let awaited = state.nr_ended + 1;
        if state.phase != Phase::Idle {
            return Some(awaited);
        }
        if state.handler.is_none() || state.is_too_soon(within) {
            return None;
        }
        let early = mutated("oom.claim_with_call").then(|| state.claim_worker());
        drop(state);

        // Put together without the lock: it looks at all groups.
        let situation = situation();
        let mut state = self.0.state.lock();
        let awaited = state.nr_ended + 1;
        if state.phase != Phase::Idle && !mutated("oom.share_call") {
            return Some(awaited);
        }
        // The handler may be gone by now, or another call have come to its end and to nothing.
        let is_in_vain = state.handler.is_none() || state.is_too_soon(within);
        if is_in_vain && !mutated("oom.look_again") {
            return None;
        }
        state.phase = Phase::Asked;
        state.situation = Some(situation);
        // Together with the call: who leaves one behind has seen to it that somebody comes for it, also if
        // another's attempt to start the worker has failed meanwhile.
        let needs_worker = early.unwrap_or_else(|| state.claim_worker());
        drop(state);
        if needs_worker && !self.start_worker() {
            return None;
        }
        if !mutated("oom.wake_worker") {
            self.0.asked.wake_all();
        }
        Some(awaited)
    }

    #[cold]
    fn start_worker(&self) -> bool {
        let shared = Arc::clone(&self.0);
        let Err(error) = (self.0.spawn)("pool-oom", Box::new(move || shared.work())) else {
            return true;
        };
        tracing::warn!(target: "pagepool::alloc", %error, "no thread to call the pool's owner");
        let mut state = self.0.state.lock();
        state.has_worker = false;
        state.phase = Phase::Idle;
        state.situation = None;
        state.nr_ended += 1;
        state.last = None;
        drop(state);
        self.0.ended.wake_all();
        false
    }
}

impl Drop for OomDesk {
    fn drop(&mut self) {
        let handler = {
            let mut state = self.0.state.lock();
            state.is_closed = true;
            state.handler.take()
        };
        self.0.asked.wake_all();
        drop(handler);
    }
}

impl State {
    /// Whether who is short within a group has asked in vain just now.
    fn is_too_soon(&self, within: GroupId) -> bool {
        let of_it = |pause: &&Pause| pause.within == within;
        let pause = self.pauses.iter().find(of_it);
        pause.is_some_and(|pause| !clock::is_over(pause.until))
    }

    /// Says that there is a worker; returns whether it is for the caller to start it.
    fn claim_worker(&mut self) -> bool {
        !std::mem::replace(&mut self.has_worker, true)
    }

    fn note_answer(&mut self, within: GroupId, released: bool) {
        let before = self.pauses.iter().position(|pause| pause.within == within);
        let before = before.map(|at| self.pauses.remove(at));
        if released {
            return;
        }
        let vain = before.map_or(0, |pause| pause.vain).saturating_add(1);
        if self.pauses.is_full() {
            self.pauses.pop();
        }
        self.pauses.insert(
            0,
            Pause {
                within,
                vain,
                until: clock::deadline_after(pause_after(vain)),
            },
        );
    }
}

/// What came of a call; whatever it panicked with is dropped, and may panic in turn.
fn without_payload<T>(outcome: Result<T, Box<dyn Any + Send>>) -> Option<T> {
    match outcome {
        Ok(answer) => Some(answer),
        Err(payload) => {
            let again = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            std::mem::forget(again);
            None
        }
    }
}

impl Shared {
    /// The life of the worker.
    fn work(&self) {
        while let Some((handler, situation)) = self.next() {
            let _inside = callback::enter(callback::current(), self.pool);
            let answer = catch_unwind(AssertUnwindSafe(|| handler.out_of_memory(&situation)));
            // Dropped as part of the call: it may be the last handle.
            let gone = catch_unwind(AssertUnwindSafe(|| drop(handler)));
            self.end(situation.within, without_payload(gone.and(answer)));
        }
    }

    /// The next call; none if there will be no more.
    fn next(&self) -> Option<(Arc<dyn OomHandler>, OutOfMemory)> {
        let mut job = None;
        self.asked.wait_until(None, || {
            let mut state = self.state.lock();
            if state.is_closed {
                return true;
            }
            let Some(situation) = state.situation.take() else {
                return false;
            };
            state.phase = Phase::Calling;
            state.stats.calls += 1;
            let handler = state.handler.clone();
            drop(state);
            match handler {
                Some(handler) => job = Some((handler, situation)),
                // It was taken away meanwhile.
                None => self.end(situation.within, Some(OomAnswer::Declined)),
            }
            job.is_some()
        });
        job
    }

    /// A call has ended; without an answer, by a panic.
    fn end(&self, within: GroupId, answer: Option<OomAnswer>) {
        let mut state = self.state.lock();
        state.phase = Phase::Idle;
        state.nr_ended += 1;
        state.last = answer;
        state.stats.released += u64::from(answer == Some(OomAnswer::Released));
        state.stats.panics += u64::from(answer.is_none());
        state.note_answer(within, answer == Some(OomAnswer::Released));
        drop(state);
        if !mutated("oom.wake_waiters") {
            self.ended.wake_all();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::error::AllocError;
    use crate::sync::atomic::{AtomicUsize, Ordering};
    use crate::sync::thread;
    use crate::types::Order;

    fn desk() -> OomDesk {
        OomDesk::new(PoolTag::of(&FIRST_PAUSE), |name, run| {
            thread::spawn(name, run)
        })
    }

    fn situation() -> OutOfMemory {
        let cause = AllocError::BelowMin;
        let root = GroupId::ROOT;
        OutOfMemory::new(cause, Order::ZERO, root, root, std::iter::empty(), 1)
    }

    fn soon() -> Option<Instant> {
        clock::deadline_after(Duration::from_secs(20))
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses = [1, 2, 3, 7, 8, 99].map(|vain| pause_after(vain).as_millis());
        assert_eq!(pauses, [100, 200, 400, 6400, 10_000, 10_000]);
    }

    #[test]
    fn an_answer_is_passed_on_and_one_in_vain_is_not_asked_for_again_at_once() {
        let desk = desk();
        assert!(
            !desk.ask(GroupId::ROOT, situation, soon()),
            "there is no handler"
        );
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| OomAnswer::Released)));
        assert!(
            desk.ask(GroupId::ROOT, situation, soon())
                && desk.ask(GroupId::ROOT, situation, soon())
        );
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| OomAnswer::Declined)));
        assert!(!desk.ask(GroupId::ROOT, situation, soon()));
        assert!(!desk.ask(GroupId::ROOT, || unreachable!("too soon"), soon()));
        // Another's calls are not the same.
        assert!(!desk.ask(GroupId::at(1), situation, soon()));
        let stats = desk.stats();
        assert_eq!((stats.calls, stats.released), (4, 2), "{stats:?}");
    }

    #[test]
    fn a_panic_is_caught_and_counted() {
        let desk = desk();
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| {
            panic!("a handler that panics")
        })));
        assert!(!desk.ask(GroupId::ROOT, situation, soon()));
        assert_eq!(desk.stats().panics, 1);
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| OomAnswer::Released)));
        assert!(
            desk.ask(GroupId::ROOT, situation, soon()),
            "the worker goes on"
        );
    }

    #[test]
    fn a_call_that_does_not_return_is_left_behind() {
        let gate = Arc::new(CoreMutex::new(()));
        let held = Arc::clone(&gate);
        let desk = desk();
        desk.set_handler(Some(Arc::new(move |_: &OutOfMemory| {
            drop(held.lock());
            OomAnswer::Released
        })));
        let closed = gate.lock();
        let at_once = clock::deadline_after(Duration::from_millis(20));
        assert!(!desk.ask(GroupId::ROOT, situation, at_once));
        assert!(desk.stats().is_calling);
        // Nobody calls a second time; who comes waits for the end of the first.
        std::thread::scope(|scope| {
            let waiter = scope
                .spawn(|| desk.ask(GroupId::ROOT, || unreachable!("one call at a time"), soon()));
            thread::sleep(Duration::from_millis(20));
            drop(closed);
            assert!(waiter.join().unwrap());
        });
        assert_eq!(desk.stats().abandoned, 1);
    }

    #[test]
    fn a_handler_goes_with_the_desk() {
        struct Counts(Arc<AtomicUsize>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        impl OomHandler for Counts {
            fn out_of_memory(&self, _: &OutOfMemory) -> OomAnswer {
                OomAnswer::Declined
            }
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let desk = desk();
        desk.set_handler(Some(Arc::new(Counts(Arc::clone(&drops)))));
        desk.ask(GroupId::ROOT, situation, soon());
        drop(desk);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}
