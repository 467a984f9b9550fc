//! All daemons at a safe point, for as long as somebody wishes: to fork, to take a snapshot, to change
//! what they work on.
//!
//! *Kernel counterpart:* `freeze_kernel_threads`, `thaw_kernel_threads` (v5.0). There the freezer gives
//! up after 20 seconds, thaws everybody and says who would not stand still; here the caller says when.

use super::crew::{self, Daemons};
use super::name::Name;
use crate::node::{DaemonPost, Nodes, identity};
use crate::sync::clock::Instant;

/// Daemons did not come to a safe point in time. None is frozen now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("still running: {}", .names.join(", "))]
pub struct StillRunning {
    names: Vec<String>,
}

impl StillRunning {
    /// Somebody who is no daemon.
    pub(crate) fn of(name: &str) -> StillRunning {
        StillRunning {
            names: vec![name.to_owned()],
        }
    }

    /// The daemons, as their threads are called; or what else goes on.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Daemons {
    /// Returns when every daemon stands at a safe point, with no lock and no isolated page, or has ended.
    /// What is asked of them meanwhile is kept. A daemon that is started meanwhile stands still at once; none that is
    /// on call gets a thread before the thaw.
    ///
    /// # Errors
    /// If some have not come to one by the deadline; then all are thawed. A daemon that calls this, in a
    /// callback, is told so at once, since it would wait for itself.
    pub(crate) fn freeze(nodes: &Nodes, deadline: Option<Instant>) -> Result<(), StillRunning> {
        posts(nodes).for_each(|(_, post)| post.ask_to_freeze());
        let still_running: Vec<_> = posts(nodes)
            .filter(|(_, post)| !stands_still(post, deadline))
            .map(|(name, _)| name.to_string())
            .collect();
        if still_running.is_empty() {
            return Ok(());
        }
        Daemons::thaw(nodes);
        Err(StillRunning {
            names: still_running,
        })
    }

    /// Lets all daemons go on. One that is on call gets its thread, if something was asked meanwhile.
    pub(crate) fn thaw(nodes: &Nodes) {
        posts(nodes).for_each(|(_, post)| post.thaw());
    }
}

fn stands_still(post: &DaemonPost, deadline: Option<Instant>) -> bool {
    !identity::is_daemon_of(post) && post.control().wait_until_still(deadline)
}

/// Every daemon's name and post.
fn posts(nodes: &Nodes) -> impl Iterator<Item = (Name, &DaemonPost)> {
    crew::names(nodes).map(|name| (name, name.kind.post(nodes.node(name.node))))
}
