//! Full barriers, each with a name that a mutation test can call.
//!
//! A barrier that a model does not miss when it is gone is either useless or untested. So every
//! barrier is written `fence_at("kswapd.waker")`; in a model, a process started with
//! `PAGEPOOL_MUTANT=kswapd.waker` runs without it, and the models must fail. [`mutated`] does the
//! same for a re-check or a step of a protocol. In production both fold away: the bare fence, and
//! `false`.

#[cfg(loom)]
use loom::sync::atomic::fence;
#[cfg(not(loom))]
use std::sync::atomic::fence;

use std::sync::atomic::Ordering;

/// Executes a full barrier: stores before it are ordered before loads after it. `name` is its
/// mutant.
///
/// The comment at each call says which barrier of which other thread it pairs with.
#[inline(always)]
pub fn fence_at(name: &'static str) {
    if !mutated(name) {
        fence(Ordering::SeqCst);
    }
}

/// Executes a barrier that keeps stores after it from moving before stores and loads before it: half
/// of a full one. `name` is its mutant.
#[inline(always)]
pub fn release_fence_at(name: &'static str) {
    if !mutated(name) {
        fence(Ordering::Release);
    }
}

/// Executes a barrier that keeps loads before it from moving after loads and stores after it: the
/// other half. `name` is its mutant.
#[inline(always)]
pub fn acquire_fence_at(name: &'static str) {
    if !mutated(name) {
        fence(Ordering::Acquire);
    }
}

/// Whether the step called `name` is the one to leave out in this process: never, in production.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
#[must_use]
pub const fn mutated(_name: &'static str) -> bool {
    false
}

/// Whether the step called `name` is the one to leave out in this process.
#[cfg(any(loom, shuttle))]
#[must_use]
pub fn mutated(name: &'static str) -> bool {
    // Read once: a model must not change between its executions.
    static MUTANT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    MUTANT
        .get_or_init(|| std::env::var("PAGEPOOL_MUTANT").ok())
        .as_deref()
        .is_some_and(|mutant| mutant == name)
}
