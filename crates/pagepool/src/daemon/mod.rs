//! The pool's own threads: a `kswapd` a node, which keeps memory free before anybody needs it, and a
//! `kcompactd`, which makes large blocks of it.
//!
//! *Kernel counterpart:* `kswapd` in `mm/vmscan.c`, `kcompactd` in `mm/compaction.c`, `kernel/kthread.c`,
//! `kernel/freezer.c` (v5.0).
//!
//! | Here | For what |
//! |---|---|
//! | [`kswapd`] | what that thread does, on whatever [`Ward`] it is given |
//! | [`kcompactd`] | what the other does, on whatever [`Site`] it is given |
//! | [`ward`] | a node of a pool as a ward, and as a site |
//! | [`lifecycle`] | threads that start, stop and are started again |
//! | [`crew`] | all threads of a pool, in their order |
//! | [`name`] | what they are called |
//! | [`freezer`] | all daemons at a safe point |
//! | [`affinity`] | where they run |
//! | [`limit`] | the thread that follows the memory limit of the process |
//!
//! What a daemon is asked to do stands in its [`DaemonPost`](crate::node::DaemonPost), which belongs to
//! the node and is there before and after the thread. So nothing in here is touched by whoever
//! allocates.
//!
//! **Invariants**
//! - K1: a daemon that sleeps was asked for nothing, and nobody waits for it (INV-2, INV-3).
//! - K2: what was asked of a daemon and not served is still recorded: over a freeze, a stop, and the
//!   time before its first run (INV-1, INV-7).
//! - K3: a daemon on call gets one thread, by who first asks and may start it; nobody waits for that.
//! - K4: whoever stops a daemon returns after its thread has ended, unless it is that thread (INV-6).
//!
//! **Locking:** the handle of a thread is behind a lock of its own, which is held while the thread is
//! waited for; a daemon never takes it. At a safe point a daemon holds no lock and no isolated page.

#![forbid(unsafe_code)]

pub(crate) mod affinity;
pub(crate) mod crew;
pub(crate) mod freezer;
pub(crate) mod kcompactd;
pub(crate) mod kswapd;
pub(crate) mod lifecycle;
pub(crate) mod limit;
pub(crate) mod name;
pub(crate) mod ward;

#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use crew::{Daemons, StartError};
pub use freezer::StillRunning;
pub(crate) use kcompactd::Site;
pub(crate) use kswapd::Ward;
pub(crate) use lifecycle::{Answer, Stopped, spawn};
pub(crate) use name::Name;
pub(crate) use ward::Machine;
