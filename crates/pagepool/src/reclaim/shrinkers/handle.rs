//! What a user has of a shrinker that he has registered.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use super::desk::Desk;
use super::{ShrinkerStats, Table};
use crate::sync::{clock, thread};
use crate::types::{GroupId, NodeId};

/// A registered shrinker; dropping it takes the shrinker out of service.
///
/// That waits for a call under way, as long as the shrinker's
/// [deadline](super::ShrinkerOptions::deadline) says and no longer, unless it is dropped in that very call.
/// After it no further call begins. A call that has not returned by then is left to itself: its thread keeps
/// the shrinker alive, and its place in the pool taken, until it does return; if it never does, for ever.
///
/// It may outlive its pool: then it does nothing.
#[must_use = "the shrinker is out of service once this is dropped"]
pub struct ShrinkerHandle {
    desk: Arc<Desk>,
    table: Arc<Table>,
}

impl ShrinkerHandle {
    pub(super) fn new(desk: Arc<Desk>, table: Arc<Table>) -> ShrinkerHandle {
        ShrinkerHandle { desk, table }
    }

    /// What the shrinker is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.desk.options.name
    }

    /// Notes that the shrinker has an object of a group in a node (kernel: `memcg_set_shrinker_bit`). To be
    /// called after the object was added to where [`count`](super::Shrinker::count) finds it. A
    /// [group-aware](super::ShrinkerOptions::group_aware) shrinker is only asked where it has noted
    /// something since it said that there is [nothing](super::Freeable::Empty); for others this does nothing.
    ///
    /// Where there is a note already, this writes nothing. A shrinker that is not NUMA-aware has all its
    /// objects in node 0.
    ///
    /// # Panics
    /// If the pool has no such node, or no such group.
    pub fn note_object(&self, group: GroupId, node: NodeId) {
        if self.desk.is_group_aware() {
            let node = if self.desk.is_numa_aware() {
                node
            } else {
                NodeId::default()
            };
            assert!(self.table.knows(group), "{group:?} is of another pool");
            self.table.map(group, node).note_object(self.desk.idx);
        }
    }

    /// What has come of it so far.
    #[must_use]
    pub fn stats(&self) -> ShrinkerStats {
        self.desk.stats()
    }

    /// Says, at any time later, how often the worker slept until it was called, and how often others slept until
    /// it had answered or ended.
    #[cfg(loom)]
    pub(crate) fn sleeps(&self) -> impl Fn() -> [u32; 2] + Send + Sync + use<> {
        let desk = Arc::clone(&self.desk);
        move || [&desk.bell, &desk.ended].map(crate::sync::WaitQueue::nr_sleeps)
    }

    /// Waits until the worker has ended, as long as a call may take; but not in a call.
    fn wait_for_worker(&self) {
        let this = thread::current_id();
        let deadline = clock::deadline_after(self.desk.options.deadline);
        self.desk.ended.wait_until(deadline, || {
            let state = self.desk.state.lock();
            !state.has_worker || state.thread == Some(this)
        });
    }
}

impl Drop for ShrinkerHandle {
    fn drop(&mut self) {
        self.desk.close(&self.table);
        self.wait_for_worker();
        // Here, and not with whoever happens to look at it last (H4).
        let user = self.desk.user.lock().take();
        drop(user);
    }
}

impl fmt::Debug for ShrinkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShrinkerHandle")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
