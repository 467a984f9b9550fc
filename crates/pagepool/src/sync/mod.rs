//! The facade over threads, locks, atomics, time.
