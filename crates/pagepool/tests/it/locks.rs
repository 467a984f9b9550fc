//! The tests' own locks: std's, and under ThreadSanitizer, which cannot see into those, the library's for it.

#[cfg(pagepool_tsan)]
#[path = "../../src/sync/lock/instrumented.rs"]
mod instrumented;

#[cfg(pagepool_tsan)]
pub(crate) use instrumented::{Condvar, Mutex};

#[cfg(not(pagepool_tsan))]
pub(crate) use std::sync::{Condvar, Mutex};
