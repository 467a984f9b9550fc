//! Times pagepool beside other allocators.

fn main() {}
