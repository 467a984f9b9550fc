//! What a pool does while nothing happens.
#![forbid(unsafe_code)]

use serde::Serialize;

use crate::threads::Account;

/// What the pool's threads did while nothing happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IdleReport {
    pub(crate) scene: &'static str,
    pub(crate) settle_s: f64,
    pub(crate) seconds: f64,
    pub(crate) wakeups: u64,
    pub(crate) cpu_ms: f64,
    /// CPU time of all of them, as a share of one CPU.
    pub(crate) cpu_share: f64,
    pub(crate) threads: Vec<Account>,
}
