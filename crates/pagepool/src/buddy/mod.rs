//! The buddy.
