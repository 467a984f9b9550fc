//! A whole pool, its daemons, stores and failing devices, played by a seed: the same seed, the same history.
//!
//! A *case* is a world (how large the pool is, which devices it swaps to, which groups it has) and a list of
//! operations for each of its actors. `play` carries it out: the pool is the real one, built with
//! `--cfg shuttle`, so that its threads are tasks that a seeded scheduler steps, its clock is a number and its
//! CPU numbers are chance. Every byte that is read is compared with a shadow of what was written, and after
//! each round, when nobody has anything to do, the whole pool is verified.
//!
//! What it finds is a case that fails each time it is played, which [`minimise`](minimise::minimise) makes shorter.
//!
//! Without `--cfg shuttle` this crate has nothing but its cases. `.ci/simulate` builds and runs it.

#![cfg_attr(
    shuttle,
    expect(
        clippy::disallowed_types,
        reason = "what no task of the simulation waits for"
    )
)]

pub mod case;
mod chance;
pub mod exercise;
pub mod op;
pub mod world;

#[cfg(shuttle)]
mod actor;
#[cfg(shuttle)]
mod cache;
pub mod minimise;
#[cfg(shuttle)]
pub mod play;
#[cfg(shuttle)]
mod scene;
#[cfg(shuttle)]
mod shadow;
#[cfg(shuttle)]
pub mod stage;
