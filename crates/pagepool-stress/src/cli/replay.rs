//! The options of `replay`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Args;

use crate::{policy::Policy, trace::Format, units::CacheSize, what_if::Change};

/// Options of `replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    /// Recordings of a pool (one at a time), or traces, compressed by zstd, xz or gzip or not at all; required unless --traces is given
    #[arg(value_name = "FILE", required_unless_present = "traces")]
    pub(crate) files: Vec<PathBuf>,
    /// Format of the files [default: told by name, else by the first line]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) format: Option<Format>,
    /// Memory for a trace of references: shares of its footprint (the pages of all its keys), or bytes, such as 1%,64M; with --memory that is the only size, as the pool's budget
    #[arg(long, value_name = "SHARE|BYTES,…", value_delimiter = ',', default_value = "1%,10%,25%", value_parser = CacheSize::parse)]
    pub(crate) sizes: Vec<CacheSize>,
    /// Who is asked what it would miss of a trace of references
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        value_enum,
        default_value = "opt,lru,clock,two-lists,pool"
    )]
    pub(crate) policies: Vec<Contestant>,
    /// Instead of that, play references through a cache of raw pages that its owner evicts from, the least recently used first: so large, as a share of the footprint, such as 10%, or in bytes, such as 64M
    #[arg(long, value_name = "SHARE|BYTES", conflicts_with_all = ["sizes", "policies"], value_parser = CacheSize::parse)]
    pub(crate) cache: Option<CacheSize>,
    /// Play a recording a second time, in a pool that is otherwise: memory, swap, movable_share, nodes, daemons, dma, max_folios, or any of the pool's tunables by its name, such as memory=512M or watermark_scale_factor=100; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = Change::parse)]
    pub(crate) what_if: Vec<Change>,
}

/// What `--policies` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contestant {
    /// What is used again last goes; where all keys are of one size, nobody can do better
    Opt,
    /// The least recently used goes
    Lru,
    /// The oldest goes, but one that was used meanwhile is passed over once
    Clock,
    /// An active and an inactive list, judged when memory is needed
    TwoLists,
    /// The pool itself, with real folios and real reclaim
    Pool,
}

impl Contestant {
    /// The policy, if it is one that needs no pool.
    pub(crate) fn policy(self) -> Option<Policy> {
        match self {
            Contestant::Opt => Some(Policy::Opt),
            Contestant::Lru => Some(Policy::Lru),
            Contestant::Clock => Some(Policy::Clock),
            Contestant::TwoLists => Some(Policy::TwoLists),
            Contestant::Pool => None,
        }
    }
}
