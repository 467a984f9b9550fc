//! One call at a time, on a thread of its own, which can be left behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::situation::{OomAnswer, OomHandler, OomStats, OutOfMemory};
use crate::backing::{PoolTag, Spawn, callback};
use crate::sync::clock::{self, Instant};
use crate::sync::{CoreMutex, WaitQueue};

/// How long nobody asks again after the first call that was in vain, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long nobody asks again after `vain` calls in a row that were in vain.
fn pause_after(vain: u32) -> Duration {
    let doubled = vain.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doubled)).min(LONGEST_PAUSE)
}

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
    /// Calls in a row that were in vain.
    vain: u32,
    not_before: Option<Instant>,
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
        state.vain = 0;
        state.not_before = None;
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

    /// Has the owner called, or waits for a call that is under way, no longer than to the deadline; returns
    /// whether memory was given up.
    pub(crate) fn ask(
        &self,
        situation: impl FnOnce() -> OutOfMemory,
        deadline: Option<Instant>,
    ) -> bool {
        let Some(awaited) = self.enter(situation) else {
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

    /// Leaves a call for the worker, unless one is under way; returns the number of the call whose end is
    /// to be awaited, or none if nobody is to be called.
    fn enter(&self, situation: impl FnOnce() -> OutOfMemory) -> Option<u64> {
        let mut state = self.0.state.lock();
        let awaited = state.nr_ended + 1;
        if state.phase != Phase::Idle {
            return Some(awaited);
        }
        let too_soon = state.not_before.is_some_and(|time| clock::now() < time);
        if state.handler.is_none() || too_soon {
            return None;
        }
        let needs_worker = !std::mem::replace(&mut state.has_worker, true);
        drop(state);

        // Put together without the lock: it looks at all groups.
        let situation = situation();
        let mut state = self.0.state.lock();
        if state.phase == Phase::Idle {
            state.phase = Phase::Asked;
            state.situation = Some(situation);
        }
        let awaited = state.nr_ended + 1;
        drop(state);
        if needs_worker && !self.start_worker() {
            return None;
        }
        self.0.asked.wake_all();
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

impl Shared {
    /// The life of the worker.
    fn work(&self) {
        while let Some((handler, situation)) = self.next() {
            let _inside = callback::enter(callback::current(), self.pool);
            let answer = catch_unwind(AssertUnwindSafe(|| handler.out_of_memory(&situation)));
            // Dropped as part of the call: it may be the last handle.
            let gone = catch_unwind(AssertUnwindSafe(|| drop(handler)));
            self.end(gone.and(answer).ok());
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
                None => self.end(Some(OomAnswer::Declined)),
            }
            job.is_some()
        });
        job
    }

    /// A call has ended; without an answer, by a panic.
    fn end(&self, answer: Option<OomAnswer>) {
        let mut state = self.state.lock();
        state.phase = Phase::Idle;
        state.nr_ended += 1;
        state.last = answer;
        if answer == Some(OomAnswer::Released) {
            state.stats.released += 1;
            state.vain = 0;
            state.not_before = None;
        } else {
            state.stats.panics += u64::from(answer.is_none());
            state.vain += 1;
            state.not_before = clock::deadline_after(pause_after(state.vain));
        }
        drop(state);
        self.ended.wake_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::error::AllocError;
    use crate::sync::atomic::{AtomicUsize, Ordering};
    use crate::sync::thread;
    use crate::types::{GroupId, Order};

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
        assert!(!desk.ask(situation, soon()), "there is no handler");
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| OomAnswer::Released)));
        assert!(desk.ask(situation, soon()) && desk.ask(situation, soon()));
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| OomAnswer::Declined)));
        assert!(!desk.ask(situation, soon()));
        assert!(!desk.ask(|| unreachable!("too soon"), soon()));
        let stats = desk.stats();
        assert_eq!((stats.calls, stats.released), (3, 2), "{stats:?}");
    }

    #[test]
    fn a_panic_is_caught_and_counted() {
        let desk = desk();
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| {
            panic!("a handler that panics")
        })));
        assert!(!desk.ask(situation, soon()));
        assert_eq!(desk.stats().panics, 1);
        desk.set_handler(Some(Arc::new(|_: &OutOfMemory| OomAnswer::Released)));
        assert!(desk.ask(situation, soon()), "the worker goes on");
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
        assert!(!desk.ask(situation, at_once));
        assert!(desk.stats().is_calling);
        // Nobody calls a second time; who comes waits for the end of the first.
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| desk.ask(|| unreachable!("one call at a time"), soon()));
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
        desk.ask(situation, soon());
        drop(desk);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}
