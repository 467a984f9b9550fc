//! The thread that makes large blocks on one node before anybody has to wait for them: sleep, compact,
//! sleep.
//!
//! *Kernel counterpart:* `kcompactd`, `kcompactd_do_work`, `kcompactd_work_requested` (v5.0, spec 4.14), and
//! the proactive part of later kernels (spec 9.13). How blocks are made is none of its business: see
//! [`CompactNode`](crate::compact::CompactNode). What differs:
//! - What is asked for is taken in one step *before* the work, so that whatever is asked meanwhile, for the
//!   same order too, stays for the next round. v5.0 resets its fields afterwards, and loses it (R8).
//! - A request that was refused is not recorded, so that nothing stale is worked for
//!   ([`DaemonPost::ask`]; R9).
//! - What an interrupted run did not come to is put back; there is no last work before a stop.
//! - Nobody looks at the node by the clock. Whoever notes that memory has gone to pieces
//!   [rings](DaemonPost::ring), and the thread looks; a timer runs only while such a ring waits for the
//!   [back-off](BACK_OFF) to pass.
//!
//! ```text
//!  sleep ──► safe point ──► take ──┬─► requests: compact ───────────────── left ──► put back ──► sleep
//!    ▲        stop: end            └─► a ring: look ──┬─ satisfied ───────────────────────────►   │
//!    │                                                ├─ progress: ring again, put back ──────►   │
//!    │                                                └─ no better: back off ─────────────────►   │
//!    └────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! **Ordering.** Each sleep publishes an entry, and looks at everything that could forbid it only then: the
//! request word, once, with requests and ring, and the control word. Wakers store, then look for the entry.

use std::time::Duration;

use super::lifecycle::Duty;
use super::name::{Kind, Name};
use crate::alloc::scope::{self, ScopeKind};
use crate::compact::{Compacted, Proactive};
use crate::node::daemon_control::SafePoint;
use crate::node::{DaemonActivity, DaemonPost, identity};
use crate::sync::clock::{self, Instant};
use crate::sync::fence::mutated;
use crate::sync::{Requests, SleepOutcome};
use crate::types::NodeId;
use crate::zone::vmstat::VmEvent;

/// For how long at most nobody looks at a node that looks could not better (kernel: an interval of 500 ms,
/// shifted by 6, at once). What makes it worse meanwhile rings, and is looked at afterwards.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(500 << 6);

/// The same after a first look that moved something and gained nothing (kernel: the interval); each such look
/// makes it eight times as long, up to [`BACK_OFF`].
const INTERVAL: Duration = Duration::from_millis(500);

/// The same after a look that moved nothing, since nothing was worth it or could be moved: whoever frees page
/// after page rings at each. Each such look in turn doubles it, up to [`BACK_OFF`]; in the kernel it is 500 ms
/// at once.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(8);

/// What a kcompactd looks after, and what it can do about it.
pub(crate) trait Site {
    /// The node's number.
    fn nid(&self) -> NodeId;

    /// Where the thread is asked for work, sleeps, and is stopped.
    fn post(&self) -> &DaemonPost;

    /// Makes the blocks that are asked for, until done or interrupted.
    fn compact(&self, asked: Requests, is_interrupted: &dyn Fn() -> bool) -> Compacted;

    /// Looks whether the node should be compacted though nobody asks, and does so.
    fn compact_proactively(&self, is_interrupted: &dyn Fn() -> bool) -> Proactive;

    /// Sees to it that the thread runs where it should.
    fn settle_on_cpus(&mut self);

    /// Counts an event.
    fn count(&self, event: VmEvent);
}

/// The duty of a kcompactd.
#[derive(Debug)]
pub(crate) struct Kcompactd<S>(pub(crate) S);

impl<S: Site + Send + 'static> Duty for Kcompactd<S> {
    fn name(&self) -> Name {
        Name {
            kind: Kind::Kcompactd,
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
        // Nobody waits for it: who needs a block compacts, or does without.
    }
}

/// The thread's life, from its first step to the order to stop.
pub(crate) fn run<S: Site>(site: &mut S) {
    let _duty = identity::OnDuty::begin(site.post());
    // It makes blocks of what is free, and frees nothing: the reserves are not for it.
    let _no_reclaim = scope::enter(ScopeKind::NoReclaim);
    site.settle_on_cpus();

    let mut back_off = BackOff::default();
    while serve(site, &mut back_off) {}
}

/// Until when nobody looks whether the node should be compacted, if a look has been in vain.
#[derive(Clone, Copy, Default, Debug)]
struct BackOff {
    until: Option<Instant>,
    /// How long the last one was.
    pause: Duration,
}

impl BackOff {
    fn begin(pause: Duration) -> BackOff {
        BackOff {
            until: clock::deadline_after(pause),
            pause,
        }
    }

    /// After one more look that moved nothing.
    fn longer(self) -> BackOff {
        BackOff::begin((2 * self.pause).clamp(FIRST_PAUSE, BACK_OFF))
    }

    /// After one that moved something in vain.
    fn much_longer(self) -> BackOff {
        BackOff::begin((8 * self.pause).clamp(INTERVAL, BACK_OFF))
    }

    fn is_over(self) -> bool {
        self.until.is_none_or(|until| clock::now() >= until)
    }
}

/// One round; returns whether another follows.
fn serve<S: Site>(site: &mut S, back_off: &mut BackOff) -> bool {
    sleep(site, back_off);
    match site.post().control().safe_point(|| ()) {
        SafePoint::Stop => return false,
        SafePoint::Thawed | SafePoint::Passed => {}
    }
    let taken = site.post().take();
    site.settle_on_cpus();
    let left = work(site, taken, back_off);
    site.post().put_back(left);
    true
}

/// Sleeps until there is something to do. What was asked before the entry was published is seen here;
/// whoever asks after that sees the entry.
fn sleep<S: Site>(site: &S, back_off: &mut BackOff) {
    let post = site.post();
    let entry = post.queue().enqueue();
    let asked = post.asked();
    let has_work = is_due(asked, *back_off) && !mutated("kcompactd.recheck");
    let is_told = post.control().is_interrupted() && !mutated("kcompactd.stop_recheck");
    if has_work || is_told {
        return;
    }
    tracing::event!(
        name: "mm_compaction_kcompactd_sleep",
        target: "pagepool::compaction",
        tracing::Level::TRACE,
        nid = site.nid().get(),
    );
    // A ring that has to wait is the only thing to wake up for that nobody wakes for.
    let deadline = back_off.until.filter(|_| asked.has_look());
    post.note(match deadline {
        None => DaemonActivity::Asleep,
        Some(_) => DaemonActivity::Napping,
    });
    if entry.sleep(deadline) == SleepOutcome::TimedOut {
        back_off.until = None;
    }
    post.note(DaemonActivity::Working);
}

/// Whether anything of this is to be done now.
fn is_due(asked: Requests, back_off: BackOff) -> bool {
    let requests = asked.without_look();
    !requests.is_empty() || (asked.has_look() && back_off.is_over())
}

/// Does what is due of what was taken, requests first; returns what is left of it. A request shows that
/// blocks are needed, and that the node may be looked at again.
fn work<S: Site>(site: &S, taken: Requests, back_off: &mut BackOff) -> Requests {
    let requests = taken.without_look();
    if !requests.is_empty() {
        *back_off = BackOff::default();
        let left = compact(site, requests);
        return if taken.has_look() {
            left.union(Requests::LOOK)
        } else {
            left
        };
    }
    if is_due(taken, *back_off) {
        look(site, back_off)
    } else {
        taken
    }
}

/// D1 to D4: makes the blocks that are asked for; returns what an interruption left.
fn compact<S: Site>(site: &S, asked: Requests) -> Requests {
    trace_wake(site.nid(), asked);
    site.count(VmEvent::KcompactdWake);
    let control = site.post().control();
    match site.compact(asked, &|| control.is_interrupted()) {
        Compacted::Interrupted { left } if !mutated("kcompactd.put_back") => left,
        Compacted::Interrupted { .. } | Compacted::Done => Requests::NONE,
    }
}

/// Looks at the node though nobody asked; returns what is left to do. Ends early for whoever asks.
fn look<S: Site>(site: &S, back_off: &mut BackOff) -> Requests {
    let post = site.post();
    let is_asked = || !post.asked().without_look().is_empty();
    match site.compact_proactively(&|| post.control().is_interrupted() || is_asked()) {
        Proactive::Satisfied => {
            *back_off = BackOff::default();
            Requests::NONE
        }
        Proactive::NotNow => {
            *back_off = back_off.longer();
            Requests::NONE
        }
        Proactive::NoBetter => {
            *back_off = back_off.much_longer();
            Requests::NONE
        }
        Proactive::Progress => {
            *back_off = BackOff::default();
            Requests::LOOK
        }
    }
}

/// D2. A single order and class are told by the kernel's rule.
pub(super) fn trace_wake(nid: NodeId, asked: Requests) {
    if let Some(pair) = asked.for_compaction() {
        tracing::event!(
            name: "mm_compaction_kcompactd_wake",
            target: "pagepool::compaction",
            tracing::Level::TRACE,
            nid = nid.get(),
            order = pair.order,
            classzone_idx = pair.class_idx,
        );
    }
}
