//! Why a request failed or came late, and what would help: the report that is made of it, and the answers to
//! who asks beforehand.
//!
//! *Kernel counterpart:* `warn_alloc`, `show_mem`, `show_free_areas`, `dump_header` (v5.0). There a failure
//! prints everything that is known, and leaves it to the reader to find the cause. Here the cause is named
//! in one sentence, with the one remedy that would help; the figures follow.
//!
//! Key types: [`FailureReport`]; [`ZoneReport`], how a zone stands to a request; [`Tried`], what was tried
//! for it; [`Remedy`]; [`Explanation`] and [`SwapVerdict`], the answers.
//!
//! **Invariants**
//! - F1: a report is made in a place that was set aside for it. Neither making nor printing it takes memory.
//! - F2: a remedy is never a setting that is already as it advises.

#![forbid(unsafe_code)]

mod explanation;
mod remedy;
mod report;
mod swap;
mod tried;
mod zone;

pub use explanation::Explanation;
pub(crate) use explanation::deciding;
pub use remedy::Remedy;
pub(crate) use remedy::{Facts, remedy_for};
pub(crate) use report::ReportParts;
pub use report::{FailureReport, MemoryFigures, Outcome, PinHolder, PinReport};
pub use swap::SwapVerdict;
pub(crate) use swap::{SwapFacts, swap_verdict};
pub use tried::Tried;
pub use zone::{Standing, ZoneReport};
