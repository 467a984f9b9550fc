//! Pressure stall information: for how long threads have waited for memory instead of working.
//!
//! *Kernel counterpart:* `kernel/sched/psi.c`: `psi_memstall_enter`, `psi_memstall_leave`,
//! `psi_memstall_tick` (v5.0, spec 4.16). The kernel keeps a state for each CPU, weighs them by the time that
//! the CPU was not idle, and folds them into averages by a timer every two seconds. Here there is one state
//! for a pool, one for each node, and one for whatever else embeds a [`PsiState`], and every change of it is
//! accounted for at once: nothing is sampled, and nothing needs a timer.
//!
//! ```text
//!            Stall::enter                                        PsiState, for each of the chain
//!  a thread ──────────────► depth of this thread: 0 → 1 ───────► lock · bring up to date · count · unlock
//!            drop           depth of this thread: 1 → 0 ───────► the same
//!            nested         nothing
//! ```
//!
//! | Words | Meaning |
//! |---|---|
//! | stalled | threads inside a [`Stall`] |
//! | workers | threads that are registered, and those that stall and are not |
//! | *some* | at least one thread is stalled |
//! | *full* | at least one is, and no worker is not |
//!
//! | File | |
//! |---|---|
//! | `average` | running averages (policy) |
//! | `account` | counts, totals and averages of one state (policy) |
//! | `window` | when a trigger fires, and when to look next (policy) |
//! | `state` | an account behind its lock, and who waits for a stall to begin |
//! | `stall`, `worker` | what a thread is just now, for itself |
//! | `trigger` | a thread that waits for pressure |
//! | `report` | what users read |
//!
//! **Invariants**
//! - V1: no more threads are stalled than there are workers.
//! - V2: *some* has lasted at least as long as *full*.
//! - V3: averages lie between 0 and 1.
//! - V4: a thread is counted by its outermost section only, and by the same standing at both ends of it.
//! - V5: nobody is stalled while nothing runs: a daemon leaves its section before it stands still.
//!
//! **Locking:** an account's lock has no rank; nothing is taken under it and nobody woken. A section begins
//! with no ranked lock held, since the end of the calm may wake somebody.
//!
//! **Ordering:** who waits for a stall to begin, and who begins one, both take the account's lock in between
//! (see [`state`]).
//!
//! Not here: where the sections are. They are in `alloc/slow.rs` (compaction, reclaim and throttling for
//! oneself, freed memory, others who are asked), `alloc/charge.rs` (room in a group), `reclaim/balance.rs`, `compact/background.rs`, and `fault` (what comes back though
//! it was in use).

#![forbid(unsafe_code)]

mod account;
mod average;
mod report;
pub(crate) mod stall;
pub(crate) mod state;
pub(crate) mod trigger;
mod window;
pub(crate) mod worker;

pub use report::{Pressure, PressureKind, PressureLine};
pub(crate) use stall::Stall;
pub(crate) use state::PsiState;
pub(crate) use trigger::Trigger;
