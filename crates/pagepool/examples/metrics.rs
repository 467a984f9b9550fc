//! Serves the figures of a pool to Prometheus.

fn main() {}
