//! The facade (stand-in until merged).
#![expect(clippy::disallowed_types)]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
