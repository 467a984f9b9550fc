//! The end of the ladder: the pool's owner is asked to give memory up, and told who has most.
//!
//! *Kernel counterpart:* `mm/oom_kill.c` (v5.0): `out_of_memory`, `oom_badness`, `select_bad_process`. There
//! the process that has most is killed. Here nobody is: a request that nothing else has helped has the
//! owner's [`OomHandler`] called, with the groups ranked by what they have beyond their protection, and is
//! refused at its deadline if that did not help either.
//!
//! ```text
//! who asks                                     worker of the pool
//! ────────                                     ──────────────────
//! is a call under way? wait for its end
//! else leave the situation, ring ────────────→ handler: out_of_memory(&situation)
//! wait: for the answer, its own deadline       anything else than Released? not again for a while
//! ←─────────────────────────────── answer
//! ```
//!
//! | File | |
//! |---|---|
//! | `badness` | who is to give most (policy) |
//! | `situation` | what the handler is told |
//! | `desk` | one call at a time, on a thread of its own, which can be left behind |
//!
//! **Invariants**
//! - O1: the handler is called by one thread at a time, never by a thread that asks for memory.
//! - O2: nobody waits for it beyond his deadline. A call that does not return holds up nobody but the next.
//!
//! **Locking:** the desk's lock is taken with no other held, and nothing is called or woken under it.

#![forbid(unsafe_code)]

mod badness;
mod desk;
mod situation;

pub(crate) use badness::{ADJ_RANGE, Candidate};
pub(crate) use desk::OomDesk;
pub use situation::{OomAnswer, OomHandler, OomStats, OutOfMemory, Victim};
