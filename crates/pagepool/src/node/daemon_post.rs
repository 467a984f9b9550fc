//! Where a node's daemon is asked for work: a request word, a queue it sleeps on, and its state.
//!
//! *Kernel counterpart:* `kswapd_order`, `kswapd_classzone_idx`, `kswapd_wait` and their kcompactd
//! twins in `struct pglist_data` (v5.0). The words are described in
//! [`request`](crate::sync::request), the queue in [`waitqueue`](crate::sync::waitqueue).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::daemon_control::{DaemonControl, DaemonState};
use super::daemon_start::{StartBy, StartRecord, Starter};
#[cfg(shuttle)]
use crate::error::{Violation, ensure};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::fence::mutated;
use crate::sync::request::NR_CLASSES;
use crate::sync::{CoreMutex, FenceNames, RequestWord, Requests, WaitQueue, clock};
use crate::types::{NR_ZONES, Order, ZoneType};
use crate::zone::Zone;

/// After this many fruitless runs in a row a reclaimer is taken for hopeless.
pub(crate) const MAX_RECLAIM_RETRIES: u32 = 16;

// A request word has a lane for each class of zone.
const _: () = assert!(NR_CLASSES == NR_ZONES);

/// What came of posting a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Posted {
    /// It asked for more than was asked for already.
    pub(crate) is_news: bool,
    /// The daemon slept and was woken.
    pub(crate) woke: bool,
}

/// What a daemon is at that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
#[non_exhaustive]
pub enum DaemonActivity {
    /// It works, or is about to look whether there is work.
    Working = 0,
    /// It sleeps for a moment, and looks again when that is over.
    Napping = 1,
    /// It sleeps until it is woken.
    Asleep = 2,
}

impl DaemonActivity {
    const BITS: u32 = 2;

    fn from_bits(bits: u64) -> DaemonActivity {
        match bits & ((1 << DaemonActivity::BITS) - 1) {
            1 => DaemonActivity::Napping,
            2 => DaemonActivity::Asleep,
            _ => DaemonActivity::Working,
        }
    }
}

impl fmt::Display for DaemonActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DaemonActivity::Working => "working",
            DaemonActivity::Napping => "napping",
            DaemonActivity::Asleep => "asleep",
        })
    }
}

/// One daemon's post.
#[derive(Debug)]
pub(crate) struct DaemonPost {
    request: RequestWord,
    queue: WaitQueue,
    control: DaemonControl,
    failures: AtomicU32,
    /// What the daemon is at, and since when: see [`note`](DaemonPost::note).
    activity: AtomicU64,
    /// Who starts the thread of a daemon on call. Held for a look.
    starter: CoreMutex<Option<Arc<dyn Starter>>>,
    starts: StartRecord,
}

impl DaemonPost {
    /// Returns the post of a daemon that is not there yet. What is asked of it meanwhile is kept.
    pub(crate) fn new(fences: FenceNames) -> DaemonPost {
        DaemonPost {
            request: RequestWord::new(),
            queue: WaitQueue::new(fences),
            control: DaemonControl::new(),
            failures: AtomicU32::new(0),
            activity: AtomicU64::new(0),
            starter: CoreMutex::new(None),
            starts: StartRecord::default(),
        }
    }

    /// Records a request if it is worth it, and wakes the daemon if it sleeps. What is not worth it now
    /// leaves no trace: recorded, it would spoil the judgement of later ones, and be worked for at the
    /// next wake for any reason (R9).
    pub(crate) fn ask(
        &self,
        class: ZoneType,
        order: Order,
        by: StartBy,
        is_worth_it: impl FnOnce() -> bool,
    ) -> Option<Posted> {
        (is_worth_it() || mutated("ask.judge_first")).then(|| self.post(class, order, by))
    }

    /// Records a request and wakes the daemon if it sleeps, or has it started. The caller has judged that the
    /// request is worth it.
    pub(crate) fn post(&self, class: ZoneType, order: Order, by: StartBy) -> Posted {
        let is_news = self.request.post(class.idx(), order.get());
        // The queue puts its barrier between the request and the look for a sleeper, and for a thread.
        let woke = self.queue.wake_all() > 0;
        if by == StartBy::Caller {
            self.see_to_thread();
        }
        Posted { is_news, woke }
    }

    /// Has the daemon look for itself whether there is anything to do, though nobody asks; wakes it if it
    /// sleeps, or has it started. However often that is done before it looks, it is woken once.
    pub(crate) fn ring(&self, by: StartBy) {
        if self.request.ring() || self.state().lacks_thread() {
            // As in `post`, the queue puts its barrier between.
            self.queue.wake_all();
        }
        if by == StartBy::Caller {
            self.see_to_thread();
        }
    }

    /// Starts the thread of a daemon that has none, if something is asked of it, and it is worth trying. For who
    /// has put a full barrier between what he asks, or the thaw, and this:
    ///
    /// ```text
    /// asks                                   thaws
    /// ────                                   ─────
    /// record the request                     take the request to stand still back
    /// fence [kswapd.waker]                   fence [control.waker]
    /// frozen? then leave it                  nothing asked? then leave it
    /// ```
    ///
    /// One at least sees the other. Of several who see it, one starts it ([`DaemonControl::answer`]).
    pub(crate) fn see_to_thread(&self) {
        if self.control.may_answer() {
            self.start();
        }
    }

    #[cold]
    fn start(&self) {
        if self.asked().is_empty() || !self.starts.is_due() {
            return;
        }
        let starter = self.starter.lock().clone();
        if let Some(starter) = starter {
            starter.start();
        }
    }

    /// Has the thread started by `starter` once something is asked, unless it runs.
    pub(crate) fn stand_by(&self, starter: Arc<dyn Starter>) {
        *self.starter.lock() = Some(starter);
        self.control.stand_by();
    }

    /// Notes that the thread could not be started; returns how often in a row it could not.
    pub(crate) fn note_start_failure(&self, error: &io::Error) -> u32 {
        self.starts.note_failure(error)
    }

    /// Notes that there is a thread.
    pub(crate) fn note_start(&self) {
        self.starts.note_success();
    }

    /// How often in a row the thread could not be started, and why the last time.
    pub(crate) fn start_failure(&self) -> (u32, Option<String>) {
        self.starts.last_failure()
    }

    /// What is asked of the daemon, without taking it.
    pub(crate) fn asked(&self) -> Requests {
        self.request.peek()
    }

    /// Takes what is asked of the daemon.
    pub(crate) fn take(&self) -> Requests {
        self.request.take()
    }

    /// Puts back what the daemon took and did not serve.
    pub(crate) fn put_back(&self, asked: Requests) {
        self.request.post_all(asked);
    }

    /// Checks INV-2 while every thread waits: no daemon sleeps over a request, nor over a look, unless it has put
    /// that off and will wake by itself. (At other times whoever has posted one may be about to wake it.)
    #[cfg(shuttle)]
    pub(crate) fn verify_at_rest(&self) -> Result<(), Violation> {
        let sleeps = self.state() == DaemonState::Running && self.queue().has_sleeper();
        let mut asked = self.asked();
        if self.activity().0 == DaemonActivity::Napping {
            asked = asked.without_look();
        }
        ensure!(
            !sleeps || asked.is_empty(),
            "INV-2",
            "the daemon sleeps, and is asked for {asked:?}"
        );
        Ok(())
    }

    /// Where the daemon sleeps.
    pub(crate) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// The daemon's state, and what its controllers ask of it.
    pub(crate) fn control(&self) -> &DaemonControl {
        &self.control
    }

    /// Whether the daemon is asked to stand still, and does, or has no thread.
    pub(crate) fn stands_still(&self) -> bool {
        let (_, is_to_freeze) = self.control.is_told();
        is_to_freeze && self.state() != DaemonState::Running
    }

    /// What the daemon is doing.
    pub(crate) fn state(&self) -> DaemonState {
        self.control.state()
    }

    /// Asks the daemon to end, and wakes it.
    pub(crate) fn ask_to_stop(&self) {
        self.control.ask_to_stop();
        self.queue.wake_all();
    }

    /// Asks the daemon to stand still, and wakes it.
    pub(crate) fn ask_to_freeze(&self) {
        self.control.ask_to_freeze();
        self.queue.wake_all();
    }

    /// Lets the daemon go on. If it has no thread, and was asked for something meanwhile, it is started.
    pub(crate) fn thaw(&self) {
        self.control.thaw();
        if !mutated("first.after_thaw") {
            // The control's queue has put its barrier between.
            self.see_to_thread();
        }
    }

    // ---- for reports ----

    /// Notes what the daemon is at, for the daemon itself. Not in models: nobody decides anything by it.
    pub(crate) fn note(&self, activity: DaemonActivity) {
        if cfg!(not(loom)) {
            let since = u64::from(clock::coarse_centis()) << DaemonActivity::BITS;
            // Relaxed: for reports.
            self.activity
                .store(since | activity as u64, Ordering::Relaxed);
        }
    }

    /// What the daemon is at, and for how long, to about a hundredth of a second.
    pub(crate) fn activity(&self) -> (DaemonActivity, Duration) {
        // Relaxed: for reports.
        let noted = self.activity.load(Ordering::Relaxed);
        let since = (noted >> DaemonActivity::BITS) as u32;
        let centis = clock::coarse_centis().wrapping_sub(since);
        let activity = DaemonActivity::from_bits(noted);
        (activity, Duration::from_millis(u64::from(centis) * 10))
    }

    // ---- hope ----

    /// Fruitless runs in a row.
    pub(crate) fn failures(&self) -> u32 {
        // Relaxed: a count by itself.
        self.failures.load(Ordering::Relaxed)
    }

    /// Notes a fruitless run over these zones, for the daemon itself, which alone adds. Before the
    /// count says that there is no hope, each zone is told to say when it has recovered; what was freed
    /// before that shows when the daemon looks again whether the node `is_balanced`.
    pub(crate) fn note_failure<'z>(
        &self,
        zones: impl Iterator<Item = &'z Zone>,
        is_balanced: impl FnOnce() -> bool,
    ) {
        if self.failures() + 1 >= MAX_RECLAIM_RETRIES {
            zones.for_each(Zone::watch_recovery);
            if is_balanced() && !mutated("failures.recheck") {
                self.note_balanced();
                return;
            }
        }
        // Relaxed: as in `failures`; what goes with it is guarded by the zones' locks.
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that somebody has reclaimed from the node. Only if it `is_balanced` now is that reason to
    /// hope again: else a reclaimer that frees a few hot pages would keep a hopeless one busy for ever
    /// (spec 9.6).
    pub(crate) fn note_progress(&self, is_balanced: impl FnOnce() -> bool) {
        if self.failures() > 0 && (is_balanced() || mutated("failures.any_progress")) {
            self.note_balanced();
        }
    }

    /// Notes that the node is balanced, by whomever: whoever failed before may try again.
    pub(crate) fn note_balanced(&self) {
        // Relaxed: as in `failures`. The look first avoids a shared store.
        if self.failures() != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the daemon is gone, or has failed so often that nobody should rely on it. If one of the
    /// node's `zones` has risen above its high mark since, there is hope again, and all is forgotten.
    pub(crate) fn is_hopeless<'z>(&self, mut zones: impl Iterator<Item = &'z Zone>) -> bool {
        if self.state() == DaemonState::Dead {
            return true;
        }
        if self.failures() < MAX_RECLAIM_RETRIES {
            return false;
        }
        let recovered = zones.any(Zone::has_recovered);
        if recovered {
            self.note_balanced();
        }
        !recovered
    }

    /// Pretends that the daemon has failed so many times in a row.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn set_failures(&self, failures: u32) {
        // Relaxed: as in `failures`.
        self.failures.store(failures, Ordering::Relaxed);
    }
}
