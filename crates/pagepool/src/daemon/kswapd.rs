//! The thread that keeps one node's memory free: sleep, balance, sleep.
//!
//! *Kernel counterpart:* `kswapd`, `kswapd_try_to_sleep`, `prepare_kswapd_sleep` (v5.0). The letters
//! are those of spec 4.7 to 4.9. What differs:
//! - What is asked for is a set of requests, taken in one step: none is lost between the read and the
//!   reset, and none is invented (see [`request`](crate::sync::request)).
//! - When nothing new is asked, the classes of the last run count again, at order 0; v5.0 falls back to
//!   the lowest zone (spec 9.1).
//! - After it has queued itself the thread looks at the request word again, so that it never sleeps on a
//!   request, neither for a nap nor for long.
//! - It stands still for a freeze *before* it takes requests, and puts back what an interrupted run
//!   did not serve.
//! - Only a waker ends a sleep early. What the system makes of it does not count.
//!
//! ```text
//!  L1 ──► sleep? ──► safe point ──► take requests ──► balance ──► served? ──► L1
//!          ▲  nap, then for long     stop: end                       │
//!          └──────── only single pages are left: same requests ◄─────┘
//! ```
//!
//! **Ordering.** Each sleep publishes an entry, and looks at everything that could forbid it only then:
//! the request word, the control word, the queue of the throttled. Wakers store, then look for the entry.

use std::time::Duration;

use super::lifecycle::Duty;
use super::name::{Kind, Name};
use crate::alloc::scope::{self, ScopeKind};
use crate::node::daemon_control::SafePoint;
use crate::node::{DaemonActivity, DaemonPost, Pressure, identity};
use crate::reclaim::balance::{Balanced, End};
use crate::sync::fence::mutated;
use crate::sync::{Requests, SleepOutcome, WaitQueue, clock};
use crate::types::{NodeId, ZoneType};
use crate::zone::vmstat::VmEvent;

/// The first, short sleep (kernel: `HZ/10`): bursts often use up at once what was freed, and then the
/// thread need not have gone far.
pub(crate) const NAP: Duration = Duration::from_millis(100);

/// What a kswapd looks after, and what it can do about it.
pub(crate) trait Ward {
    /// The node's number.
    fn nid(&self) -> NodeId;

    /// Where the thread is asked for work, sleeps, and is stopped.
    fn post(&self) -> &DaemonPost;

    /// Who waits until it may reclaim.
    fn throttled(&self) -> &WaitQueue;

    /// Whether enough is free for everything that is asked. If it is, what reclaim has noticed of the
    /// node is forgotten.
    fn is_balanced(&self, asked: Requests) -> bool;

    /// Whether it is useless to try.
    fn is_hopeless(&self) -> bool;

    /// Reclaims, until balanced, hopeless for now, or interrupted.
    fn balance(&self, asked: Requests, is_interrupted: &dyn Fn() -> bool) -> Balanced;

    /// Memory was freed and the thread is about to nap: whoever builds the blocks that were asked for
    /// may begin.
    fn hand_over(&self, asked: Requests);

    /// Sets how exact the node's counters are.
    fn set_pressure(&self, pressure: Pressure);

    /// Sees to it that the thread runs where it should.
    fn settle_on_cpus(&mut self);

    /// Counts an event.
    fn count(&self, event: VmEvent);
}

/// The duty of a kswapd.
#[derive(Debug)]
pub(crate) struct Kswapd<W>(pub(crate) W);

impl<W: Ward + Send + 'static> Duty for Kswapd<W> {
    fn name(&self) -> Name {
        Name {
            kind: Kind::Kswapd,
            node: self.0.nid(),
        }
    }

    fn post(&self) -> &DaemonPost {
        self.0.post()
    }

    fn work(&mut self) {
        run(&mut self.0);
    }

    fn release(&self) {
        if !mutated("leave.release") {
            self.0.throttled().wake_all();
        }
    }
}

/// The thread's life, from its first step to the order to stop.
pub(crate) fn run<W: Ward>(ward: &mut W) {
    let _duty = identity::OnDuty::begin(ward.post());
    // It frees memory: its own requests may dip into the reserves, and never reclaim.
    let _memalloc = scope::enter(ScopeKind::Memalloc);
    ward.settle_on_cpus();
    ward.set_pressure(Pressure::Under);

    let mut last = everybody_at_order_zero();
    // L1: what is asked is looked at here, and taken after the sleep.
    while let Some(served) = serve(ward, newest(ward.post().asked(), last)) {
        last = served;
    }
    ward.set_pressure(Pressure::Calm);
}

/// L2 to L7: sleeps, then balances, until what was asked for last was not cut down. Returns what that
/// was, or nothing if the thread is to end.
fn serve<W: Ward>(ward: &mut W, mut asked: Requests) -> Option<Requests> {
    let mut left = asked;
    loop {
        try_to_sleep(ward, asked, left);
        match stand_still(ward) {
            SafePoint::Stop => return None,
            SafePoint::Thawed => return Some(asked),
            SafePoint::Passed => {}
        }
        asked = newest(ward.post().take(), asked);
        ward.settle_on_cpus();
        trace_wake(ward.nid(), asked);

        let control = ward.post().control();
        let outcome = ward.balance(asked, &|| control.is_interrupted());
        if outcome.end == End::Interrupted && !mutated("pause.put_back") {
            ward.post().put_back(asked);
        }
        left = outcome.left;
        if left == asked {
            return Some(asked);
        }
        // L7: enough was freed for the large block; now sleep if single pages suffice, and have the
        // block built.
    }
}

/// Stands still if that is asked for. Nobody waits for a reclaimer that stands still.
fn stand_still<W: Ward>(ward: &W) -> SafePoint {
    ward.post().control().safe_point(|| {
        ward.throttled().wake_all();
    })
}

/// T0 to T5: naps, and if nobody needs anything meanwhile, sleeps until woken. `asked` is what the last
/// run was for, `left` what it ended with.
pub(crate) fn try_to_sleep<W: Ward>(ward: &W, asked: Requests, left: Requests) {
    let control = ward.post().control();
    if control.is_interrupted() {
        return;
    }
    let nap = nap(ward, asked, left);
    let slept = nap == Nap::Undisturbed && sleep(ward, left);
    // Whoever stops or freezes a daemon says nothing about the marks.
    if slept || control.is_interrupted() {
        return;
    }
    ward.count(match nap {
        Nap::Woken => VmEvent::KswapdLowWmarkHitQuickly,
        Nap::NotReady | Nap::Undisturbed => VmEvent::KswapdHighWmarkHitQuickly,
    });
    if nap == Nap::Woken && !mutated("nap.put_back") {
        // What the nap was for counts again, together with what is newly asked.
        ward.post().put_back(left);
    }
}

/// How the short sleep went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nap {
    /// There was none: something is left to do.
    NotReady,
    /// A waker ended it.
    Woken,
    /// Nobody did.
    Undisturbed,
}

/// T1, T2: the short sleep. To wakers the thread is asleep.
fn nap<W: Ward>(ward: &W, asked: Requests, left: Requests) -> Nap {
    let entry = ward.post().queue().enqueue();
    if must_go_on(ward) || !may_sleep(ward, left) {
        return Nap::NotReady;
    }
    ward.hand_over(asked);
    ward.post().note(DaemonActivity::Napping);
    let nap = match entry.sleep(clock::deadline_after(NAP)) {
        SleepOutcome::Woken => Nap::Woken,
        SleepOutcome::TimedOut => Nap::Undisturbed,
    };
    ward.post().note(DaemonActivity::Working);
    nap
}

/// T3: the long sleep; returns false if there was none. Between the nap and this the thread was off its
/// queue, and a waker only left its request.
fn sleep<W: Ward>(ward: &W, left: Requests) -> bool {
    let entry = ward.post().queue().enqueue();
    if must_go_on(ward) || !may_sleep(ward, left) {
        return false;
    }
    tracing::event!(
        name: "mm_vmscan_kswapd_sleep",
        target: "pagepool::vmscan",
        tracing::Level::TRACE,
        nid = ward.nid().get(),
    );
    ward.set_pressure(Pressure::Calm);
    ward.post().note(DaemonActivity::Asleep);
    entry.sleep(None);
    ward.post().note(DaemonActivity::Working);
    ward.set_pressure(Pressure::Under);
    true
}

/// Whether somebody wants something of the thread, who may have looked for it before it was on its
/// queue.
fn must_go_on<W: Ward>(ward: &W) -> bool {
    let post = ward.post();
    let is_asked = !post.asked().is_empty() && !mutated("nap.recheck");
    is_asked || (post.control().is_interrupted() && !mutated("stop.recheck"))
}

/// P1 to P4: whether the node needs nothing. Whoever is throttled is woken in any case: nobody waits
/// for a thread that sleeps. They look again, and ask if they must.
fn may_sleep<W: Ward>(ward: &W, left: Requests) -> bool {
    if !mutated("throttle.release") {
        ward.throttled().wake_all();
    }
    ward.is_hopeless() || ward.is_balanced(left)
}

/// What to work for: what is newly asked, or else for the same classes as before, at order 0.
fn newest(asked: Requests, before: Requests) -> Requests {
    if asked.is_empty() {
        before.at_order_zero()
    } else {
        asked
    }
}

/// A single page for whoever may use any zone: what a thread begins with that nobody has asked.
fn everybody_at_order_zero() -> Requests {
    let highest = ZoneType::Movable.idx();
    Requests::NONE.with(highest, 0).unwrap_or_default()
}

/// L5. A single order and class are told by the kernel's rule.
pub(super) fn trace_wake(nid: NodeId, asked: Requests) {
    if let Some(pair) = asked.for_reclaim() {
        tracing::event!(
            name: "mm_vmscan_kswapd_wake",
            target: "pagepool::vmscan",
            tracing::Level::TRACE,
            nid = nid.get(),
            zid = pair.class_idx,
            order = pair.order,
        );
    }
}
