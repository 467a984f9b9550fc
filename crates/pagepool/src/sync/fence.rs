//! Full barriers, each with a name that a mutation test can call.
//!
//! A barrier that a model does not miss when it is gone is either useless or untested. So every
//! barrier is written `fence_at("kswapd.waker")`; in a model, a process started with
//! `PAGEPOOL_MUTANT=kswapd.waker` runs without it, and the models must fail. [`mutated`] does the
//! same for a re-check or a step of a protocol, [`ordering_at`] for what an access orders. In
//! production all of them fold away: the bare fence, `false`, the ordering itself.

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

/// Returns `order`, or for the mutant called `name` none: a plain access.
///
/// The comment at each call says what it publishes or observes, and what it pairs with.
#[inline(always)]
#[must_use]
pub fn ordering_at(name: &'static str, order: Ordering) -> Ordering {
    if mutated(name) {
        Ordering::Relaxed
    } else {
        order
    }
}

/// Returns AcqRel; for the mutant called `acquire` without its acquire half, for that called `release`
/// without the other.
#[inline(always)]
#[must_use]
pub fn acq_rel_at(acquire: &'static str, release: &'static str) -> Ordering {
    if mutated(acquire) {
        Ordering::Release
    } else if mutated(release) {
        Ordering::Acquire
    } else {
        Ordering::AcqRel
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
