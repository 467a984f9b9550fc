//! The frame table.
