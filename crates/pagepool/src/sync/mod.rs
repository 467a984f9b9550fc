//! The facade over threads, locks, atomics, time.

// Aliases, not re-exports: clippy sees through a re-export to the type that it disallows.
#![expect(
    clippy::disallowed_types,
    reason = "the facade is where these are named"
)]

pub(crate) use std::sync::atomic::Ordering;
pub(crate) type AtomicU8 = std::sync::atomic::AtomicU8;
pub(crate) type AtomicU32 = std::sync::atomic::AtomicU32;
