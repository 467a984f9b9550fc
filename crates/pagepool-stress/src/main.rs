//! Replays real page traces against a pool.

fn main() {}
