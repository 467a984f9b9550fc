//! The options of `fragment`.
#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Args;

use crate::{
    phase::Daemons,
    player::two_kinds::Plant,
    units::{parse_count, parse_duration},
};

/// Options of `fragment`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Fragment {
    /// What breaks the free memory into pieces
    #[arg(long, value_name = "NAME", value_enum, default_value = "checkerboard")]
    pub(crate) pattern: FragmentPattern,
    /// Take blocks of this order only, 0 (4 KiB) to 10 (4 MiB)
    #[arg(long, value_name = "ORDER", value_parser = clap::value_parser!(u8).range(0..=10))]
    pub(crate) order: Option<u8>,
    /// Of each pageblock's folios, those that are kept, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.25, value_parser = parse_share)]
    pub(crate) keep: f64,
    /// Of the pages that fill the pool, those that are raw and so cannot be moved, 0 to 1; they lie among the folios, and all of them are kept; with --pattern mixed they are asked for as unmovable, and come and go [default: 0, with --pattern mixed 0.05]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(crate) unmovable: Option<f64>,
    /// With --pattern mixed, how full the pool is held, 0.1 to 0.95 of what it can hand out [default: 0.8]
    #[arg(long, value_name = "SHARE", value_parser = parse_fill)]
    pub(crate) fill: Option<f64>,
    /// With --pattern mixed, end after so many allocations and frees, such as 500K or 600M [default: after --duration]
    #[arg(long, value_name = "NUMBER", value_parser = parse_count)]
    pub(crate) events: Option<u64>,
    /// How long to wait before blocks are taken
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) settle: Duration,
    /// Whether the pool runs kswapd and kcompactd
    #[arg(long, value_name = "on|off|both", value_enum, default_value = "both")]
    pub(crate) daemons: DaemonsChoice,
    /// Does something wrong on purpose, to see that the figures show it
    #[arg(long, hide = true, value_enum)]
    pub(crate) plant: Option<Plant>,
}

/// What `--pattern` of `fragment` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FragmentPattern {
    /// Single pages, of which a share is kept.
    Checkerboard,
    /// Folios of orders 0 to 9 that come and go, of which a share is kept.
    Churn,
    /// Movable and unmovable memory that come and go side by side, and large blocks asked for meanwhile.
    Mixed,
}

impl FragmentPattern {
    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FragmentPattern::Checkerboard => "checkerboard",
            FragmentPattern::Churn => "churn",
            FragmentPattern::Mixed => "mixed",
        }
    }
}

/// What `--daemons` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DaemonsChoice {
    On,
    Off,
    /// One pool after the other.
    Both,
}

impl DaemonsChoice {
    /// The pools to be looked at, in turn.
    pub(crate) fn each(self) -> &'static [Daemons] {
        match self {
            DaemonsChoice::On => &[Daemons::On],
            DaemonsChoice::Off => &[Daemons::Off],
            DaemonsChoice::Both => &[Daemons::On, Daemons::Off],
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a number from 0 to 1".to_owned()),
    }
}

fn parse_fill(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.1..=0.95).contains(&share) => Ok(share),
        _ => Err("write a number from 0.1 to 0.95".to_owned()),
    }
}
